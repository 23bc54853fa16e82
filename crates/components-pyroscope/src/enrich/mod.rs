//! `pyroscope.enrich` copies labels of targets onto the profiles that come from them.
//!
//! Data path: batch → each profile's labels through the cache of answers, which are worked out from a table of the
//! targets by the value they are matched by → `forward_to`, all in the sender's task. New targets make a new table
//! and an empty cache.

use component::eval::Invalid;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability, Target,
};
use signal::Profiles;
use signal::copies::Copies;
use signal::label_cache::LabelCache;

use crate::relabelled::relabelled;

/// How many label sets have their answer remembered.
const REMEMBERED: usize = 10_000;

/// `pyroscope.enrich`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Targets whose labels are copied.
    #[arg(type_name = "list(map(string))")]
    pub targets: Vec<Target>,
    /// Label of the targets whose value is compared.
    pub target_match_label: String,
    /// Label of the profiles whose value is compared; empty: the same name as of the targets.
    #[arg(default)]
    pub profiles_match_label: String,
    /// Labels to copy; empty: all of the target.
    #[arg(default)]
    pub labels_to_copy: Vec<String>,
    /// Where profiles go.
    pub forward_to: Vec<Receiver<Profiles>>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.target_match_label.is_empty() {
            return Err(Invalid::field("target_match_label", "must name a label of the targets"));
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct EnrichExports {
    /// Takes profiles in.
    pub receiver: Receiver<Profiles>,
}

/// The component.
pub struct Enrich {
    args: Args,
    port: Port<Profiles>,
}

impl Component for Enrich {
    const NAME: &'static str = "pyroscope.enrich";
    const STABILITY: Stability = Stability::Experimental;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = EnrichExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, EnrichExports), Error> {
        let port = cx.port("receiver");
        let exports = EnrichExports { receiver: port.receiver() };
        Ok((Self { args, port }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.port.attach(Relay::new(&self.args, &cx));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    let _ = self.port.attach(Relay::new(update.args(), &cx));
                    update.answer(Ok(()));
                }
            }
        }
    }
}

/// One generation of the component: targets and receivers as of one configuration.
struct Relay {
    copies: Copies,
    cache: LabelCache,
    forward_to: Fanout<Profiles>,
    cx: BuildCx,
}

impl Relay {
    fn new(args: &Args, cx: &BuildCx) -> Self {
        let Args { targets, target_match_label, profiles_match_label, labels_to_copy, .. } = args;
        Self {
            copies: Copies::new(
                targets.iter().map(|t| &***t),
                target_match_label,
                profiles_match_label,
                labels_to_copy,
            ),
            cache: LabelCache::new(REMEMBERED),
            forward_to: Fanout::new(args.forward_to.iter().cloned()),
            cx: cx.clone(),
        }
    }
}

impl Consumer<Profiles> for Relay {
    fn consume(&self, batch: Profiles) -> BoxFuture<'_, Result<(), Rejected>> {
        let batch = relabelled(batch, |labels| {
            let after = self.cache.answer(labels, |labels| Some(self.copies.onto(labels)));
            self.cx.live_debug(|| format!("{labels} => {}", after.clone().unwrap_or_default()));
            after
        });
        Box::pin(self.forward_to.send(batch))
    }
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::{Labels, Profile};

    use super::*;

    const DEFINITION: ComponentDef = ComponentDef::of::<Enrich>();

    /// Profiles of these hosts; `None` has no such label.
    fn batch(hosts: &[Option<&str>]) -> Profiles {
        let profile = |host: &Option<&str>| {
            let labels = [("host", host.unwrap_or_default()), ("service_name", "s"), ("rack", "own")];
            Profile::pprof(Labels::from_pairs(labels), "x")
        };
        Profiles::new(hosts.iter().map(profile), 0)
    }

    async fn start(body: &str, sink: &Sink<Profiles>) -> (Harness, Receiver<Profiles>) {
        let body = format!("forward_to = [sink]\n{body}");
        let harness = Harness::start(DEFINITION, &body, Names::default().with("sink", sink.value())).await;
        let exports = harness.node.exports();
        let receiver = exports.as_object().expect("object")["receiver"].clone();
        (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
    }

    fn labels(batch: &Profiles) -> Vec<String> {
        batch.items.iter().map(|p| p.labels.to_string()).collect()
    }

    #[tokio::test]
    async fn a_profile_gets_the_labels_of_the_target_that_it_is_from() {
        let sink = Sink::new();
        let targets = r#"targets = [{"host" = "a", "rack" = "r1", "os" = "linux"}, {"other" = "b"}]"#;
        let (_harness, receiver) = start(&format!("{targets}\ntarget_match_label = \"host\""), &sink).await;
        receiver.send(batch(&[Some("a"), Some("b"), None])).await.expect("taken");
        assert_eq!(
            labels(&sink.take()[0]),
            [
                r#"{host="a", os="linux", rack="r1", service_name="s"}"#,
                r#"{host="b", rack="own", service_name="s"}"#,
                r#"{rack="own", service_name="s"}"#
            ]
        );
    }

    #[tokio::test]
    async fn only_wanted_labels_are_copied_and_the_names_that_match_may_differ() {
        let sink = Sink::new();
        let body = r#"
            targets = [{"__meta_host" = "a", "rack" = "r1", "os" = "linux"}]
            target_match_label = "__meta_host"
            profiles_match_label = "host"
            labels_to_copy = ["os", "absent"]"#;
        let (harness, receiver) = start(body, &sink).await;
        receiver.send(batch(&[Some("a")])).await.expect("taken");
        assert_eq!(labels(&sink.take()[0]), [r#"{host="a", os="linux", rack="own", service_name="s"}"#]);
        // Other targets count from the next batch on.
        let update = body.replace("\"linux\"", "\"bsd\"");
        harness.update(&format!("forward_to = [sink]\n{update}")).await.expect("updated");
        receiver.send(batch(&[Some("a")])).await.expect("taken");
        assert_eq!(labels(&sink.take()[0]), [r#"{host="a", os="bsd", rack="own", service_name="s"}"#]);
    }

    #[tokio::test]
    async fn what_a_sink_refuses_is_refused_and_a_batch_without_a_match_is_not_copied() {
        let sink = Sink::new();
        let (_harness, receiver) = start("targets = []\ntarget_match_label = \"host\"", &sink).await;
        let sent = batch(&[Some("a")]);
        receiver.send(sent.clone()).await.expect("taken");
        assert!(std::ptr::eq(&*sink.take()[0], &*sent));
        sink.answer(Err(Rejected::Retryable("full".into())));
        assert_eq!(receiver.send(sent).await, Err(Rejected::Retryable("full".into())));
    }

    #[tokio::test]
    async fn a_label_to_match_by_must_be_named() {
        let services = component::Services::for_tests("unused");
        let harness = Harness::new(DEFINITION, Names::default(), services);
        let body = "forward_to = []\ntargets = []\ntarget_match_label = \"\"";
        let refused = harness.update(body).await.expect_err("refused");
        assert!(matches!(refused, Refused::Diagnostics(d) if d[0].message.contains("must name a label")));
    }
}

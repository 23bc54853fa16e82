//! `loki.enrich` copies labels of targets onto the entries that come from them.
//!
//! Data path: batch → each of its streams through the cache of answers, which are worked out from a table
//! of the targets by the value they are matched by → `forward_to`, all in the sender's task. New targets
//! make a new table and an empty cache.

use component::eval::Invalid;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability, Target,
};
use signal::Logs;
use signal::copies::Copies;
use signal::label_cache::LabelCache;

use crate::streams::relabelled;

/// How many streams have their answer remembered.
const REMEMBERED: usize = 10_000;

/// `loki.enrich`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Targets whose labels are copied.
    #[arg(type_name = "list(map(string))")]
    pub targets: Vec<Target>,
    /// Label of the targets whose value is compared.
    pub target_match_label: String,
    /// Label of the entries whose value is compared; empty: the same name as of the targets.
    #[arg(default)]
    pub logs_match_label: String,
    /// Labels to copy; empty: all of the target.
    #[arg(default)]
    pub labels_to_copy: Vec<String>,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
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
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Enrich {
    args: Args,
    port: Port<Logs>,
}

impl Component for Enrich {
    const NAME: &'static str = "loki.enrich";
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
    forward_to: Fanout<Logs>,
    cx: BuildCx,
}

impl Relay {
    fn new(args: &Args, cx: &BuildCx) -> Self {
        let Args { targets, target_match_label, logs_match_label, labels_to_copy, .. } = args;
        Self {
            copies: Copies::new(
                targets.iter().map(|t| &***t),
                target_match_label,
                logs_match_label,
                labels_to_copy,
            ),
            cache: LabelCache::new(REMEMBERED),
            forward_to: Fanout::new(args.forward_to.iter().cloned()),
            cx: cx.clone(),
        }
    }
}

impl Consumer<Logs> for Relay {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        let batch = relabelled(batch, |stream| {
            let after = self.cache.answer(stream, |labels| Some(self.copies.onto(labels)));
            self.cx.live_debug(|| format!("{stream} => {}", after.clone().unwrap_or_default()));
            after
        });
        Box::pin(self.forward_to.send(batch))
    }
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::Labels;
    use signal::logs::{Entry, LogBatch};

    use super::*;

    const DEFINITION: ComponentDef = ComponentDef::of::<Enrich>();

    /// Entries of these hosts; `None` has no such label.
    fn batch(hosts: &[Option<&str>]) -> Logs {
        let labels = |host: &Option<&str>| {
            Labels::from_pairs([("host", host.unwrap_or_default()), ("job", "j"), ("rack", "own")])
        };
        let entry =
            |stream| Entry { stream: stream as u32, timestamp_ns: 0, line: "x".into(), metadata: None };
        LogBatch {
            streams: hosts.iter().map(labels).collect(),
            entries: (0..hosts.len()).map(entry).collect(),
            ..LogBatch::default()
        }
        .into()
    }

    async fn start(body: &str, sink: &Sink<Logs>) -> (Harness, Receiver<Logs>) {
        let body = format!("forward_to = [sink]\n{body}");
        let harness = Harness::start(DEFINITION, &body, Names::default().with("sink", sink.value())).await;
        let exports = harness.node.exports();
        let receiver = exports.as_object().expect("object")["receiver"].clone();
        (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
    }

    fn streams(batch: &Logs) -> Vec<String> {
        batch.entries.iter().map(|e| batch.labels(e).to_string()).collect()
    }

    const TARGETS: &str = r#"
        targets = [
            {"__address__" = "1.1.1.1", "host" = "a", "rack" = "r1", "owner" = "me"},
            {"host" = "", "rack" = "never"},
            {"name" = "b", "rack" = "r2"},
        ]"#;

    #[tokio::test]
    async fn entries_get_the_labels_of_their_target_and_others_stay_as_they_are() {
        let given = r#"{host="b", job="j", rack="own"}"#;
        let none = r#"{job="j", rack="own"}"#;
        let cases = [
            (
                "target_match_label = \"host\"",
                [r#"{__address__="1.1.1.1", host="a", job="j", owner="me", rack="r1"}"#, given, none],
            ),
            (
                "target_match_label = \"host\"\nlabels_to_copy = [\"owner\", \"absent\"]",
                [r#"{host="a", job="j", owner="me", rack="own"}"#, given, none],
            ),
            (
                "target_match_label = \"name\"\nlogs_match_label = \"host\"\nlabels_to_copy = [\"rack\"]",
                [r#"{host="a", job="j", rack="own"}"#, r#"{host="b", job="j", rack="r2"}"#, none],
            ),
        ];
        for (body, expected) in cases {
            let sink = Sink::new();
            let (_harness, receiver) = start(&format!("{TARGETS}\n{body}"), &sink).await;
            for _ in 0..2 {
                receiver.send(batch(&[Some("a"), Some("b"), None])).await.expect("accepted");
            }
            for got in sink.take() {
                assert_eq!(streams(&got), expected, "{body}");
            }
        }
    }

    #[tokio::test]
    async fn new_targets_count_from_the_next_batch_on() {
        let sink = Sink::new();
        let (harness, receiver) = start("targets = []\ntarget_match_label = \"host\"", &sink).await;
        let sent = batch(&[Some("a")]);
        receiver.send(sent.clone()).await.expect("accepted");
        assert!(std::ptr::eq(&*sink.take()[0], &*sent), "shared, not copied");
        let body = r#"
            forward_to         = [sink]
            targets            = [{"host" = "a", "rack" = "new"}, {"host" = "a", "rack" = "newer"}]
            target_match_label = "host""#;
        harness.update(body).await.expect("updated");
        receiver.send(batch(&[Some("a")])).await.expect("accepted");
        assert_eq!(streams(&sink.take()[0]), [r#"{host="a", job="j", rack="newer"}"#]);
    }

    #[tokio::test]
    async fn what_a_sink_refuses_is_refused() {
        let sink = Sink::new();
        let (_harness, receiver) = start(&format!("{TARGETS}\ntarget_match_label = \"host\""), &sink).await;
        sink.answer(Err(Rejected::Retryable("full".into())));
        assert_eq!(receiver.send(batch(&[Some("a")])).await, Err(Rejected::Retryable("full".into())));
    }

    #[tokio::test]
    async fn a_match_label_without_a_name_is_refused() {
        let services = component::Services::for_tests("unused");
        let harness = Harness::new(DEFINITION, Names::default(), services);
        let body = "forward_to = []\ntargets = []\ntarget_match_label = \"\"";
        assert!(matches!(harness.update(body).await, Err(Refused::Diagnostics(d)) if d.len() == 1));
    }
}

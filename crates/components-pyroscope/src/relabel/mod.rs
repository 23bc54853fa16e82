//! `pyroscope.relabel` rewrites the labels of profiles and forwards what survives.
//!
//! Data path: batch → each profile's labels through the cache of the rule chain → `forward_to`, all in the sender's
//! task. A batch that no rule changes is passed on as it came.

use std::sync::Arc;

use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge, NodeMetrics};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RelabelRule, RelabelRules, RunCx, Stability, compile_rules,
};
use signal::Profiles;
use signal::label_cache::LabelCache;
use signal::relabel::Rules;

use crate::relabelled::relabelled;

/// `pyroscope.relabel`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where surviving profiles go.
    pub forward_to: Vec<Receiver<Profiles>>,
    /// Label sets whose result is remembered.
    #[arg(default = 10_000)]
    pub max_cache_size: i64,
    /// Rules, applied in order.
    #[arg(block)]
    pub rule: Vec<RelabelRule>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max_cache_size <= 0 {
            return Err(Invalid::field("max_cache_size", "must be above 0"));
        }
        Ok(())
    }

    fn cache(&self) -> Arc<LabelCache> {
        Arc::new(LabelCache::new(usize::try_from(self.max_cache_size).unwrap_or(usize::MAX)))
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct RelabelExports {
    /// Takes profiles in.
    pub receiver: Receiver<Profiles>,
    /// The rules themselves, for reuse by other components.
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel {
    args: Args,
    rules: Rules,
    port: Port<Profiles>,
    counters: Arc<Counters>,
}

struct Counters {
    processed: IntCounter,
    written: IntCounter,
    dropped: IntCounter,
    hits: IntCounter,
    misses: IntCounter,
    size: IntGauge,
}

impl Counters {
    fn new(metrics: &NodeMetrics) -> Self {
        Self {
            processed: metrics.counter("pyroscope_relabel_profiles_processed", "Profiles taken in."),
            written: metrics.counter("pyroscope_relabel_profiles_written", "Profiles forwarded."),
            dropped: metrics.counter("pyroscope_relabel_profiles_dropped", "Profiles dropped by the rules."),
            hits: metrics.counter("pyroscope_relabel_cache_hits", "Label sets whose result was remembered."),
            misses: metrics
                .counter("pyroscope_relabel_cache_misses", "Label sets that went through the rules."),
            size: metrics.gauge("pyroscope_relabel_cache_size", "Label sets whose result is remembered."),
        }
    }
}

impl Component for Relabel {
    const NAME: &'static str = "pyroscope.relabel";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = RelabelExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, RelabelExports), Error> {
        let rules = compile_rules("rule", &args.rule)?;
        let port = cx.port("receiver");
        let exports = exports(&port, &args);
        Ok((Self { args, rules, port, counters: Arc::new(Counters::new(&cx.metrics())) }, exports))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut cache = self.args.cache();
        let _ = self.port.attach(self.relay(&cache, &cx));
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    let args = update.args().clone();
                    let rules = match compile_rules("rule", &args.rule) {
                        Ok(rules) => rules,
                        Err(error) => {
                            update.answer(Err(error));
                            continue;
                        }
                    };
                    if rules != self.rules || args.max_cache_size != self.args.max_cache_size {
                        cache = args.cache();
                    }
                    (self.args, self.rules) = (args, rules);
                    let _ = self.port.attach(self.relay(&cache, &cx));
                    cx.export(&exports(&self.port, &self.args));
                    update.answer(Ok(()));
                }
            }
        }
    }
}

fn exports(port: &Port<Profiles>, args: &Args) -> RelabelExports {
    RelabelExports { receiver: port.receiver(), rules: RelabelRules(Arc::new(args.rule.clone())) }
}

impl Relabel {
    fn relay(&self, cache: &Arc<LabelCache>, cx: &BuildCx) -> Relay {
        Relay {
            rules: self.rules.clone(),
            cache: cache.clone(),
            forward_to: Fanout::new(self.args.forward_to.iter().cloned()),
            counters: self.counters.clone(),
            cx: cx.clone(),
        }
    }
}

/// One generation of the component: rules and receivers as of one configuration.
struct Relay {
    rules: Rules,
    cache: Arc<LabelCache>,
    forward_to: Fanout<Profiles>,
    counters: Arc<Counters>,
    cx: BuildCx,
}

impl Consumer<Profiles> for Relay {
    fn consume(&self, batch: Profiles) -> BoxFuture<'_, Result<(), Rejected>> {
        let taken = batch.len() as u64;
        let batch = if self.rules.is_empty() { batch } else { self.relabel(batch) };
        let left = batch.len() as u64;
        self.counters.processed.inc_by(taken);
        self.counters.dropped.inc_by(taken - left);
        self.counters.written.inc_by(left);
        if batch.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(self.forward_to.send(batch))
    }
}

impl Relay {
    fn relabel(&self, batch: Profiles) -> Profiles {
        let batch = relabelled(batch, |labels| {
            // Nothing can be asked of a profile without labels: it is passed on, as by Alloy.
            if labels.is_empty() {
                return Some(labels.clone());
            }
            let work_out = |labels: &_| self.rules.relabel(labels).filter(|labels| !labels.is_empty());
            let after = self.cache.answer(labels, work_out);
            self.cx.live_debug(|| match &after {
                Some(after) => format!("{labels} => {after}"),
                None => format!("{labels} => dropped"),
            });
            after
        });
        let (hits, misses) = self.cache.take_counts();
        self.counters.hits.inc_by(hits);
        self.counters.misses.inc_by(misses);
        self.counters.size.set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
        batch
    }
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::{Labels, Profile};

    use super::*;

    const DEFINITION: ComponentDef = ComponentDef::of::<Relabel>();

    /// One profile of each of these services.
    fn batch(services: &[&str]) -> Profiles {
        let profile = |service: &&str| {
            let labels = Labels::from_pairs([("service_name", *service), ("host", "h")]);
            Profile::pprof(labels, format!("of {service}"))
        };
        Profiles::new(services.iter().map(profile), 7)
    }

    async fn start(body: &str, sink: &Sink<Profiles>) -> (Harness, Receiver<Profiles>) {
        let body = format!("forward_to = [sink]\n{body}");
        let harness = Harness::start(DEFINITION, &body, Names::default().with("sink", sink.value())).await;
        let exports = harness.node.exports();
        let receiver = exports.as_object().expect("object")["receiver"].clone();
        (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
    }

    fn texts(batch: &Profiles) -> Vec<String> {
        let text = |p: &Profile| format!("{} {}", p.labels, String::from_utf8_lossy(p.raw()));
        batch.items.iter().map(text).collect()
    }

    fn counted(harness: &Harness, name: &str) -> u64 {
        let text = harness.services.metrics.text();
        let prefix = format!("pyroscope_relabel_{name}{{");
        let line = text.lines().find(|l| l.starts_with(&prefix)).expect(name);
        line.rsplit(' ').next().expect("value").parse().expect("whole")
    }

    #[tokio::test]
    async fn rules_drop_and_rewrite_profiles_and_leave_bodies_alone() {
        let sink = Sink::new();
        let body = r#"
            rule {
                source_labels = ["service_name"]
                regex         = "noise"
                action        = "drop"
            }
            rule {
                source_labels = ["service_name"]
                target_label  = "app"
                replacement   = "${1}-x"
            }
            rule {
                regex  = "service_name|host"
                action = "labeldrop"
            }"#;
        let (harness, receiver) = start(body, &sink).await;
        let sent = batch(&["web", "noise", "db"]);
        receiver.send(sent.clone()).await.expect("accepted");
        let got = sink.take();
        assert_eq!(texts(&got[0]), [r#"{app="web-x"} of web"#, r#"{app="db-x"} of db"#]);
        assert_eq!(got[0].items[1].raw().as_ptr(), sent.items[2].raw().as_ptr(), "no copy");
        assert_eq!(got[0].received_ms, 7);
        let counts = ["processed", "written", "dropped"].map(|n| counted(&harness, &format!("profiles_{n}")));
        assert_eq!(counts, [3, 2, 1]);
        assert_eq!(sent.items[0].labels.get("host"), Some("h"), "who sent it still has it as it was");
    }

    #[tokio::test]
    async fn profiles_that_lose_every_label_go_nowhere_and_those_that_have_none_are_passed_on() {
        let sink = Sink::new();
        let (_harness, receiver) = start("rule {\n regex = \".*\"\n action = \"labeldrop\"\n}", &sink).await;
        receiver.send(batch(&["a", "b"])).await.expect("dropped on purpose");
        assert_eq!(sink.take().len(), 0);
        receiver.send(Profile::pprof(Labels::empty(), "x").into()).await.expect("accepted");
        assert_eq!(texts(&sink.take()[0]), ["{} x"]);
    }

    #[tokio::test]
    async fn a_batch_that_no_rule_changes_is_passed_on_as_it_came() {
        let sink = Sink::new();
        let rule = "rule {\n source_labels = [\"host\"]\n regex = \"h\"\n action = \"keep\"\n}";
        for body in ["", rule] {
            let (_harness, receiver) = start(body, &sink).await;
            let sent = batch(&["a", "b"]);
            receiver.send(sent.clone()).await.expect("accepted");
            assert!(std::ptr::eq(&*sink.take()[0], &*sent), "shared, not copied: {body}");
        }
    }

    #[tokio::test]
    async fn a_label_set_is_worked_out_once_and_the_memory_is_bounded() {
        let sink = Sink::new();
        let rule = "rule {\n target_label = \"a\"\n replacement = \"b\"\n}";
        let (harness, receiver) = start(&format!("max_cache_size = 3\n{rule}"), &sink).await;
        for _ in 0..2 {
            receiver.send(batch(&["a", "b", "c"])).await.expect("accepted");
        }
        assert_eq!((counted(&harness, "cache_hits"), counted(&harness, "cache_misses")), (3, 3));
        assert_eq!(counted(&harness, "cache_size"), 3);
        receiver.send(batch(&["d", "e", "f", "g"])).await.expect("accepted");
        assert!(counted(&harness, "cache_size") <= 3);
    }

    #[tokio::test]
    async fn an_update_changes_rules_and_exported_rules_for_the_next_batch() {
        let sink = Sink::new();
        let (harness, receiver) = start("", &sink).await;
        receiver.send(batch(&["a"])).await.expect("accepted");
        let body = "forward_to = [sink]\nrule {\n regex = \"host\"\n action = \"labeldrop\"\n}";
        harness.update(body).await.expect("updated");
        receiver.send(batch(&["a"])).await.expect("accepted");
        let got = sink.take();
        assert_eq!(texts(&got[0]), [r#"{host="h", service_name="a"} of a"#]);
        assert_eq!(texts(&got[1]), [r#"{service_name="a"} of a"#]);
        let exports = harness.node.exports();
        let rules = exports.as_object().expect("object")["rules"].clone();
        let rules: RelabelRules = component::ArgValue::from_value(&rules).expect("rules");
        assert_eq!(rules.0.len(), 1);
    }

    #[tokio::test]
    async fn what_a_sink_refuses_is_refused() {
        let sink = Sink::new();
        let (_harness, receiver) = start("", &sink).await;
        sink.answer(Err(Rejected::Retryable("full".into())));
        assert_eq!(receiver.send(batch(&["a"])).await, Err(Rejected::Retryable("full".into())));
    }

    #[tokio::test]
    async fn a_receiver_of_another_kind_and_a_cache_of_nothing_are_refused_with_their_place() {
        let logs = Sink::<signal::Logs>::new();
        let services = component::Services::for_tests("unused");
        let names = Names::default().with("logs", logs.value());
        let harness = Harness::new(DEFINITION, names, services);
        for (body, part) in
            [("forward_to = []\nmax_cache_size = 0", "above 0"), ("forward_to = [logs]", "ProfilesReceiver")]
        {
            let refused = harness.update(body).await.expect_err("refused");
            let Refused::Diagnostics(found) = refused else { panic!("{refused:?}") };
            assert!(found[0].message.contains(part) && found[0].location.is_some(), "{found:?}");
        }
    }
}

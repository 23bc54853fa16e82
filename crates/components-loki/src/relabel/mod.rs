//! `loki.relabel` rewrites the labels of log entries and forwards what survives.
//!
//! Data path: batch → each of its streams through the cache of the rule chain → entries moved to their new
//! streams → `forward_to`, all in the sender's task. A batch that no rule changes is passed on as it came.

use std::sync::Arc;

use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge, NodeMetrics};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RelabelRule, RelabelRules, RunCx, Stability, compile_rules,
};
use signal::label_cache::{LabelCache, Relabelled};
use signal::relabel::Rules;
use signal::{Labels, Logs};

use crate::streams::relabelled;

/// `loki.relabel`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where surviving entries go.
    pub forward_to: Vec<Receiver<Logs>>,
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
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
    /// The rules themselves, for reuse by other components.
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel {
    args: Args,
    rules: Rules,
    port: Port<Logs>,
    counters: Arc<Counters>,
}

struct Counters {
    processed: IntCounter,
    written: IntCounter,
    hits: IntCounter,
    misses: IntCounter,
    size: IntGauge,
}

impl Counters {
    fn new(metrics: &NodeMetrics) -> Self {
        Self {
            processed: metrics.counter("loki_relabel_entries_processed", "Entries taken in."),
            written: metrics.counter("loki_relabel_entries_written", "Entries forwarded."),
            hits: metrics.counter("loki_relabel_cache_hits", "Streams whose result was remembered."),
            misses: metrics.counter("loki_relabel_cache_misses", "Streams that went through the rules."),
            size: metrics.gauge("loki_relabel_cache_size", "Streams whose result is remembered."),
        }
    }
}

impl Component for Relabel {
    const NAME: &'static str = "loki.relabel";
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

fn exports(port: &Port<Logs>, args: &Args) -> RelabelExports {
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
    forward_to: Fanout<Logs>,
    counters: Arc<Counters>,
    cx: BuildCx,
}

impl Consumer<Logs> for Relay {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        let taken = batch.len();
        let batch = if self.rules.is_empty() { batch } else { self.relabel(batch) };
        self.counters.processed.inc_by(taken as u64);
        self.counters.written.inc_by(batch.len() as u64);
        if batch.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(self.forward_to.send(batch))
    }
}

impl Relay {
    fn relabel(&self, batch: Logs) -> Logs {
        let batch = relabelled(batch, |stream| {
            let after = self.cache.answer(stream, |labels| self.work_out(labels));
            self.cx.live_debug(|| match &after {
                Some(after) => format!("{stream} => {after}"),
                None => format!("{stream} => dropped"),
            });
            after
        });
        let (hits, misses) = self.cache.take_counts();
        self.counters.hits.inc_by(hits);
        self.counters.misses.inc_by(misses);
        self.counters.size.set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
        batch
    }

    /// Entries without any label have no stream that they could be stored in.
    fn work_out(&self, stream: &Labels) -> Relabelled {
        self.rules.relabel(stream).filter(|labels| !labels.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::logs::{Entry, LogBatch};

    use super::*;

    const DEFINITION: ComponentDef = ComponentDef::of::<Relabel>();

    /// One entry of each of these jobs.
    fn batch(jobs: &[&str]) -> Logs {
        let streams = jobs.iter().map(|job| Labels::from_pairs([("job", *job), ("host", "h")])).collect();
        let entry = |(i, job): (usize, &&str)| Entry {
            stream: i as u32,
            timestamp_ns: i as i64,
            line: format!("of {job}").into(),
            metadata: Some(Labels::from_pairs([("trace", "1")])),
        };
        let entries = jobs.iter().enumerate().map(entry).collect();
        LogBatch { streams, entries, ..LogBatch::default() }.into()
    }

    async fn start(body: &str, sink: &Sink<Logs>) -> (Harness, Receiver<Logs>) {
        let body = format!("forward_to = [sink]\n{body}");
        let harness = Harness::start(DEFINITION, &body, Names::default().with("sink", sink.value())).await;
        let exports = harness.node.exports();
        let receiver = exports.as_object().expect("object")["receiver"].clone();
        (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
    }

    fn texts(batch: &Logs) -> Vec<String> {
        batch.entries.iter().map(|e| format!("{} {}", batch.labels(e), e.line)).collect()
    }

    fn counted(harness: &Harness, name: &str) -> u64 {
        let text = harness.services.metrics.text();
        let prefix = format!("loki_relabel_{name}{{");
        let line = text.lines().find(|l| l.starts_with(&prefix)).expect(name);
        line.rsplit(' ').next().expect("value").parse().expect("whole")
    }

    #[tokio::test]
    async fn rules_drop_and_rewrite_streams_and_leave_metadata_alone() {
        let sink = Sink::new();
        let body = r#"
            rule {
                source_labels = ["job"]
                regex         = "noise"
                action        = "drop"
            }
            rule {
                source_labels = ["job"]
                target_label  = "app"
                replacement   = "${1}-x"
            }
            rule {
                regex  = "job|host"
                action = "labeldrop"
            }"#;
        let (harness, receiver) = start(body, &sink).await;
        receiver.send(batch(&["web", "noise", "db"])).await.expect("accepted");
        let got = sink.take();
        assert_eq!(texts(&got[0]), [r#"{app="web-x"} of web"#, r#"{app="db-x"} of db"#]);
        assert_eq!(got[0].entries[0].metadata, Some(Labels::from_pairs([("trace", "1")])));
        assert_eq!((counted(&harness, "entries_processed"), counted(&harness, "entries_written")), (3, 2));
    }

    #[tokio::test]
    async fn entries_that_lose_every_label_or_are_all_dropped_go_nowhere() {
        let sink = Sink::new();
        let (harness, receiver) = start("rule {\n regex = \".*\"\n action = \"labeldrop\"\n}", &sink).await;
        receiver.send(batch(&["a", "b"])).await.expect("dropped on purpose");
        assert_eq!(sink.take().len(), 0);
        assert_eq!((counted(&harness, "entries_processed"), counted(&harness, "entries_written")), (2, 0));
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
    async fn a_stream_is_looked_up_once_a_batch_and_worked_out_once() {
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
        assert_eq!(texts(&got[0]), [r#"{host="h", job="a"} of a"#]);
        assert_eq!(texts(&got[1]), [r#"{job="a"} of a"#]);
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
    async fn a_cache_of_nothing_is_refused() {
        let services = component::Services::for_tests("unused");
        let harness = Harness::new(DEFINITION, Names::default(), services);
        let refused = harness.update("forward_to = []\nmax_cache_size = 0").await.expect_err("refused");
        assert!(matches!(refused, Refused::Diagnostics(d) if d[0].message.contains("above 0")));
    }
}

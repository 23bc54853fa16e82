//! `prometheus.relabel` rewrites the labels of samples and forwards what survives.
//!
//! Data path: batch → each series through the cache of the rule chain → a new batch → `forward_to`, all in
//! the sender's task. A batch that no rule changes is passed on as it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge, NodeMetrics};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RelabelRule, RelabelRules, RunCx, Stability, compile_rules,
};
use signal::relabel::{CacheBound, CacheCounts, RelabelCache, Rules};
use signal::samples::{ExemplarPoint, HistogramPoint, NO_FAMILY, Point};
use signal::{FamilyMetadata, SampleBatch, Samples, Series};

/// `prometheus.relabel`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where surviving samples go.
    pub forward_to: Vec<Receiver<Samples>>,
    /// Series whose result is remembered.
    #[arg(default = 100_000)]
    pub max_cache_size: i64,
    /// Forget results after this long instead of bounding their number; at least a minute.
    #[arg(default)]
    pub cache_ttl: Duration,
    /// Rules, applied in order.
    #[arg(block)]
    pub rule: Vec<RelabelRule>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let minute = Duration::from_secs(60);
        match (self.max_cache_size > 0, !self.cache_ttl.is_zero()) {
            (_, true) if self.cache_ttl < minute => Err(Invalid::field("cache_ttl", "must be at least 1m")),
            (true, true) => {
                let message = "max_cache_size and cache_ttl exclude each other";
                Err(Invalid::field("cache_ttl", message).with_help("set max_cache_size = 0 to bound by age"))
            }
            (false, false) => {
                let message = "one of max_cache_size and cache_ttl must be above 0";
                Err(Invalid::field("max_cache_size", message))
            }
            _ => Ok(()),
        }
    }

    fn bound(&self) -> CacheBound {
        match usize::try_from(self.max_cache_size) {
            Ok(entries) if entries > 0 => CacheBound::Entries(entries),
            _ => CacheBound::Age(self.cache_ttl),
        }
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct RelabelExports {
    /// Takes samples in.
    pub receiver: Receiver<Samples>,
    /// The rules themselves, for reuse by other components.
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel {
    args: Args,
    rules: Rules,
    port: Port<Samples>,
    metrics: Arc<Counters>,
}

struct Counters {
    processed: IntCounter,
    written: IntCounter,
    hits: IntCounter,
    misses: IntCounter,
    size: IntGauge,
    evictions: IntCounter,
    deletes: IntCounter,
}

impl Counters {
    fn new(metrics: &NodeMetrics) -> Self {
        let name = |what: &str| format!("alloy_prometheus_relabel_{what}");
        Self {
            processed: metrics
                .counter(&name("metrics_processed"), "Samples, histograms and exemplars taken in."),
            written: metrics
                .counter(&name("metrics_written"), "Samples, histograms and exemplars forwarded."),
            hits: metrics.counter(&name("cache_hits"), "Series whose result was remembered."),
            misses: metrics.counter(&name("cache_misses"), "Series that went through the rules."),
            size: metrics.gauge(&name("cache_size"), "Series whose result is remembered."),
            evictions: metrics
                .counter(&name("cache_ttl_evictions"), "Results forgotten because of their age."),
            deletes: metrics.counter(&name("cache_deletes"), "Results forgotten to make room."),
        }
    }
}

impl Component for Relabel {
    const NAME: &'static str = "prometheus.relabel";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = RelabelExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, RelabelExports), Error> {
        let rules = compile_rules("rule", &args.rule)?;
        let port = cx.port("receiver");
        let exports = exports(&port, &args);
        Ok((Self { args, rules, port, metrics: Arc::new(Counters::new(&cx.metrics())) }, exports))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut cache = Arc::new(RelabelCache::new(self.args.bound()));
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
                    if rules != self.rules || args.bound() != self.args.bound() {
                        cache = Arc::new(RelabelCache::new(args.bound()));
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

fn exports(port: &Port<Samples>, args: &Args) -> RelabelExports {
    RelabelExports { receiver: port.receiver(), rules: RelabelRules(Arc::new(args.rule.clone())) }
}

impl Relabel {
    fn relay(&self, cache: &Arc<RelabelCache>, cx: &BuildCx) -> Relay {
        Relay {
            rules: self.rules.clone(),
            cache: cache.clone(),
            forward_to: Fanout::new(self.args.forward_to.iter().cloned()),
            metrics: self.metrics.clone(),
            by_age: matches!(self.args.bound(), CacheBound::Age(_)),
            told: Told::default(),
            cx: cx.clone(),
        }
    }
}

/// One generation of the component: rules and receivers as of one configuration.
struct Relay {
    rules: Rules,
    cache: Arc<RelabelCache>,
    forward_to: Fanout<Samples>,
    metrics: Arc<Counters>,
    by_age: bool,
    told: Told,
    cx: BuildCx,
}

/// What of the cache's counts has been added to the metrics already.
#[derive(Default)]
struct Told {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

impl Consumer<Samples> for Relay {
    fn consume(&self, batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let taken = batch.len();
            let batch = relabel(batch, &self.rules, &self.cache, Instant::now());
            self.metrics.processed.inc_by(taken as u64);
            self.metrics.written.inc_by(batch.len() as u64);
            self.tell(self.cache.counts());
            self.cx.live_debug(|| format!("{taken} samples in, {} out", batch.len()));
            if batch.is_empty() {
                return Ok(());
            }
            self.forward_to.send(batch).await
        })
    }
}

impl Relay {
    fn tell(&self, counts: CacheCounts) {
        let since = |told: &AtomicU64, now: u64| now.saturating_sub(told.fetch_max(now, Ordering::Relaxed));
        self.metrics.hits.inc_by(since(&self.told.hits, counts.hits));
        self.metrics.misses.inc_by(since(&self.told.misses, counts.misses));
        let evictions = since(&self.told.evictions, counts.evictions);
        if self.by_age { &self.metrics.evictions } else { &self.metrics.deletes }.inc_by(evictions);
        self.metrics.size.set(i64::try_from(counts.entries).unwrap_or(i64::MAX));
    }
}

/// The batch after the rules. Series that are dropped leave it; an unchanged batch is passed on as it is.
/// A changed one is made anew from the borrowed one, for whoever sent it still holds it.
fn relabel(batch: Samples, rules: &Rules, cache: &RelabelCache, now: Instant) -> Samples {
    if rules.is_empty() {
        return batch;
    }
    let answer = |series: &Series| cache.relabel(rules, series, now);
    let unchanged = |series: &Series| answer(series).is_some_and(|s| s.ptr_eq(series));
    let first = batch.points.iter().position(|p| !unchanged(&p.series));
    if first.is_none()
        && batch.histograms.iter().all(|p| unchanged(&p.series))
        && batch.exemplars.iter().all(|p| unchanged(&p.series))
    {
        return batch;
    }
    // Points before the first that changes are as they should be: not looked up again.
    let (same, rest) = batch.points.split_at(first.unwrap_or(batch.points.len()));
    let mut points = Vec::with_capacity(batch.points.len());
    points.extend_from_slice(same);
    points.extend(rest.iter().filter_map(|p| Some(Point { series: answer(&p.series)?, ..*p })));
    let histograms = batch.histograms.iter();
    let exemplars = batch.exemplars.iter();
    let mut changed = SampleBatch {
        points,
        histograms: histograms
            .filter_map(|p| Some(HistogramPoint { series: answer(&p.series)?, ..p.clone() }))
            .collect(),
        exemplars: exemplars
            .filter_map(|p| Some(ExemplarPoint { series: answer(&p.series)?, ..p.clone() }))
            .collect(),
        families: batch.families.clone(),
        origin: batch.origin,
    };
    forget_families(&mut changed);
    changed.into()
}

/// Takes away families that nothing refers to any more, so that dropped metrics lose their metadata too.
fn forget_families(batch: &mut SampleBatch) {
    let mut used = vec![false; batch.families.len()];
    let indexes = batch.points.iter().map(|p| p.family).chain(batch.histograms.iter().map(|p| p.family));
    for family in indexes.filter(|f| *f != NO_FAMILY) {
        used[family as usize] = true;
    }
    if used.iter().all(|u| *u) {
        return;
    }
    let mut places = vec![NO_FAMILY; used.len()];
    let mut kept: Vec<Arc<FamilyMetadata>> = Vec::new();
    for (old, family) in batch.families.drain(..).enumerate() {
        if used[old] {
            places[old] = kept.len() as u32;
            kept.push(family);
        }
    }
    batch.families = kept;
    let moved = |family: &mut u32| {
        if *family != NO_FAMILY {
            *family = places[*family as usize];
        }
    };
    batch.points.iter_mut().for_each(|p| moved(&mut p.family));
    batch.histograms.iter_mut().for_each(|p| moved(&mut p.family));
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::{Labels, MetricKind};

    use super::*;

    const DEFINITION: ComponentDef = ComponentDef::of::<Relabel>();

    fn family(name: &str) -> Arc<FamilyMetadata> {
        Arc::new(FamilyMetadata {
            name: name.into(),
            kind: MetricKind::Gauge,
            help: String::new(),
            unit: String::new(),
        })
    }

    fn point(name: &str, family: u32) -> Point {
        let series = Series::intern(Labels::from_pairs([("__name__", name), ("instance", "a:1")]));
        Point { series, timestamp_ms: 1, value: 1.0, start_ms: 0, family }
    }

    fn batch() -> Samples {
        let points = vec![point("go_threads", 0), point("up", 1), point("go_info", 2)];
        SampleBatch {
            points,
            families: vec![family("go_threads"), family("up"), family("go_info")],
            ..Default::default()
        }
        .into()
    }

    async fn start(body: &str, sink: &Sink<Samples>) -> (Harness, Receiver<Samples>) {
        let harness = Harness::start(DEFINITION, body, Names::default().with("sink", sink.value())).await;
        let exports = harness.node.exports();
        let receiver = exports.as_object().expect("object")["receiver"].clone();
        let receiver = component::ArgValue::from_value(&receiver).expect("receiver");
        (harness, receiver)
    }

    fn names(samples: &Samples) -> Vec<String> {
        samples.points.iter().map(|p| p.series.to_string()).collect()
    }

    #[tokio::test]
    async fn rules_drop_and_rewrite_series_and_their_metadata() {
        let sink = Sink::new();
        let body = r#"
            forward_to = [sink]
            rule {
                source_labels = ["__name__"]
                regex         = "go_.*"
                action        = "drop"
            }
            rule {
                target_label = "env"
                replacement  = "prod"
            }"#;
        let (_harness, receiver) = start(body, &sink).await;
        receiver.send(batch()).await.expect("accepted");
        let got = sink.take();
        assert_eq!(names(&got[0]), [r#"up{env="prod", instance="a:1"}"#]);
        assert_eq!(got[0].families.len(), 1);
        assert_eq!(got[0].families[got[0].points[0].family as usize].name, "up");
    }

    #[tokio::test]
    async fn a_batch_that_no_rule_changes_is_passed_on_as_it_came() {
        let sink = Sink::new();
        let body = r#"
            forward_to = [sink]
            rule {
                source_labels = ["instance"]
                regex         = "a:1"
                action        = "keep"
            }"#;
        let (_harness, receiver) = start(body, &sink).await;
        let sent = batch();
        receiver.send(sent.clone()).await.expect("accepted");
        assert!(std::ptr::eq(&*sink.take()[0], &*sent), "shared, not copied");
    }

    #[tokio::test]
    async fn an_update_changes_the_rules_for_the_next_batch() {
        let sink = Sink::new();
        let (harness, receiver) = start("forward_to = [sink]", &sink).await;
        receiver.send(batch()).await.expect("accepted");
        let body = r#"
            forward_to = [sink]
            rule {
                regex  = "instance"
                action = "labeldrop"
            }"#;
        harness.update(body).await.expect("updated");
        receiver.send(batch()).await.expect("accepted");
        let got = sink.take();
        assert_eq!(got[0].points.len(), 3);
        assert_eq!(names(&got[1]), ["go_threads", "up", "go_info"]);
    }

    #[tokio::test]
    async fn what_a_sink_refuses_is_refused() {
        let sink = Sink::new();
        let (_harness, receiver) = start("forward_to = [sink]", &sink).await;
        sink.answer(Err(Rejected::Retryable("full".into())));
        assert_eq!(receiver.send(batch()).await, Err(Rejected::Retryable("full".into())));
    }

    #[tokio::test]
    async fn caches_are_bounded_by_number_or_by_age_not_both_or_neither() {
        for body in ["max_cache_size = 0", "cache_ttl = \"2m\"", "max_cache_size = 0\n cache_ttl = \"1s\""] {
            let harness =
                Harness::new(DEFINITION, Names::default(), component::Services::for_tests("unused"));
            let refused = harness.update(&format!("forward_to = []\n{body}")).await.expect_err("refused");
            assert!(matches!(refused, Refused::Diagnostics(d) if d.len() == 1), "{body}");
        }
    }

    #[tokio::test]
    async fn hits_and_misses_are_counted() {
        let sink = Sink::new();
        let body = "forward_to = [sink]\nrule {\n target_label = \"a\"\n replacement = \"b\"\n}";
        let (harness, receiver) = start(body, &sink).await;
        receiver.send(batch()).await.expect("accepted");
        receiver.send(batch()).await.expect("accepted");
        let text = harness.services.metrics.text();
        let value = |name: &str| {
            let line = text
                .lines()
                .find(|l| l.starts_with(&format!("alloy_prometheus_relabel_{name}{{")))
                .expect(name);
            line.rsplit(' ').next().expect("value").parse::<u64>().expect("whole")
        };
        assert_eq!(value("metrics_processed"), 6);
        assert_eq!(value("cache_size"), 3);
        assert_eq!(value("cache_misses"), 3);
        assert!(value("cache_hits") >= 3);
    }
}

//! `prometheus.relabel` rewrites the labels of samples and forwards what survives.
//!
//! Data path: batch → each series through the cache of the rule chain → a new batch → `forward_to`, all in
//! the sender's task. A batch that no rule changes is passed on as it came. What the rules make of the list
//! of a row is remembered as a whole: its series are not looked at again, those that came in are forgotten one by one,
//! and the list of those that go out is packed when nobody has asked for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge, NodeMetrics};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RelabelRule, RelabelRules, RunCx, Stability, compile_rules,
};
use parking_lot::Mutex;
use signal::relabel::{CacheBound, CacheCounts, RelabelCache, Rules};
use signal::samples::{ExemplarPoint, HistogramPoint, NO_FAMILY, Point};
use signal::{ByOrigin, FamilyList, Patience, PointRef, Row, SampleBatch, Samples, Series, SeriesList};

use crate::MANY_SERIES;

/// The rows of an origin that is silent for so long are forgotten where no age is set.
const SILENT: Duration = Duration::from_secs(600);

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
        let mut memory = Memory::new(self.args.bound());
        let _ = self.port.attach(self.relay(&memory, &cx));
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
                        memory = Memory::new(args.bound());
                    }
                    (self.args, self.rules) = (args, rules);
                    let _ = self.port.attach(self.relay(&memory, &cx));
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
    fn relay(&self, memory: &Memory, cx: &BuildCx) -> Relay {
        Relay {
            rules: self.rules.clone(),
            cache: memory.series.clone(),
            rows: memory.rows.clone(),
            forward_to: Fanout::new(self.args.forward_to.iter().cloned()),
            metrics: self.metrics.clone(),
            by_age: matches!(self.args.bound(), CacheBound::Age(_)),
            told: Told::default(),
            cx: cx.clone(),
        }
    }
}

/// What a chain of rules has answered.
struct Memory {
    series: Arc<RelabelCache>,
    rows: Arc<ByOrigin<Mapped>>,
}

impl Memory {
    /// The bound holds for single series and for those of rows, each by itself.
    fn new(bound: CacheBound) -> Self {
        let (most, forget) = match bound {
            CacheBound::Entries(entries) => (entries, SILENT),
            CacheBound::Age(age) => (usize::MAX, age),
        };
        Self { series: Arc::new(RelabelCache::new(bound)), rows: Arc::new(ByOrigin::new(most, forget)) }
    }
}

/// One generation of the component: rules and receivers as of one configuration.
struct Relay {
    rules: Rules,
    cache: Arc<RelabelCache>,
    /// What the rules make of the lists of rows.
    rows: Arc<ByOrigin<Mapped>>,
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
            let (batch, answer) = self.relabel(batch, Instant::now());
            self.metrics.processed.inc_by(taken as u64);
            self.metrics.written.inc_by(batch.len() as u64);
            self.tell(self.cache.counts());
            self.cx.live_debug(|| format!("{taken} samples in, {} out", batch.len()));
            // Where the rules drop everything, there is still something to forget.
            let sent = if batch.is_empty() { Ok(()) } else { self.forward_to.send(batch).await };
            if let Some(answer) = answer {
                component::heavy(answer.mapped.list.len() > MANY_SERIES, || self.rest(&answer));
            }
            sent
        })
    }
}

/// What a row was relabelled with.
struct Answer {
    mapped: Arc<Mapped>,
    /// The series that came in, where it was made for this row.
    made_of: Option<Arc<[Series]>>,
}

impl Relay {
    fn relabel(&self, batch: Samples, now: Instant) -> (Samples, Option<Answer>) {
        let only_points = batch.histograms.is_empty() && batch.exemplars.is_empty();
        let (Some(row), Some(origin), true) = (batch.points.row(), batch.origin, only_points) else {
            return (relabel(batch, &self.rules, &self.cache, now), None);
        };
        if self.rules.is_empty() {
            return (batch, None);
        }
        let list = row.list();
        let answer = match self.rows.get(origin, list.id(), now) {
            Some(mapped) => {
                self.metrics.hits.inc_by(list.len() as u64);
                Answer { mapped, made_of: None }
            }
            None => {
                let patience = self.rows.last(origin).map(|last| last.patience.lock().clone());
                let relabel = |series: &Series| self.cache.relabel(&self.rules, series, now);
                let mapped = Arc::new(Mapped::new(row, relabel, patience.unwrap_or_default()));
                self.rows.put(origin, list.id(), mapped.clone(), Mapped::cost(list), now);
                Answer { mapped, made_of: Some(list.series()) }
            }
        };
        self.rows.sweep(now);
        (answer.mapped.apply(row, origin), Some(answer))
    }

    /// The row is where it was to go: packs the list, unless it is likely to be needed, and forgets what it was made of.
    fn rest(&self, answer: &Answer) {
        let Mapped { list, patience, .. } = &*answer.mapped;
        if patience.lock().is_over(list.need()) {
            list.pack();
            answer.made_of.iter().for_each(|series| self.cache.forget(series));
        }
    }

    fn tell(&self, counts: CacheCounts) {
        let since = |told: &AtomicU64, now: u64| now.saturating_sub(told.fetch_max(now, Ordering::Relaxed));
        self.metrics.hits.inc_by(since(&self.told.hits, counts.hits));
        self.metrics.misses.inc_by(since(&self.told.misses, counts.misses));
        let evictions = since(&self.told.evictions, counts.evictions);
        if self.by_age { &self.metrics.evictions } else { &self.metrics.deletes }.inc_by(evictions);
        let size = counts.entries + self.rows.cost() as u64;
        self.metrics.size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }
}

/// What the rules make of a list of series.
struct Mapped {
    /// The list of the rows that come out.
    list: Arc<SeriesList>,
    /// Which samples those have; `None` for all.
    kept: Option<Box<[u32]>>,
    patience: Mutex<Patience>,
}

impl Mapped {
    fn new(row: &Row, answer: impl Fn(&Series) -> Option<Series>, patience: Patience) -> Self {
        let from = row.list();
        let (mut series, mut family, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (old, index)) in row.series().iter().zip(from.family()).enumerate() {
            if let Some(new) = answer(old) {
                series.push(new);
                family.push(index);
                kept.push(at as u32);
            }
        }
        let kept = (kept.len() < from.len()).then(|| kept.into());
        let families = used_families(from.families(), &mut family);
        let list = Arc::new(SeriesList::new(series, family, families));
        Self { list, kept, patience: Mutex::new(patience) }
    }

    /// What it stands for in the bound of the cache.
    fn cost(from: &SeriesList) -> usize {
        from.len().max(1)
    }

    fn apply(&self, row: &Row, origin: u64) -> Samples {
        let values = match &self.kept {
            None => row.values().to_vec(),
            Some(kept) => kept.iter().map(|at| row.values()[*at as usize]).collect(),
        };
        let families = self.list.families().clone();
        let points = Row::new(self.list.clone(), row.timestamp_ms(), values).into();
        SampleBatch { points, families, origin: Some(origin), ..SampleBatch::default() }.into()
    }
}

/// The families that some index refers to; the indexes are changed to fit.
fn used_families(families: &FamilyList, family: &mut [u32]) -> FamilyList {
    let mut used = vec![false; families.len()];
    family.iter().filter(|f| **f != NO_FAMILY).for_each(|f| used[*f as usize] = true);
    if used.iter().all(|u| *u) {
        return families.clone();
    }
    let mut places = vec![NO_FAMILY; used.len()];
    let mut kept = Vec::new();
    for (old, known) in families.iter().enumerate().filter(|(old, _)| used[*old]) {
        places[old] = kept.len() as u32;
        kept.push(known.clone());
    }
    family.iter_mut().filter(|f| **f != NO_FAMILY).for_each(|f| *f = places[*f as usize]);
    kept.into()
}

/// The batch after the rules. Series that are dropped leave it; an unchanged batch is passed on as it is.
/// A changed one is made anew from the borrowed one, for whoever sent it still holds it.
fn relabel(batch: Samples, rules: &Rules, cache: &RelabelCache, now: Instant) -> Samples {
    if rules.is_empty() {
        return batch;
    }
    let answer = |series: &Series| cache.relabel(rules, series, now);
    let unchanged = |series: &Series| answer(series).is_some_and(|s| s.ptr_eq(series));
    let first = batch.points.iter().position(|p| !unchanged(p.series));
    if first.is_none()
        && batch.histograms.iter().all(|p| unchanged(&p.series))
        && batch.exemplars.iter().all(|p| unchanged(&p.series))
    {
        return batch;
    }
    // Points before the first that changes are as they should be: not looked up again.
    let same = first.unwrap_or(batch.points.len());
    let mut points: Vec<Point> = Vec::with_capacity(batch.points.len());
    points.extend(batch.points.iter().take(same).map(PointRef::to_point));
    let rest = batch.points.iter().skip(same);
    points.extend(rest.filter_map(|p| Some(p.with_series(answer(p.series)?))));
    let histograms = batch.histograms.iter();
    let exemplars = batch.exemplars.iter();
    let mut changed = SampleBatch {
        points: points.into(),
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
    let points = batch.points.listed().iter_mut().map(|p| &mut p.family);
    let mut all: Vec<&mut u32> = points.chain(batch.histograms.iter_mut().map(|p| &mut p.family)).collect();
    let mut indexes: Vec<u32> = all.iter().map(|family| **family).collect();
    batch.families = used_families(&batch.families, &mut indexes);
    all.iter_mut().zip(indexes).for_each(|(family, index)| **family = index);
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names, Refused, Sink};
    use signal::{FamilyMetadata, Labels, MetricKind};

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
        let families = vec![family("go_threads"), family("up"), family("go_info")].into();
        SampleBatch { points: points.into(), families, ..Default::default() }.into()
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
    async fn a_row_stays_a_row_of_one_list_whatever_the_rules_do() {
        let sink = Sink::new();
        let body = r#"
            forward_to = [sink]
            rule {
                source_labels = ["__name__"]
                regex = "go_threads"
                action = "drop"
            }
            rule {
                source_labels = ["__name__"]
                regex = "up"
                target_label = "alive"
                replacement = "yes"
            }
        "#;
        let (harness, receiver) = start(body, &sink).await;
        let points = batch();
        let (series, family) = points.points.iter().map(|p| (p.series.clone(), p.family)).unzip();
        let list = Arc::new(SeriesList::new(series, family, points.families.clone()));
        let mut lists = Vec::new();
        for (time, values) in [(1, vec![1.0, 2.0, 3.0]), (2, vec![4.0, 5.0, 6.0])] {
            let expected = [values[1], values[2]];
            let families = list.families().clone();
            let row = Row::new(list.clone(), time, values).into();
            let row = SampleBatch { points: row, families, origin: Some(9), ..Default::default() };
            receiver.send(row.into()).await.expect("taken");
            let got = sink.take().remove(0);
            assert!(
                got.points.row().expect("a row").list().is_packed(),
                "nobody has asked for its series yet"
            );
            assert_eq!(names(&got), [r#"up{alive="yes", instance="a:1"}"#, r#"go_info{instance="a:1"}"#]);
            let all = got.points.iter();
            let told: Vec<_> =
                all.map(|p| (p.value, p.timestamp_ms, &*got.families[p.family as usize].name)).collect();
            assert_eq!(told, [(expected[0], time, "up"), (expected[1], time, "go_info")]);
            assert_eq!((got.families.len(), got.origin), (2, Some(9)));
            lists.push(got.points.row().expect("a row").list().id());
        }
        assert_eq!(lists[0], lists[1]);
        let metrics = harness.services.metrics.text();
        let size = metrics.lines().find(|line| line.starts_with("alloy_prometheus_relabel_cache_size"));
        assert!(
            size.is_some_and(|line| line.ends_with(" 3")),
            "those of the row, and none one by one: {size:?}"
        );
        drop(harness);
    }

    #[tokio::test]
    async fn of_a_row_that_is_dropped_whole_nothing_is_remembered_one_by_one() {
        let sink = Sink::new();
        let (harness, receiver) =
            start("forward_to = [sink]\nrule {\n action = \"drop\"\n regex = \".*\"\n}", &sink).await;
        let points = batch();
        let (series, family) = points.points.iter().map(|p| (p.series.clone(), p.family)).unzip();
        let list = Arc::new(SeriesList::new(series, family, points.families.clone()));
        for time in 1..3 {
            let row = Row::new(list.clone(), time, vec![1.0; 3]).into();
            let row = SampleBatch { points: row, origin: Some(9), ..Default::default() };
            receiver.send(row.into()).await.expect("taken");
        }
        assert!(sink.take().is_empty());
        let metrics = harness.services.metrics.text();
        let size = metrics.lines().find(|line| line.starts_with("alloy_prometheus_relabel_cache_size"));
        assert!(size.is_some_and(|line| line.ends_with(" 3")), "{size:?}");
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
        assert_eq!(got[0].families[got[0].points.at(0).family as usize].name, "up");
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

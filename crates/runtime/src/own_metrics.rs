//! The runtime's own metrics, under Alloy's names so that existing dashboards and alerts work.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use component::Services;
use component::metrics::{
    Collector, Desc, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, Opts, proto,
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use syntax::Source;

use crate::modules::instance::Module;
use crate::node::Kind;

/// An evaluation that takes longer counts as slow, as in Alloy.
const SLOW: Duration = Duration::from_secs(60);

const SECONDS: [f64; 12] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Metrics of one runtime. The controller is labelled as in Alloy: `controller_path` is where the module
/// stands, `controller_id` is its own ID.
pub(crate) struct OwnMetrics {
    evaluating: GaugeVec,
    seconds: HistogramVec,
    slow: IntCounterVec,
    waited: Histogram,
    hash: GaugeVec,
    successful: IntGauge,
    success_time: IntGauge,
    failures: IntCounter,
    root: Arc<Mutex<Weak<Module>>>,
}

impl OwnMetrics {
    pub(crate) fn new(services: &Services) -> Arc<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let known = "names and labels are constants of this program";
        let controller = ["controller_id", "controller_path"];
        let metrics = &services.metrics;
        let vec = |name, help| GaugeVec::new(opts(name, help), &controller).expect(known);
        let seconds = HistogramOpts::new("alloy_component_evaluation_seconds", "Time that evaluations take.");
        let waited = HistogramOpts::new(
            "alloy_component_dependencies_wait_seconds",
            "Time that components wait to be evaluated after their dependencies changed.",
        );
        let slow = opts(
            "alloy_component_evaluation_slow_seconds",
            "Seconds spent in evaluations of a minute or more.",
        );
        let counter = |name, help| metrics.register(IntCounter::new(name, help).expect(known));
        let gauge = |name, help| metrics.register(IntGauge::new(name, help).expect(known));
        let root = Arc::new(Mutex::new(Weak::new()));
        metrics.register(GraphCollector::new(root.clone()));
        Arc::new(Self {
            evaluating: metrics.register(vec(
                "alloy_component_controller_evaluating",
                "Whether the controller evaluates components at present.",
            )),
            seconds: metrics
                .register(HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &controller).expect(known)),
            slow: metrics.register(IntCounterVec::new(slow, &controller).expect(known)),
            waited: metrics.register(Histogram::with_opts(waited.buckets(SECONDS.to_vec())).expect(known)),
            hash: metrics.register(
                GaugeVec::new(
                    opts("alloy_config_hash", "Hash of the configuration in force."),
                    &["sha256", "cluster_name"],
                )
                .expect(known),
            ),
            successful: gauge("alloy_config_last_load_successful", "Whether the last load succeeded."),
            success_time: gauge(
                "alloy_config_last_load_success_timestamp_seconds",
                "When a configuration was loaded successfully for the last time.",
            ),
            failures: counter("alloy_config_load_failures_total", "Loads that failed."),
            root,
        })
    }

    /// Tells which graph the metrics are about.
    pub(crate) fn set_root(&self, root: &Arc<Module>) {
        *self.root.lock() = Arc::downgrade(root);
    }

    /// Counts an evaluation until the answer is dropped.
    pub(crate) fn evaluation(&self, module: &str) -> Evaluation<'_> {
        let (path, id) = controller(module);
        let labels = [id, &path];
        let evaluating = self.evaluating.with_label_values(&labels);
        evaluating.inc();
        let seconds = self.seconds.with_label_values(&labels);
        Evaluation { metrics: self, module: module.to_string(), evaluating, seconds, started: Instant::now() }
    }

    /// A module is no more. Without this, items of a `foreach` that come and go would leave series behind for ever.
    pub(crate) fn forget(&self, module: &str) {
        let (path, id) = controller(module);
        let labels = [id, &path];
        // Not all have been made.
        let _ = self.evaluating.remove_label_values(&labels);
        let _ = self.seconds.remove_label_values(&labels);
        let _ = self.slow.remove_label_values(&labels);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// Takes note of a load. `applied`: these texts are in force now, with or without failures.
    pub(crate) fn loaded(&self, sources: &[Source], successful: bool, applied: bool) {
        self.successful.set(i64::from(successful));
        if !successful {
            self.failures.inc();
        }
        if !applied {
            return;
        }
        let mut hash = Sha256::new();
        sources.iter().for_each(|s| hash.update(s.text().as_bytes()));
        self.hash.reset();
        self.hash.with_label_values(&[&const_hex::encode(hash.finalize())[..], ""]).set(1.0);
        if !successful {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.success_time.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

/// `("/", "mod.a")` of `mod.a`, `("/mod.a", "inner.b")` of `mod.a/inner.b`, `("/", "")` of the root.
fn controller(module: &str) -> (String, &str) {
    component::metrics::split_global_id(module)
}

/// An evaluation under way.
pub(crate) struct Evaluation<'a> {
    metrics: &'a OwnMetrics,
    module: String,
    /// Held, for a module of the same ID may end meanwhile.
    evaluating: Gauge,
    seconds: Histogram,
    started: Instant,
}

impl Drop for Evaluation<'_> {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.evaluating.dec();
        self.seconds.observe(took.as_secs_f64());
        if took >= SLOW {
            let (path, id) = controller(&self.module);
            self.metrics.slow.with_label_values(&[id, &path]).inc_by(took.as_secs());
        }
    }
}

/// Reads health, connections and the queue off the running graph when metrics are gathered.
#[derive(Clone)]
struct GraphCollector {
    root: Arc<Mutex<Weak<Module>>>,
    descriptions: Arc<Vec<Desc>>,
}

const RUNNING: &str = "alloy_component_controller_running_components";
const CONNECTION: &str = "alloy_component_graph_connection";
const QUEUE: &str = "alloy_component_evaluation_queue_size";

impl GraphCollector {
    fn new(root: Arc<Mutex<Weak<Module>>>) -> Self {
        let names = [
            (RUNNING, "Components by health."),
            (CONNECTION, "Who refers to whom."),
            (QUEUE, "Components that wait for evaluation."),
        ];
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_string(), help.to_string(), Vec::new(), Default::default())
                .expect("names are constants of this program")
        };
        Self { root, descriptions: Arc::new(names.into_iter().map(describe).collect()) }
    }
}

impl Collector for GraphCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let Some(root) = self.root.lock().upgrade() else { return Vec::new() };
        let mut running = BTreeMap::new();
        let mut connections = Vec::new();
        gather(&root, &mut running, &mut connections);
        let running = running.into_iter().map(|((id, path, health), count)| {
            let labels =
                [("controller_id", id.as_str()), ("controller_path", path.as_str()), ("health_type", health)];
            gauge(&labels, f64::from(count))
        });
        let connections = connections.iter().map(|(from, to)| gauge(&[("from", from), ("to", to)], 1.0));
        let waiting = gauge(&[], root.shared.scheduler.len() as f64);
        let help = |i: usize| self.descriptions[i].help.clone();
        vec![
            family(RUNNING, help(0), running.collect()),
            family(CONNECTION, help(1), connections.collect()),
            family(QUEUE, help(2), vec![waiting]),
        ]
        .into_iter()
        .filter(|f| !f.get_metric().is_empty())
        .collect()
    }
}

type Running = BTreeMap<(String, String, &'static str), u32>;

fn gather(module: &Module, running: &mut Running, connections: &mut Vec<(String, String)>) {
    let graph = module.graph();
    let (path, id) = controller(&module.global_id);
    for (node, planned) in graph.nodes.iter().zip(&graph.plan.nodes) {
        let inside = match &node.kind {
            Kind::Component(..) => Vec::new(),
            Kind::Custom(custom) => custom.modules(),
            Kind::Foreach(foreach) => foreach.modules(),
            _ => continue,
        };
        *running.entry((id.to_string(), path.clone(), node.health().state.as_str())).or_default() += 1;
        for dependency in &planned.dependencies {
            connections.push((node.global_id.clone(), graph.nodes[*dependency].global_id.clone()));
        }
        inside.iter().for_each(|m| gather(m, running, connections));
    }
}

fn gauge(labels: &[(&str, &str)], value: f64) -> proto::Metric {
    let mut metric = proto::Metric::default();
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_string());
        pair.set_value((*value).to_string());
        pair
    });
    metric.set_label(pairs.collect());
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn family(name: &str, help: String, metrics: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(name.to_string());
    family.set_help(help);
    family.set_field_type(proto::MetricType::GAUGE);
    family.set_metric(metrics);
    family
}

//! Our own metrics: a registry a node, gathered together.
//!
//! A node's metrics carry `component_path` and `component_id`; they vanish with the node. Names are
//! Alloy's, so they are registered verbatim (`prometheus` keeps them as they are written).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
pub use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto,
};

/// All registries of the process.
#[derive(Default)]
pub struct Metrics {
    process: Registry,
    nodes: Mutex<Vec<(String, Weak<Registry>)>>,
    hidden: Mutex<BTreeSet<String>>,
}

/// The metrics of one node; dropping the last clone takes them off `/metrics`.
#[derive(Clone)]
pub struct NodeMetrics(Arc<Registry>);

/// Metrics that are made at the moment of a scrape. Registered under a name of its own.
#[derive(Clone)]
pub struct Computed {
    identity: Desc,
    collect: Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>,
}

impl Computed {
    /// `identity` tells collectors of one registry apart; it has to look like a metric's name.
    pub fn new(identity: &str, collect: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) -> Self {
        let identity = Desc::new(identity.to_string(), "Computed.".to_string(), Vec::new(), HashMap::new());
        Self {
            identity: identity.expect("identities are constants of this program"),
            collect: Arc::new(collect),
        }
    }
}

impl Collector for Computed {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.identity]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.collect)()
    }
}

impl Metrics {
    /// Adds a metric of the process itself.
    ///
    /// # Panics
    /// If the same name and labels are registered twice: that is a mistake in this program.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.process.register(Box::new(collector.clone())).expect("a process metric is registered once");
        collector
    }

    /// The registry of a node. `global_id` is `path/local` or `local`.
    pub fn node(&self, global_id: &str) -> NodeMetrics {
        let (path, id) = split_global_id(global_id);
        let labels = HashMap::from([
            ("component_path".to_string(), path.to_string()),
            ("component_id".to_string(), id.to_string()),
        ]);
        let registry = Registry::new_custom(None, Some(labels)).expect("constant labels are valid");
        let registry = Arc::new(registry);
        let mut nodes = self.nodes.lock();
        nodes.retain(|(_, n)| n.strong_count() > 0);
        nodes.push((global_id.to_string(), Arc::downgrade(&registry)));
        NodeMetrics(registry)
    }

    /// Keeps the metrics of everything inside a module off `/metrics`, or shows them again.
    pub fn hide(&self, module: &str, hide: bool) {
        let prefix = format!("{module}/");
        let mut hidden = self.hidden.lock();
        if hide {
            hidden.insert(prefix);
        } else {
            hidden.remove(&prefix);
        }
    }

    fn shown(&self) -> Vec<Arc<Registry>> {
        let hidden = self.hidden.lock();
        let nodes = self.nodes.lock();
        let shown = nodes.iter().filter(|(id, _)| !hidden.iter().any(|prefix| id.starts_with(prefix)));
        shown.filter_map(|(_, n)| n.upgrade()).collect()
    }

    /// Every family of every registry, merged by name and sorted.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let nodes = self.shown();
        let mut merged: BTreeMap<String, MetricFamily> = BTreeMap::new();
        let all = nodes.iter().flat_map(|n| n.gather()).chain(self.process.gather());
        for mut family in all {
            for metric in family.mut_metric() {
                // Constant labels come in the order of a hash map.
                let mut labels = metric.take_label();
                labels.sort_by(|a, b| a.name().cmp(b.name()));
                metric.set_label(labels);
            }
            match merged.get_mut(family.name()) {
                Some(known) => known.mut_metric().extend(family.take_metric()),
                None => {
                    merged.insert(family.name().to_string(), family);
                }
            }
        }
        merged.into_values().collect()
    }

    /// All metrics in the Prometheus text format 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string fails only for families without metrics, which a gather never yields.
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&self.gather(), &mut out) {
            tracing::error!(%error, "own metrics could not be written");
        }
        out
    }
}

impl NodeMetrics {
    /// Adds a metric of the node. Registering what is there already gives an unregistered twin and an
    /// error in the log, never a panic: components are rebuilt while old tasks may still hold theirs.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        if let Err(error) = self.0.register(Box::new(collector.clone())) {
            tracing::error!(%error, "metric is registered twice");
        }
        collector
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help).expect("metric names are constants of this program"))
    }

    /// A counter with labels.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let vec = IntCounterVec::new(Opts::new(name, help), labels);
        self.register(vec.expect("metric names are constants of this program"))
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help).expect("metric names are constants of this program"))
    }

    /// A gauge with labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        let vec = GaugeVec::new(Opts::new(name, help), labels);
        self.register(vec.expect("metric names are constants of this program"))
    }

    /// A gauge.
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help).expect("metric names are constants of this program"))
    }

    /// A histogram over `buckets` (upper bounds, ascending).
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts).expect("metric names are constants of this program"))
    }
}

/// `("/path", "local")` of a global ID: `a.b/c.d` → `("/a.b", "c.d")`, `c.d` → `("/", "c.d")`.
pub fn split_global_id(global_id: &str) -> (String, &str) {
    match global_id.rsplit_once('/') {
        Some((path, id)) => (format!("/{path}"), id),
        None => ("/".to_string(), global_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_metrics_are_merged_by_name_and_vanish_with_the_node() {
        let metrics = Metrics::default();
        let a = metrics.node("prometheus.relabel.a");
        let b = metrics.node("mod.x/prometheus.relabel.b");
        a.counter("hits", "Hits.").inc_by(2);
        b.counter("hits", "Hits.").inc();
        let text = metrics.text();
        assert_eq!(text.matches("# TYPE hits counter").count(), 1, "{text}");
        assert!(text.contains(r#"hits{component_id="prometheus.relabel.a",component_path="/"} 2"#), "{text}");
        assert!(
            text.contains(r#"hits{component_id="prometheus.relabel.b",component_path="/mod.x"} 1"#),
            "{text}"
        );
        drop((a, b));
        assert_eq!(metrics.text(), "");
    }

    #[test]
    fn metrics_of_a_hidden_module_are_off_the_page_until_they_are_shown_again() {
        let metrics = Metrics::default();
        let inside = metrics.node("foreach.f/foreach_a_1/test.x");
        inside.counter("hits", "Hits.").inc();
        metrics.hide("foreach.f", true);
        assert_eq!(metrics.text(), "");
        metrics.hide("foreach.f", false);
        assert!(metrics.text().contains("hits{"));
    }
}

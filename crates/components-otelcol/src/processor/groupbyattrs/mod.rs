//! `otelcol.processor.groupbyattrs` makes attributes of items attributes of their resource, and puts what has
//! the same resource and scope together.
//!
//! Data path: batch → all its requests decoded and taken apart (`regroup`) → one request → `output`, all in the
//! sender's task.

mod regroup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::metrics::{Collector, Histogram, HistogramOpts, IntCounter};
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Exports, Rejected, RunCx, Stability};
use signal::otlp::{Otlp, OtlpBatch, OtlpRequest};

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change, Shown};
use crate::ports::Ports;
use crate::signals::Kind;
use regroup::{Grouped, Groups};

/// `otelcol.processor.groupbyattrs`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Attributes of spans, log records and data points that go to the resource.
    #[arg(default)]
    pub keys: Vec<String>,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct GroupExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct GroupByAttrs {
    args: Args,
    ports: Ports,
    counters: Arc<[Counters; 3]>,
    shown: Shown,
    metrics: Arc<ItemMetrics>,
}

/// Of one signal.
struct Counters {
    grouped: IntCounter,
    others: IntCounter,
    groups: Histogram,
}

/// The collector's bounds for histograms that say none.
const BOUNDS: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10_000.0];

impl Counters {
    fn new(kind: Kind) -> Self {
        const CONSTANT: &str = "metric names are constants of this program";
        let [one, many] = match kind {
            Kind::Traces => ["span", "spans"],
            Kind::Metrics => ["metric", "metrics"],
            Kind::Logs => ["log", "logs"],
        };
        let counter = |name: &str, help: &str| {
            let name = format!("otelcol_processor_groupbyattrs_{name}_{many}_total");
            IntCounter::new(name, help.replace("items", many)).expect(CONSTANT)
        };
        let groups = HistogramOpts::new(
            format!("otelcol_processor_groupbyattrs_{one}_groups"),
            format!("Distribution of groups extracted for {many}"),
        );
        Self {
            grouped: counter("num_grouped", "Number of items that had attributes grouped"),
            others: counter("num_non_grouped", "Number of items that did not have attributes grouped"),
            groups: Histogram::with_opts(groups.buckets(BOUNDS.to_vec())).expect(CONSTANT),
        }
    }

    fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.grouped.clone()), Box::new(self.others.clone()), Box::new(self.groups.clone())]
    }
}

/// One generation of the arguments.
struct Generation {
    keys: Vec<String>,
    counters: Arc<[Counters; 3]>,
    counts: ItemCounts,
}

impl<S: Grouped> Change<S> for Generation {
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        let OtlpBatch { requests, client, received_ms } = batch.into_batch();
        let mut groups = Groups::<S>::new(&self.keys);
        for request in requests {
            groups.add(request.into_message().map_err(relay::refused)?);
        }
        let counters = &self.counters[Kind::of::<S>() as usize];
        counters.grouped.inc_by(groups.grouped);
        counters.others.inc_by(groups.others);
        counters.groups.observe(groups.len() as f64);
        let mut batch = OtlpBatch { client, received_ms, ..OtlpBatch::default() };
        batch.requests.push(OtlpRequest::from_message(groups.finish()));
        Ok(Some(Otlp::new(batch)))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for GroupByAttrs {
    const NAME: &'static str = "otelcol.processor.groupbyattrs";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = GroupExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, GroupExports), Error> {
        args.output.fanout()?;
        let ports = Ports::new(cx);
        let exports = GroupExports { input: ports.input() };
        let counters = Arc::new(Kind::ALL.map(Counters::new));
        let collectors = counters.iter().flat_map(Counters::collectors).collect();
        let level = args.debug_metrics.level;
        let shown = Shown::new(&cx.metrics(), "otelcol_processor_groupbyattrs", level, collectors);
        let metrics = ItemMetrics::new("groupbyattrs", cx);
        Ok((Self { args, ports, counters, shown, metrics }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let make = |args: &Args| -> Result<(Arc<Generation>, OtelFanout), Error> {
            let next = args.output.fanout()?;
            self.shown.show(args.debug_metrics.level);
            let counts = self.metrics.at(args.debug_metrics.level);
            let counters = self.counters.clone();
            let generation = Generation { keys: args.keys.clone(), counters, counts };
            Ok((Arc::new(generation), next))
        };
        relay::run(cx, &self.ports, self.args.clone(), make).await
    }
}

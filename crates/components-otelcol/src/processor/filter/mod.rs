//! `otelcol.processor.filter` drops spans, span events, metrics, data points and log records by conditions of
//! OTTL.
//!
//! Data path: batch → each request decoded, shared with all who hold it → the conditions decide about each item →
//! what is left, written anew, → `output`, all in the sender's task. A request that nothing is dropped from is
//! passed on as it came, in all its forms; of one that nothing is left of, nothing goes on.

mod args;
mod decide;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::metrics::{Collector, IntCounter, Opts};
use component::otel::{OtelFanout, OtelInput};
use component::{BuildCx, Component, Error, Exports, Rejected, RunCx, Stability};
use ottl::{Conditions, Context, ErrorMode};
use signal::otlp::{ClientMetadata, Otlp, OtlpRequest};

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change, Shown};
use super::rules::Failures;
use crate::ports::Ports;
use crate::signals::Kind;
pub use args::Args;
use decide::{Decisions, Filtered};

/// The conditions of a signal, a context each. What one holds for is dropped, with all that is below it.
#[derive(Default)]
struct Drops([Conditions; Context::ALL.len()]);

impl Drops {
    fn of(&self, context: Context) -> &Conditions {
        &self.0[Self::place(context)]
    }

    fn add(&mut self, context: Context, conditions: Conditions) {
        self.0[Self::place(context)].append(conditions);
    }

    fn place(context: Context) -> usize {
        Context::ALL.iter().position(|c| *c == context).expect("all contexts are listed")
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Conditions::is_empty)
    }
}

/// One generation of the arguments.
struct Rules {
    traces: Drops,
    metrics: Drops,
    logs: Drops,
    mode: ErrorMode,
    counters: Arc<Counters>,
    counts: ItemCounts,
}

/// What is dropped, and what could not be decided.
struct Counters {
    failures: Failures,
    spans: IntCounter,
    points: IntCounter,
    logs: IntCounter,
    events: IntCounter,
}

impl Counters {
    fn new(id: &str) -> Self {
        let counter = |what: &str, help: &str| {
            let name = format!("otelcol_processor_filter_{what}_filtered_total");
            let opts = Opts::new(name, help).const_label("filter", format!("filter/{id}"));
            IntCounter::with_opts(opts).expect("metric names are constants of this program")
        };
        Self {
            failures: Failures::new(
                "otelcol_processor_filter_failed_conditions_total",
                "Conditions that could not be evaluated for an item, in the error mode ignore.",
            ),
            spans: counter("spans", "Number of spans dropped by the filter processor"),
            points: counter("datapoints", "Number of metric data points dropped by the filter processor"),
            logs: counter("logs", "Number of logs dropped by the filter processor"),
            events: counter("spanevents", "Number of span events dropped from spans that are kept"),
        }
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let counters = [&self.spans, &self.points, &self.logs, &self.events];
        let counters = counters.into_iter().map(|counter| Box::new(counter.clone()) as Box<dyn Collector>);
        counters.chain([self.failures.collector()]).collect()
    }

    fn dropped(&self, kind: Kind, items: usize, events: usize) {
        let counter = match kind {
            Kind::Traces => &self.spans,
            Kind::Metrics => &self.points,
            Kind::Logs => &self.logs,
        };
        counter.inc_by(items as u64);
        self.events.inc_by(events as u64);
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct FilterExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Filter {
    args: Args,
    ports: Ports,
    own: Own,
}

/// Its own metrics.
struct Own {
    counters: Arc<Counters>,
    items: Arc<ItemMetrics>,
    shown: Shown,
}

impl Own {
    /// A generation, which counts as far as its arguments ask for it.
    fn rules(&self, args: &Args) -> Result<(Arc<Rules>, OtelFanout), Error> {
        let next = args.output.fanout()?;
        let rules = args.rules(self.counters.clone(), self.items.at(args.debug_metrics.level))?;
        self.shown.show(args.debug_metrics.level);
        Ok((Arc::new(rules), next))
    }
}

/// What becomes of a request.
enum Outcome<S: Filtered> {
    Same,
    Less(OtlpRequest<S>),
    Nothing,
}

impl Rules {
    fn request<S: Filtered>(
        &self,
        request: &OtlpRequest<S>,
        client: Option<&ClientMetadata>,
    ) -> Result<Outcome<S>, Rejected> {
        let malformed = |error: signal::otlp::Malformed| Rejected::Permanent(error.to_string());
        let shared = request.message().map_err(malformed)?;
        let mut decisions = Decisions::new(self, S::drops(self), client, S::NAME);
        S::decide(shared, &mut decisions).map_err(|error| Rejected::Permanent(error.to_string()))?;
        let Some(mut verdicts) = decisions.verdicts() else { return Ok(Outcome::Same) };
        let mut message = shared.clone();
        let events = S::apply(&mut message, &mut verdicts);
        let left = S::count(&message);
        self.counters.dropped(Kind::of::<S>(), S::count(shared).saturating_sub(left), events);
        if S::is_empty(&message) {
            return Ok(Outcome::Nothing);
        }
        Ok(Outcome::Less(OtlpRequest::from_message(message)))
    }
}

impl<S: Filtered> Change<S> for Rules {
    fn change(&self, mut batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        if S::drops(self).is_empty() {
            return Ok(Some(batch));
        }
        let outcomes: Vec<Outcome<S>> = batch
            .requests
            .iter()
            .map(|one| self.request(one, batch.client.as_deref()))
            .collect::<Result<_, _>>()?;
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Same)) {
            return Ok(Some(batch));
        }
        let requests = &mut batch.make_mut().requests;
        let old = std::mem::take(requests);
        requests.extend(old.into_iter().zip(outcomes).filter_map(|(old, outcome)| match outcome {
            Outcome::Same => Some(old),
            Outcome::Less(new) => Some(new),
            Outcome::Nothing => None,
        }));
        let nothing = requests.is_empty();
        Ok((!nothing).then_some(batch))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for Filter {
    const NAME: &'static str = "otelcol.processor.filter";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = FilterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, FilterExports), Error> {
        let counters = Arc::new(Counters::new(cx.id()));
        let level = args.debug_metrics.level;
        let shown = Shown::new(&cx.metrics(), "otelcol_processor_filter", level, counters.collectors());
        let own = Own { counters, items: ItemMetrics::new("filter", cx), shown };
        own.rules(&args)?;
        let ports = Ports::new(cx);
        let exports = FilterExports { input: ports.input() };
        Ok((Self { args, ports, own }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        relay::run(cx, &self.ports, self.args.clone(), |args| self.own.rules(args)).await
    }
}

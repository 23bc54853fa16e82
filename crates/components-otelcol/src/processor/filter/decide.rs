//! Decides about each item of a request, then takes out what is to go.
//!
//! Both walks go the same way: the first, over the shared message, writes down a verdict wherever there are
//! conditions to ask; the second, over a copy that is only made if something goes, reads them in that order.

use ottl::{Context, EvalError, Failure, View, points};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{ClientMetadata, LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::{Drops, Rules};

/// A signal whose items can be dropped.
pub(super) trait Filtered: OtlpSignal {
    fn drops(rules: &Rules) -> &Drops;

    /// Writes down what is to go.
    fn decide(message: &Self::Request, decisions: &mut Decisions<'_>) -> Result<(), EvalError>;

    /// Takes it out, with scopes and resources that become empty; how many events of spans went.
    fn apply(message: &mut Self::Request, verdicts: &mut Verdicts) -> usize;

    /// Whether nothing is left.
    fn is_empty(message: &Self::Request) -> bool;
}

/// What is written down.
pub(super) struct Decisions<'r> {
    rules: &'r Rules,
    drops: &'r Drops,
    client: Option<&'r ClientMetadata>,
    signal: &'static str,
    verdicts: Vec<bool>,
    something: bool,
}

/// What is read: where there were no conditions to ask, nothing goes.
pub(super) struct Verdicts {
    asked: [bool; Context::ALL.len()],
    verdicts: std::vec::IntoIter<bool>,
}

impl<'r> Decisions<'r> {
    pub(super) fn new(
        rules: &'r Rules,
        drops: &'r Drops,
        client: Option<&'r ClientMetadata>,
        signal: &'static str,
    ) -> Self {
        Self { rules, drops, client, signal, verdicts: Vec::new(), something: false }
    }

    /// Whether the item goes.
    fn drop<'v>(&mut self, context: Context, view: impl FnOnce() -> View<'v>) -> Result<bool, EvalError> {
        let conditions = self.drops.of(context);
        if conditions.is_empty() {
            return Ok(false);
        }
        let mut report = |failure: Failure<'_>| self.rules.counters.failures.report(self.signal, &failure);
        let goes = conditions.any(&view().sent_by(self.client), self.rules.mode, &mut report)?;
        self.verdicts.push(goes);
        self.something |= goes;
        Ok(goes)
    }

    fn asks(&self, context: Context) -> bool {
        !self.drops.of(context).is_empty()
    }

    /// The verdicts, if something goes.
    pub(super) fn verdicts(self) -> Option<Verdicts> {
        let asked = Context::ALL.map(|context| self.asks(context));
        self.something.then(|| Verdicts { asked, verdicts: self.verdicts.into_iter() })
    }
}

impl Verdicts {
    fn goes(&mut self, context: Context) -> bool {
        self.asks(context) && self.verdicts.next().unwrap_or(false)
    }

    fn asks(&self, context: Context) -> bool {
        self.asked[Drops::place(context)]
    }
}

/// Both walks through the requests of a signal. `decide` writes down the verdicts about an item and what is below
/// it; `keep` reads them, takes out what is below it, and says whether the item stays.
macro_rules! filtered {
    ($signal:ty, $rules:ident, $resources:ident . $scopes:ident . $items:ident, $decide:ident, $keep:ident) => {
        impl Filtered for $signal {
            fn drops(rules: &Rules) -> &Drops {
                &rules.$rules
            }

            fn decide(message: &Self::Request, to: &mut Decisions<'_>) -> Result<(), EvalError> {
                for resource in &message.$resources {
                    let around = (resource.resource.as_ref(), resource.schema_url.as_str());
                    if to.drop(Context::Resource, || View::resource(around.0, around.1))? {
                        continue;
                    }
                    for scope in &resource.$scopes {
                        let own = (scope.scope.as_ref(), scope.schema_url.as_str());
                        if to.drop(Context::Scope, || View::scope(around, own))? {
                            continue;
                        }
                        for item in &scope.$items {
                            $decide(resource, scope, item, to)?;
                        }
                    }
                }
                Ok(())
            }

            fn apply(message: &mut Self::Request, verdicts: &mut Verdicts) -> usize {
                let mut events = 0;
                message.$resources.retain_mut(|resource| {
                    if verdicts.goes(Context::Resource) {
                        return false;
                    }
                    resource.$scopes.retain_mut(|scope| {
                        if verdicts.goes(Context::Scope) {
                            return false;
                        }
                        scope.$items.retain_mut(|item| $keep(item, verdicts, &mut events));
                        !scope.$items.is_empty()
                    });
                    !resource.$scopes.is_empty()
                });
                events
            }

            fn is_empty(message: &Self::Request) -> bool {
                message.$resources.is_empty()
            }
        }
    };
}

filtered!(TracesSignal, traces, resource_spans.scope_spans.spans, decide_span, keep_span);
filtered!(MetricsSignal, metrics, resource_metrics.scope_metrics.metrics, decide_metric, keep_metric);
filtered!(LogsSignal, logs, resource_logs.scope_logs.log_records, decide_record, keep_record);

fn decide_span(
    resource: &ResourceSpans,
    scope: &ScopeSpans,
    span: &Span,
    to: &mut Decisions<'_>,
) -> Result<(), EvalError> {
    if to.drop(Context::Span, || View::span(resource, scope, span))? || !to.asks(Context::SpanEvent) {
        return Ok(());
    }
    for at in 0..span.events.len() {
        to.drop(Context::SpanEvent, || View::span_event(resource, scope, span, at))?;
    }
    Ok(())
}

fn keep_span(span: &mut Span, verdicts: &mut Verdicts, events: &mut usize) -> bool {
    if verdicts.goes(Context::Span) {
        return false;
    }
    if verdicts.asks(Context::SpanEvent) {
        let before = span.events.len();
        span.events.retain(|_| !verdicts.goes(Context::SpanEvent));
        *events += before - span.events.len();
    }
    true
}

fn decide_metric(
    resource: &ResourceMetrics,
    scope: &ScopeMetrics,
    metric: &Metric,
    to: &mut Decisions<'_>,
) -> Result<(), EvalError> {
    if to.drop(Context::Metric, || View::metric(resource, scope, metric))? || !to.asks(Context::DataPoint) {
        return Ok(());
    }
    for at in 0..points(metric) {
        to.drop(Context::DataPoint, || View::data_point(resource, scope, metric, at))?;
    }
    Ok(())
}

fn keep_metric(metric: &mut Metric, verdicts: &mut Verdicts, _: &mut usize) -> bool {
    if verdicts.goes(Context::Metric) {
        return false;
    }
    // A metric that came without data is not one that lost it.
    if !verdicts.asks(Context::DataPoint) || points(metric) == 0 {
        return true;
    }
    retain_points(metric, || !verdicts.goes(Context::DataPoint));
    points(metric) > 0
}

fn retain_points(metric: &mut Metric, mut keep: impl FnMut() -> bool) {
    match &mut metric.data {
        Some(Data::Gauge(d)) => d.data_points.retain(|_| keep()),
        Some(Data::Sum(d)) => d.data_points.retain(|_| keep()),
        Some(Data::Histogram(d)) => d.data_points.retain(|_| keep()),
        Some(Data::ExponentialHistogram(d)) => d.data_points.retain(|_| keep()),
        Some(Data::Summary(d)) => d.data_points.retain(|_| keep()),
        None => {}
    }
}

fn decide_record(
    resource: &ResourceLogs,
    scope: &ScopeLogs,
    record: &LogRecord,
    to: &mut Decisions<'_>,
) -> Result<(), EvalError> {
    to.drop(Context::Log, || View::log(resource, scope, record)).map(drop)
}

fn keep_record(_: &mut LogRecord, verdicts: &mut Verdicts, _: &mut usize) -> bool {
    !verdicts.goes(Context::Log)
}

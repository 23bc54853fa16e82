//! Decides about each item of a request, then takes out what is to go.
//!
//! Both walks go the same way: the first, over the shared message, writes down a verdict wherever there are
//! conditions to ask; the second, over a copy that is only made if something goes, reads them in that order.

use ottl::{Context, ErrorMode, EvalError, View, points};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::super::rules::Failures;
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
    drops: &'r Drops,
    mode: ErrorMode,
    failures: &'r Failures,
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
        drops: &'r Drops,
        mode: ErrorMode,
        failures: &'r Failures,
        signal: &'static str,
    ) -> Self {
        Self { drops, mode, failures, signal, verdicts: Vec::new(), something: false }
    }

    /// Whether the item goes.
    fn drop<'v>(&mut self, context: Context, view: impl FnOnce() -> View<'v>) -> Result<bool, EvalError> {
        let conditions = self.drops.of(context);
        if conditions.is_empty() {
            return Ok(false);
        }
        let (failures, signal) = (self.failures, self.signal);
        let goes = conditions.any(&view(), self.mode, &mut |failure| failures.report(signal, &failure))?;
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

impl Filtered for TracesSignal {
    fn drops(rules: &Rules) -> &Drops {
        &rules.traces
    }

    fn decide(message: &ExportTraceServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
        decide_traces(message, to)
    }

    fn apply(message: &mut ExportTraceServiceRequest, verdicts: &mut Verdicts) -> usize {
        let mut events = 0;
        message.resource_spans.retain_mut(|resource| {
            if verdicts.goes(Context::Resource) {
                return false;
            }
            resource.scope_spans.retain_mut(|scope| {
                if verdicts.goes(Context::Scope) {
                    return false;
                }
                scope.spans.retain_mut(|span| {
                    if verdicts.goes(Context::Span) {
                        return false;
                    }
                    if verdicts.asks(Context::SpanEvent) {
                        let before = span.events.len();
                        span.events.retain(|_| !verdicts.goes(Context::SpanEvent));
                        events += before - span.events.len();
                    }
                    true
                });
                !scope.spans.is_empty()
            });
            !resource.scope_spans.is_empty()
        });
        events
    }

    fn is_empty(message: &ExportTraceServiceRequest) -> bool {
        message.resource_spans.is_empty()
    }
}

fn decide_traces(message: &ExportTraceServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
    for resource in &message.resource_spans {
        if to.drop(Context::Resource, || View::resource(resource.resource.as_ref(), &resource.schema_url))? {
            continue;
        }
        for scope in &resource.scope_spans {
            let around = || {
                View::scope(
                    (resource.resource.as_ref(), &resource.schema_url),
                    (scope.scope.as_ref(), &scope.schema_url),
                )
            };
            if to.drop(Context::Scope, around)? {
                continue;
            }
            for span in &scope.spans {
                if to.drop(Context::Span, || View::span(resource, scope, span))?
                    || !to.asks(Context::SpanEvent)
                {
                    continue;
                }
                for at in 0..span.events.len() {
                    to.drop(Context::SpanEvent, || View::span_event(resource, scope, span, at))?;
                }
            }
        }
    }
    Ok(())
}

impl Filtered for MetricsSignal {
    fn drops(rules: &Rules) -> &Drops {
        &rules.metrics
    }

    fn decide(message: &ExportMetricsServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
        decide_metrics(message, to)
    }

    fn apply(message: &mut ExportMetricsServiceRequest, verdicts: &mut Verdicts) -> usize {
        message.resource_metrics.retain_mut(|resource| {
            if verdicts.goes(Context::Resource) {
                return false;
            }
            resource.scope_metrics.retain_mut(|scope| {
                if verdicts.goes(Context::Scope) {
                    return false;
                }
                scope.metrics.retain_mut(|metric| {
                    if verdicts.goes(Context::Metric) {
                        return false;
                    }
                    // A metric that came without data is not one that lost it.
                    if !verdicts.asks(Context::DataPoint) || points(metric) == 0 {
                        return true;
                    }
                    retain_points(metric, || !verdicts.goes(Context::DataPoint));
                    points(metric) > 0
                });
                !scope.metrics.is_empty()
            });
            !resource.scope_metrics.is_empty()
        });
        0
    }

    fn is_empty(message: &ExportMetricsServiceRequest) -> bool {
        message.resource_metrics.is_empty()
    }
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

fn decide_metrics(message: &ExportMetricsServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
    for resource in &message.resource_metrics {
        if to.drop(Context::Resource, || View::resource(resource.resource.as_ref(), &resource.schema_url))? {
            continue;
        }
        for scope in &resource.scope_metrics {
            let around = || {
                View::scope(
                    (resource.resource.as_ref(), &resource.schema_url),
                    (scope.scope.as_ref(), &scope.schema_url),
                )
            };
            if to.drop(Context::Scope, around)? {
                continue;
            }
            for metric in &scope.metrics {
                if to.drop(Context::Metric, || View::metric(resource, scope, metric))?
                    || !to.asks(Context::DataPoint)
                {
                    continue;
                }
                for at in 0..points(metric) {
                    to.drop(Context::DataPoint, || View::data_point(resource, scope, metric, at))?;
                }
            }
        }
    }
    Ok(())
}

impl Filtered for LogsSignal {
    fn drops(rules: &Rules) -> &Drops {
        &rules.logs
    }

    fn decide(message: &ExportLogsServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
        decide_logs(message, to)
    }

    fn apply(message: &mut ExportLogsServiceRequest, verdicts: &mut Verdicts) -> usize {
        message.resource_logs.retain_mut(|resource| {
            if verdicts.goes(Context::Resource) {
                return false;
            }
            resource.scope_logs.retain_mut(|scope| {
                if verdicts.goes(Context::Scope) {
                    return false;
                }
                scope.log_records.retain(|_| !verdicts.goes(Context::Log));
                !scope.log_records.is_empty()
            });
            !resource.scope_logs.is_empty()
        });
        0
    }

    fn is_empty(message: &ExportLogsServiceRequest) -> bool {
        message.resource_logs.is_empty()
    }
}

fn decide_logs(message: &ExportLogsServiceRequest, to: &mut Decisions<'_>) -> Result<(), EvalError> {
    for resource in &message.resource_logs {
        if to.drop(Context::Resource, || View::resource(resource.resource.as_ref(), &resource.schema_url))? {
            continue;
        }
        for scope in &resource.scope_logs {
            let around = || {
                View::scope(
                    (resource.resource.as_ref(), &resource.schema_url),
                    (scope.scope.as_ref(), &scope.schema_url),
                )
            };
            if to.drop(Context::Scope, around)? {
                continue;
            }
            for record in &scope.log_records {
                to.drop(Context::Log, || View::log(resource, scope, record))?;
            }
        }
    }
    Ok(())
}

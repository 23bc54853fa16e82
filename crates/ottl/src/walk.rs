//! Every item of a context in a decoded request, one after the other.
//!
//! A cache is the item's own, or, where the caller hands one in, that of all items. All items are of one client.

use signal::otlp::ClientMetadata;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::resource::v1::Resource;

use crate::context::{Context, Item, RecordMut, points};
use crate::error::EvalError;

/// Called for each item.
pub type Visit<'v> = &'v mut dyn FnMut(&mut Item<'_>) -> Result<(), EvalError>;

/// What functions add to the metrics of a scope ends the walk at so many: a statement that copies its own
/// copies would never end.
const MAX_ADDED: usize = 10_000;

/// What surrounds an item.
struct Around<'a> {
    resource: &'a mut Option<Resource>,
    resource_schema: &'a mut String,
    scope: &'a mut Option<InstrumentationScope>,
    scope_schema: &'a mut String,
    cache: Option<&'a mut Vec<KeyValue>>,
    client: Option<&'a ClientMetadata>,
}

impl Around<'_> {
    fn visit(&mut self, record: RecordMut<'_>, visit: Visit<'_>) -> Result<(), EvalError> {
        let mut own = Vec::new();
        visit(&mut Item {
            resource: self.resource,
            resource_schema: self.resource_schema,
            scope: self.scope,
            scope_schema: self.scope_schema,
            record,
            cache: self.cache.as_deref_mut().unwrap_or(&mut own),
            client: self.client,
        })
    }
}

/// Visits a resource, or its scopes, or calls `inner` for each scope.
macro_rules! scopes {
    ($resource:expr, $scopes:expr, $context:expr, $cache:expr, $client:expr, $visit:expr, |$around:ident, $scope:ident| $inner:block) => {{
        if $context == Context::Resource {
            let (mut scope, mut schema) = (None, String::new());
            let mut around = Around {
                resource: &mut $resource.resource,
                resource_schema: &mut $resource.schema_url,
                scope: &mut scope,
                scope_schema: &mut schema,
                cache: $cache.as_deref_mut(),
                client: $client,
            };
            around.visit(RecordMut::None, $visit)?;
            continue;
        }
        for $scope in &mut $scopes {
            let mut $around = Around {
                resource: &mut $resource.resource,
                resource_schema: &mut $resource.schema_url,
                scope: &mut $scope.scope,
                scope_schema: &mut $scope.schema_url,
                cache: $cache.as_deref_mut(),
                client: $client,
            };
            if $context == Context::Scope {
                $around.visit(RecordMut::None, $visit)?;
                continue;
            }
            $inner
        }
    }};
}

/// Resources, scopes, spans or span events.
///
/// # Errors
/// That of `visit`, which ends the walk.
pub fn traces(
    request: &mut ExportTraceServiceRequest,
    context: Context,
    mut cache: Option<&mut Vec<KeyValue>>,
    client: Option<&ClientMetadata>,
    visit: Visit<'_>,
) -> Result<(), EvalError> {
    for resource in &mut request.resource_spans {
        scopes!(resource, resource.scope_spans, context, cache, client, visit, |around, scope| {
            for span in &mut scope.spans {
                if context == Context::Span {
                    around.visit(RecordMut::Span(span), visit)?;
                    continue;
                }
                let mut at = 0;
                while at < span.events.len() {
                    around.visit(RecordMut::Event(span, at), visit)?;
                    at += 1;
                }
            }
        });
    }
    Ok(())
}

/// Resources, scopes, metrics or data points. Metrics that functions add are visited too.
///
/// # Errors
/// That of `visit`, or that functions add without end.
pub fn metrics(
    request: &mut ExportMetricsServiceRequest,
    context: Context,
    mut cache: Option<&mut Vec<KeyValue>>,
    client: Option<&ClientMetadata>,
    visit: Visit<'_>,
) -> Result<(), EvalError> {
    for resource in &mut request.resource_metrics {
        scopes!(resource, resource.scope_metrics, context, cache, client, visit, |around, scope| {
            let (mut at, most) = (0, scope.metrics.len() + MAX_ADDED);
            let mut added: Vec<Metric> = Vec::new();
            while at < scope.metrics.len() {
                let metric = &mut scope.metrics[at];
                if context == Context::Metric {
                    around.visit(RecordMut::Metric(metric, &mut added), visit)?;
                } else {
                    let mut point = 0;
                    while point < points(metric) {
                        around.visit(RecordMut::Point(metric, point, &mut added), visit)?;
                        point += 1;
                    }
                }
                scope.metrics.append(&mut added);
                if scope.metrics.len() > most {
                    return Err(EvalError::new(format!(
                        "statements have added more than {MAX_ADDED} metrics to one scope; let their conditions leave out what they add"
                    )));
                }
                at += 1;
            }
        });
    }
    Ok(())
}

/// Resources, scopes or log records.
///
/// # Errors
/// That of `visit`, which ends the walk.
pub fn logs(
    request: &mut ExportLogsServiceRequest,
    context: Context,
    mut cache: Option<&mut Vec<KeyValue>>,
    client: Option<&ClientMetadata>,
    visit: Visit<'_>,
) -> Result<(), EvalError> {
    for resource in &mut request.resource_logs {
        scopes!(resource, resource.scope_logs, context, cache, client, visit, |around, scope| {
            for record in &mut scope.log_records {
                around.visit(RecordMut::Log(record), visit)?;
            }
        });
    }
    Ok(())
}

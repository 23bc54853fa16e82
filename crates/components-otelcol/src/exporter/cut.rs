//! Cutting a request between its items, so that no part has more of them than is allowed.

use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::metrics::v1::Metric;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

/// A signal whose requests can be cut.
pub(crate) trait Cut: OtlpSignal {
    /// The parts of a request, in order, none with more than `most` items; `most` is at least 1.
    fn cut(request: Self::Request, most: usize) -> Vec<Self::Request>;
}

/// Two levels of repeated messages around the items.
macro_rules! cut {
    ($signal:ty, $request:ident, $resources:ident, $scopes:ident, $items:ident, $count:expr, $take:expr) => {
        impl Cut for $signal {
            fn cut(request: $request, most: usize) -> Vec<$request> {
                let (mut parts, mut part, mut room) = (Vec::new(), $request::default(), most);
                for mut resource in request.$resources {
                    let scopes = std::mem::take(&mut resource.$scopes);
                    // Whether the part has this resource, and this scope of it, already.
                    let mut has_resource = false;
                    for mut scope in scopes {
                        let mut items: std::collections::VecDeque<_> =
                            std::mem::take(&mut scope.$items).into();
                        let mut has_scope = false;
                        while let Some(item) = items.pop_front() {
                            let (taken, rest) = $take(item, room);
                            if let Some(rest) = rest {
                                items.push_front(rest);
                            }
                            if !has_resource {
                                part.$resources.push(resource.clone());
                                (has_resource, has_scope) = (true, false);
                            }
                            let into = part.$resources.last_mut().expect("just put there");
                            if !has_scope {
                                into.$scopes.push(scope.clone());
                                has_scope = true;
                            }
                            room -= $count(&taken).min(room);
                            into.$scopes.last_mut().expect("just put there").$items.push(taken);
                            if room == 0 {
                                parts.push(std::mem::take(&mut part));
                                (room, has_resource) = (most, false);
                            }
                        }
                    }
                }
                if !part.$resources.is_empty() {
                    parts.push(part);
                }
                parts
            }
        }
    };
}

cut!(TracesSignal, ExportTraceServiceRequest, resource_spans, scope_spans, spans, |_| 1, |span, _| (
    span, None
));
cut!(LogsSignal, ExportLogsServiceRequest, resource_logs, scope_logs, log_records, |_| 1, |log, _| (
    log, None
));
cut!(MetricsSignal, ExportMetricsServiceRequest, resource_metrics, scope_metrics, metrics, points, take);

fn points(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

/// A metric with at most so many of its points, and one with the others.
fn take(mut metric: Metric, room: usize) -> (Metric, Option<Metric>) {
    if points(&metric) <= room {
        return (metric, None);
    }
    let mut data = metric.data.take();
    let mut rest = data.clone();
    match (&mut data, &mut rest) {
        (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => b.data_points = a.data_points.split_off(room),
        (Some(Data::Sum(a)), Some(Data::Sum(b))) => b.data_points = a.data_points.split_off(room),
        (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => b.data_points = a.data_points.split_off(room),
        (Some(Data::ExponentialHistogram(a)), Some(Data::ExponentialHistogram(b))) => {
            b.data_points = a.data_points.split_off(room);
        }
        (Some(Data::Summary(a)), Some(Data::Summary(b))) => b.data_points = a.data_points.split_off(room),
        _ => {}
    }
    (Metric { data, ..metric.clone() }, Some(Metric { data: rest, ..metric }))
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::metrics::v1::{Gauge, NumberDataPoint, ResourceMetrics, ScopeMetrics};
    use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn names(request: &ExportTraceServiceRequest) -> Vec<(String, Vec<(String, Vec<String>)>)> {
        let spans = |s: &ScopeSpans| s.spans.iter().map(|span| span.name.clone()).collect();
        let scopes = |r: &ResourceSpans| {
            r.scope_spans.iter().map(|s| (s.schema_url.clone(), spans(s))).collect::<Vec<_>>()
        };
        request.resource_spans.iter().map(|r| (r.schema_url.clone(), scopes(r))).collect()
    }

    #[test]
    fn parts_are_full_but_the_last_and_every_item_keeps_its_resource_and_scope() {
        let mut number = 0;
        let mut scope = |url: &str, count: usize| {
            let spans = (0..count).map(|_| {
                number += 1;
                Span { name: number.to_string(), ..Span::default() }
            });
            ScopeSpans { schema_url: url.into(), spans: spans.collect(), ..ScopeSpans::default() }
        };
        let resource_spans = vec![
            ResourceSpans {
                schema_url: "r1".into(),
                scope_spans: vec![scope("a", 3), scope("b", 2)],
                ..ResourceSpans::default()
            },
            ResourceSpans {
                schema_url: "r2".into(),
                scope_spans: vec![scope("c", 4)],
                ..ResourceSpans::default()
            },
        ];
        let whole = ExportTraceServiceRequest { resource_spans };
        for most in 1..12 {
            let parts = TracesSignal::cut(whole.clone(), most);
            let counts: Vec<_> = parts.iter().map(TracesSignal::count).collect();
            assert_eq!(counts.iter().sum::<usize>(), 9);
            assert!(counts[..counts.len() - 1].iter().all(|c| *c == most), "{most} {counts:?}");
            let flat = |parts: &[ExportTraceServiceRequest]| {
                let all = parts.iter().flat_map(names);
                let scopes =
                    all.flat_map(|(r, scopes)| scopes.into_iter().map(move |(s, n)| (r.clone(), s, n)));
                scopes
                    .flat_map(|(r, s, n)| n.into_iter().map(move |n| (r.clone(), s.clone(), n)))
                    .collect::<Vec<_>>()
            };
            assert_eq!(flat(&parts), flat(std::slice::from_ref(&whole)), "{most}");
        }
        assert_eq!(TracesSignal::cut(whole.clone(), 100), [whole]);
    }

    #[test]
    fn a_metric_is_cut_between_its_points() {
        let metric = |from: u64, count: u64| {
            let point = |n| NumberDataPoint { time_unix_nano: n, ..NumberDataPoint::default() };
            let data_points = (from..from + count).map(point).collect();
            Metric { name: "m".into(), data: Some(Data::Gauge(Gauge { data_points })), ..Metric::default() }
        };
        let request = |metrics| ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
                ..ResourceMetrics::default()
            }],
        };
        let empty = Metric { name: "empty".into(), ..Metric::default() };
        let parts = MetricsSignal::cut(request(vec![metric(0, 2), empty.clone(), metric(2, 5)]), 3);
        assert_eq!(
            parts,
            [
                request(vec![metric(0, 2), empty, metric(2, 1)]),
                request(vec![metric(3, 3)]),
                request(vec![metric(6, 1)])
            ]
        );
    }
}

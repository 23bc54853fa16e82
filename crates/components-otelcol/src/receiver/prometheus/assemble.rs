//! What was gathered as an export request.

use signal::histogram::HistogramCounts;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::InstrumentationScope;
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::summary_data_point::ValueAtQuantile;
use signal::otlp::proto::metrics::v1::{
    AggregationTemporality, DataPointFlags, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint,
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    Summary, SummaryDataPoint, exemplar, number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp_names::ucum;
use signal::samples::{ExemplarPoint, is_stale};

use super::classify::{Kind, type_word};
use super::gather::{self, Gathered, Group};
use crate::dropped::Dropped;
use crate::value::attribute;

/// What the collector's receiver calls itself where samples name no scope.
const SCOPE_NAME: &str =
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver";

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const NO_VALUE: u32 = DataPointFlags::NoRecordedValueMask as u32;

/// Makes a request of what has points.
pub(super) fn assemble(gathered: Gathered<'_>, dropped: &Dropped) -> ExportMetricsServiceRequest {
    let Gathered { resources, scopes, metrics, groups, .. } = gathered;
    let mut made: Vec<Metric> = metrics.iter().map(metric).collect();
    for group in groups {
        let data = made[group.metric].data.as_mut().expect("made with its kind");
        if let Err((what, why)) = push(data, group) {
            dropped.add(what, why, 1);
        }
    }
    let mut by_scope: Vec<Vec<Metric>> = scopes.iter().map(|_| Vec::new()).collect();
    for (metric, gathered) in made.into_iter().zip(&metrics).filter(|(metric, _)| has_points(metric)) {
        by_scope[gathered.scope].push(metric);
    }
    let mut by_resource: Vec<Vec<ScopeMetrics>> = resources.iter().map(|_| Vec::new()).collect();
    for (scope, metrics) in scopes.into_iter().zip(by_scope).filter(|(_, metrics)| !metrics.is_empty()) {
        by_resource[scope.resource].push(self::scope(scope, metrics));
    }
    let resource_metrics = resources.into_iter().zip(by_resource).filter(|(_, scopes)| !scopes.is_empty());
    ExportMetricsServiceRequest {
        resource_metrics: resource_metrics
            .map(|(resource, scope_metrics)| ResourceMetrics {
                resource: Some(self::resource(resource)),
                scope_metrics,
                schema_url: String::new(),
            })
            .collect(),
    }
}

fn resource(resource: gather::Resource) -> Resource {
    let gather::Resource { job, instance, info } = resource;
    let mut attributes = Vec::with_capacity(4 + info.len());
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            attributes.push(attribute(key, value));
        }
    };
    put("service.name", &job);
    put("service.instance.id", &instance);
    if let Some((host, port)) = host_and_port(&instance) {
        if !matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0" | "::1" | "::") {
            put("server.address", host);
        }
        put("server.port", port);
    }
    for own in info {
        match attributes.iter_mut().find(|known: &&mut KeyValue| known.key == own.key) {
            Some(known) => *known = own,
            None => attributes.push(own),
        }
    }
    Resource { attributes, ..Resource::default() }
}

/// The two halves of `host:port`.
fn host_and_port(instance: &str) -> Option<(&str, &str)> {
    let (host, port) = instance.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && !host.is_empty()).then_some((host, port))
}

fn scope(scope: gather::Scope, metrics: Vec<Metric>) -> ScopeMetrics {
    let gather::Scope { unnamed, name, version, schema_url, attributes, .. } = scope;
    let (name, version) = match unnamed {
        true => (SCOPE_NAME.to_string(), env!("CARGO_PKG_VERSION").to_string()),
        false => (name, version),
    };
    let scope = Some(InstrumentationScope { name, version, attributes, ..InstrumentationScope::default() });
    ScopeMetrics { scope, metrics, schema_url }
}

fn metric(gathered: &gather::Metric) -> Metric {
    let family = gathered.family.as_deref();
    let data = match gathered.kind {
        Kind::Gauge => Data::Gauge(Gauge::default()),
        Kind::Counter | Kind::Plain => Data::Sum(Sum {
            aggregation_temporality: CUMULATIVE,
            is_monotonic: gathered.kind == Kind::Counter,
            ..Sum::default()
        }),
        Kind::Histogram => {
            Data::Histogram(Histogram { aggregation_temporality: CUMULATIVE, ..Histogram::default() })
        }
        Kind::Exponential => Data::ExponentialHistogram(ExponentialHistogram {
            aggregation_temporality: CUMULATIVE,
            ..ExponentialHistogram::default()
        }),
        Kind::Summary => Data::Summary(Summary::default()),
    };
    Metric {
        name: gathered.name.clone(),
        description: family.map(|family| family.help.clone()).unwrap_or_default(),
        unit: family.map(|family| ucum(&family.unit)).unwrap_or_default(),
        metadata: vec![attribute("prometheus.type", type_word(family, gathered.kind))],
        data: Some(data),
    }
}

fn has_points(metric: &Metric) -> bool {
    match &metric.data {
        None => false,
        Some(Data::Gauge(d)) => !d.data_points.is_empty(),
        Some(Data::Sum(d)) => !d.data_points.is_empty(),
        Some(Data::Histogram(d)) => !d.data_points.is_empty(),
        Some(Data::ExponentialHistogram(d)) => !d.data_points.is_empty(),
        Some(Data::Summary(d)) => !d.data_points.is_empty(),
    }
}

/// What was dropped, and why.
type Refused = (&'static str, &'static str);

fn push(data: &mut Data, group: Group) -> Result<(), Refused> {
    match data {
        Data::Gauge(gauge) => gauge.data_points.extend(number(group, false)),
        Data::Sum(sum) => sum.data_points.extend(number(group, true)),
        Data::Histogram(histogram) => histogram.data_points.push(explicit(group)?),
        Data::ExponentialHistogram(histogram) => histogram.data_points.push(exponential(group)?),
        Data::Summary(summary) => summary.data_points.push(self::summary(group)?),
    }
    Ok(())
}

/// Nothing if there is no more than the time at which something has started.
fn number(group: Group, counts: bool) -> Option<NumberDataPoint> {
    let value = group.value?;
    let stale = is_stale(value);
    Some(NumberDataPoint {
        attributes: group.attributes,
        start_time_unix_nano: if counts { nanos(group.start_ms) } else { 0 },
        time_unix_nano: nanos(group.time_ms),
        exemplars: group.exemplars.iter().map(exemplar).collect(),
        flags: if stale { NO_VALUE } else { 0 },
        value: (!stale).then_some(number_data_point::Value::AsDouble(value)),
    })
}

fn explicit(group: Group) -> Result<HistogramDataPoint, Refused> {
    let mut point = match &group.native {
        Some(native) => native.to_explicit().map_err(|_| ("histogram", "inconsistent"))?,
        None => classic(&group)?,
    };
    point.attributes = group.attributes;
    point.start_time_unix_nano = nanos(group.start_ms);
    point.time_unix_nano = nanos(group.time_ms);
    point.exemplars = group.exemplars.iter().map(exemplar).collect();
    Ok(point)
}

/// Of `_bucket`, `_sum` and `_count`.
fn classic(group: &Group) -> Result<HistogramDataPoint, Refused> {
    let mut buckets = group.parts.clone();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|a, b| a.0 == b.0);
    let all = match buckets.last() {
        Some((f64::INFINITY, all)) => {
            let all = *all;
            buckets.pop();
            Some(all)
        }
        _ => None,
    };
    let Some(count) = group.count.or(all) else { return Err(("histogram", "no count")) };
    let explicit_bounds: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).collect();
    if is_stale(count) || group.sum.is_some_and(is_stale) {
        let bucket_counts = vec![0; explicit_bounds.len() + 1];
        return Ok(HistogramDataPoint {
            flags: NO_VALUE,
            explicit_bounds,
            bucket_counts,
            ..Default::default()
        });
    }
    let mut bucket_counts = Vec::with_capacity(buckets.len() + 1);
    let mut below = 0.0;
    for cumulative in buckets.iter().map(|(_, cumulative)| *cumulative).chain([count]) {
        if cumulative.is_nan() || cumulative < below {
            return Err(("histogram", "buckets not cumulative"));
        }
        // Differences of what is cut off, so that they add up to the count.
        bucket_counts.push(cumulative as u64 - below as u64);
        below = cumulative;
    }
    Ok(HistogramDataPoint {
        count: count as u64,
        sum: group.sum,
        explicit_bounds,
        bucket_counts,
        ..HistogramDataPoint::default()
    })
}

fn exponential(group: Group) -> Result<ExponentialHistogramDataPoint, Refused> {
    let Some(native) = &group.native else { return Err(("histogram", "no count")) };
    if let HistogramCounts::Float { count, zero_count, positive_counts, negative_counts } = &native.counts {
        let mut counts = [*count, *zero_count].into_iter().chain(positive_counts.iter().copied());
        if counts.any(|c| !c.is_finite()) || negative_counts.iter().any(|c| !c.is_finite()) {
            return Err(("histogram", "inconsistent"));
        }
    }
    let mut point = native.to_exponential().map_err(|_| ("histogram", "inconsistent"))?;
    point.attributes = group.attributes;
    point.start_time_unix_nano = nanos(group.start_ms);
    point.time_unix_nano = nanos(group.time_ms);
    point.exemplars = group.exemplars.iter().map(exemplar).collect();
    Ok(point)
}

fn summary(group: Group) -> Result<SummaryDataPoint, Refused> {
    let Some(count) = group.count else { return Err(("summary", "no count")) };
    let stale = is_stale(count) || group.sum.is_some_and(is_stale);
    let mut quantiles = group.parts;
    quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
    let value = |value: f64| if stale { 0.0 } else { value };
    Ok(SummaryDataPoint {
        attributes: group.attributes,
        start_time_unix_nano: nanos(group.start_ms),
        time_unix_nano: nanos(group.time_ms),
        count: value(count) as u64,
        sum: value(group.sum.unwrap_or_default()),
        quantile_values: quantiles
            .into_iter()
            .map(|(quantile, own)| ValueAtQuantile { quantile, value: value(own) })
            .collect(),
        flags: if stale { NO_VALUE } else { 0 },
    })
}

/// `trace_id` and `span_id` where they are IDs, everything else as attributes.
fn exemplar(sample: &ExemplarPoint) -> Exemplar {
    let mut new = Exemplar {
        time_unix_nano: nanos(sample.timestamp_ms),
        value: Some(exemplar::Value::AsDouble(sample.value)),
        ..Exemplar::default()
    };
    for (name, value) in &sample.labels {
        let id = |bytes: usize| {
            const_hex::decode(value).ok().filter(|id| id.len() == bytes && id.iter().any(|b| *b != 0))
        };
        match (name.to_ascii_lowercase().as_str(), id(16), id(8)) {
            ("trace_id", Some(trace_id), _) => new.trace_id = trace_id,
            ("span_id", _, Some(span_id)) => new.span_id = span_id,
            _ => new.filtered_attributes.push(attribute(name, value)),
        }
    }
    new
}

/// Nanoseconds of milliseconds; before 1970 nothing is known.
fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default().saturating_mul(1_000_000)
}

//! Makes batches of what a test sends, and hands them over.

use component::otel::OtelInput;
use component::{Fanout, Receiver, Rejected};
use eval::{Item, Value};
use runtime::Snapshot;
use signal::logs::Entry;
use signal::otlp::{Otlp, OtlpRequest, OtlpSignal};
use signal::profiles::{Ingest, Profile, ProfileBody};
use signal::samples::{ExemplarPoint, FamilyMetadata, NO_FAMILY, Point};
use signal::{
    Labels, LabelsBuilder, LogBuilder, Logs, MetricKind, OtlpLogs, OtlpMetrics, Profiles, SampleBatch,
    Samples, Traces,
};
use std::sync::Arc;
use tokio::task::JoinHandle;
use wire::exposition::{Event, Format, Options, Parser, parse_series};

use crate::bench::Bench;
use crate::spec::{Data, LogEntry, SentProfile};

/// A place that data can be sent to.
pub(crate) enum Place {
    /// A receiver of a component or module.
    Receiver(Value),
    /// A component that gives data on: the data is sent where it would send it.
    Source(String),
}

/// Finds what a test calls `loki.process.a.receiver`, `module.m.x.receiver` or `loki.source.api.in`.
pub(crate) fn place(snapshot: &Snapshot, bench: &Bench, name: &str) -> Result<Place, String> {
    let components: Vec<_> = snapshot.components().map(|c| (c.global_id(), c)).collect();
    let fits = |id: &str| name == id || name.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'));
    let found = components.iter().filter(|(id, _)| fits(id)).max_by_key(|(id, _)| id.len());
    let Some((id, component)) = found else {
        let ids = components.iter().map(|(id, _)| id.as_str());
        let near = eval::closest(name, ids.clone()).or_else(|| {
            let front = name.rsplit_once('.').map_or(name, |(front, _)| front);
            eval::closest(front, ids.clone())
        });
        let help = near.map_or_else(
            || format!("there is {}", ids.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean {near}?"),
        );
        return Err(format!("the configuration has no component {name}: {help}"));
    };
    let path: Vec<&str> = name[id.len()..].split('.').filter(|p| !p.is_empty()).collect();
    if path.is_empty() {
        let only = component.exports.iter().find_map(|item| match item {
            Item::Attribute { value, .. } if is_receiver(value) => Some(value.clone()),
            _ => None,
        });
        return match only {
            Some(receiver) => Ok(Place::Receiver(receiver)),
            None if bench.node(id).is_some() => Ok(Place::Source(id.clone())),
            None => Err(format!("{name} takes no data and gives none on")),
        };
    }
    let fields = component.exports.iter().filter_map(|item| match item {
        Item::Attribute { name, value } => Some((name.to_string(), value.clone())),
        Item::Block { .. } => None,
    });
    let exports = Value::object(fields.collect());
    let value = path.iter().try_fold(exports, |value, name| value.as_object()?.get(*name).cloned());
    match value.filter(is_receiver) {
        Some(receiver) => Ok(Place::Receiver(receiver)),
        None => {
            let names: Vec<&str> = component
                .exports
                .iter()
                .filter_map(|item| match item {
                    Item::Attribute { name, .. } => Some(name.as_ref()),
                    Item::Block { .. } => None,
                })
                .collect();
            let has = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
            Err(format!("{id} has no receiver {:?}: it exports {has}", path.join(".")))
        }
    }
}

fn is_receiver(value: &Value) -> bool {
    matches!(value, Value::Capsule(c) if {
        let kind = c.content().type_name();
        kind.ends_with("Receiver") || kind.ends_with("Consumer")
    })
}

/// The component that a place belongs to.
pub(crate) fn owner(place: &Place) -> String {
    let Place::Receiver(Value::Capsule(capsule)) = place else {
        return match place {
            Place::Source(id) => id.clone(),
            Place::Receiver(_) => String::new(),
        };
    };
    if let Some(r) = capsule.downcast_ref::<Receiver<Logs>>() {
        return r.owner().to_string();
    }
    if let Some(r) = capsule.downcast_ref::<Receiver<Samples>>() {
        return r.owner().to_string();
    }
    if let Some(r) = capsule.downcast_ref::<Receiver<Profiles>>() {
        return r.owner().to_string();
    }
    capsule.downcast_ref::<OtelInput>().map(|i| i.owner().to_string()).unwrap_or_default()
}

/// Why nothing can be sent.
pub(crate) enum Senseless {
    /// The receiver does not take this.
    Place(String),
    /// The data cannot be read.
    Data(String),
}

/// A batch on its way: ready when the receiver has answered, which may be long after it has it.
pub(crate) type Sending = JoinHandle<Result<(), Rejected>>;

/// Sends data to a place.
pub(crate) fn send(bench: &Bench, place: &Place, data: &Data, now_ns: i64) -> Result<Sending, Senseless> {
    match data {
        Data::Loki(entries) => Ok(to(logs_at(bench, place)?, logs(entries, now_ns))),
        Data::Prometheus { page, open_metrics } => {
            let samples =
                samples(page, *open_metrics, now_ns.div_euclid(1_000_000)).map_err(Senseless::Data)?;
            Ok(to(samples_at(bench, place)?, samples))
        }
        Data::Pyroscope(sent) => {
            let batch = Profiles::new(sent.iter().map(profile), now_ns.div_euclid(1_000_000));
            Ok(to(profiles_at(bench, place)?, batch))
        }
        Data::Traces(json) => {
            let batch: Traces = otlp(json).map_err(Senseless::Data)?;
            Ok(to(otlp_at(bench, place, "traces", |i| i.traces.clone())?, batch))
        }
        Data::Metrics(json) => {
            let batch: OtlpMetrics = otlp(json).map_err(Senseless::Data)?;
            Ok(to(otlp_at(bench, place, "metrics", |i| i.metrics.clone())?, batch))
        }
        Data::Logs(json) => {
            let batch: OtlpLogs = otlp(json).map_err(Senseless::Data)?;
            Ok(to(otlp_at(bench, place, "logs", |i| i.logs.clone())?, batch))
        }
    }
}

fn to<T: component::Signal>(fanout: Fanout<T>, batch: T) -> Sending {
    tokio::spawn(async move { fanout.send(batch).await })
}

fn logs_at(bench: &Bench, place: &Place) -> Result<Fanout<Logs>, Senseless> {
    let found = match place {
        Place::Receiver(Value::Capsule(c)) => {
            c.downcast_ref::<Receiver<Logs>>().map(|r| Fanout::new([r.clone()]))
        }
        Place::Receiver(_) => None,
        Place::Source(id) => bench.node(id).and_then(|n| n.logs_to()),
    };
    found.ok_or_else(|| Senseless::Place(format!("{} takes no log entries", owner(place))))
}

fn samples_at(bench: &Bench, place: &Place) -> Result<Fanout<Samples>, Senseless> {
    let found = match place {
        Place::Receiver(Value::Capsule(c)) => {
            c.downcast_ref::<Receiver<Samples>>().map(|r| Fanout::new([r.clone()]))
        }
        Place::Receiver(_) => None,
        Place::Source(id) => bench.node(id).and_then(|n| n.samples_to()),
    };
    found.ok_or_else(|| Senseless::Place(format!("{} takes no samples", owner(place))))
}

fn profiles_at(bench: &Bench, place: &Place) -> Result<Fanout<Profiles>, Senseless> {
    let found = match place {
        Place::Receiver(Value::Capsule(c)) => {
            c.downcast_ref::<Receiver<Profiles>>().map(|r| Fanout::new([r.clone()]))
        }
        Place::Receiver(_) => None,
        Place::Source(id) => bench.node(id).and_then(|n| n.profiles_to()),
    };
    found.ok_or_else(|| Senseless::Place(format!("{} takes no profiles", owner(place))))
}

fn profile(sent: &SentProfile) -> Profile {
    let labels = Labels::from_pairs(&sent.labels);
    match &sent.ingest {
        None => Profile::pprof(labels, sent.body.clone()),
        Some(format) => Profile {
            labels,
            body: ProfileBody::Ingest(Ingest {
                parameters: [("format".into(), format.as_str().into())].into(),
                content_type: Default::default(),
                content_encoding: Default::default(),
                raw: sent.body.clone(),
            }),
        },
    }
}

fn otlp_at<T: component::Signal>(
    bench: &Bench,
    place: &Place,
    signal: &str,
    of: impl Fn(&OtelInput) -> Option<Receiver<T>>,
) -> Result<Fanout<T>, Senseless> {
    let receivers: Vec<Receiver<T>> = match place {
        Place::Receiver(Value::Capsule(c)) => {
            c.downcast_ref::<OtelInput>().and_then(&of).into_iter().collect()
        }
        Place::Receiver(_) => Vec::new(),
        Place::Source(id) => {
            let inputs = bench.node(id).map(|n| n.output(signal)).unwrap_or_default();
            inputs.iter().filter_map(&of).collect()
        }
    };
    if receivers.is_empty() {
        return Err(Senseless::Place(match place {
            Place::Source(id) => {
                format!("{id} sends {signal} to nobody: its output names no consumer of them")
            }
            Place::Receiver(_) => format!("{} takes no {signal}", owner(place)),
        }));
    }
    Ok(Fanout::new(receivers))
}

fn logs(entries: &[LogEntry], now_ns: i64) -> Logs {
    let mut batch = LogBuilder::new(now_ns.div_euclid(1_000_000), None);
    for entry in entries {
        let stream = batch.stream(&Labels::from_pairs(&entry.labels));
        let metadata = (!entry.metadata.is_empty()).then(|| Labels::from_pairs(&entry.metadata));
        let line = entry.line.as_str().into();
        let timestamp_ns = entry.timestamp_ns.unwrap_or(now_ns);
        batch.push(Entry { stream, timestamp_ns, line, metadata });
    }
    batch.finish()
}

/// A page as a batch; samples without a time of their own have `now_ms`.
pub(crate) fn samples(page: &str, open_metrics: bool, now_ms: i64) -> Result<Samples, String> {
    let format = if open_metrics { Format::OpenMetricsText } else { Format::PrometheusText };
    let page = if page.ends_with('\n') { page.to_string() } else { format!("{page}\n") };
    let mut parser = Parser::new(format, page.as_bytes(), Options::default());
    let mut builder = LabelsBuilder::new();
    let mut families: Vec<FamilyMetadata> = Vec::new();
    let mut batch = SampleBatch::default();
    loop {
        let kind = parser.kind();
        let event = parser.next(b"").map_err(|e| e.to_string())?;
        match event {
            None => break,
            Some(Event::Type { name, kind }) => family(&mut families, &name).kind = kind,
            Some(Event::Help { name, text }) => family(&mut families, &name).help = text.into_owned(),
            Some(Event::Unit { name, unit }) => family(&mut families, &name).unit = unit.into_owned(),
            Some(Event::Histogram(_)) => return Err("text carries no native histograms".into()),
            Some(Event::Sample(sample)) => {
                parse_series(format, sample.raw, kind, &mut builder).map_err(|e| e.to_string())?;
                let series = builder.build_series();
                if let Some(exemplar) = &sample.exemplar {
                    exemplar.parse_labels(&mut builder).map_err(|e| e.to_string())?;
                    batch.exemplars.push(ExemplarPoint {
                        series: series.clone(),
                        labels: builder.build(),
                        value: exemplar.value,
                        timestamp_ms: exemplar.timestamp_ms.unwrap_or_default(),
                    });
                }
                let family = belongs(&families, series.metric_name().unwrap_or_default());
                batch.points.push(Point {
                    series,
                    timestamp_ms: sample.timestamp_ms.unwrap_or(now_ms),
                    value: sample.value,
                    start_ms: sample.start_ms,
                    family,
                });
            }
        }
    }
    batch.families = Arc::new(families.into_iter().map(Arc::new).collect());
    Ok(batch.into())
}

fn family<'a>(families: &'a mut Vec<FamilyMetadata>, name: &str) -> &'a mut FamilyMetadata {
    if let Some(place) = families.iter().position(|f| f.name == name) {
        return &mut families[place];
    }
    let kind = MetricKind::Unknown;
    families.push(FamilyMetadata { name: name.into(), kind, help: String::new(), unit: String::new() });
    families.last_mut().expect("pushed just now")
}

/// The family of a metric: its own name, or that without the suffix that its type adds.
fn belongs(families: &[FamilyMetadata], metric: &str) -> u32 {
    let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_created", "_info"];
    let fits = |f: &FamilyMetadata| suffixes.iter().any(|s| metric.strip_suffix(s) == Some(f.name.as_str()));
    let place = families.iter().position(|f| f.name == metric).or_else(|| families.iter().rposition(fits));
    place.and_then(|p| u32::try_from(p).ok()).unwrap_or(NO_FAMILY)
}

/// An export request in OTLP's JSON.
fn otlp<S>(json: &serde_json::Value) -> Result<Otlp<S>, String>
where
    S: OtlpSignal,
    S::Request: serde::de::DeserializeOwned,
{
    let message: S::Request =
        serde_json::from_value(json.clone()).map_err(|e| format!("this is no OTLP {}: {e}", S::NAME))?;
    if S::count(&message) == 0 {
        return Err(format!(
            "there are no {} in it: OTLP's JSON begins with resourceSpans, resourceMetrics or resourceLogs",
            S::ITEMS
        ));
    }
    Ok(Otlp::of(OtlpRequest::from_message(message)))
}

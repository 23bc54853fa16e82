//! Counts of one batch, a resource at a time.

use std::sync::atomic::{AtomicU64, Ordering};

use component::Error;
use ottl::{Conditions, ErrorMode, Parser};
use signal::clock::now_unix_nano;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value;
use signal::otlp::proto::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use signal::otlp::proto::resource::v1::Resource;

use super::{Args, MetricArgs, metrics};
use crate::connector::items::{Kind, Seen, Step, default_value, first};
use crate::streams::map::ByIdentity;
use crate::streams::{DELTA, Identity};

/// As the collector calls the scope of its metrics.
const SCOPE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/connector/countconnector";

const KINDS: [Kind; 5] = [Kind::Spans, Kind::SpanEvents, Kind::Metrics, Kind::DataPoints, Kind::Logs];

/// The compiled arguments: all metrics.
pub(super) struct Plan(Vec<Definition>);

struct Definition {
    kind: Kind,
    name: String,
    description: String,
    conditions: Conditions,
    attributes: Vec<(String, Option<AnyValue>)>,
    /// The minute of the last complaint.
    complained: AtomicU64,
}

impl Plan {
    pub(super) fn new(args: &Args) -> Result<Self, Error> {
        let mut all: Vec<Definition> = Vec::new();
        for kind in KINDS {
            let (list, [name, description]) = metrics(args, kind);
            if list.is_empty() {
                let default = MetricArgs {
                    name: name.to_string(),
                    description: description.to_string(),
                    ..MetricArgs::default()
                };
                all.push(Definition::new(kind, &default)?);
            }
            for metric in list {
                if all.iter().any(|known| known.kind == kind && known.name == metric.name) {
                    let message = format!("there are two metrics {:?}", metric.name);
                    return Err(Error::argument(kind.block(), message));
                }
                all.push(Definition::new(kind, metric)?);
            }
        }
        Ok(Self(all))
    }
}

impl Definition {
    fn new(kind: Kind, args: &MetricArgs) -> Result<Self, Error> {
        let wrong = |message: String| Error::argument(kind.block(), message);
        if args.name.is_empty() {
            return Err(wrong("a metric needs a name".to_string()));
        }
        let parsed = Parser::new(kind.context()).conditions(&args.conditions);
        let conditions = parsed.map_err(|error| wrong(format!("{:?}: {error}", args.name)))?;
        let mut attributes: Vec<(String, Option<AnyValue>)> = Vec::new();
        for attribute in &args.attributes {
            if attribute.key.is_empty() || attributes.iter().any(|(key, _)| *key == attribute.key) {
                return Err(wrong(format!("{:?}: attributes need keys of their own", args.name)));
            }
            let default = default_value(&attribute.default_value)
                .map_err(|error| wrong(format!("{:?}: {error}", args.name)))?;
            attributes.push((attribute.key.clone(), default));
        }
        Ok(Self {
            kind,
            name: args.name.clone(),
            description: args.description.clone(),
            conditions,
            attributes,
            complained: AtomicU64::new(0),
        })
    }

    /// The attributes that an item is counted by; `None` if it lacks one.
    fn attributes(&self, item: &Seen<'_>, resource: &[KeyValue]) -> Option<Vec<KeyValue>> {
        let lists = [item.attributes, item.scope, resource];
        let attribute = |(key, default): &(String, Option<AnyValue>)| match first(key, &lists) {
            Some(found) => Some(found.clone()),
            None => {
                let value = Some(default.clone()?);
                Some(KeyValue { key: key.clone(), value, ..KeyValue::default() })
            }
        };
        self.attributes.iter().map(attribute).collect()
    }

    fn complain(&self, error: &str) {
        let minute = now_unix_nano() / 60_000_000_000;
        if self.complained.swap(minute, Ordering::Relaxed) != minute {
            tracing::warn!(metric = %self.name, %error, "items are not counted");
        }
    }
}

/// The counts of one metric of one resource.
#[derive(Default)]
struct Counts(ByIdentity<(Vec<KeyValue>, u64)>);

/// Counting a batch.
pub(super) struct Tally<'p> {
    plan: &'p Plan,
    resource: Vec<KeyValue>,
    /// Of each metric of the plan, for the resource.
    counts: Vec<Counts>,
    /// Earliest start and latest end of the items of each kind.
    times: [[u64; 2]; KINDS.len()],
    message: ExportMetricsServiceRequest,
    counted: u64,
    failed: Vec<u64>,
}

impl<'p> Tally<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            resource: Vec::new(),
            counts: plan.0.iter().map(|_| Counts::default()).collect(),
            times: [[0; 2]; KINDS.len()],
            message: ExportMetricsServiceRequest::default(),
            counted: 0,
            failed: vec![0; plan.0.len()],
        }
    }

    pub(super) fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Resource(attributes) => {
                self.end_resource();
                self.resource = attributes.to_vec();
            }
            Step::Item(item) => self.item(&item),
        }
    }

    fn item(&mut self, item: &Seen<'_>) {
        let [start, end] = &mut self.times[item.kind as usize];
        for time in item.times.into_iter().filter(|time| *time > 0) {
            *start = if *start == 0 { time } else { (*start).min(time) };
            *end = (*end).max(time);
        }
        let plan = self.plan;
        for (at, definition) in plan.0.iter().enumerate().filter(|(_, d)| d.kind == item.kind) {
            let Some(attributes) = definition.attributes(item, &self.resource) else { continue };
            if !definition.conditions.is_empty() {
                let holds = definition.conditions.any(&item.view, ErrorMode::Propagate, &mut |_| {});
                match holds {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        self.failed[at] += 1;
                        definition.complain(&error.to_string());
                        continue;
                    }
                }
            }
            let id = Identity::of(&attributes);
            self.counts[at].0.entry(id).or_insert((attributes, 0)).1 += 1;
            self.counted += 1;
        }
    }

    fn end_resource(&mut self) {
        let mut metrics = Vec::new();
        for (definition, counts) in self.plan.0.iter().zip(&mut self.counts) {
            let counts = std::mem::take(counts);
            if counts.0.is_empty() {
                continue;
            }
            let [start, end] = self.times[definition.kind as usize];
            let time = if end == 0 { now_unix_nano() } else { end };
            let points = counts.0.into_values().map(|(attributes, count)| NumberDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                value: Some(Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))),
                ..Default::default()
            });
            let data = Data::Sum(Sum {
                data_points: points.collect(),
                aggregation_temporality: DELTA,
                is_monotonic: true,
            });
            metrics.push(Metric {
                name: definition.name.clone(),
                description: definition.description.clone(),
                data: Some(data),
                ..Default::default()
            });
        }
        let attributes = std::mem::take(&mut self.resource);
        self.times = [[0; 2]; KINDS.len()];
        if metrics.is_empty() {
            return;
        }
        let scope = InstrumentationScope { name: SCOPE.into(), ..Default::default() };
        self.message.resource_metrics.push(ResourceMetrics {
            resource: Some(Resource { attributes, ..Default::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }],
            ..Default::default()
        });
    }

    /// The metrics, how many items were counted, and for how many items of which metrics that failed.
    pub(super) fn finish(mut self) -> (ExportMetricsServiceRequest, u64, Vec<(&'p str, u64)>) {
        self.end_resource();
        let names = self.plan.0.iter().map(|definition| definition.name.as_str());
        let failed = names.zip(self.failed).filter(|(_, failed)| *failed > 0).collect();
        (self.message, self.counted, failed)
    }
}

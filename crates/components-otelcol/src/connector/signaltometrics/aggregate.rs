//! The metrics of one batch.

use indexmap::IndexMap;
use ottl::{Failure, Value};
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::number_data_point::Value as Number;
use signal::otlp::proto::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use signal::otlp::proto::resource::v1::Resource;

use super::plan::{Definition, Plan, Shape};
use crate::connector::items::{Seen, Step};
use crate::streams::recorder::{self, Dress, Recorder};
use crate::streams::{Additive, DELTA, Identity};

/// As the collector calls the scope of its metrics.
const SCOPE: &str =
    "github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector";

/// What has been made of the values of a series.
enum Made {
    Number(NumberDataPoint),
    Recorded(Recorder),
}

/// A resource of the metrics that are made.
struct Place {
    attributes: Vec<KeyValue>,
    /// By the metric's number in the plan and the attributes.
    series: IndexMap<(usize, Identity), (Vec<KeyValue>, Made)>,
}

/// Why an item is not a part of a metric.
pub(super) enum Problem<'p> {
    /// A condition or value cannot be applied to it.
    Failed(Failure<'p>),
    /// Its value is no number.
    NoNumber(&'p str, &'static str),
}

impl std::fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::NoNumber(text, kind) => write!(f, "expected a number, but got {kind} (in `{text}`)"),
        }
    }
}

/// Making metrics of a batch.
pub(super) struct Aggregate<'p, 'r> {
    plan: &'p Plan,
    resource: Vec<KeyValue>,
    /// For the resource: where each metric of the plan goes.
    places_of: Vec<Option<Identity>>,
    places: IndexMap<Identity, Place>,
    /// Told of what cannot be applied; its error ends the batch.
    problem: &'r mut dyn FnMut(&Problem<'_>) -> Result<(), String>,
}

impl<'p, 'r> Aggregate<'p, 'r> {
    pub(super) fn new(
        plan: &'p Plan,
        problem: &'r mut dyn FnMut(&Problem<'_>) -> Result<(), String>,
    ) -> Self {
        let places_of = vec![None; plan.metrics.len()];
        Self { plan, resource: Vec::new(), places_of, places: IndexMap::new(), problem }
    }

    pub(super) fn step(&mut self, step: Step<'_>) -> Result<(), String> {
        match step {
            Step::Resource(attributes) => {
                self.resource = attributes.to_vec();
                self.places_of.fill(None);
                Ok(())
            }
            Step::Item(item) => {
                let plan = self.plan;
                let mine = plan.metrics.iter().enumerate().filter(|(_, metric)| metric.kind == item.kind);
                for (at, definition) in mine {
                    self.item(at, definition, &item)?;
                }
                Ok(())
            }
        }
    }

    fn item(&mut self, at: usize, definition: &'p Definition, item: &Seen<'_>) -> Result<(), String> {
        let Some(attributes) = definition.attributes(item.attributes) else { return Ok(()) };
        if !definition.conditions.is_empty() && !self.holds(definition, item)? {
            return Ok(());
        }
        match &definition.shape {
            Shape::Sum(value) => {
                let Some(number) = self.number(value, item, false)? else { return Ok(()) };
                let more = NumberDataPoint { value: Some(number), ..Default::default() };
                let series = self.series(at, definition, attributes, || Made::Number(Default::default()));
                if let Made::Number(sum) = series {
                    sum.add(&more).unwrap_or_else(|_| unreachable!("numbers always add"));
                }
            }
            Shape::Gauge(value) => {
                let Some(number) = self.number(value, item, true)? else { return Ok(()) };
                let series = self.series(at, definition, attributes, || Made::Number(Default::default()));
                if let Made::Number(gauge) = series {
                    gauge.value = Some(number);
                }
            }
            Shape::Histogram { layout, count, value } => {
                let Some(number) = self.number(value, item, false)? else { return Ok(()) };
                let count = match count {
                    None => 1,
                    Some(count) => match self.number(count, item, false)? {
                        Some(Number::AsInt(count)) => count,
                        Some(Number::AsDouble(count)) => count as i64,
                        None => return Ok(()),
                    },
                };
                let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) else {
                    return Ok(());
                };
                let value = match number {
                    Number::AsInt(v) => v as f64,
                    Number::AsDouble(v) => v,
                };
                let new = || Made::Recorded(Recorder::new(layout));
                if let Made::Recorded(recorder) = self.series(at, definition, attributes, new) {
                    recorder.record(layout, value, count);
                }
            }
        }
        Ok(())
    }

    fn holds(&mut self, definition: &'p Definition, item: &Seen<'_>) -> Result<bool, String> {
        for condition in definition.conditions.iter() {
            match condition.matches(&item.view) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    let failure = Failure { text: condition.text(), error: &error };
                    (self.problem)(&Problem::Failed(failure))?;
                }
            }
        }
        Ok(false)
    }

    /// A value of an item as a number; `None` where it has been told that there is none. Where nothing is no mistake,
    /// nothing is told.
    fn number(
        &mut self,
        expr: &'p ottl::ValueExpr,
        item: &Seen<'_>,
        or_nothing: bool,
    ) -> Result<Option<Number>, String> {
        match expr.eval(&item.view) {
            Ok(Value::Int(v)) => Ok(Some(Number::AsInt(v))),
            Ok(Value::Double(v)) => Ok(Some(Number::AsDouble(v))),
            Ok(Value::Nil) if or_nothing => Ok(None),
            Ok(other) => {
                (self.problem)(&Problem::NoNumber(expr.text(), other.type_name()))?;
                Ok(None)
            }
            Err(error) => {
                (self.problem)(&Problem::Failed(Failure { text: expr.text(), error: &error }))?;
                Ok(None)
            }
        }
    }

    fn series(
        &mut self,
        at: usize,
        definition: &Definition,
        attributes: Vec<KeyValue>,
        new: impl FnOnce() -> Made,
    ) -> &mut Made {
        let place = match self.places_of[at] {
            Some(place) => place,
            None => {
                let attributes = definition.resource(&self.resource, &self.plan.writer);
                let id = Identity::of(&attributes);
                self.places.entry(id).or_insert_with(|| Place { attributes, series: IndexMap::new() });
                self.places_of[at] = Some(id);
                id
            }
        };
        let place = self.places.get_mut(&place).expect("put there when it was found out");
        let key = (definition.group, Identity::of(&attributes));
        &mut place.series.entry(key).or_insert_with(|| (attributes, new())).1
    }

    /// All metrics, of this time.
    pub(super) fn finish(self, nanos: u64) -> ExportMetricsServiceRequest {
        let plan = self.plan;
        let resource = |place: Place| {
            let mut all: Vec<Vec<(Vec<KeyValue>, Made)>> = plan.metrics.iter().map(|_| Vec::new()).collect();
            for ((group, _), series) in place.series {
                all[group].push(series);
            }
            let metrics = plan.metrics.iter().zip(all).filter(|(_, series)| !series.is_empty());
            let scope = InstrumentationScope { name: SCOPE.into(), ..Default::default() };
            ResourceMetrics {
                resource: Some(Resource { attributes: place.attributes, ..Default::default() }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics: metrics.map(|(definition, series)| metric(definition, series, nanos)).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            }
        };
        let resource_metrics = self.places.into_values().map(resource).collect();
        ExportMetricsServiceRequest { resource_metrics }
    }
}

fn metric(definition: &Definition, series: Vec<(Vec<KeyValue>, Made)>, nanos: u64) -> Metric {
    let numbers = |series: Vec<(Vec<KeyValue>, Made)>| {
        let number = |(attributes, made)| match made {
            Made::Number(point) => Some(NumberDataPoint { attributes, time_unix_nano: nanos, ..point }),
            Made::Recorded(_) => None,
        };
        series.into_iter().filter_map(number).collect()
    };
    let data = match &definition.shape {
        Shape::Sum(_) => Data::Sum(Sum {
            data_points: numbers(series),
            aggregation_temporality: DELTA,
            is_monotonic: false,
        }),
        Shape::Gauge(_) => Data::Gauge(Gauge { data_points: numbers(series) }),
        Shape::Histogram { layout, .. } => {
            let recorded = series.iter().filter_map(|(attributes, made)| match made {
                Made::Recorded(recorder) => Some((recorder, attributes)),
                Made::Number(_) => None,
            });
            recorder::data(recorded, layout, DELTA, |attributes| Dress {
                attributes: attributes.clone(),
                exemplars: Vec::new(),
                start: 0,
                time: nanos,
            })
        }
    };
    Metric {
        name: definition.name.clone(),
        description: definition.description.clone(),
        unit: definition.unit.clone(),
        data: Some(data),
        ..Default::default()
    }
}

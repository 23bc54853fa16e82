//! The compiled arguments.

use component::Error;
use ottl::{Conditions, ErrorMode, Group, Parser, ValueExpr};
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};

use super::args::{Args, AttributeArgs, MetricArgs};
use crate::connector::items::{Kind, default_value, first};
use crate::streams::recorder::Layout;

/// All metrics.
pub(super) struct Plan {
    pub(super) mode: ErrorMode,
    pub(super) metrics: Vec<Definition>,
    /// Tells whose metrics they are, so that two processes do not write the same stream.
    pub(super) writer: Vec<KeyValue>,
}

/// A metric.
pub(super) struct Definition {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) unit: String,
    pub(super) conditions: Conditions,
    resource: Vec<Attribute>,
    attributes: Vec<Attribute>,
    pub(super) shape: Shape,
    /// The first of those that are one metric.
    pub(super) group: usize,
}

struct Attribute {
    key: String,
    optional: bool,
    default: Option<AnyValue>,
}

/// What is made of values.
pub(super) enum Shape {
    Histogram { layout: Layout, count: Option<ValueExpr>, value: ValueExpr },
    Sum(ValueExpr),
    Gauge(ValueExpr),
}

impl Shape {
    /// Whether both can be one metric.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Histogram { layout: a, .. }, Self::Histogram { layout: b, .. }) => a == b,
            (Self::Sum(_), Self::Sum(_)) | (Self::Gauge(_), Self::Gauge(_)) => true,
            _ => false,
        }
    }
}

impl Plan {
    pub(super) fn new(args: &Args, instance_id: &str) -> Result<Self, Error> {
        let mode = args.error_mode.parse();
        let mode = mode.map_err(|error: String| Error::argument("error_mode", error))?;
        let mut metrics: Vec<Definition> = Vec::new();
        for (kind, list) in
            [(Kind::Spans, &args.spans), (Kind::DataPoints, &args.datapoints), (Kind::Logs, &args.logs)]
        {
            for metric in list {
                let mut new = Definition::new(kind, metric)?;
                let is_same = |known: &&Definition| {
                    known.kind == kind
                        && (&known.name, &known.description, &known.unit)
                            == (&new.name, &new.description, &new.unit)
                        && known.shape.is_like(&new.shape)
                };
                new.group = metrics.iter().find(is_same).map_or(metrics.len(), |known| known.group);
                metrics.push(new);
            }
        }
        if metrics.is_empty() {
            let message = "at least one metric is needed, in a block spans, datapoints or logs";
            return Err(Error::argument("spans", message));
        }
        let text = |key: &str, value: &str| {
            use signal::otlp::proto::common::v1::any_value::Value;
            let value = Some(AnyValue { value: Some(Value::StringValue(value.to_string())) });
            KeyValue { key: format!("signaltometrics.service.{key}"), value, ..KeyValue::default() }
        };
        let writer = vec![text("name", "ferroalloy"), text("instance.id", instance_id)];
        Ok(Self { mode, metrics, writer })
    }

    /// Whether there is a metric of a kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.metrics.iter().any(|definition| definition.kind == kind)
    }
}

impl Definition {
    fn new(kind: Kind, args: &MetricArgs) -> Result<Self, Error> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            Error::argument(kind.block(), format!("{:?}: {what}: {error}", args.name))
        };
        if args.name.is_empty() {
            return Err(Error::argument(kind.block(), "a metric needs a name"));
        }
        let parser = Parser::new(kind.context()).with(Group::SignalToMetrics);
        let conditions = parser.conditions(&args.conditions).map_err(|error| wrong("conditions", &error))?;
        let attributes =
            |what: &str, list: &[AttributeArgs]| Attribute::all(list).map_err(|error| wrong(what, &error));
        Ok(Self {
            kind,
            name: args.name.clone(),
            description: args.description.clone(),
            unit: args.unit.clone(),
            conditions,
            resource: attributes("include_resource_attributes", &args.include_resource_attributes)?,
            attributes: attributes("attributes", &args.attributes)?,
            shape: shape(args, &parser).map_err(|error| wrong("value", &error))?,
            group: 0,
        })
    }

    /// The attributes of an item that the metric has; `None` if the item lacks one.
    pub(super) fn attributes(&self, item: &[KeyValue]) -> Option<Vec<KeyValue>> {
        let mut found = Vec::with_capacity(self.attributes.len());
        for attribute in &self.attributes {
            match attribute.of(item) {
                Some(value) => found.push(value),
                None if attribute.optional => {}
                None => return None,
            }
        }
        Some(found)
    }

    /// The attributes of a resource that the metric keeps.
    pub(super) fn resource(&self, resource: &[KeyValue], writer: &[KeyValue]) -> Vec<KeyValue> {
        let mut kept: Vec<KeyValue> = if self.resource.is_empty() {
            resource.to_vec()
        } else {
            self.resource.iter().filter_map(|attribute| attribute.of(resource)).collect()
        };
        kept.retain(|attribute| !writer.iter().any(|own| own.key == attribute.key));
        kept.extend_from_slice(writer);
        kept
    }
}

impl Attribute {
    fn all(list: &[AttributeArgs]) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::with_capacity(list.len());
        for args in list {
            let default = default_value(&args.default_value)?;
            if args.key.is_empty() {
                return Err("an attribute needs a key".to_string());
            }
            if args.optional && default.is_some() {
                return Err(format!("{:?}: optional and default_value exclude each other", args.key));
            }
            if all.iter().any(|known| known.key == args.key) {
                return Err(format!("{:?} is listed twice", args.key));
            }
            all.push(Self { key: args.key.clone(), optional: args.optional, default });
        }
        Ok(all)
    }

    fn of(&self, list: &[KeyValue]) -> Option<KeyValue> {
        first(&self.key, &[list]).cloned().or_else(|| {
            let value = Some(self.default.clone()?);
            Some(KeyValue { key: self.key.clone(), value, ..KeyValue::default() })
        })
    }
}

fn shape(args: &MetricArgs, parser: &Parser) -> Result<Shape, String> {
    let value = |text: &str| parser.value(text).map_err(|error| error.to_string());
    let count = |text: &str| if text.is_empty() { Ok(None) } else { value(text).map(Some) };
    match (&args.histogram, &args.exponential_histogram, &args.sum, &args.gauge) {
        (Some(histogram), None, None, None) => {
            if !histogram.buckets.windows(2).all(|pair| pair[0] < pair[1]) {
                return Err("buckets must be ascending".to_string());
            }
            if histogram.buckets.is_empty() {
                return Err("buckets must not be empty".to_string());
            }
            Ok(Shape::Histogram {
                layout: Layout::Explicit(histogram.buckets.clone()),
                count: count(&histogram.count)?,
                value: value(&histogram.value)?,
            })
        }
        (None, Some(histogram), None, None) => {
            let size = usize::try_from(histogram.max_size).ok().filter(|size| (2..=1 << 20).contains(size));
            let size = size.ok_or("max_size must be between 2 and 1048576")?;
            Ok(Shape::Histogram {
                layout: Layout::Exponential(size),
                count: count(&histogram.count)?,
                value: value(&histogram.value)?,
            })
        }
        (None, None, Some(sum), None) => Ok(Shape::Sum(value(&sum.value)?)),
        (None, None, None, Some(gauge)) => Ok(Shape::Gauge(value(&gauge.value)?)),
        _ => Err("exactly one of histogram, exponential_histogram, sum and gauge is needed".to_string()),
    }
}

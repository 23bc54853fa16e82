//! The arguments as what is done with a span: which values make its key, which become attributes.
//!
//! Invariant: both are written by the same walk over the dimensions, so that two spans have the same key exactly if their
//! attributes are the same as text.

use std::sync::Arc;

use component::Error;
use globset::GlobMatcher;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use smallvec::SmallVec;
use wire::proto;

use super::args::{Args, BUCKETS, DEFAULT_DIMENSIONS, DimensionArgs};
use crate::connector::spans::{Attribute, Span, find, utf8};
use crate::streams::Identity;
use crate::streams::recorder::Layout;
use crate::value;

/// Kinds of spans by number.
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
/// Statuses by number.
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// The compiled arguments.
pub(super) struct Plan {
    pub(super) args: Args,
    /// `None` without a histogram.
    pub(super) layout: Option<Layout>,
    /// Of every metric.
    common: Vec<Dimension>,
    calls: Vec<Dimension>,
    durations: Vec<Dimension>,
    events: Vec<Dimension>,
    /// Which of [`DEFAULT_DIMENSIONS`] there are.
    default: [bool; 4],
    instance: Option<String>,
}

struct Dimension {
    name: String,
    default: Option<String>,
    glob: Option<GlobMatcher>,
}

/// Whose metrics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Calls,
    Durations,
    Events,
}

/// A resource as the plan sees it.
pub(super) struct Known {
    pub(super) id: Identity,
    pub(super) service: Option<String>,
    pub(super) attributes: Vec<KeyValue>,
}

/// What a span stands in.
pub(super) struct Around<'a> {
    pub(super) resource: &'a Known,
    pub(super) scope: &'a InstrumentationScope,
    /// Attributes of the event that is counted.
    pub(super) event: &'a [Attribute<'a>],
}

/// A value of a dimension.
enum Found<'a> {
    Wire(Attribute<'a>),
    Decoded(Option<&'a AnyValue>),
    Text(&'a str),
}

/// Takes the dimensions of a span, one after the other.
trait Walk {
    fn value(&mut self, key: &str, value: Found<'_>) -> Result<(), proto::Error>;
    /// A dimension that the span does not have.
    fn none(&mut self);
}

impl Dimension {
    fn new(args: &DimensionArgs) -> Result<Self, Error> {
        let glob = match args.glob.as_str() {
            "" => None,
            glob => {
                let glob =
                    globset::Glob::new(glob).map_err(|error| Error::argument("glob", error.to_string()))?;
                Some(glob.compile_matcher())
            }
        };
        Ok(Self { name: args.name.clone(), default: args.default.clone(), glob })
    }
}

impl Plan {
    pub(super) fn new(args: &Args, instance_id: &str) -> Result<Arc<Self>, Error> {
        let list = |list: &[DimensionArgs]| list.iter().map(Dimension::new).collect::<Result<Vec<_>, _>>();
        let histogram = &args.histogram;
        let layout = match (&histogram.exponential, &histogram.explicit) {
            _ if histogram.disable => None,
            (Some(exponential), _) => {
                let size = usize::try_from(exponential.max_size).unwrap_or_default();
                Some(Layout::Exponential(if size == 0 { 160 } else { size }))
            }
            (None, explicit) => {
                let buckets = explicit.as_ref().map_or(&BUCKETS[..], |explicit| &explicit.buckets);
                let bound = |bucket: &std::time::Duration| {
                    histogram.value(u64::try_from(bucket.as_nanos()).unwrap_or(u64::MAX))
                };
                Some(Layout::Explicit(buckets.iter().map(bound).collect()))
            }
        };
        Ok(Arc::new(Self {
            layout,
            common: list(&args.dimension)?,
            calls: list(&args.calls_dimension)?,
            durations: list(&histogram.dimension)?,
            events: if args.events.enabled { list(&args.events.dimension)? } else { Vec::new() },
            default: DEFAULT_DIMENSIONS.map(|name| !args.exclude_dimensions.iter().any(|e| e == name)),
            instance: args.include_collector_instance_id.then(|| instance_id.to_string()),
            args: args.clone(),
        }))
    }

    /// Whether calls and durations have the same dimensions.
    pub(super) fn calls_are_durations(&self) -> bool {
        self.calls.is_empty() && self.durations.is_empty()
    }

    /// What is to be known of a resource.
    pub(super) fn resource(&self, resource: Resource) -> Known {
        let attributes = resource.attributes;
        let keys = &self.args.resource_metrics_key_attributes;
        let id = if keys.is_empty() {
            Identity::of(&attributes)
        } else {
            let kept = attributes.iter().filter(|a| keys.contains(&a.key));
            Identity::of(&kept.cloned().collect::<Vec<_>>())
        };
        let service = attributes.iter().find(|a| a.key == "service.name");
        let service = service.map(|a| value::text(a.value.as_ref()));
        Known { id, service, attributes }
    }

    /// The key of a span's series.
    pub(super) fn key(
        &self,
        of: Of,
        span: &Span<'_>,
        around: &Around<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Identity, proto::Error> {
        scratch.clear();
        self.walk(of, span, around, &mut Key(scratch))?;
        Ok(Identity::of_bytes(scratch))
    }

    /// The attributes of a span's series.
    pub(super) fn attributes(
        &self,
        of: Of,
        span: &Span<'_>,
        around: &Around<'_>,
    ) -> Result<Vec<KeyValue>, proto::Error> {
        let mut attributes = Written(Vec::new());
        self.walk(of, span, around, &mut attributes)?;
        Ok(attributes.0)
    }

    fn walk(
        &self,
        of: Of,
        span: &Span<'_>,
        around: &Around<'_>,
        walk: &mut impl Walk,
    ) -> Result<(), proto::Error> {
        let word = |words: &'static [&'static str], number: i32| {
            usize::try_from(number).ok().and_then(|n| words.get(n)).copied().unwrap_or_default()
        };
        let service = around.resource.service.as_deref().unwrap_or_default();
        let [with_service, with_name, with_kind, with_status] = self.default;
        if with_service {
            walk.value("service.name", Found::Text(service))?;
        }
        if with_name {
            // Checked when it came in; only damage costs a copy.
            walk.value("span.name", Found::Text(&String::from_utf8_lossy(span.name)))?;
        }
        if with_kind {
            walk.value("span.kind", Found::Text(word(&KINDS, span.kind)))?;
        }
        if with_status {
            walk.value("status.code", Found::Text(word(&STATUSES, span.status)))?;
        }
        if let Some(instance) = &self.instance {
            walk.value("collector.instance.id", Found::Text(instance))?;
        }
        let own = match of {
            Of::Calls => &self.calls,
            Of::Durations => &self.durations,
            Of::Events => &self.events,
        };
        for dimension in &self.common {
            dimension.walk([&span.attributes, around.event], around, walk)?;
        }
        for dimension in own {
            // What is asked of an event is its own before it is its span's.
            dimension.walk([around.event, &span.attributes], around, walk)?;
        }
        let scopes = &self.args.include_instrumentation_scope;
        if !around.scope.name.is_empty() && scopes.contains(&around.scope.name) {
            walk.value("span.instrumentation.scope.name", Found::Text(&around.scope.name))?;
            if !around.scope.version.is_empty() {
                walk.value("span.instrumentation.scope.version", Found::Text(&around.scope.version))?;
            }
        }
        Ok(())
    }
}

impl Dimension {
    /// From the first list that has it, else from the resource, else the default.
    fn walk(
        &self,
        lists: [&[Attribute<'_>]; 2],
        around: &Around<'_>,
        walk: &mut impl Walk,
    ) -> Result<(), proto::Error> {
        let resource = &around.resource.attributes;
        if let Some(glob) = &self.glob {
            return walk_glob(glob, lists, resource, walk);
        }
        if let Some(found) = lists.into_iter().find_map(|list| find(list, &self.name)) {
            return walk.value(&self.name, Found::Wire(found));
        }
        if let Some(found) = resource.iter().find(|a| a.key == self.name) {
            return walk.value(&self.name, Found::Decoded(found.value.as_ref()));
        }
        match &self.default {
            Some(default) => walk.value(&self.name, Found::Text(default)),
            None => {
                walk.none();
                Ok(())
            }
        }
    }
}

/// Every attribute whose key matches, in the order of keys.
fn walk_glob(
    glob: &GlobMatcher,
    lists: [&[Attribute<'_>]; 2],
    resource: &[KeyValue],
    walk: &mut impl Walk,
) -> Result<(), proto::Error> {
    let mut found: SmallVec<[(String, Found<'_>); 8]> = SmallVec::new();
    for attribute in lists.into_iter().flatten() {
        let key = utf8(attribute.key);
        if glob.is_match(&key) && !found.iter().any(|(known, _)| *known == key) {
            found.push((key, Found::Wire(*attribute)));
        }
    }
    for attribute in resource {
        if glob.is_match(&attribute.key) && !found.iter().any(|(known, _)| *known == attribute.key) {
            found.push((attribute.key.clone(), Found::Decoded(attribute.value.as_ref())));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    walk.none();
    for (key, value) in found {
        walk.value(&key, value)?;
    }
    Ok(())
}

/// Writes what tells series apart: keys, lengths and texts.
struct Key<'a>(&'a mut Vec<u8>);

impl Walk for Key<'_> {
    fn value(&mut self, key: &str, value: Found<'_>) -> Result<(), proto::Error> {
        let out = &mut *self.0;
        out.extend_from_slice(key.as_bytes());
        let at = out.len();
        out.extend_from_slice(&[0xff; 5]);
        match value {
            Found::Wire(attribute) => attribute.text(out)?,
            Found::Decoded(any) => out.extend_from_slice(value::text(any).as_bytes()),
            Found::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
        // The length in front: no text can be read as two.
        let length = u32::try_from(out.len() - at - 5).unwrap_or(u32::MAX);
        out[at + 1..at + 5].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn none(&mut self) {
        self.0.push(0xfe);
    }
}

/// Writes attributes.
struct Written(Vec<KeyValue>);

impl Walk for Written {
    fn value(&mut self, key: &str, value: Found<'_>) -> Result<(), proto::Error> {
        if self.0.iter().any(|known| known.key == key) {
            return Ok(());
        }
        let value = match value {
            Found::Wire(attribute) => attribute.any(),
            Found::Decoded(any) => any.cloned().unwrap_or_default(),
            Found::Text(text) => AnyValue { value: Some(Value::StringValue(text.to_string())) },
        };
        self.0.push(KeyValue { key: key.to_string(), value: Some(value), ..Default::default() });
        Ok(())
    }

    fn none(&mut self) {}
}

//! Label sets of series: `job` and `instance` from the resource, the scope, attributes.
//!
//! Only made for points that are seen for the first time.

use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp_names::Translation;
use signal::{LabelsBuilder, METRIC_NAME};

use super::Options;
use crate::dropped::Dropped;
use crate::value::text;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Where data points come from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) resource: &'a [KeyValue],
    pub(super) scope: Option<&'a InstrumentationScope>,
}

/// Makes label sets, one after the other.
pub(super) struct Labeler<'a> {
    pub(super) options: &'a Options,
    pub(super) dropped: &'a Dropped,
    pub(super) builder: LabelsBuilder,
}

impl Labeler<'_> {
    /// The labels of a point but for the metric's name. `reserved` is a label that the kind of metric needs for
    /// itself.
    pub(super) fn point(&mut self, origin: Origin<'_>, attributes: &[KeyValue], reserved: Option<&str>) {
        self.identity(origin.resource);
        if self.options.scope_labels {
            self.scope(origin.scope);
        }
        if self.options.resource_labels {
            let own =
                attributes.iter().filter(|own| !origin.resource.iter().any(|other| other.key == own.key));
            self.attributes(origin.resource.iter().chain(own), reserved);
        } else {
            self.attributes(attributes.iter(), reserved);
        }
    }

    /// The labels of `target_info`; `false` if there are none but the name.
    pub(super) fn target_info(&mut self, resource: &[KeyValue]) -> bool {
        self.identity(resource);
        let keep = self.options.keep_identifying;
        let identifying = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE];
        self.attributes(resource.iter().filter(|a| keep || !identifying.contains(&a.key.as_str())), None);
        let has_labels = !self.builder.is_empty();
        self.builder.set(METRIC_NAME, "target_info");
        has_labels
    }

    /// The labels of `otel_scope_info`.
    pub(super) fn scope_info(&mut self, origin: Origin<'_>) {
        self.identity(origin.resource);
        self.scope(origin.scope);
        self.attributes(origin.scope.iter().flat_map(|scope| &scope.attributes), None);
        self.builder.set(METRIC_NAME, "otel_scope_info");
    }

    fn identity(&mut self, resource: &[KeyValue]) {
        self.builder.clear();
        let find = |key| resource.iter().find(|a| a.key == key).map(|a| text(a.value.as_ref()));
        if let Some(name) = find(SERVICE_NAME) {
            let job = find(SERVICE_NAMESPACE).map(|namespace| format!("{namespace}/{name}"));
            self.builder.set("job", job.as_deref().unwrap_or(&name));
        }
        if let Some(instance) = find(SERVICE_INSTANCE) {
            self.builder.set("instance", &instance);
        }
    }

    fn scope(&mut self, scope: Option<&InstrumentationScope>) {
        if let Some(scope) = scope {
            self.builder.set("otel_scope_name", &scope.name);
            self.builder.set("otel_scope_version", &scope.version);
        }
    }

    /// Attributes win over what is there. As the specification says, values of attributes whose names become
    /// the same are joined, in the order of their original names.
    fn attributes<'k>(&mut self, attributes: impl Iterator<Item = &'k KeyValue>, reserved: Option<&str>) {
        let named = attributes.map(|a| (self.options.names.label_name(&a.key), a.key.as_str(), &a.value));
        let mut named: Vec<(String, &str, &Option<AnyValue>)> = named.collect();
        named.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        named.dedup_by(|a, b| a.1 == b.1);
        let mut refused = 0;
        for alike in named.chunk_by(|a, b| a.0 == b.0) {
            let name = alike[0].0.as_str();
            if name == METRIC_NAME || Some(name) == reserved {
                refused += 1;
                continue;
            }
            let values: Vec<String> = alike.iter().map(|(_, _, value)| text(value.as_ref())).collect();
            let value = values.join(";");
            if !value.is_empty() {
                self.builder.set(name, &value);
            }
        }
        self.dropped.add("attribute", "reserved name", refused);
    }
}

/// The labels of an exemplar's attributes, if they are not more than Prometheus takes.
pub(super) fn exemplar_labels(
    ids: Vec<(String, String)>,
    attributes: &[KeyValue],
    names: Translation,
) -> Result<signal::Labels, signal::Labels> {
    /// As prometheus/model/exemplar: `ExemplarMaxLabelSetLength`, in characters.
    const MOST: usize = 128;
    let length = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum::<usize>()
    };
    let more: Vec<_> =
        attributes.iter().map(|a| (names.label_name(&a.key), text(a.value.as_ref()))).collect();
    let fits = length(&ids) + length(&more) <= MOST;
    // The IDs come last: of pairs with one name the last wins.
    let labels = |more: Vec<_>| signal::Labels::from_pairs(more.into_iter().chain(ids));
    if fits { Ok(labels(more)) } else { Err(labels(Vec::new())) }
}

//! Matching of decoded items: what the byte path is compared with.

use signal::otlp::proto::common::v1::{InstrumentationScope, KeyValue};
use signal::otlp::proto::logs::v1::LogRecord;
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::Span;
use signal::otlp::proto::trace::v1::span::SpanKind;

use super::*;

impl Attribute {
    fn is_match_decoded(&self, attributes: &[KeyValue]) -> bool {
        let Some(found) = attributes.iter().find(|a| a.key == self.key) else { return false };
        match &self.value {
            Expected::Anything => true,
            Expected::Equal(expected) => found.value.as_ref() == Some(expected),
            Expected::Regex(regex) => {
                let scalar = matches!(
                    found.value.as_ref().and_then(|v| v.value.as_ref()),
                    Some(
                        Kind::StringValue(_) | Kind::BoolValue(_) | Kind::IntValue(_) | Kind::DoubleValue(_)
                    )
                );
                scalar && regex.is_match(&value::text(found.value.as_ref()))
            }
        }
    }
}

impl Matcher {
    pub(crate) fn span(&self, span: &Span, around: AroundDecoded<'_>) -> bool {
        // Where there is no kind, the collector compares with nothing.
        let kind = SpanKind::try_from(span.kind).ok().filter(|kind| *kind != SpanKind::Unspecified);
        (!self.services.is_asked() || self.services.is_match(&around.service()))
            && self.span_names.is_match(&span.name)
            && self.span_kinds.is_match(kind.map(|kind| kind.as_str_name()).unwrap_or_default())
            && self.common(&span.attributes, around)
    }

    pub(crate) fn record(&self, record: &LogRecord, around: AroundDecoded<'_>) -> bool {
        (!self.log_bodies.is_asked() || self.log_bodies.is_match(&value::text(record.body.as_ref())))
            && self.severity_texts.is_match(&record.severity_text)
            && self.severity.is_none_or(|(min, undefined)| match record.severity_number {
                0 => undefined,
                number => number >= min,
            })
            && self.common(&record.attributes, around)
    }

    pub(crate) fn metric_name_decoded(&self, name: &str) -> bool {
        self.metric_names.is_match(name)
    }

    /// What all items have.
    pub(crate) fn common(&self, attributes: &[KeyValue], around: AroundDecoded<'_>) -> bool {
        let scope = around.scope.map(|s| (s.name.as_str(), s.version.as_str())).unwrap_or_default();
        (self.libraries.is_empty()
            || self
                .libraries
                .iter()
                .any(|(name, version)| name.is_match(scope.0) && version.is_match(scope.1)))
            && self.resources.iter().all(|expected| expected.is_match_decoded(around.resource()))
            && self.attributes.iter().all(|expected| expected.is_match_decoded(attributes))
    }
}

/// What an item stands in.
#[derive(Clone, Copy)]
pub(crate) struct AroundDecoded<'a> {
    pub(crate) resource: Option<&'a Resource>,
    pub(crate) scope: Option<&'a InstrumentationScope>,
}

impl AroundDecoded<'_> {
    fn resource(&self) -> &[KeyValue] {
        self.resource.map(|r| r.attributes.as_slice()).unwrap_or_default()
    }

    fn service(&self) -> String {
        let found = self.resource().iter().find(|a| a.key == "service.name");
        found.map_or_else(|| "<nil-service-name>".to_string(), |a| value::text(a.value.as_ref()))
    }
}

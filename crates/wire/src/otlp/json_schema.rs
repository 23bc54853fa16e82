//! What the fields of an OTLP request are called in JSON, their numbers and how they are written.

use Kind::{
    Base64, Bool, Double, Enum, Fixed32, Fixed64, Hex, Int64, Message, SFixed64, SInt32, Text, UInt32, UInt64,
};

/// How a value is written, in JSON and in protobuf.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Message(&'static Schema),
    Text,
    /// Bytes in base64.
    Base64,
    /// Bytes in base 16: the IDs of traces and spans.
    Hex,
    Bool,
    /// A number or one of these names.
    Enum(&'static [(&'static str, u8)]),
    UInt32,
    UInt64,
    Int64,
    SInt32,
    Fixed32,
    Fixed64,
    SFixed64,
    Double,
}

/// One field.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// The fields of a message.
pub(super) struct Schema(pub(super) &'static [Field]);

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: true }
}

pub(super) static TRACES: Schema = Schema(&[many("resourceSpans", 1, Message(&RESOURCE_SPANS))]);
pub(super) static METRICS: Schema = Schema(&[many("resourceMetrics", 1, Message(&RESOURCE_METRICS))]);
pub(super) static LOGS: Schema = Schema(&[many("resourceLogs", 1, Message(&RESOURCE_LOGS))]);

static KEY_VALUE: Schema = Schema(&[one("key", 1, Text), one("value", 2, Message(&ANY_VALUE))]);
static ANY_VALUE: Schema = Schema(&[
    one("stringValue", 1, Text),
    one("boolValue", 2, Bool),
    one("intValue", 3, Int64),
    one("doubleValue", 4, Double),
    one("arrayValue", 5, Message(&ARRAY)),
    one("kvlistValue", 6, Message(&KEY_VALUES)),
    one("bytesValue", 7, Base64),
]);
static ARRAY: Schema = Schema(&[many("values", 1, Message(&ANY_VALUE))]);
static KEY_VALUES: Schema = Schema(&[many("values", 1, Message(&KEY_VALUE))]);

static RESOURCE: Schema = Schema(&[
    many("attributes", 1, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 2, UInt32),
    many("entityRefs", 3, Message(&ENTITY)),
]);
static ENTITY: Schema = Schema(&[
    one("schemaUrl", 1, Text),
    one("type", 2, Text),
    many("idKeys", 3, Text),
    many("descriptionKeys", 4, Text),
]);
static SCOPE: Schema = Schema(&[
    one("name", 1, Text),
    one("version", 2, Text),
    many("attributes", 3, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 4, UInt32),
]);

static RESOURCE_SPANS: Schema = Schema(&[
    one("resource", 1, Message(&RESOURCE)),
    many("scopeSpans", 2, Message(&SCOPE_SPANS)),
    one("schemaUrl", 3, Text),
]);
static SCOPE_SPANS: Schema =
    Schema(&[one("scope", 1, Message(&SCOPE)), many("spans", 2, Message(&SPAN)), one("schemaUrl", 3, Text)]);
static SPAN: Schema = Schema(&[
    one("traceId", 1, Hex),
    one("spanId", 2, Hex),
    one("traceState", 3, Text),
    one("parentSpanId", 4, Hex),
    one("name", 5, Text),
    one("kind", 6, Enum(SPAN_KINDS)),
    one("startTimeUnixNano", 7, Fixed64),
    one("endTimeUnixNano", 8, Fixed64),
    many("attributes", 9, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 10, UInt32),
    many("events", 11, Message(&EVENT)),
    one("droppedEventsCount", 12, UInt32),
    many("links", 13, Message(&LINK)),
    one("droppedLinksCount", 14, UInt32),
    one("status", 15, Message(&STATUS)),
    one("flags", 16, Fixed32),
]);
static EVENT: Schema = Schema(&[
    one("timeUnixNano", 1, Fixed64),
    one("name", 2, Text),
    many("attributes", 3, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 4, UInt32),
]);
static LINK: Schema = Schema(&[
    one("traceId", 1, Hex),
    one("spanId", 2, Hex),
    one("traceState", 3, Text),
    many("attributes", 4, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 5, UInt32),
    one("flags", 6, Fixed32),
]);
static STATUS: Schema = Schema(&[one("message", 2, Text), one("code", 3, Enum(STATUS_CODES))]);

static RESOURCE_METRICS: Schema = Schema(&[
    one("resource", 1, Message(&RESOURCE)),
    many("scopeMetrics", 2, Message(&SCOPE_METRICS)),
    one("schemaUrl", 3, Text),
]);
static SCOPE_METRICS: Schema = Schema(&[
    one("scope", 1, Message(&SCOPE)),
    many("metrics", 2, Message(&METRIC)),
    one("schemaUrl", 3, Text),
]);
static METRIC: Schema = Schema(&[
    one("name", 1, Text),
    one("description", 2, Text),
    one("unit", 3, Text),
    one("gauge", 5, Message(&GAUGE)),
    one("sum", 7, Message(&SUM)),
    one("histogram", 9, Message(&HISTOGRAM)),
    one("exponentialHistogram", 10, Message(&EXPONENTIAL)),
    one("summary", 11, Message(&SUMMARY)),
    many("metadata", 12, Message(&KEY_VALUE)),
]);
static GAUGE: Schema = Schema(&[many("dataPoints", 1, Message(&NUMBER_POINT))]);
static SUM: Schema = Schema(&[
    many("dataPoints", 1, Message(&NUMBER_POINT)),
    one("aggregationTemporality", 2, Enum(TEMPORALITIES)),
    one("isMonotonic", 3, Bool),
]);
static HISTOGRAM: Schema = Schema(&[
    many("dataPoints", 1, Message(&HISTOGRAM_POINT)),
    one("aggregationTemporality", 2, Enum(TEMPORALITIES)),
]);
static EXPONENTIAL: Schema = Schema(&[
    many("dataPoints", 1, Message(&EXPONENTIAL_POINT)),
    one("aggregationTemporality", 2, Enum(TEMPORALITIES)),
]);
static SUMMARY: Schema = Schema(&[many("dataPoints", 1, Message(&SUMMARY_POINT))]);
static NUMBER_POINT: Schema = Schema(&[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("asDouble", 4, Double),
    many("exemplars", 5, Message(&EXEMPLAR)),
    one("asInt", 6, SFixed64),
    many("attributes", 7, Message(&KEY_VALUE)),
    one("flags", 8, UInt32),
]);
static HISTOGRAM_POINT: Schema = Schema(&[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("bucketCounts", 6, Fixed64),
    many("explicitBounds", 7, Double),
    many("exemplars", 8, Message(&EXEMPLAR)),
    many("attributes", 9, Message(&KEY_VALUE)),
    one("flags", 10, UInt32),
    one("min", 11, Double),
    one("max", 12, Double),
]);
static EXPONENTIAL_POINT: Schema = Schema(&[
    many("attributes", 1, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    one("scale", 6, SInt32),
    one("zeroCount", 7, Fixed64),
    one("positive", 8, Message(&BUCKETS)),
    one("negative", 9, Message(&BUCKETS)),
    one("flags", 10, UInt32),
    many("exemplars", 11, Message(&EXEMPLAR)),
    one("min", 12, Double),
    one("max", 13, Double),
    one("zeroThreshold", 14, Double),
]);
static BUCKETS: Schema = Schema(&[one("offset", 1, SInt32), many("bucketCounts", 2, UInt64)]);
static SUMMARY_POINT: Schema = Schema(&[
    one("startTimeUnixNano", 2, Fixed64),
    one("timeUnixNano", 3, Fixed64),
    one("count", 4, Fixed64),
    one("sum", 5, Double),
    many("quantileValues", 6, Message(&QUANTILE)),
    many("attributes", 7, Message(&KEY_VALUE)),
    one("flags", 8, UInt32),
]);
static QUANTILE: Schema = Schema(&[one("quantile", 1, Double), one("value", 2, Double)]);
static EXEMPLAR: Schema = Schema(&[
    one("timeUnixNano", 2, Fixed64),
    one("asDouble", 3, Double),
    one("spanId", 4, Hex),
    one("traceId", 5, Hex),
    one("asInt", 6, SFixed64),
    many("filteredAttributes", 7, Message(&KEY_VALUE)),
]);

static RESOURCE_LOGS: Schema = Schema(&[
    one("resource", 1, Message(&RESOURCE)),
    many("scopeLogs", 2, Message(&SCOPE_LOGS)),
    one("schemaUrl", 3, Text),
]);
static SCOPE_LOGS: Schema = Schema(&[
    one("scope", 1, Message(&SCOPE)),
    many("logRecords", 2, Message(&LOG_RECORD)),
    one("schemaUrl", 3, Text),
]);
static LOG_RECORD: Schema = Schema(&[
    one("timeUnixNano", 1, Fixed64),
    one("severityNumber", 2, Enum(SEVERITIES)),
    one("severityText", 3, Text),
    one("body", 5, Message(&ANY_VALUE)),
    many("attributes", 6, Message(&KEY_VALUE)),
    one("droppedAttributesCount", 7, UInt32),
    one("flags", 8, Fixed32),
    one("traceId", 9, Hex),
    one("spanId", 10, Hex),
    one("observedTimeUnixNano", 11, Fixed64),
    one("eventName", 12, Text),
]);

static SPAN_KINDS: &[(&str, u8)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];
static STATUS_CODES: &[(&str, u8)] =
    &[("STATUS_CODE_UNSET", 0), ("STATUS_CODE_OK", 1), ("STATUS_CODE_ERROR", 2)];
static TEMPORALITIES: &[(&str, u8)] = &[
    ("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0),
    ("AGGREGATION_TEMPORALITY_DELTA", 1),
    ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2),
];
static SEVERITIES: &[(&str, u8)] = &[
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

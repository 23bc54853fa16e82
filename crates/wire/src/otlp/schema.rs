//! The messages of OTLP 1.x as tables: which field has which type, and which message is an item.
//!
//! As opentelemetry-proto, `opentelemetry/proto/{trace,metrics,logs,common,resource}/v1`.

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Not in the schema: skipped, whatever it is.
    Unknown,
    /// Integers, enums, booleans.
    Varint,
    /// 64 bits.
    Fixed64,
    /// 32 bits.
    Fixed32,
    /// `string`.
    Text,
    /// `bytes`.
    Opaque,
    /// `repeated` 64-bit fields, packed or not.
    Fixed64s,
    /// `repeated` varints, packed or not.
    Varints,
    /// An embedded message.
    Message(&'static Schema),
    /// An embedded message on the way from a request to its items.
    Group(&'static Schema),
    /// An embedded message that is a span, data point or log record.
    Item(&'static Schema),
}

/// Fields by their number.
pub(super) struct Schema(pub(super) [Kind; FIELDS]);

/// One more than the highest field number of OTLP.
const FIELDS: usize = 17;

const fn schema<const N: usize>(fields: [(usize, Kind); N]) -> Schema {
    let mut table = [Kind::Unknown; FIELDS];
    let mut i = 0;
    while i < N {
        table[fields[i].0] = fields[i].1;
        i += 1;
    }
    Schema(table)
}

use Kind::{Fixed32, Fixed64, Fixed64s, Group, Item, Message, Opaque, Text, Varint, Varints};

pub(super) static TRACES: Schema = schema([(1, Group(&RESOURCE_SPANS))]);
pub(super) static METRICS: Schema = schema([(1, Group(&RESOURCE_METRICS))]);
pub(super) static LOGS: Schema = schema([(1, Group(&RESOURCE_LOGS))]);

static RESOURCE_SPANS: Schema = schema([(1, Message(&RESOURCE)), (2, Group(&SCOPE_SPANS)), (3, Text)]);
static SCOPE_SPANS: Schema = schema([(1, Message(&SCOPE)), (2, Item(&SPAN)), (3, Text)]);
static SPAN: Schema = schema([
    (1, Opaque),
    (2, Opaque),
    (3, Text),
    (4, Opaque),
    (5, Text),
    (6, Varint),
    (7, Fixed64),
    (8, Fixed64),
    (9, Message(&KEY_VALUE)),
    (10, Varint),
    (11, Message(&EVENT)),
    (12, Varint),
    (13, Message(&LINK)),
    (14, Varint),
    (15, Message(&STATUS)),
    (16, Fixed32),
]);
static EVENT: Schema = schema([(1, Fixed64), (2, Text), (3, Message(&KEY_VALUE)), (4, Varint)]);
static LINK: Schema =
    schema([(1, Opaque), (2, Opaque), (3, Text), (4, Message(&KEY_VALUE)), (5, Varint), (6, Fixed32)]);
static STATUS: Schema = schema([(2, Text), (3, Varint)]);

static RESOURCE_METRICS: Schema = schema([(1, Message(&RESOURCE)), (2, Group(&SCOPE_METRICS)), (3, Text)]);
static SCOPE_METRICS: Schema = schema([(1, Message(&SCOPE)), (2, Group(&METRIC)), (3, Text)]);
static METRIC: Schema = schema([
    (1, Text),
    (2, Text),
    (3, Text),
    (5, Group(&GAUGE)),
    (7, Group(&SUM)),
    (9, Group(&HISTOGRAM)),
    (10, Group(&EXPONENTIAL_HISTOGRAM)),
    (11, Group(&SUMMARY)),
    (12, Message(&KEY_VALUE)),
]);
static GAUGE: Schema = schema([(1, Item(&NUMBER_POINT))]);
static SUM: Schema = schema([(1, Item(&NUMBER_POINT)), (2, Varint), (3, Varint)]);
static HISTOGRAM: Schema = schema([(1, Item(&HISTOGRAM_POINT)), (2, Varint)]);
static EXPONENTIAL_HISTOGRAM: Schema = schema([(1, Item(&EXPONENTIAL_POINT)), (2, Varint)]);
static SUMMARY: Schema = schema([(1, Item(&SUMMARY_POINT))]);
static NUMBER_POINT: Schema = schema([
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Message(&EXEMPLAR)),
    (6, Fixed64),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static HISTOGRAM_POINT: Schema = schema([
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Fixed64s),
    (7, Fixed64s),
    (8, Message(&EXEMPLAR)),
    (9, Message(&KEY_VALUE)),
    (10, Varint),
    (11, Fixed64),
    (12, Fixed64),
]);
static EXPONENTIAL_POINT: Schema = schema([
    (1, Message(&KEY_VALUE)),
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Varint),
    (7, Fixed64),
    (8, Message(&BUCKETS)),
    (9, Message(&BUCKETS)),
    (10, Varint),
    (11, Message(&EXEMPLAR)),
    (12, Fixed64),
    (13, Fixed64),
    (14, Fixed64),
]);
static BUCKETS: Schema = schema([(1, Varint), (2, Varints)]);
static SUMMARY_POINT: Schema = schema([
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Message(&QUANTILE)),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static QUANTILE: Schema = schema([(1, Fixed64), (2, Fixed64)]);
static EXEMPLAR: Schema =
    schema([(2, Fixed64), (3, Fixed64), (4, Opaque), (5, Opaque), (6, Fixed64), (7, Message(&KEY_VALUE))]);

static RESOURCE_LOGS: Schema = schema([(1, Message(&RESOURCE)), (2, Group(&SCOPE_LOGS)), (3, Text)]);
static SCOPE_LOGS: Schema = schema([(1, Message(&SCOPE)), (2, Item(&LOG_RECORD)), (3, Text)]);
static LOG_RECORD: Schema = schema([
    (1, Fixed64),
    (2, Varint),
    (3, Text),
    (5, Message(&ANY_VALUE)),
    (6, Message(&KEY_VALUE)),
    (7, Varint),
    (8, Fixed32),
    (9, Opaque),
    (10, Opaque),
    (11, Fixed64),
    (12, Text),
]);

static RESOURCE: Schema = schema([(1, Message(&KEY_VALUE)), (2, Varint), (3, Message(&ENTITY))]);
static ENTITY: Schema = schema([(1, Text), (2, Text), (3, Text), (4, Text)]);
static SCOPE: Schema = schema([(1, Text), (2, Text), (3, Message(&KEY_VALUE)), (4, Varint)]);
static KEY_VALUE: Schema = schema([(1, Text), (2, Message(&ANY_VALUE)), (3, Varint)]);
static ANY_VALUE: Schema = schema([
    (1, Text),
    (2, Varint),
    (3, Varint),
    (4, Fixed64),
    (5, Message(&ARRAY)),
    (6, Message(&KEY_VALUES)),
    (7, Opaque),
    (8, Varint),
]);
static ARRAY: Schema = schema([(1, Message(&ANY_VALUE))]);
static KEY_VALUES: Schema = schema([(1, Message(&KEY_VALUE))]);

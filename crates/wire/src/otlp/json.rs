//! OTLP/JSON to the serialised form, in one pass and without the messages in between.
//!
//! As the protobuf JSON mapping with OTLP's exceptions: IDs are in base 16, and enums may be names, which the
//! specification rules out but collectors take. Names of fields may also have underscores. 64-bit numbers are
//! texts or numbers; NaN and infinities are texts. Fields that nobody knows are passed over.
//! Invariant: a known field is carried or the request is refused; nothing is lost silently.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};

use super::json_schema::{self, Field, Kind, Schema};
use crate::proto::push_varint;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// A signal whose requests can be read from JSON.
pub trait Readable: OtlpSignal {
    #[doc(hidden)]
    fn json() -> &'static JsonSchema;
}

/// The names of a request.
#[doc(hidden)]
pub struct JsonSchema(&'static Schema);

macro_rules! readable {
    ($($signal:ty => $schema:ident),*) => {$(
        impl Readable for $signal {
            fn json() -> &'static JsonSchema {
                static SCHEMA: JsonSchema = JsonSchema(&json_schema::$schema);
                &SCHEMA
            }
        }
    )*};
}
readable!(TracesSignal => TRACES, MetricsSignal => METRICS, LogsSignal => LOGS);

/// Serialises a request that is given as JSON. Items are not counted here.
///
/// # Errors
/// If it is not JSON, or a known field has a value that its type does not have.
pub fn from_json<S: Readable>(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(json);
    Body { schema: S::json().0, out: &mut out }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(out)
}

/// Puts the length in front of what `write` appends.
fn delimited<E>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    write(out)?;
    let end = out.len();
    push_varint(out, (end - start) as u64);
    let digits = out.len() - end;
    out[start..].rotate_right(digits);
    Ok(())
}

/// A message: an object.
struct Body<'o> {
    schema: &'static Schema,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.schema))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, out: &mut *self.out })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The name of a field.
struct Key(&'static Schema);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let fields = self.0.0.iter();
        Ok(if name.contains('_') {
            fields.into_iter().find(|f| same_words(f.name, name))
        } else {
            fields.into_iter().find(|f| f.name == name)
        })
    }
}

/// Whether `snake_case` and `camelCase` are the same name.
fn same_words(camel: &str, snake: &str) -> bool {
    let mut camel = camel.bytes();
    let mut snake = snake.bytes();
    while let Some(byte) = snake.next() {
        let expected = if byte == b'_' { snake.next().map(|b| b.to_ascii_uppercase()) } else { Some(byte) };
        if expected.is_none() || camel.next() != expected {
            return false;
        }
    }
    camel.next().is_none()
}

/// The value of a field: one, or a list of them.
struct Value<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.field.repeated {
            return deserializer.deserialize_any(self);
        }
        Element {
            kind: self.field.kind,
            number: Some(self.field.number),
            name: self.field.name,
            out: self.out,
        }
        .deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Field { kind, number, name, .. } = *self.field;
        let packed = !matches!(kind, Kind::Message(_) | Kind::Text | Kind::Base64 | Kind::Hex);
        if !packed {
            while list
                .next_element_seed(Element { kind, number: Some(number), name, out: &mut *self.out })?
                .is_some()
            {}
            return Ok(());
        }
        push_varint(self.out, u64::from(number) << 3 | 2);
        delimited(self.out, |out| {
            while list.next_element_seed(Element { kind, number: None, name, out: &mut *out })?.is_some() {}
            Ok(())
        })
    }
}

/// One value; without a number it stands in a packed list.
struct Element<'o> {
    kind: Kind,
    number: Option<u32>,
    name: &'static str,
    out: &'o mut Vec<u8>,
}

impl Element<'_> {
    fn tag(&mut self, wire_type: u64) {
        if let Some(number) = self.number {
            push_varint(self.out, u64::from(number) << 3 | wire_type);
        }
    }

    fn varint(mut self, value: u64) {
        self.tag(0);
        push_varint(self.out, value);
    }

    fn fixed64(mut self, bytes: [u8; 8]) {
        self.tag(1);
        self.out.extend_from_slice(&bytes);
    }

    fn bytes(mut self, bytes: &[u8]) {
        self.tag(2);
        push_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let name = self.name;
        let range = move |_| E::custom(format_args!("{name}: {value} is out of range"));
        match self.kind {
            Kind::UInt32 => self.varint(u32::try_from(value).map_err(range)?.into()),
            Kind::UInt64 => self.varint(u64::try_from(value).map_err(range)?),
            Kind::Int64 => self.varint(i64::try_from(value).map_err(range)?.cast_unsigned()),
            // Enums are open: numbers that this program does not know are carried.
            Kind::Enum(_) => {
                self.varint(i64::from(i32::try_from(value).map_err(range)?).cast_unsigned());
            }
            Kind::SInt32 => {
                let value = i32::try_from(value).map_err(range)?;
                self.varint(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
            }
            Kind::Fixed32 => {
                let value = u32::try_from(value).map_err(range)?;
                let mut this = self;
                this.tag(5);
                this.out.extend_from_slice(&value.to_le_bytes());
            }
            Kind::Fixed64 => self.fixed64(u64::try_from(value).map_err(range)?.to_le_bytes()),
            Kind::SFixed64 => self.fixed64(i64::try_from(value).map_err(range)?.to_le_bytes()),
            Kind::Double => self.fixed64((value as f64).to_le_bytes()),
            _ => return Err(E::custom(format_args!("{}: a number is not expected", self.name))),
        }
        Ok(())
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        let name = self.name;
        let refuse = |what: &str| E::custom(format_args!("{name}: {text:?} is not {what}"));
        match self.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => self.bytes(&unhex(text).ok_or_else(|| refuse("in base 16"))?),
            Kind::Base64 => {
                // The URL-safe alphabet is allowed too.
                let text = text.replace('-', "+").replace('_', "/");
                self.bytes(&BASE64.decode(&text).map_err(|_| refuse("base64"))?);
            }
            Kind::Enum(names) => match names.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => self.varint((*value).into()),
                None => {
                    let number = text.parse::<i32>().map_err(|_| refuse("a known name"))?;
                    return self.integer(number.into());
                }
            },
            Kind::Double => {
                let number: f64 = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => text.parse().map_err(|_| refuse("a number"))?,
                };
                self.fixed64(number.to_le_bytes());
            }
            Kind::Bool | Kind::Message(_) => return Err(refuse("expected here")),
            _ => {
                let number = text.parse::<i128>().map_err(|_| refuse("a whole number"))?;
                return self.integer(number);
            }
        }
        Ok(())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another value for {}", self.name)
    }

    /// `null` is as if the field were not there; in a list it would be a hole.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match (self.number, self.kind) {
            (None, _) => Err(E::custom(format_args!("{}: null in a list", self.name))),
            _ => Ok(()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Bool => {
                self.varint(value.into());
                Ok(())
            }
            _ => Err(E::custom(format_args!("{}: a truth value is not expected", self.name))),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Kind::Double => {
                self.fixed64(value.to_le_bytes());
                Ok(())
            }
            // Whole numbers may be written with an exponent.
            _ if value.fract() == 0.0 && value.abs() < 1.9e19 => self.integer(value as i128),
            _ => Err(E::custom(format_args!("{}: {value} is not a whole number", self.name))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let Kind::Message(schema) = self.kind else {
            return Err(A::Error::custom(format_args!("{}: an object is not expected", self.name)));
        };
        self.tag(2);
        delimited(self.out, |out| Body { schema, out }.visit_map(map))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;
    use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
    use signal::otlp::proto::common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
    };
    use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use signal::otlp::proto::metrics::v1::metric::Data;
    use signal::otlp::proto::metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
        Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
        exponential_histogram_data_point::Buckets, number_data_point, summary_data_point::ValueAtQuantile,
    };
    use signal::otlp::proto::resource::v1::Resource;
    use signal::otlp::proto::trace::v1::span::{Event, Link};
    use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

    use super::super::check;
    use super::*;

    fn decoded<S: Readable + super::super::Schematic>(json: &[u8]) -> S::Request {
        let bytes = from_json::<S>(json).expect("a request");
        check::<S>(&bytes).expect("what is written is as the schema says");
        S::Request::decode(&*bytes).expect("decodes")
    }

    fn value(value: any_value::Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn attributes() -> Vec<KeyValue> {
        use any_value::Value as V;
        let list = ArrayValue { values: vec![AnyValue { value: Some(V::IntValue(-7)) }] };
        let inner =
            KeyValue { key: "in".into(), value: value(V::StringValue("x".into())), ..KeyValue::default() };
        let values = [
            V::StringValue("täxt \"q\"\n".into()),
            V::StringValue(String::new()),
            V::BoolValue(false),
            V::IntValue(i64::MIN),
            V::DoubleValue(-1.5e300),
            V::BytesValue(vec![0, 255, 62, 63]),
            V::ArrayValue(list),
            V::KvlistValue(KeyValueList { values: vec![inner] }),
        ];
        let pair = |(i, v)| KeyValue { key: format!("k{i}"), value: value(v), ..KeyValue::default() };
        values.into_iter().enumerate().map(pair).collect()
    }

    fn resource() -> Option<Resource> {
        Some(Resource { attributes: attributes(), dropped_attributes_count: 3, ..Resource::default() })
    }

    fn scope() -> Option<InstrumentationScope> {
        let (name, version) = ("lib".into(), "1".into());
        Some(InstrumentationScope { name, version, attributes: attributes(), dropped_attributes_count: 1 })
    }

    fn traces() -> ExportTraceServiceRequest {
        let link = Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "s".into(),
            attributes: attributes(),
            dropped_attributes_count: 2,
            flags: 257,
        };
        let event = Event {
            time_unix_nano: u64::MAX,
            name: "e".into(),
            attributes: attributes(),
            dropped_attributes_count: 9,
        };
        let span = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            trace_state: "a=b".into(),
            parent_span_id: vec![0xef; 8],
            flags: 1,
            name: "span".into(),
            kind: 3,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: attributes(),
            dropped_attributes_count: 4,
            events: vec![event],
            dropped_events_count: 5,
            links: vec![link],
            dropped_links_count: 6,
            status: Some(Status { message: "m".into(), code: 2 }),
        };
        let scope_spans =
            vec![ScopeSpans { scope: scope(), spans: vec![span, Span::default()], schema_url: "u".into() }];
        let one = ResourceSpans { resource: resource(), scope_spans, schema_url: "v".into() };
        ExportTraceServiceRequest { resource_spans: vec![one, ResourceSpans::default()] }
    }

    fn exemplar() -> Exemplar {
        Exemplar {
            filtered_attributes: attributes(),
            time_unix_nano: 3,
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            value: Some(exemplar::Value::AsInt(-3)),
        }
    }

    fn metrics() -> ExportMetricsServiceRequest {
        let number = |value| NumberDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            exemplars: vec![exemplar()],
            flags: 1,
            value: Some(value),
        };
        let histogram = HistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: 3,
            sum: Some(0.0),
            bucket_counts: vec![0, 1, u64::MAX],
            explicit_bounds: vec![0.5, 1.0],
            exemplars: vec![exemplar()],
            flags: 0,
            min: Some(-1.0),
            max: Some(2.5),
        };
        let exponential = ExponentialHistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: 3,
            sum: Some(1.0),
            scale: -4,
            zero_count: 5,
            positive: Some(Buckets { offset: -2, bucket_counts: vec![1, 300] }),
            negative: Some(Buckets { offset: i32::MAX, bucket_counts: vec![] }),
            flags: 1,
            exemplars: vec![exemplar()],
            min: None,
            max: Some(0.0),
            zero_threshold: 0.25,
        };
        let summary = SummaryDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: 3,
            sum: 4.0,
            quantile_values: vec![ValueAtQuantile { quantile: 0.99, value: 1.0 }],
            flags: 0,
        };
        use number_data_point::Value::{AsDouble, AsInt};
        let all = [
            Data::Gauge(Gauge { data_points: vec![number(AsDouble(0.1)), number(AsInt(i64::MAX))] }),
            Data::Sum(Sum {
                data_points: vec![number(AsInt(0))],
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
            Data::Summary(Summary { data_points: vec![summary] }),
        ];
        let metric = |data| Metric {
            name: "m".into(),
            description: "d".into(),
            unit: "s".into(),
            metadata: attributes(),
            data: Some(data),
        };
        let metrics = all.into_iter().map(metric).collect();
        let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, schema_url: "u".into() }];
        let one = ResourceMetrics { resource: resource(), scope_metrics, schema_url: "v".into() };
        ExportMetricsServiceRequest { resource_metrics: vec![one] }
    }

    fn logs() -> ExportLogsServiceRequest {
        let record = LogRecord {
            time_unix_nano: 1,
            observed_time_unix_nano: 2,
            severity_number: 17,
            severity_text: "error".into(),
            body: value(any_value::Value::StringValue("line".into())),
            attributes: attributes(),
            dropped_attributes_count: 3,
            flags: 1,
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            event_name: "e".into(),
        };
        let scope_logs =
            vec![ScopeLogs { scope: scope(), log_records: vec![record], schema_url: "u".into() }];
        let one = ResourceLogs { resource: resource(), scope_logs, schema_url: "v".into() };
        ExportLogsServiceRequest { resource_logs: vec![one] }
    }

    #[test]
    fn what_another_program_writes_as_json_is_the_same_message() {
        let json = serde_json::to_vec(&traces()).expect("serialises");
        assert_eq!(decoded::<TracesSignal>(&json), traces());
        let json = serde_json::to_vec(&metrics()).expect("serialises");
        assert_eq!(decoded::<MetricsSignal>(&json), metrics());
        let json = serde_json::to_vec(&logs()).expect("serialises");
        assert_eq!(decoded::<LogsSignal>(&json), logs());
    }

    fn point(json: &str) -> NumberDataPoint {
        let body = format!(
            r#"{{"resource_metrics":[{{"scope_metrics":[{{"metrics":[{{"name":"m","sum":{{
                "aggregation_temporality":"AGGREGATION_TEMPORALITY_DELTA","is_monotonic":true,"data_points":[{json}]}}}}]}}]}}]}}"#
        );
        let request = decoded::<MetricsSignal>(body.as_bytes());
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (1, true));
        sum.data_points[0].clone()
    }

    #[test]
    fn numbers_come_in_every_form_that_clients_write() {
        use number_data_point::Value::{AsDouble, AsInt};
        for (json, expected) in [
            (r#"{"asInt":"-9223372036854775808"}"#, AsInt(i64::MIN)),
            (r#"{"asInt":12}"#, AsInt(12)),
            (r#"{"as_int":1.2e1}"#, AsInt(12)),
            (r#"{"asDouble":"Infinity"}"#, AsDouble(f64::INFINITY)),
            (r#"{"asDouble":"-Infinity"}"#, AsDouble(f64::NEG_INFINITY)),
            (r#"{"asDouble":"1.5"}"#, AsDouble(1.5)),
            (r#"{"asDouble":3}"#, AsDouble(3.0)),
            (r#"{"asDouble":0,"timeUnixNano":null,"whoKnows":[{"a":[1]}]}"#, AsDouble(0.0)),
        ] {
            assert_eq!(point(json).value, Some(expected), "{json}");
        }
        let Some(AsDouble(nan)) = point(r#"{"asDouble":"NaN"}"#).value else { panic!("a number") };
        assert!(nan.is_nan());
        assert_eq!(point(r#"{"timeUnixNano":"18446744073709551615"}"#).time_unix_nano, u64::MAX);
    }

    #[test]
    fn what_cannot_be_carried_is_refused_and_never_left_out() {
        let metric = |data: &str| {
            format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#)
        };
        for data in [
            r#""sum":{"aggregationTemporality":"SOMETIMES"}"#,
            r#""sum":{"isMonotonic":"true"}"#,
            r#""sum":[]"#,
            r#""sum":{"dataPoints":{}}"#,
            r#""gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}"#,
            r#""gauge":{"dataPoints":[{"asInt":1.5}]}"#,
            r#""gauge":{"dataPoints":[{"asDouble":"many"}]}"#,
            r#""gauge":{"dataPoints":[{"timeUnixNano":-1}]}"#,
            r#""gauge":{"dataPoints":[{"flags":4294967296}]}"#,
            r#""gauge":{"dataPoints":[{"exemplars":[{"traceId":"xyz"}]}]}"#,
            r#""histogram":{"dataPoints":[{"bucketCounts":[1,null]}]}"#,
        ] {
            let json = metric(data);
            assert!(from_json::<MetricsSignal>(json.as_bytes()).is_err(), "{data}");
        }
        for json in [
            "",
            "null",
            "[]",
            "{",
            r#"{"resourceSpans":[]} x"#,
            r#"{"resourceSpans":[3]}"#,
            "{\"a\":\"\u{0}\"}",
        ] {
            assert!(from_json::<TracesSignal>(json.as_bytes()).is_err(), "{json}");
        }
        let deep = format!(r#"{{"resourceLogs":{}"#, "[".repeat(100_000));
        assert!(from_json::<LogsSignal>(deep.as_bytes()).is_err());
    }
}

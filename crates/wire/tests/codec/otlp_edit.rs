//! Editing requests as bytes against editing them decoded: the same messages come out.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpRequest, OtlpSignal, TracesSignal};
use wire::otlp::view::Unclear;
use wire::otlp::{
    Around, AttributeList, Editor, Fate, Piece, Schematic, Splices, Uneditable, check, edit, partition,
    text_value,
};

use super::otlp::{logs, metrics, traces};

/// What is done to every part: as a program for both paths.
#[derive(Clone, Debug)]
struct Program {
    /// Items with so many attributes go.
    drop: usize,
    /// Attributes of resources, scopes and items.
    steps: Vec<Step>,
    resource: bool,
    scope: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Set(String, String),
    Remove(String),
    Rename(String, String),
    Copy(String, String),
}

fn program() -> impl Strategy<Value = Program> {
    let key = || "[a-z.é]{0,2}";
    let step = prop_oneof![
        (key(), ".{0,200}").prop_map(|(k, v)| Step::Set(k, v)),
        key().prop_map(Step::Remove),
        (key(), key()).prop_map(|(a, b)| Step::Rename(a, b)),
        (key(), key()).prop_map(|(a, b)| Step::Copy(a, b)),
    ];
    (0..5usize, prop::collection::vec(step, 0..4), any::<bool>(), any::<bool>())
        .prop_map(|(drop, steps, resource, scope)| Program { drop, steps, resource, scope })
}

impl Program {
    fn wire(&self, message: &[u8], number: u32, splices: &mut Splices) -> Result<usize, Unclear> {
        let mut list = AttributeList::new(message, number)?;
        let count = list.places().len();
        for step in &self.steps {
            match step {
                Step::Set(key, value) => match list.find(key.as_bytes()) {
                    Some(at) => list.set(at, text_value(value.as_bytes()).into()),
                    None => list.push(key.as_bytes().into(), Some(text_value(value.as_bytes()).into())),
                },
                Step::Remove(key) => {
                    let found: Vec<_> =
                        list.places().filter(|at| list.key(*at) == Some(key.as_bytes())).collect();
                    found.into_iter().for_each(|at| list.remove(at));
                }
                Step::Rename(key, new) => {
                    if let Some(at) = list.find(key.as_bytes()) {
                        list.rename(at, new.as_bytes().into());
                    }
                }
                Step::Copy(key, new) => {
                    if let Some(at) = list.find(key.as_bytes()) {
                        let value = list.value_to_keep(at);
                        list.push(new.as_bytes().into(), value);
                    }
                }
            }
        }
        list.write(splices);
        Ok(count)
    }

    fn decoded(&self, list: &mut Vec<KeyValue>) -> usize {
        let count = list.len();
        for step in &self.steps {
            match step {
                Step::Set(key, value) => {
                    let value = Some(AnyValue { value: Some(Value::StringValue(value.clone())) });
                    match list.iter_mut().find(|a| a.key == *key) {
                        Some(a) => a.value = value,
                        None => list.push(KeyValue { key: key.clone(), value, ..KeyValue::default() }),
                    }
                }
                Step::Remove(key) => list.retain(|a| a.key != *key),
                Step::Rename(key, new) => {
                    if let Some(a) = list.iter_mut().find(|a| a.key == *key) {
                        a.key.clone_from(new);
                    }
                }
                Step::Copy(key, new) => {
                    if let Some(a) = list.iter().find(|a| a.key == *key).cloned() {
                        list.push(KeyValue { key: new.clone(), ..a });
                    }
                }
            }
        }
        count
    }

    fn head(&self, resource: &mut Option<Resource>, scope: Option<&mut InstrumentationScope>) {
        if self.resource {
            let absent = resource.is_none();
            let mut with = resource.take().unwrap_or_default();
            self.decoded(&mut with.attributes);
            *resource = (!absent || !with.attributes.is_empty()).then_some(with);
        }
        if let Some(scope) = scope.filter(|_| self.scope) {
            self.decoded(&mut scope.attributes);
        }
    }
}

struct ByProgram<'p>(&'p Program);

impl Editor for ByProgram<'_> {
    fn resource(&mut self, resource: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        if self.0.resource {
            self.0.wire(resource, 1, splices)?;
        }
        Ok(())
    }

    fn scope(&mut self, _: Around<'_>, scope: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        if self.0.scope {
            self.0.wire(scope, 3, splices)?;
        }
        Ok(())
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        let count = self.0.wire(item, around.attributes, splices)?;
        Ok(if count == self.0.drop { Fate::Drop } else { Fate::Keep })
    }
}

/// The decoded path of a signal.
trait Decoded: Schematic {
    fn edited(request: Self::Request, program: &Program) -> Self::Request;
}

/// Leaves out what was emptied, and keeps what had been empty.
fn keep<T>(list: &mut Vec<T>, mut edit: impl FnMut(&mut T) -> (usize, usize)) -> (usize, usize) {
    let before = list.len();
    list.retain_mut(|each| {
        let (before, after) = edit(each);
        before == after || after > 0
    });
    (before, list.len())
}

impl Decoded for TracesSignal {
    fn edited(mut request: Self::Request, program: &Program) -> Self::Request {
        keep(&mut request.resource_spans, |r| {
            program.head(&mut r.resource, None);
            keep(&mut r.scope_spans, |s| {
                program.head(&mut None, s.scope.as_mut());
                keep(&mut s.spans, |span| match program.decoded(&mut span.attributes) == program.drop {
                    true => (1, 0),
                    false => (1, 1),
                })
            })
        });
        request
    }
}

impl Decoded for LogsSignal {
    fn edited(mut request: Self::Request, program: &Program) -> Self::Request {
        keep(&mut request.resource_logs, |r| {
            program.head(&mut r.resource, None);
            keep(&mut r.scope_logs, |s| {
                program.head(&mut None, s.scope.as_mut());
                keep(&mut s.log_records, |l| match program.decoded(&mut l.attributes) == program.drop {
                    true => (1, 0),
                    false => (1, 1),
                })
            })
        });
        request
    }
}

impl Decoded for MetricsSignal {
    fn edited(mut request: Self::Request, program: &Program) -> Self::Request {
        macro_rules! points {
            ($data:expr) => {
                keep(&mut $data.data_points, |p| match program.decoded(&mut p.attributes) == program.drop {
                    true => (1, 0),
                    false => (1, 1),
                })
            };
        }
        keep(&mut request.resource_metrics, |r| {
            program.head(&mut r.resource, None);
            keep(&mut r.scope_metrics, |s| {
                program.head(&mut None, s.scope.as_mut());
                keep(&mut s.metrics, |m| match &mut m.data {
                    None => (0, 0),
                    Some(Data::Gauge(d)) => points!(d),
                    Some(Data::Sum(d)) => points!(d),
                    Some(Data::Histogram(d)) => points!(d),
                    Some(Data::ExponentialHistogram(d)) => points!(d),
                    Some(Data::Summary(d)) => points!(d),
                })
            })
        });
        request
    }
}

fn both_ways<S: Decoded>(requests: &[S::Request], program: &Program) {
    let bytes: Vec<u8> = requests.iter().flat_map(|r| r.encode_to_vec()).collect();
    edited_alike::<S>(bytes, program);
}

fn edited_alike<S: Decoded>(bytes: Vec<u8>, program: &Program) {
    let items = check::<S>(&bytes).expect("passes");
    let whole = S::Request::decode(bytes.as_slice()).expect("decodes");
    let request = OtlpRequest::<S>::from_wire(bytes.into(), items, None);
    let edited = edit::<S>(&request, &mut ByProgram(program)).expect("a request");
    let expected = S::edited(whole.clone(), program);
    match edited {
        // By bytes: NaN differs from itself.
        None => assert_eq!(whole.encode_to_vec(), expected.encode_to_vec()),
        Some(edited) => {
            assert_eq!(check::<S>(edited.wire()), Ok(edited.items() as u32));
            assert_eq!(edited.items(), S::count(&expected));
            let edited = edited.into_message().expect("decodes");
            assert_eq!(edited.encode_to_vec(), expected.encode_to_vec());
        }
    }
}

fn damaged<S: Schematic>(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, u8)], program: &Program) {
    for (at, byte) in edits {
        let at = at.index(bytes.len().max(1));
        if let Some(place) = bytes.get_mut(at) {
            *place = *byte;
        }
    }
    let Ok(items) = check::<S>(&bytes) else { return };
    let request = OtlpRequest::<S>::from_wire(bytes.into(), items, None);
    let edited = edit::<S>(&request, &mut ByProgram(program)).expect("what passes can be edited");
    if let Some(edited) = edited {
        check::<S>(edited.wire()).expect("what was edited passes");
    }
}

proptest! {
    #[test]
    fn bytes_and_messages_are_edited_alike(
        t in prop::collection::vec(traces(), 1..4),
        m in prop::collection::vec(metrics(), 1..4),
        l in prop::collection::vec(logs(), 1..4),
        program in program(),
    ) {
        both_ways::<TracesSignal>(&t, &program);
        both_ways::<MetricsSignal>(&m, &program);
        both_ways::<LogsSignal>(&l, &program);
    }

    #[test]
    fn what_passes_after_damage_can_be_edited(
        t in traces(), m in metrics(), l in logs(), program in program(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        damaged::<TracesSignal>(t.encode_to_vec(), &edits, &program);
        damaged::<MetricsSignal>(m.encode_to_vec(), &edits, &program);
        damaged::<LogsSignal>(l.encode_to_vec(), &edits, &program);
    }

    #[test]
    fn the_parts_of_a_request_hold_each_item_once_with_its_surroundings(
        t in prop::collection::vec(traces(), 1..4), modulus in 1..5u8,
    ) {
        let bytes: Vec<u8> = t.iter().flat_map(|r| r.encode_to_vec()).collect();
        let key = |span: &[u8]| {
            let span = Span::decode(span).expect("a span");
            Ok::<_, wire::proto::Error>(span.span_id.last().copied().unwrap_or_default() % modulus)
        };
        let parts = partition::<TracesSignal, u8, _>(&bytes, key).expect("a request");
        let whole = ExportTraceServiceRequest::decode(bytes.as_slice()).expect("decodes");
        let mut items = 0;
        for (key, Piece { bytes, items: count }) in &parts {
            assert_eq!(check::<TracesSignal>(bytes), Ok(*count));
            items += *count as usize;
            let part = ExportTraceServiceRequest::decode(bytes.as_slice()).expect("decodes");
            let mut expected = whole.clone();
            for resource in &mut expected.resource_spans {
                for scope in &mut resource.scope_spans {
                    scope.spans.retain(|s| s.span_id.last().copied().unwrap_or_default() % modulus == *key);
                }
                resource.scope_spans.retain(|s| !s.spans.is_empty());
            }
            expected.resource_spans.retain(|r| !r.scope_spans.is_empty());
            assert_eq!(part.encode_to_vec(), expected.encode_to_vec());
        }
        assert_eq!(items, TracesSignal::count(&whole));
    }
}

#[test]
fn what_no_encoder_writes_is_understood_as_decoders_understand_it() {
    let resource = |value: &str| Resource {
        attributes: vec![KeyValue {
            key: "a".into(),
            value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        }],
        ..Resource::default()
    };
    let spans = |name: &str| ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: vec![Span { name: name.into(), ..Span::default() }],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    let only = |value: &str| ResourceSpans { resource: Some(resource(value)), ..ResourceSpans::default() };
    let program = Program {
        drop: 9,
        steps: vec![Step::Set("a".into(), "new".into()), Step::Copy("a".into(), "b".into())],
        resource: true,
        scope: true,
    };
    // The resource behind its spans; two halves of a resource; none.
    for parts in [
        vec![spans("x").encode_to_vec(), only("1").encode_to_vec()],
        vec![only("1").encode_to_vec(), only("2").encode_to_vec(), spans("x").encode_to_vec()],
        vec![spans("x").encode_to_vec()],
        vec![],
    ] {
        let body = parts.concat();
        let mut bytes = Vec::new();
        wire::proto::push_bytes_field(&mut bytes, 1, &body);
        edited_alike::<TracesSignal>(bytes, &program);
    }
}

#[test]
fn bytes_that_are_no_request_are_told() {
    let request = OtlpRequest::<LogsSignal>::from_wire(b"\x0a\x05\x01".as_slice().into(), 1, None);
    let program = Program { drop: 0, steps: vec![], resource: true, scope: true };
    let answer = edit::<LogsSignal>(&request, &mut ByProgram(&program));
    assert!(matches!(answer, Err(Uneditable::Unclear(Unclear::Proto(_)))), "{answer:?}");
    let empty = ExportLogsServiceRequest::default().encode_to_vec();
    assert_eq!(ExportMetricsServiceRequest::default().encode_to_vec(), empty);
    let request = OtlpRequest::<LogsSignal>::from_wire(empty.into(), 0, None);
    assert!(edit::<LogsSignal>(&request, &mut ByProgram(&program)).expect("a request").is_none());
}

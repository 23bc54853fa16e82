//! An attribute inserted into every span of a request: by splices of its bytes, and by decoding it, changing the
//! messages and encoding them again. The figures are those of a request of 1000 spans.

use std::borrow::Cow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpRequest, TracesSignal};
use wire::otlp::view::Unclear;
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices, edit, text_value};

const SPANS: usize = 1000;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Spans as an HTTP server makes them.
fn request() -> Vec<u8> {
    let span = |n: usize| Span {
        trace_id: vec![7; 16],
        span_id: n.to_be_bytes().to_vec(),
        name: "GET /orders/{id}".into(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + n as u64,
        end_time_unix_nano: 1_700_000_000_100_000_000 + n as u64,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", "/orders/1234"),
            text("server.address", "shop.example.com"),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
            text("network.protocol.version", "1.1"),
        ],
        ..Span::default()
    };
    let spans = (0..SPANS).map(span).collect();
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

struct Insert {
    value: Vec<u8>,
}

impl Editor for Insert {
    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        let key = b"deployment.environment";
        let mut list = AttributeList::of(item, around.attributes, |found| found == key)?;
        if list.find(key).is_none() {
            list.push(Cow::Borrowed(key), Some(Cow::Borrowed(&self.value)));
        }
        list.write(splices);
        Ok(Fate::Keep)
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut request = ExportTraceServiceRequest::decode(bytes).expect("a request");
    for span in request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans)
    {
        if !span.attributes.iter().any(|a| a.key == "deployment.environment") {
            span.attributes.push(text("deployment.environment", "production"));
        }
    }
    request.encode_to_vec()
}

fn insert(criterion: &mut Criterion) {
    let bytes = request();
    let wire = OtlpRequest::<TracesSignal>::from_wire(bytes.clone().into(), SPANS as u32, None);
    let mut editor = Insert { value: text_value(b"production") };
    let spliced = edit(&wire, &mut editor).expect("a request").expect("changed");
    assert_eq!(
        ExportTraceServiceRequest::decode(spliced.wire().clone()),
        ExportTraceServiceRequest::decode(decoded(&bytes).as_slice()),
    );
    let mut group = criterion.benchmark_group("insert an attribute");
    group.throughput(Throughput::Elements(SPANS as u64));
    group.bench_function("splice", |b| b.iter(|| edit(&wire, &mut editor)));
    group.bench_function("decode and encode", |b| b.iter(|| decoded(&bytes)));
    group.finish();
}

criterion_group!(benches, insert);
criterion_main!(benches);

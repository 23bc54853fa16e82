//! What it costs to count a span: one request of 1000 spans with ten attributes each, of which two are dimensions, as it
//! comes over the network, beside what decoding the same request costs.

use std::hint::black_box;

use component::eval::Scope;
use components_otelcol::connector::spanmetrics::{Args, Connector};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue, any_value};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{Otlp, OtlpRequest, Traces};

const SPANS: u64 = 1000;

fn text(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

fn request() -> ExportTraceServiceRequest {
    let span = |n: u64| Span {
        trace_id: vec![n as u8; 16],
        span_id: vec![n as u8; 8],
        parent_span_id: vec![1; 8],
        name: format!("GET /api/{}", n % 20),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_000_000 + n * 1_000_000,
        attributes: ["a", "b", "c", "d", "http.method", "e", "f", "g", "http.route", "h"]
            .map(|key| text(key, format!("value {}", n % 5)))
            .into(),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..Default::default() }];
    let attributes = vec![text("service.name", "shop".into()), text("host.name", "h".into())];
    let resource = Some(Resource { attributes, ..Default::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..Default::default() }],
    }
}

fn args(histogram: &str) -> Args {
    let body = format!(
        "dimension {{ name = \"http.method\" }}\ndimension {{ name = \"http.route\" }}\nhistogram {{ {histogram} }}\noutput {{ }}"
    );
    let source = component::eval::syntax::Source::new("bench.alloy", body);
    let (file, _) = component::eval::syntax::parse(&source);
    let names = component::testkit::Names::default();
    let (args, diagnostics) = component::eval::decode(&source, &file.body, None, &Scope::new(&names));
    args.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn count(c: &mut Criterion) {
    let bytes = bytes::Bytes::from(request().encode_to_vec());
    let batch: Traces = Otlp::of(OtlpRequest::from_wire(bytes.clone(), SPANS as u32, None));
    let mut group = c.benchmark_group("spanmetrics");
    group.throughput(Throughput::Elements(SPANS));
    for (name, histogram) in [("explicit", ""), ("exponential", "exponential { }")] {
        let connector = Connector::detached(&args(histogram)).expect("valid arguments");
        group.bench_function(name, |b| b.iter(|| connector.count(black_box(&batch)).expect("spans")));
    }
    group.bench_function("decoding alone", |b| {
        b.iter(|| ExportTraceServiceRequest::decode(black_box(bytes.clone())).expect("spans"));
    });
    group.finish();
}

criterion_group!(benches, count);
criterion_main!(benches);

//! The program's own traces, through an exporter of its own.

use rustix::process::Signal;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::trace::v1::Span;

use crate::kit::otlp::{Backend, Content};
use crate::kit::{Program, get};

fn spans(backend: &Backend) -> Vec<Span> {
    let of = |content: Content| match content {
        Content::Traces(request) => request.resource_spans,
        _ => Vec::new(),
    };
    let resources = backend.received().into_iter().flat_map(of);
    resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn own_traces_tell_of_loads_and_requests_and_not_of_carrying_themselves() {
    let backend = Backend::start();
    let config = format!(
        "tracing {{\n\tsampling_fraction = 1\n\twrite_to = [otelcol.exporter.otlphttp.own.input]\n}}\n\
         otelcol.exporter.otlphttp \"own\" {{\n\tclient {{\n\t\tendpoint = \"http://{}\"\n\t}}\n}}\n\
         prometheus.echo \"default\" {{ }}\n",
        backend.address
    );
    let mut program = Program::start(&config);
    for _ in 0..3 {
        get(program.address, "/-/healthy").expect("an answer");
    }
    let answer = program.reload(&format!("{config}prometheus.exporter.self \"new\" {{ }}\n"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    program.signal(Signal::TERM);
    assert!(program.wait().success());
    let spans = spans(&backend);
    let named = |name: &str| spans.iter().filter(|s| s.name == name).collect::<Vec<_>>();
    assert!(named("GET /-/healthy").len() >= 3, "{spans:?}");
    let new = named("EvaluateNode")
        .into_iter()
        .find(|s| attribute(s, "node_id") == Some("prometheus.exporter.self.new"));
    let new = new.expect("the new node");
    let load = named("GraphEvaluate").into_iter().find(|s| s.trace_id == new.trace_id);
    let load = load.expect("the load that it is part of");
    assert!(load.start_time_unix_nano <= new.start_time_unix_nano);
    assert!(load.end_time_unix_nano >= new.end_time_unix_nano);
    let own = backend.address.to_string();
    let feeding = spans.iter().find(|s| attribute(s, "url.full").is_some_and(|url| url.contains(&own)));
    assert_eq!(feeding, None, "what carries spans makes none");
}

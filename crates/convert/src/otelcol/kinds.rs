//! The Collector's components that have another name or shape than ours.
//!
//! What is not listed is looked for by its name: `receivers: kafka` is `otelcol.receiver.kafka`, if there is one.

use crate::cx::{Cx, Fields};
use crate::fill::{Rule, To, rule};
use crate::out::{Block, Expr, Item, attribute, block_of};
use crate::yaml::{Key, Kind as Yaml, Node};

/// A kind of component.
pub struct Kind {
    /// `receiver`, `processor`, `connector`, `exporter` or `extension`.
    pub class: &'static str,
    /// Names in the Collector.
    pub types: &'static [&'static str],
    /// Name here.
    pub component: &'static str,
    /// What differs.
    pub rules: &'static [Rule],
    /// Blocks that hold what the Collector has one level higher.
    pub inner: &'static [(&'static str, &'static str)],
    /// Defaults of the Collector that are not ours: block, attribute, value.
    pub defaults: &'static [(&'static str, &'static str, &'static str)],
}

const fn kind(
    class: &'static str,
    types: &'static [&'static str],
    component: &'static str,
    rules: &'static [Rule],
) -> Kind {
    Kind { class, types, component, rules, inner: &[], defaults: &[] }
}

/// What all of them have.
pub const COMMON: &[Rule] = &[
    rule("auth", To::Own(auth)),
    rule("storage", To::Own(storage)),
    rule("grpc.max_recv_msg_size_mib", To::Size("max_recv_msg_size", "MiB")),
    rule("include.attributes", To::At("attribute")),
    rule("include.resources", To::At("resource")),
    rule("include.libraries", To::At("library")),
    rule("exclude.attributes", To::At("attribute")),
    rule("exclude.resources", To::At("resource")),
    rule("exclude.libraries", To::At("library")),
];

const PROTOCOLS: &[Rule] = &[rule("protocols", To::Here)];
const LIMITER: &[Rule] =
    &[rule("limit_mib", To::Size("limit", "MiB")), rule("spike_limit_mib", To::Size("spike_limit", "MiB"))];
const ACTIONS: &[Rule] = &[rule("actions", To::At("action"))];
const STATEMENTS: &[Rule] = &[
    rule("trace_statements", To::Own(statements)),
    rule("metric_statements", To::Own(statements)),
    rule("log_statements", To::Own(statements)),
];
const CONDITIONS: &[Rule] = &[
    rule("trace_conditions", To::Own(conditions)),
    rule("metric_conditions", To::Own(conditions)),
    rule("log_conditions", To::Own(conditions)),
];
const POLICIES: &[Rule] = &[rule("policies", To::At("policy"))];
const SPANMETRICS: &[Rule] =
    &[rule("dimensions", To::At("dimension")), rule("calls_dimensions", To::At("calls_dimension"))];
const COUNT: &[Rule] = &[
    rule("spans", To::Named("spans", "name")),
    rule("spanevents", To::Named("spanevents", "name")),
    rule("metrics", To::Named("metrics", "name")),
    rule("datapoints", To::Named("datapoints", "name")),
    rule("logs", To::Named("logs", "name")),
];
const BALANCING: &[Rule] = &[
    rule("otlp.auth", To::Own(client_auth)),
    rule("otlp.sending_queue", To::At("queue")),
    rule("otlp.retry_on_failure", To::At("retry")),
    rule(
        "otlp.endpoint",
        To::Warn("is what the resolver finds", "remove it: the Collector does not use it either"),
    ),
    rule("resolver.k8s", To::At("kubernetes")),
];
const CLIENT: &[Rule] = &[rule("auth", To::Own(client_auth))];
const LOGGING: &[Rule] = &[rule("loglevel", To::Own(verbosity))];
const BEARER: &[Rule] = &[rule("filename", To::Own(token_file))];
const HEADERS: &[Rule] = &[rule("headers", To::At("header"))];

/// All of them.
pub const KINDS: &[Kind] = &[
    Kind {
        defaults: &[("grpc", "endpoint", "\"localhost:4317\""), ("http", "endpoint", "\"localhost:4318\"")],
        ..kind("receiver", &["otlp"], "otelcol.receiver.otlp", PROTOCOLS)
    },
    Kind {
        defaults: &[
            ("protocols/grpc", "endpoint", "\"localhost:14250\""),
            ("protocols/thrift_http", "endpoint", "\"localhost:14268\""),
            ("protocols/thrift_binary", "endpoint", "\"localhost:6832\""),
            ("protocols/thrift_compact", "endpoint", "\"localhost:6831\""),
        ],
        ..kind("receiver", &["jaeger"], "otelcol.receiver.jaeger", &[])
    },
    Kind {
        defaults: &[("", "endpoint", "\"localhost:9411\"")],
        ..kind("receiver", &["zipkin"], "otelcol.receiver.zipkin", &[])
    },
    kind("receiver", &["filelog", "file_log"], "otelcol.receiver.filelog", &[]),
    kind("receiver", &["tcplog", "tcp_log"], "otelcol.receiver.tcplog", &[]),
    Kind {
        defaults: &[("", "send_batch_size", "8192"), ("", "send_batch_max_size", "0")],
        ..kind("processor", &["batch"], "otelcol.processor.batch", &[])
    },
    kind("processor", &["memory_limiter"], "otelcol.processor.memory_limiter", LIMITER),
    kind("processor", &["attributes"], "otelcol.processor.attributes", ACTIONS),
    Kind {
        defaults: &[("", "error_mode", "\"propagate\"")],
        ..kind("processor", &["transform"], "otelcol.processor.transform", STATEMENTS)
    },
    Kind {
        defaults: &[("", "error_mode", "\"propagate\"")],
        ..kind("processor", &["filter"], "otelcol.processor.filter", CONDITIONS)
    },
    kind("processor", &["tail_sampling"], "otelcol.processor.tail_sampling", POLICIES),
    kind("processor", &["metricstarttime", "metric_start_time"], "otelcol.processor.metric_start_time", &[]),
    kind(
        "processor",
        &["resourcedetection", "resource_detection"],
        "otelcol.processor.resourcedetection",
        &[],
    ),
    kind("connector", &["spanmetrics", "span_metrics"], "otelcol.connector.spanmetrics", SPANMETRICS),
    kind("connector", &["servicegraph", "service_graph"], "otelcol.connector.servicegraph", &[]),
    kind("connector", &["count"], "otelcol.connector.count", COUNT),
    kind("connector", &["signaltometrics", "signal_to_metrics"], "otelcol.connector.signaltometrics", &[]),
    Kind {
        inner: &[("", "client")],
        ..kind("exporter", &["otlp", "otlp_grpc"], "otelcol.exporter.otlp", CLIENT)
    },
    Kind {
        inner: &[("", "client")],
        ..kind("exporter", &["otlphttp", "otlp_http"], "otelcol.exporter.otlphttp", CLIENT)
    },
    Kind {
        inner: &[("protocol/otlp", "client")],
        ..kind("exporter", &["loadbalancing", "load_balancing"], "otelcol.exporter.loadbalancing", BALANCING)
    },
    kind("exporter", &["debug", "logging"], "otelcol.exporter.debug", LOGGING),
    kind("extension", &["basicauth", "basic_auth"], "otelcol.auth.basic", &[]),
    kind("extension", &["bearertokenauth", "bearer_token_auth"], "otelcol.auth.bearer", BEARER),
    kind("extension", &["headers_setter"], "otelcol.auth.headers", HEADERS),
    kind("extension", &["oauth2client", "oauth2_client"], "otelcol.auth.oauth2", &[]),
    kind("extension", &["sigv4auth", "sigv4_auth"], "otelcol.auth.sigv4", &[]),
    kind("extension", &["file_storage"], "otelcol.storage.file", &[]),
];

/// `auth: {authenticator: basicauth}`
fn auth(cx: &mut Cx<'_>, _: &Key, node: &Node, items: &mut Vec<Item>) {
    let mut fields = Fields::of(cx, node, "auth");
    if let Some(node) = fields.take("authenticator") {
        handler(cx, node, "auth", items);
    }
    fields.finish(cx);
}

/// The same of an exporter, whose connection is its block `client`.
fn client_auth(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    auth(cx, key, node, block_of(items, "client"));
}

/// `storage: file_storage`
fn storage(cx: &mut Cx<'_>, _: &Key, node: &Node, items: &mut Vec<Item>) {
    handler(cx, node, "storage", items);
}

fn handler(cx: &mut Cx<'_>, node: &Node, name: &str, items: &mut Vec<Item>) {
    let id = node.text().unwrap_or_default();
    match cx.handlers.get(id).cloned() {
        Some(handler) => items.push(attribute(name, handler)),
        None => {
            let message = format!("there is no extension {id} that could be converted");
            cx.error(
                "unsupported",
                node.span,
                message,
                "define it in extensions and list it in service.extensions",
            );
        }
    }
}

/// A list of statements, or of groups of them.
fn statements(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let signal = key.text.trim_end_matches("_statements");
    let Yaml::List(list) = &node.kind else { return cx.wrong(node, &key.text, "a list") };
    if list.iter().all(|n| n.text().is_some()) {
        if let Some(texts) = cx.typed("list(string)", &key.text, node) {
            block_of(items, "statements").push(attribute(signal, texts));
        }
        return;
    }
    for item in list {
        let mut fields = Fields::of(cx, item, key.text.as_str());
        let mut inner = Vec::new();
        for (name, of) in [
            ("context", "string"),
            ("conditions", "list(string)"),
            ("statements", "list(string)"),
            ("error_mode", "string"),
        ] {
            let value = fields.take(name).and_then(|n| cx.typed(of, name, n));
            inner.extend(value.map(|v| attribute(name, v)));
        }
        fields.finish(cx);
        items.push(Item::Block(Block::new(key.text.clone(), inner)));
    }
}

/// A list of conditions, or of groups of them.
fn conditions(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let Yaml::List(list) = &node.kind else { return cx.wrong(node, &key.text, "a list") };
    let bare: Vec<_> =
        list.iter().filter_map(|n| n.text().map(|t| (t, n.span))).map(|(t, span)| cx.text(t, span)).collect();
    if !bare.is_empty() {
        items
            .push(Item::Block(Block::new(key.text.clone(), vec![attribute("conditions", Expr::List(bare))])));
    }
    for item in list.iter().filter(|n| n.text().is_none()) {
        let mut fields = Fields::of(cx, item, key.text.as_str());
        let mut inner = Vec::new();
        for (name, of) in [("context", "string"), ("conditions", "list(string)")] {
            let value = fields.take(name).and_then(|n| cx.typed(of, name, n));
            inner.extend(value.map(|v| attribute(name, v)));
        }
        fields.finish(cx);
        items.push(Item::Block(Block::new(key.text.clone(), inner)));
    }
}

/// The old exporter `logging` says a level.
fn verbosity(cx: &mut Cx<'_>, _: &Key, node: &Node, items: &mut Vec<Item>) {
    match node.text() {
        Some("debug") => items.push(attribute("verbosity", Expr::text("detailed"))),
        Some("info") => items.push(attribute("verbosity", Expr::text("normal"))),
        Some("warn" | "error") => items.push(attribute("verbosity", Expr::text("basic"))),
        _ => cx.wrong(node, "loglevel", "debug, info, warn or error"),
    }
}

fn token_file(cx: &mut Cx<'_>, key: &Key, node: &Node, items: &mut Vec<Item>) {
    let path = cx.text(node.text().unwrap_or_default(), node.span);
    let content = cx.file("bearer_token", path, true, key.span);
    items.push(attribute("token", content));
}

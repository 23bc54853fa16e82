//! Payloads over a real socket: lines, spans, limits, hostile pages, reloads, and the real SDK by hand.

use std::time::Duration;

use component::eval::Arguments;
use component::otel::OtelInput;
use component::testkit::{Harness, Names, Refused, Sink, surface};
use component::{ArgValue, ComponentDef, Rejected, Services};
use net::testkit::{Backend, Reply};
use signal::Logs;
use signal::otlp::Traces;
use tokio::net::TcpStream;

use super::{Args, FaroReceiver};
use crate::receiver::bench::{Answer, free_port, gzip, listening, send};

const DEFINITION: ComponentDef = ComponentDef::of::<FaroReceiver>();
const OUTPUT: &str = "output {\n logs = [logs]\n traces = [traces]\n}";
/// What the SDK posts, with spans.
const PAYLOAD: &str = r#"{"meta":{"app":{"name":"shop","environment":"prod"},"browser":{"mobile":true}},
    "logs":[{"message":"hello","level":"info","timestamp":"2023-01-01T00:00:00.5Z","context":{}}],
    "events":[{"name":"click","attributes":{"id":"1"},"timestamp":"2023-01-01T00:00:00Z"}],
    "traces":{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"spans":[
        {"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"fetch","kind":3,
         "startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}}"#;

struct Bench {
    harness: Harness,
    logs: Sink<Logs>,
    traces: Sink<Traces>,
    port: u16,
}

fn config(port: u16, server: &str, rest: &str) -> String {
    format!("server {{\n listen_port = {port}\n{server}\n}}\n{rest}")
}

impl Bench {
    async fn with(server: &str, rest: &str) -> Self {
        let (logs, traces, port) = (Sink::new(), Sink::new(), free_port());
        let input = OtelInput { traces: Some(traces.receiver()), ..OtelInput::default() };
        let names = Names::default().with("logs", logs.value()).with("traces", input.to_value());
        let harness = Harness::start(DEFINITION, &config(port, server, rest), names).await;
        listening(port).await;
        Self { harness, logs, traces, port }
    }

    async fn post(&self, headers: &str, body: &[u8]) -> Answer {
        send(self.port, &format!("POST /collect HTTP/1.1\r\n{headers}"), body).await
    }

    fn lines(&self) -> Vec<String> {
        self.logs.take().iter().flat_map(|b| b.entries.iter().map(|e| e.line.to_string())).collect()
    }

    fn counted(&self, name: &str, labels: &str) -> Option<String> {
        let text = self.harness.services.metrics.text();
        let line = text.lines().find(|l| l.starts_with(name) && l.contains(labels))?;
        line.rsplit(' ').next().map(str::to_owned)
    }
}

#[tokio::test]
async fn a_payload_becomes_lines_and_spans() {
    let labels = "extra_log_labels = { app = \"fixed\", kind = \"\", app_name = \"\", missing = \"\" }";
    let bench = Bench::with("include_metadata = true", &format!("{labels}\n{OUTPUT}")).await;
    let answer = bench.post("Content-Type: application/json\r\nX-Tenant: t\r\n", PAYLOAD.as_bytes()).await;
    assert_eq!((answer.status, &answer.body[..]), (202, &b"ok"[..]), "{answer:?}");
    let batch = bench.logs.take().remove(0);
    let lines: Vec<_> =
        batch.entries.iter().map(|e| (batch.labels(e).to_string(), e.line.to_string())).collect();
    let meta = "app_name=shop app_environment=prod browser_mobile=true";
    assert_eq!(
        lines[0].1,
        format!("timestamp=\"2023-01-01 00:00:00.5 +0000 UTC\" kind=log message=hello level=info {meta}")
    );
    assert_eq!(
        lines[1].1,
        format!(
            "timestamp=\"2023-01-01 00:00:00 +0000 UTC\" kind=event event_name=click event_data_id=1 {meta}"
        )
    );
    assert_eq!(lines[0].0, "{app=\"fixed\", app_name=\"shop\", kind=\"log\"}");
    assert_eq!(lines[1].0, "{app=\"fixed\", app_name=\"shop\", kind=\"event\"}");
    let traces = bench.traces.take().remove(0);
    let request = traces.requests[0].message().expect("decodes");
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "fetch");
    assert_eq!(traces.client.as_ref().expect("noted").values("x-tenant").collect::<Vec<_>>(), ["t"]);
    for (name, count) in [("logs", "1"), ("events", "1"), ("exceptions", "0"), ("measurements", "0")] {
        assert_eq!(
            bench.counted(&format!("faro_receiver_{name}_total"), "").as_deref(),
            Some(count),
            "{name}"
        );
    }
    assert_eq!(
        bench.counted("faro_receiver_request_duration_seconds_count", "status_code=\"202\"").as_deref(),
        Some("1")
    );
    let packed = bench.post("Content-Encoding: gzip\r\n", &gzip(PAYLOAD.as_bytes())).await;
    assert_eq!((packed.status, bench.lines().len()), (202, 2));
    bench
        .harness
        .update(&config(bench.port, "", &format!("log_format = \"json\"\n{OUTPUT}")))
        .await
        .expect("updated");
    bench.post("", PAYLOAD.as_bytes()).await;
    let lines = bench.lines();
    assert!(
        lines[0].starts_with("{\"app_environment\":\"prod\",") && lines[0].contains("\"kind\":\"log\""),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_page_hears_what_became_of_its_payload() {
    let bench = Bench::with("", OUTPUT).await;
    bench.logs.answer(Err(Rejected::Permanent("never".into())));
    assert_eq!(bench.post("", PAYLOAD.as_bytes()).await.status, 400);
    bench.traces.answer(Err(Rejected::Retryable("full".into())));
    let answer = bench.post("", PAYLOAD.as_bytes()).await;
    assert!(answer.status == 503 && answer.head.contains("retry-after"), "{answer:?}");
    bench.logs.answer(Ok(()));
    assert_eq!(bench.post("", PAYLOAD.as_bytes()).await.status, 503);
    assert_eq!(bench.counted("faro_receiver_exporter_errors_total", "logs exporter").as_deref(), Some("2"));
    assert_eq!(bench.counted("faro_receiver_exporter_errors_total", "traces exporter").as_deref(), Some("2"));
    assert_eq!(bench.counted("faro_receiver_logs_total", "").as_deref(), Some("0"));
    let nowhere = Bench::with("", "output { }").await;
    assert_eq!(nowhere.post("", PAYLOAD.as_bytes()).await.status, 202);
    assert_eq!(nowhere.counted("faro_receiver_unserved_items_total", "logs").as_deref(), Some("2"));
    assert_eq!(nowhere.counted("faro_receiver_unserved_items_total", "traces").as_deref(), Some("1"));
}

#[tokio::test]
async fn keys_origins_paths_and_methods_are_checked() {
    let bench = Bench::with("api_key = \"k\"\ncors_allowed_origins = [\"https://*.shop\"]", OUTPUT).await;
    for (headers, status) in
        [("", 401), ("X-API-Key: x\r\n", 401), ("X-API-Key: k\r\n", 202), ("X-API-Key: kk\r\n", 401)]
    {
        assert_eq!(bench.post(headers, PAYLOAD.as_bytes()).await.status, status, "{headers}");
    }
    let asks = |origin: &str, header: &str| {
        format!(
            "OPTIONS /collect HTTP/1.1\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: {header}\r\n"
        )
    };
    let granted = send(
        bench.port,
        &asks("https://a.shop", "content-type,x-api-key,x-faro-session-id,traceparent"),
        b"",
    )
    .await;
    assert!(
        granted.status == 204 && granted.head.contains("access-control-allow-origin: https://a.shop"),
        "{granted:?}"
    );
    assert!(!granted.head.contains("allow-credentials"), "{granted:?}");
    for (origin, header) in [("https://evil", "content-type"), ("https://a.shop", "x-other")] {
        let refused = send(bench.port, &asks(origin, header), b"").await;
        assert!(!refused.head.contains("access-control-allow-origin"), "{refused:?}");
    }
    assert_eq!(send(bench.port, "GET /collect HTTP/1.1\r\n", b"").await.status, 405);
    assert_eq!(send(bench.port, "POST /other HTTP/1.1\r\n", b"").await.status, 404);
    let ready = send(bench.port, "GET /-/ready HTTP/1.1\r\n", b"").await;
    assert_eq!((ready.status, &ready.body[..]), (200, &b"ready"[..]));
}

#[tokio::test]
async fn requests_are_limited_for_all_or_for_each_app() {
    let limit = |strategy: &str| {
        format!("rate_limiting {{\n strategy = \"{strategy}\"\n rate = 0.001\n burst_size = 2\n}}")
    };
    let bench = Bench::with(&limit("global"), OUTPUT).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(bench.post("", PAYLOAD.as_bytes()).await.status);
    }
    assert_eq!(found, [202, 202, 429, 429]);
    let bench = Bench::with(&limit("per_app"), OUTPUT).await;
    let mut found = Vec::new();
    for app in ["shop", "shop", "shop", "other", "shop"] {
        found.push(bench.post("", PAYLOAD.replace("shop", app).as_bytes()).await.status);
    }
    assert_eq!(found, [202, 202, 429, 202, 429]);
    assert_eq!(
        bench
            .counted("faro_receiver_rate_limiter_requests_total", "allowed=\"false\",app=\"shop\"")
            .as_deref(),
        Some("2")
    );
    assert_eq!(bench.counted("faro_receiver_rate_limiter_active_app", "").as_deref(), Some("2"));
    let bench = Bench::with("rate_limiting {\n enabled = false\n burst_size = 0\n}", OUTPUT).await;
    assert_eq!(bench.post("", PAYLOAD.as_bytes()).await.status, 202);
}

#[tokio::test]
async fn hostile_payloads_are_refused_and_the_next_page_is_served() {
    let bench =
        Bench::with("max_allowed_payload_size = \"1MiB\"\nrate_limiting {\n enabled = false\n}", OUTPUT)
            .await;
    let deep = "[".repeat(100_000);
    let nested = format!("{{\"logs\":[{deep}");
    let page = "x".repeat(200_000);
    let repeated = format!(
        "{{\"logs\":[{}],\"meta\":{{\"page\":{{\"url\":\"{page}\"}}}}}}",
        vec!["{}"; 50_000].join(",")
    );
    let span_of = |id: &str| PAYLOAD.replace("0102030405060708\"", id);
    for (headers, body, status) in [
        ("", Vec::new(), 400),
        ("", b"null".to_vec(), 400),
        ("", deep.into_bytes(), 400),
        ("", nested.into_bytes(), 400),
        ("", vec![0xff; 1000], 400),
        ("", repeated.into_bytes(), 400),
        ("", span_of("xyz\"").into_bytes(), 400),
        ("", PAYLOAD.replace("resourceSpans\":[", "resourceSpans\":7,\"x\":[").into_bytes(), 400),
        ("", vec![b' '; 2 << 20], 413),
        ("Content-Encoding: gzip\r\n", gzip(&vec![b' '; 2 << 20]), 413),
        ("Content-Encoding: br\r\n", PAYLOAD.as_bytes().to_vec(), 415),
    ] {
        let answer = bench.post(headers, &body).await;
        assert_eq!(answer.status, status, "{headers} {:.80?} {answer:?}", body);
    }
    for end in (0..PAYLOAD.len() - 1).step_by(13) {
        assert_eq!(bench.post("", &PAYLOAD.as_bytes()[..end]).await.status, 400, "{end}");
    }
    assert!(
        bench.logs.take().is_empty() && bench.traces.take().is_empty(),
        "nothing of all that gets through"
    );
    assert_eq!(bench.post("", PAYLOAD.as_bytes()).await.status, 202);
    assert_eq!(bench.lines().len(), 2);
}

#[tokio::test]
async fn stack_traces_are_translated_on_their_way() {
    let server = Backend::start(|posted| {
        let body = if posted.path == "/x.js" {
            "//# sourceMappingURL=x.map".to_owned()
        } else {
            r#"{"version":3,"sources":["src/x.ts"],"names":["outer"],"mappings":"AASIA"}"#.to_owned()
        };
        Reply::Answer { status: 200, headers: Vec::new(), body }
    })
    .await;
    let origins = format!("sourcemaps {{\n download_from_origins = [\"{}\"]\n}}", server.base());
    let bench = Bench::with("", &format!("{origins}\n{OUTPUT}")).await;
    let body = format!(
        r#"{{"exceptions":[{{"type":"E","value":"v","trace":{{"trace_id":"t"}},"stacktrace":{{"frames":[
            {{"function":"a","filename":"{0}/x.js","lineno":1,"colno":5}},
            {{"function":"b","filename":"{0}/x.js","lineno":2,"colno":5}}]}}}}]}}"#,
        server.base()
    );
    assert_eq!(bench.post("", body.as_bytes()).await.status, 202);
    let line = bench.lines().remove(0);
    let frames = format!("E: v\\n  at outer ({0}/src/x.ts:10:4)\\n  at b ({0}/x.js:2:5)", server.base());
    assert!(line.contains(&frames) && line.contains("traceID=t"), "{line}");
    // What is remembered survives a change of other arguments.
    bench
        .harness
        .update(&config(bench.port, "api_key = \"\"", &format!("{origins}\nlog_format = \"json\"\n{OUTPUT}")))
        .await
        .expect("updated");
    assert_eq!(bench.post("", body.as_bytes()).await.status, 202);
    assert_eq!(server.all().len(), 2);
    assert_eq!(bench.counted("faro_receiver_sourcemap_cache_size", "origin").as_deref(), Some("1"));
    bench
        .harness
        .update(&config(bench.port, "", &format!("sourcemaps {{\n download = false\n}}\n{OUTPUT}")))
        .await
        .expect("updated");
    assert_eq!(bench.post("", body.as_bytes()).await.status, 202);
    assert!(!bench.lines().pop().expect("a line").contains("x.ts"));
}

#[tokio::test]
async fn a_change_of_port_moves_the_receiver_and_a_bad_one_changes_nothing() {
    let bench = Bench::with("", OUTPUT).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let other = taken.local_addr().expect("bound").port();
    assert!(matches!(bench.harness.update(&config(other, "", OUTPUT)).await, Err(Refused::Error(_))));
    assert_eq!(bench.post("", PAYLOAD.as_bytes()).await.status, 202);
    let port = free_port();
    bench.harness.update(&config(port, "", OUTPUT)).await.expect("updated");
    listening(port).await;
    let answer = send(port, "POST /collect HTTP/1.1\r\n", PAYLOAD.as_bytes()).await;
    assert_eq!(answer.status, 202);
    bench.harness.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused() {
    for (body, part) in [
        ("server {\n listen_port = 70000\n}", "listen_port must be"),
        ("server {\n cors_allowed_origins = [\"*a*\"]\n}", "more than one *"),
        ("server {\n rate_limiting {\n rate = -1\n}\n}", "rate must be"),
        ("server {\n rate_limiting {\n strategy = \"x\"\n}\n}", "per_app"),
        ("log_format = \"xml\"", "logfmt"),
        ("extra_log_labels = { \"a b\" = \"\" }", "not the name of a label"),
        (
            "sourcemaps {\n location {\n path = \"{{ .X }}\"\n minified_path_prefix = \"\"\n}\n}",
            "is not known",
        ),
        ("sourcemaps {\n location {\n path = \"x\"\n}\n}", "minified_path_prefix"),
        ("sourcemaps {\n cache {\n cleanup_check_interval = \"0s\"\n}\n}", "above 0"),
    ] {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        match harness.update(&format!("{body}\noutput {{}}")).await {
            Err(Refused::Diagnostics(all)) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{body}: {all:?}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let lines = surface(Args::schema());
    for line in [
        "extra_log_labels map(string)",
        "log_format string(LogFormat) = \"logfmt\"",
        "server.listen_address string = \"127.0.0.1\"",
        "server.listen_port int = 12347",
        "server.cors_allowed_origins list(string)",
        "server.api_key secret",
        "server.max_allowed_payload_size size(base2) = \"5MiB\"",
        "server.include_metadata bool",
        "server.rate_limiting.enabled bool = true",
        "server.rate_limiting.strategy string(RateLimitingStrategy) = \"global\"",
        "server.rate_limiting.rate float = 50",
        "server.rate_limiting.burst_size float = 100",
        "sourcemaps.download bool = true",
        "sourcemaps.download_from_origins list(string) = [\"*\"]",
        "sourcemaps.download_timeout duration = \"1s\"",
        "sourcemaps.cache.ttl duration",
        "sourcemaps.cache.error_cleanup_interval duration = \"1h\"",
        "sourcemaps.cache.cleanup_check_interval duration = \"30s\"",
        "sourcemaps.location.path string required",
        "sourcemaps.location.minified_path_prefix string required",
        "output.logs list(capsule(LogsReceiver))",
        "output.traces list(capsule(otelcol.Consumer))",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
    }
}

/// `@grafana/faro-core` of npm with a transport that posts, by hand; see `tests/client.mjs`:
/// `FARO_CLIENT="node client.mjs" cargo test -p components-otelcol faro_sdk -- --ignored`.
#[tokio::test]
#[ignore = "needs the SDK: node with the packages that client.mjs names; name the command in FARO_CLIENT"]
async fn the_real_faro_sdk_delivers_its_items() {
    let command = std::env::var("FARO_CLIENT").expect("FARO_CLIENT is a command");
    let bench = Bench::with("", OUTPUT).await;
    let mut words = command.split_whitespace();
    let mut run = tokio::process::Command::new(words.next().expect("a command"));
    run.args(words).env("FARO_URL", format!("http://127.0.0.1:{}/collect", bench.port));
    let output = tokio::time::timeout(Duration::from_secs(60), run.output()).await;
    let output = output.expect("in time").expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = bench.lines();
    for part in [
        "kind=log message=hello",
        "kind=exception type=TypeError",
        "kind=measurement type=custom",
        "kind=event event_name=click",
        "app_name=shop",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
    assert!(!bench.traces.take().is_empty(), "spans were posted");
}

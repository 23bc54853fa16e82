//! OpenTelemetry's own Python SDK as the client. By hand, for it needs that package:
//! `OTEL_PYTHON=<venv>/bin/python cargo test -p components-otelcol sdk -- --ignored`.

use signal::otlp::proto::metrics::v1::metric::Data;

use super::bench::Bench;

const SCRIPT: &str = include_str!("sdk.py");

#[tokio::test]
#[ignore = "needs Python with opentelemetry-sdk and opentelemetry-exporter-otlp; name it in OTEL_PYTHON"]
async fn the_python_sdk_delivers_three_signals_over_both_protocols() {
    let python = std::env::var("OTEL_PYTHON").expect("OTEL_PYTHON names a Python with the SDK");
    let bench = Bench::start().await;
    for (protocol, port) in [("grpc", bench.grpc), ("http", bench.http)] {
        for compression in ["none", "gzip", "deflate"] {
            let run = tokio::process::Command::new(&python)
                .args(["-c", SCRIPT, protocol, compression])
                .arg(format!("http://127.0.0.1:{port}"))
                .output();
            let output = run.await.expect("Python runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{protocol} {compression}: {errors}");

            let traces = bench.sinks.traces.take();
            let kept = traces[0].requests[0].packed().map(|p| p.encoding);
            assert_eq!(kept, (compression == "gzip").then_some("gzip"), "{protocol}");
            let request = traces[0].requests[0].message().expect("decodes");
            let spans = &request.resource_spans[0].scope_spans[0].spans;
            let names: Vec<_> = spans.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(names, ["inner", "outer"], "{protocol} {compression}");

            let metrics = bench.sinks.metrics.take();
            let request = metrics[0].requests[0].message().expect("decodes");
            let found = &request.resource_metrics[0].scope_metrics[0].metrics;
            assert_eq!(found.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["hits", "took"]);
            assert!(matches!(found[1].data, Some(Data::Histogram(_))), "{protocol} {compression}");

            let logs = bench.sinks.logs.take();
            assert_eq!(logs.iter().map(signal::otlp::OtlpLogs::items).sum::<usize>(), 1, "{protocol}");
        }
    }
}

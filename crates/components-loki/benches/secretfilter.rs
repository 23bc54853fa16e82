//! What `loki.secretfilter` costs a line, by what is in it. The figure is the time for one line.

use components_loki::secretfilter::config;
use components_loki::secretfilter::redact::{Redaction, redact};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Lines of some 150 bytes.
fn lines() -> [(&'static str, String); 4] {
    let token = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5";
    [
        (
            "no keyword",
            "level=info ts=2024-05-01T10:00:00.123456Z caller=main.go:42 msg=\"request served\" method=GET \
             path=/v1/items/4711 status=200 duration=12.3ms bytes=8192 peer=10.0.0.7"
                .to_string(),
        ),
        (
            "access log",
            "10.0.0.7 - - [10/Oct/2023:13:55:36 +0000] \"GET /shop/cart?page=2 HTTP/1.1\" 200 2326 \
             \"https://example.com/start\" \"Mozilla/5.0 (X11; Linux x86_64)\""
                .to_string(),
        ),
        (
            "keyword, no secret",
            "level=warn ts=2024-05-01T10:00:00.123456Z caller=auth.go:42 msg=\"the token has expired\" \
             user=4711 path=/v1/items/4711 status=401 duration=12.3ms peer=10.0.0.7"
                .to_string(),
        ),
        (
            "secret",
            format!(
                "level=warn ts=2024-05-01T10:00:00.123456Z caller=git.go:42 msg=\"clone failed\" \
                 url=repo status=401 with=ghp_{token} duration=12.3ms peer=10.0.0.7"
            ),
        ),
    ]
}

fn scan(c: &mut Criterion) {
    let detector = config::builtin();
    let redaction = Redaction::new("<$SECRET_NAME:$SECRET_HASH>", 80);
    let mut group = c.benchmark_group("secretfilter");
    for (name, line) in lines() {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let scan = detector.scan(std::hint::black_box(&line));
                (!scan.findings.is_empty()).then(|| redact(&line, &scan.findings, &detector, &redaction))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);

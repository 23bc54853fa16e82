//! Reading and printing a configuration of about a thousand lines.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use syntax::{Source, format, parse, references};

fn configuration() -> String {
    let mut text = String::new();
    for n in 0..64 {
        let _ = write!(
            text,
            r#"// Scrapes service {n}.
prometheus.scrape "service_{n}" {{
	targets = concat(
		discovery.kubernetes.pods.targets,
		[{{"__address__" = "host-{n}:9090", "job" = "service"}}],
	)
	forward_to      = [prometheus.relabel.service_{n}.receiver] // next
	scrape_interval = "15s"
	honor_labels    = {n} > 3 && !false

	clustering {{
		enabled = true
	}}
}}

prometheus.relabel "service_{n}" {{
	rule {{
		action        = "replace"
		source_labels = ["__meta_kubernetes_namespace", "__name__"]
		regex         = `^(.+);go_\d+$`
	}}
	forward_to = [prometheus.remote_write.default.receiver]
}}

"#
        );
    }
    text
}

fn benches(c: &mut Criterion) {
    let text = configuration();
    let source = Source::new("bench", text.as_str());
    let (file, problems) = parse(&source);
    assert!(problems.is_empty());
    let mut group = c.benchmark_group("syntax");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&source))));
    group.bench_function("format", |b| b.iter(|| format(black_box(&file))));
    group.bench_function("references", |b| b.iter(|| references(black_box(&file.body))));
    group.finish();
}

criterion_group!(syntax_benches, benches);
criterion_main!(syntax_benches);

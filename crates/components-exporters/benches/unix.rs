//! What a scrape of this machine costs: all default collectors, and writing what they gave.

use components_exporters::unix::{Collectors, Config};
use criterion::{Criterion, criterion_group, criterion_main};
use signal::exposition::write_text;

fn scrape(c: &mut Criterion) {
    let mut collectors = Collectors::new(&Config::default()).expect("the defaults are valid");
    c.bench_function("unix/collect_all", |b| b.iter(|| collectors.collect_all()));
    let families = collectors.collect_all();
    let mut page = String::new();
    c.bench_function("unix/write_text", |b| {
        b.iter(|| {
            page.clear();
            write_text(&families, &mut page);
        });
    });
    // The collectors one by one show where the time goes.
    let names: Vec<_> = collectors.names().collect();
    for name in names {
        let config = Config { set_collectors: vec![name.to_string()], ..Config::default() };
        let mut collectors = Collectors::new(&config).expect("each runs alone");
        c.bench_function(&format!("unix/{name}"), |b| b.iter(|| collectors.collect_all()));
    }
}

criterion_group!(benches, scrape);
criterion_main!(benches);

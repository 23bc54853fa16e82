//! From a page to a batch: the part of a scrape that is paid for every sample.
//!
//! `first` is a page of 1,900 series that nothing is known of, `again` the same page with other values, and
//! `moved` the page with its lines in another order, which is what a target with unordered output costs.
//! Divide by 1,900 for the time a sample.

use std::hint::black_box;

use components_prometheus::scrape::page::{Memory, Rules, Scratch, read};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signal::{Labels, SampleBatch};
use wire::exposition::Format;

const SERIES: usize = 1900;

/// Histograms, counters and gauges about as an HTTP service has them.
fn lines(round: usize) -> Vec<String> {
    (0..SERIES)
        .map(|i| match i % 19 {
            0..=11 => format!(
                "http_request_duration_seconds_bucket{{method=\"GET\",handler=\"/api/v1/resource/{}\",code=\"200\",le=\"{}\"}} {}",
                i / 19,
                [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0][i % 19],
                i * 7 + round
            ),
            12..=15 => format!(
                "http_requests_total{{method=\"GET\",handler=\"/api/v1/resource/{}\",code=\"{}\"}} {}",
                i / 19,
                200 + i % 19,
                i + round
            ),
            _ => format!("process_pool_usage_ratio{{pool=\"pool-{}\",kind=\"{}\"}} 0.{}", i / 19, i % 19, 100 + round % 900),
        })
        .collect()
}

fn page(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}

fn benches(c: &mut Criterion) {
    let rules = Rules::plain(Labels::from_pairs([("instance", "10.0.0.1:9100"), ("job", "node")]));
    let mut group = c.benchmark_group("scrape");
    group.throughput(Throughput::Elements(SERIES as u64));
    let pages = [page(&lines(1)), page(&lines(2))];
    let mut moved = lines(1);
    moved.rotate_left(700);
    moved.swap(3, 900);
    let moved = [pages[0].clone(), page(&moved)];

    let mut scratch = Scratch::default();
    let mut scrape = |memory: &mut Memory, body: &[u8], time: i64| {
        let mut batch = SampleBatch::default();
        let (tally, result) =
            read(memory, &mut scratch, &rules, (Format::PrometheusText, body), time, &mut batch);
        result.expect("a good page");
        assert_eq!(tally.added, SERIES);
        black_box(batch);
    };
    group.bench_function("first", |b| b.iter(|| scrape(&mut Memory::default(), &pages[0], 1)));
    for (name, pages) in [("again", &pages), ("moved", &moved)] {
        let (mut memory, mut time) = (Memory::default(), 0);
        scrape(&mut memory, &pages[0], time);
        group.bench_function(name, |b| {
            b.iter(|| {
                time += 1;
                scrape(&mut memory, &pages[time as usize % 2], time);
            })
        });
    }
    // The page has come twice: only its values are taken.
    let format = Format::PrometheusText;
    let mut memory = Memory::default();
    let mut batch = SampleBatch::default();
    for (page, time) in pages.iter().zip(1..) {
        batch = SampleBatch::default();
        read(&mut memory, &mut scratch, &rules, (format, page), time, &mut batch).1.expect("a good page");
    }
    memory.learn(&pages[1], 0, &mut batch);
    let mut time = 3;
    group.bench_function("row", |b| {
        b.iter(|| {
            time += 1;
            let page = &pages[time as usize % 2];
            let values = memory.repeat(&rules, (format, page), time).expect("a page that repeats");
            black_box(memory.row(time, values).expect("read"));
        })
    });
    group.finish();
}

criterion_group!(scrape, benches);
criterion_main!(scrape);

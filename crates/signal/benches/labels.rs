//! The costs of label sets: a new series from its pairs (first scrape, receivers), a handle on the
//! per-sample path, a lookup, and five relabelling rules with and without the cache; and what it takes to put the series
//! of a target in writing and to have them again.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use signal::relabel::{Action, CacheBound, RelabelCache, Rule, Rules};
use signal::samples::NO_FAMILY;
use signal::{FamilyList, Labels, LabelsBuilder, NameScheme, Regex, Series, SeriesList};

const PAIRS: [(&str, &str); 10] = [
    ("__name__", "http_request_duration_seconds_bucket"),
    ("cluster", "production-eu-west-2"),
    ("container", "frontend"),
    ("instance", "10.42.17.133:9100"),
    ("job", "integrations/kubernetes/frontend"),
    ("le", "0.25"),
    ("method", "GET"),
    ("namespace", "shop"),
    ("pod", "frontend-6d9fb7c9c4-x2x7p"),
    ("route", "/api/v1/carts/:id/items"),
];

fn rules() -> Rules {
    let rule = |sources: &[&str], regex: &str, target: &str, replacement: &str, action| Rule {
        source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
        regex: Regex::anchored(regex).expect("a valid pattern"),
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        action,
        ..Rule::default()
    };
    let rules = vec![
        rule(&["__name__"], "go_.*", "", "$1", Action::Drop),
        rule(&["namespace", "pod"], "([^;]+);(.+)", "workload", "$1/$2", Action::Replace),
        rule(&["instance"], r"([^:]+)(?::\d+)?", "host", "$1", Action::Replace),
        rule(&[], "(.*)", "env", "prod", Action::Replace),
        rule(&[], "container|route", "", "$1", Action::LabelDrop),
    ];
    Rules::new(rules, NameScheme::Legacy).expect("valid rules")
}

fn labels(c: &mut Criterion) {
    let labels = Labels::from_pairs(PAIRS);
    let series = Series::intern(labels.clone());

    c.bench_function("labels/from_pairs, 10 labels", |b| b.iter(|| Labels::from_pairs(black_box(PAIRS))));
    c.bench_function("labels/get, last of 10", |b| b.iter(|| labels.get(black_box("route"))));
    c.bench_function("series/clone and drop", |b| b.iter(|| black_box(&series).clone()));
    let mut builder = LabelsBuilder::new();
    c.bench_function("builder/set one and intern, alive", |b| {
        builder.reset(&labels);
        builder.set("pod", "other");
        let _held = builder.build_series();
        b.iter(|| {
            builder.reset(black_box(&labels));
            builder.set("pod", "other");
            builder.build_series()
        });
    });
    c.bench_function("builder/set one and intern, new", |b| {
        b.iter(|| {
            builder.reset(black_box(&labels));
            builder.set("pod", "another");
            builder.build_series()
        });
    });
    let rules = rules();
    c.bench_function("relabel/five rules", |b| b.iter(|| rules.relabel(black_box(&labels))));
    let cache = RelabelCache::new(CacheBound::Entries(100_000));
    let now = Instant::now();
    c.bench_function("relabel/five rules, cached", |b| {
        b.iter(|| cache.relabel(&rules, black_box(&series), now))
    });
}

fn lists(c: &mut Criterion) {
    const SERIES: usize = 1_900;
    let labels = |i: usize| {
        let (route, le) = (format!("/api/v1/resource/{}", i / 20), format!("0.{}", i % 20));
        let changed = [("route", route.as_str()), ("le", le.as_str())];
        Labels::from_pairs(PAIRS.into_iter().chain(changed))
    };
    let list = || {
        let series = (0..SERIES).map(|i| Series::intern(labels(i))).collect();
        SeriesList::new(series, vec![NO_FAMILY; SERIES], FamilyList::default())
    };
    let mut group = c.benchmark_group("list");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("pack, the first time", |b| {
        b.iter_batched(list, |list| list.pack(), BatchSize::PerIteration);
    });
    let list = list();
    list.pack();
    group.bench_function("unpack and let go", |b| {
        b.iter(|| {
            drop(black_box(&list).series());
            list.pack();
        });
    });
    group.finish();
}

criterion_group!(benches, labels, lists);
criterion_main!(benches);

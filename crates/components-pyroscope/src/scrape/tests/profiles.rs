//! What becomes of the profiles of a program that does as it should.

use signal::profiles::{DELTA, ProfileBody};

use super::*;

#[tokio::test(start_paused = true)]
async fn profiles_arrive_byte_for_byte_each_with_its_type() {
    let body = |path: &str| profile(&[("samples", path)], &[(1, vec![7])].into());
    let bench = Bench::start(&only(&["goroutine", "process_cpu"]), move |path| {
        let seconds = if path.contains("seconds=14") { 14 } else { 0 };
        Answer::After(Duration::from_secs(seconds), profile(&[("samples", path)], &[(1, vec![7])].into()))
    })
    .await;
    let mut found = BTreeMap::new();
    while found.len() < 2 {
        for batch in bench.sink.wait(1).await {
            assert!(batch.received_ms > 0);
            let profile = &batch.items[0];
            let ProfileBody::Pprof(pprof) = &profile.body else { panic!("{profile:?}") };
            found.insert(profile.labels.get("__name__").unwrap().to_owned(), pprof.raw.to_vec());
            assert_eq!(profile.labels.get("service_name"), Some("s"));
            assert_eq!(profile.labels.get("instance"), Some("alloy.internal:12345"));
            assert_eq!(profile.labels.get(DELTA), None);
        }
    }
    assert_eq!(found["goroutine"], body("/debug/pprof/goroutine"));
    assert_eq!(found["process_cpu"], body("/debug/pprof/profile?seconds=14"));
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_taken_for_a_time_covers_almost_all_of_it() {
    let bench =
        Bench::start(&only(&["process_cpu"]), |_| Answer::After(Duration::from_millis(14_100), waited(1)))
            .await;
    bench.next().await;
    let started = tokio::time::Instant::now();
    for _ in 0..8 {
        bench.next().await;
    }
    assert_eq!(started.elapsed().as_secs(), 8 * 15);
}

#[tokio::test(start_paused = true)]
async fn of_allocations_the_difference_is_sent_and_of_memory_in_use_what_it_is() {
    let mut scrape = 0;
    let bench = Bench::start(&only(&["memory"]), move |path| {
        assert_eq!(path, "/debug/pprof/allocs");
        scrape += 1;
        let values = [vec![10, 1000, 4, 400], vec![13, 1500, 5, 500], vec![13, 1500, 5, 500]];
        Answer::Page(200, profile(&MEMORY, &[(1, values[scrape.min(3) - 1].clone())].into()))
    })
    .await;
    let first = bench.next().await;
    assert_eq!(bench.program.asked().len(), 2, "the first is only remembered");
    assert_eq!(totals(&first), [3, 500, 5, 500]);
    assert_eq!(first.items[0].labels.get(DELTA), Some("false"));
    assert!(first.items[0].raw().starts_with(&[0x1f, 0x8b]), "packed as programs pack it");
    assert_eq!(bench.totals().await, [0, 0, 5, 500]);
    assert_eq!(bench.metric("pyroscope_forwarded_profiles_total"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_waits_no_more_sends_nothing_and_is_up() {
    let bench = Bench::start(&only(&["mutex"]), |_| Answer::Page(200, waited(5))).await;
    pass(120).await;
    assert!(bench.program.asked().len() >= 7 && bench.sink.take().is_empty());
    assert!(bench.debug_info().contains("\"up\""), "{}", bench.debug_info());
    assert_eq!(bench.metric("pyroscope_scrape_failures_total"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_was_started_anew_shows_what_it_has_had_since() {
    let mut scrape = 0;
    let bench = Bench::start(&only(&["block"]), move |_| {
        scrape += 1;
        Answer::Page(200, waited([100, 101, 7, 9][scrape.min(4) - 1]))
    })
    .await;
    assert_eq!(bench.totals().await, [1, 10]);
    assert_eq!(bench.totals().await, [7, 70]);
    assert_eq!(bench.totals().await, [2, 20]);
}

#[tokio::test(start_paused = true)]
async fn differences_of_the_library_and_of_the_target_pass_as_they_are() {
    let extra = r#"profiling_config {
        profile.memory { enabled = false }
        profile.goroutine { enabled = false }
        profile.process_cpu { enabled = false }
        profile.block { delta = true }
        profile.mutex { enabled = false }
        profile.godeltaprof_mutex { enabled = true }
    }"#;
    let bench = Bench::start(extra, |path| {
        let seconds = if path.contains("seconds=") { 14 } else { 0 };
        Answer::After(Duration::from_secs(seconds), waited(5))
    })
    .await;
    let mut types = BTreeMap::<_, u32>::new();
    while types.len() < 2 || types.values().any(|count| *count < 3) {
        for batch in bench.sink.wait(1).await {
            assert_eq!(batch.items[0].raw(), &waited(5));
            assert_eq!(batch.items[0].labels.get(DELTA), Some("false"));
            *types.entry(batch.items[0].labels.get("__name__").unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(types.into_keys().collect::<Vec<_>>(), ["block", "mutex"]);
}

#[tokio::test(start_paused = true)]
async fn a_memory_profile_without_allocations_is_forwarded_from_the_first_on() {
    let inuse = profile(&MEMORY[2..], &[(1, vec![4, 400])].into());
    let page = inuse.clone();
    let bench = Bench::start(&only(&["memory"]), move |_| Answer::Page(200, page.clone())).await;
    assert_eq!(bench.next().await.items[0].raw(), &inuse);
    assert_eq!(bench.program.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn scrapes_come_by_the_clock_and_keep_their_distance() {
    let bench = Bench::start(&format!("scrape_interval = \"20s\"\n{}", only(&["goroutine"])), |_| {
        Answer::Page(200, waited(1))
    })
    .await;
    bench.next().await;
    let first = tokio::time::Instant::now();
    for n in 1..5 {
        bench.next().await;
        assert_eq!(first.elapsed().as_secs(), 20 * n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_given_twice_is_scraped_once() {
    let bench = Bench::start(&only(&["goroutine"]), |_| Answer::Page(200, waited(1))).await;
    let twice = format!("{TARGET}, {TARGET}, {{\"__address__\" = \"\"}}");
    bench.harness.update(&config(&twice, &only(&["goroutine"]))).await.expect("valid");
    for _ in 0..3 {
        bench.next().await;
    }
    assert_eq!(bench.metric("pyroscope_scrape_targets_gauge"), 1.0);
}

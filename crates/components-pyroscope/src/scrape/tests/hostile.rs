//! Programs that mean harm or are unwell. A scrape of theirs fails, is told, and costs nothing else.

use net::testkit::{Backend, Posted, Reply};

use super::super::take::{BODY_LIMIT, UNPACKED_LIMIT};
use super::*;

#[tokio::test(start_paused = true)]
async fn failures_in_between_are_told_and_the_next_difference_covers_them() {
    let mut scrape = 0;
    let bench = Bench::start(&only(&["mutex"]), move |_| {
        scrape += 1;
        let good = waited(scrape * 10);
        match scrape {
            2 => Answer::Page(500, b"profile: contention profile is broken\nsecond line".to_vec()),
            3 => Answer::Hang,
            4 => Answer::Page(200, b"<html>please log in</html>".to_vec()),
            5 => Answer::Page(200, good[..good.len() - 9].to_vec()),
            6 => Answer::Page(200, Vec::new()),
            _ => Answer::Page(200, good),
        }
    })
    .await;
    let expected = [
        "server answered 500 Internal Server Error: profile: contention profile is broken",
        "no answer within 10s",
        "the answer is no profile",
        "the profile cannot be unpacked",
        "the answer is empty",
    ];
    for (failures, part) in (1..).zip(expected) {
        while bench.metric("pyroscope_scrape_failures_total") < f64::from(failures) {
            pass(1).await;
        }
        let info = bench.debug_info();
        assert!(info.contains(part) && info.contains("\"down\""), "{part}: {info}");
    }
    assert_eq!(bench.totals().await, [60, 600]);
    assert!(bench.debug_info().contains("\"up\""));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_holds_up_no_other_profile() {
    let bench = Bench::start(&only(&["mutex", "goroutine"]), |path| match path {
        "/debug/pprof/mutex" => Answer::Hang,
        _ => Answer::Page(200, waited(1)),
    })
    .await;
    for _ in 0..5 {
        bench.next().await;
    }
    assert!(bench.metric("pyroscope_scrape_failures_total") >= 3.0);
}

/// Scrapes over the network until something arrives or fails.
async fn scrape(
    script: impl FnMut(&Posted) -> Reply + Send + 'static,
    types: &str,
    extra: &str,
) -> (Vec<Profiles>, String, Posted) {
    let backend = Backend::start(script).await;
    let address = backend.base().trim_start_matches("http://").to_owned();
    let sink = Sink::new();
    let names = Names::default().with("sink", sink.value());
    let body = format!(
        "targets = [{{\"__address__\" = \"{address}\"}}]\nforward_to = [sink]\nscrape_interval = \"100ms\"\n\
         scrape_timeout = \"5s\"\n{extra}{}",
        only(&[types])
    );
    let harness = Harness::start(DEFINITION, &body, names).await;
    let posted = backend.wait(1).await.remove(0);
    let told = async {
        loop {
            let info = format!("{:?}", harness.node.debug_info());
            if info.contains("last_scrape_duration") {
                return info;
            }
            tokio::task::yield_now().await;
        }
    };
    let info = tokio::time::timeout(Duration::from_secs(60), told).await.expect("a scrape ends");
    harness.stop().await;
    (sink.take(), info, posted)
}

fn page(head: &str, body: &[u8]) -> Reply {
    let mut page = format!("HTTP/1.1 200 OK\r\n{head}connection: close\r\n\r\n").into_bytes();
    page.extend_from_slice(body);
    Reply::Bytes(page)
}

#[tokio::test]
async fn a_profile_over_the_network_arrives_with_the_users_credentials() {
    let extra = "bearer_token = \"secret\"\nparams = {\"gc\" = [\"1\"]}\n";
    let (profiles, info, posted) = scrape(|_| page("", &waited(3)), "goroutine", extra).await;
    assert_eq!(profiles[0].items[0].raw(), &waited(3));
    assert_eq!((posted.method.as_str(), posted.path.as_str()), ("GET", "/debug/pprof/goroutine?gc=1"));
    assert_eq!(posted.headers["authorization"], "Bearer secret");
    assert_eq!(posted.headers["accept-encoding"], "identity");
    assert!(posted.headers["user-agent"].starts_with("Ferroalloy/"));
    assert!(!info.contains("secret"), "{info}");
}

#[tokio::test]
async fn what_a_server_packs_for_the_way_is_unpacked() {
    let mut packed = Vec::new();
    pack(&waited(3), &mut packed);
    let (profiles, ..) = scrape(move |_| page("content-encoding: gzip\r\n", &packed), "goroutine", "").await;
    assert_eq!(profiles[0].items[0].raw(), &waited(3));
}

#[tokio::test]
async fn a_program_that_resets_or_stops_in_the_middle_fails() {
    let (profiles, info, _) = scrape(|_| Reply::Reset, "goroutine", "").await;
    assert!(profiles.is_empty() && info.contains("\"down\""), "{info}");
    let cut = |_: &Posted| page("content-length: 1000\r\n", &waited(1));
    let (profiles, info, _) = scrape(cut, "goroutine", "").await;
    assert!(profiles.is_empty() && info.contains("\"down\""), "{info}");
}

#[tokio::test]
async fn a_profile_that_claims_to_be_too_large_is_not_read() {
    let (profiles, info, _) =
        scrape(|_| page("content-length: 99999999999\r\n", b"x"), "goroutine", "").await;
    assert!(profiles.is_empty() && info.contains("larger than the limit"), "{info}");
}

#[tokio::test]
async fn bombs_cost_no_more_than_their_limits() {
    let mut bomb = Vec::new();
    pack(&vec![0; BODY_LIMIT + 1], &mut bomb);
    let (profiles, info, _) =
        scrape(move |_| page("content-encoding: gzip\r\n", &bomb), "goroutine", "").await;
    assert!(profiles.is_empty() && info.contains("exceeds the limit"), "{info}");
    let mut bomb = Vec::new();
    pack(&vec![0; UNPACKED_LIMIT + 1], &mut bomb);
    assert!(bomb.len() < BODY_LIMIT);
    let (profiles, info, _) = scrape(move |_| page("", &bomb), "mutex", "").await;
    assert!(profiles.is_empty() && info.contains("exceeds the limit"), "{info}");
    let endless = vec![0x12; BODY_LIMIT + 1];
    let (profiles, info, _) = scrape(move |_| page("", &endless), "mutex", "").await;
    assert!(profiles.is_empty() && info.contains("larger than the limit"), "{info}");
}

#[tokio::test]
async fn redirects_without_end_fail() {
    let around = |_: &Posted| Reply::Raw("HTTP/1.1 302 x\r\nlocation: /\r\ncontent-length: 0\r\n\r\n");
    let (profiles, info, _) = scrape(around, "goroutine", "").await;
    assert!(profiles.is_empty() && info.contains("redirects"), "{info}");
}

#[tokio::test]
async fn a_profile_of_nonsense_fails_where_it_is_looked_into_and_only_there() {
    let mut packed = Vec::new();
    pack(b"this is no profile", &mut packed);
    let again = packed.clone();
    let (profiles, info, _) = scrape(move |_| page("", &again), "mutex", "").await;
    assert!(profiles.is_empty() && info.contains("not a pprof profile"), "{info}");
    let again = packed.clone();
    let (profiles, ..) = scrape(move |_| page("", &again), "goroutine", "").await;
    assert_eq!(profiles[0].items[0].raw(), &packed);
}

//! Targets that mean harm, over real sockets. A scrape of theirs fails, is told, and costs nothing else.

use signal::SampleBatch;
use signal::samples::is_stale;

use super::*;

/// Scrapes a site on loopback once: whether it was up, what it sent, and why it failed.
async fn scrape(site: &Site, extra: &str) -> (f64, Vec<String>, String) {
    let address = site.listen().await;
    let sink = Sink::new();
    let names = Names::default().with("sink", sink.value());
    let body = format!(
        "targets = [{{\"__address__\" = \"{address}\", \"instance\" = \"i\", \"job\" = \"j\"}}]\nforward_to = [sink]\n\
         scrape_interval = \"1s\"\nscrape_timeout = \"700ms\"\n{extra}"
    );
    let harness = Harness::start(DEFINITION, &body, names).await;
    let batch: Samples = sink.wait(1).await.remove(0);
    let info = format!("{:?}", harness.node.debug_info());
    harness.stop().await;
    (reported(&batch, "up").expect("reported"), shown(&batch), info)
}

#[tokio::test]
async fn a_page_over_the_network_arrives() {
    let (up, samples, _) = scrape(&Site::new([text("a 1\n")]), "").await;
    assert_eq!((up, samples), (1.0, vec!["a 1".to_owned()]));
}

/// A page of one series with a label of ten megabytes.
fn huge_label() -> Vec<u8> {
    text(&format!("a{{x=\"{}\"}} 1\n", "y".repeat(10 << 20)))
}

fn gzip_bomb() -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![b'\n'; 4 << 20]).expect("memory");
    let bomb = gzip.finish().expect("memory");
    assert!(bomb.len() < 1 << 16);
    answer("200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip", &bomb)
}

fn endless() -> Vec<u8> {
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec();
    endless.extend(b"a_metric 1\n".repeat(1 << 18));
    endless
}

#[tokio::test]
async fn each_fault_is_counted_under_its_reason_and_costs_the_target_beside_it_nothing() {
    let half = text("a 1\nb 2\n");
    let faults = [
        ("timeout", "", None),
        ("protocol", "", Some(Vec::new())),
        ("protocol", "", Some(half[..half.len() - 3].to_vec())),
        ("protocol", "", Some(b"\x00\x01 no protocol at all\r\n\r\n".to_vec())),
        ("status", "", Some(answer("500 Internal Server Error\r\nContent-Type: text/plain", b"a 1\n"))),
        ("redirect", "", Some(answer("302 Found\r\nLocation: /metrics", b""))),
        ("status", "follow_redirects = false", Some(answer("302 Found\r\nLocation: /metrics", b""))),
        ("body_too_large", "body_size_limit = \"100KiB\"", Some(endless())),
        ("body_too_large", "body_size_limit = \"100KiB\"", Some(gzip_bomb())),
        ("encoding", "", Some(answer("200 OK\r\nContent-Encoding: br", b"a 1\n"))),
        ("encoding", "", Some(answer("200 OK\r\nContent-Encoding: gzip", b"a 1\n"))),
        ("page", "", Some(text("a 1\nb one\n"))),
        ("page", "", Some(answer("200 OK\r\nContent-Type: text/plain", b"a 1\nb{x=\"\xff\"} 2\n"))),
        ("limit", "label_value_length_limit = 100", Some(huge_label())),
        ("limit", "sample_limit = 1", Some(text("a 1\nb 2\n"))),
        ("name", "", Some(text("a 1\n{\"b.c\"} 2\n"))),
    ];
    for (reason, extra, page) in faults {
        // The connection is accepted by the kernel, and nobody reads.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let bad = match &page {
            Some(page) => Site::new([page.clone()]).listen().await,
            None => silent.local_addr().expect("bound"),
        };
        let good = Site::new([text("good 1\n")]).listen().await;
        let sink = Sink::<Samples>::new();
        let names = Names::default().with("sink", sink.value());
        let targets = format!("{{\"__address__\" = \"{bad}\"}}, {{\"__address__\" = \"{good}\"}}");
        let body = format!(
            "targets = [{targets}]\nforward_to = [sink]\nscrape_interval = \"2s\"\nscrape_timeout = \"700ms\"\n{extra}"
        );
        let harness = Harness::start(DEFINITION, &body, names).await;
        let mut ups = std::collections::BTreeMap::new();
        while ups.len() < 2 {
            for batch in sink.wait(1).await {
                let instance =
                    batch.points.at(batch.points.len() - 1).series.get("instance").map(str::to_owned);
                let seen = batch.points.iter().filter(|p| p.series.metric_name() == Some("good")).count();
                let up = reported(&batch, "up").expect("reported");
                ups.entry(instance.expect("told")).or_insert((up, seen));
            }
        }
        let expected = [(bad.to_string(), (0.0, 0)), (good.to_string(), (1.0, 1))];
        assert_eq!(ups, expected.into(), "{reason} {extra}");
        let metrics = harness.services.metrics.text();
        let mut counted = metrics.lines().filter(|l| l.starts_with("prometheus_scrape_failures_total"));
        let line = counted.next().unwrap_or_default();
        assert!(line.contains(&format!("reason=\"{reason}\"")), "{reason} {extra}: {line}");
        assert_eq!(counted.next(), None);
        // One target has an error to show.
        assert_eq!(format!("{:?}", harness.node.debug_info()).matches("error").count(), 1);
        harness.stop().await;
    }
}

#[tokio::test]
async fn a_target_that_does_not_answer_times_out() {
    // The connection is accepted by the kernel, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let sink = Sink::<Samples>::new();
    let names = Names::default().with("sink", sink.value());
    let body = format!(
        "targets = [{{\"__address__\" = \"{address}\"}}]\nforward_to = [sink]\nscrape_interval = \"1s\"\nscrape_timeout = \"100ms\""
    );
    let harness = Harness::start(DEFINITION, &body, names).await;
    let batch = sink.wait(1).await.remove(0);
    assert_eq!(reported(&batch, "up"), Some(0.0));
    harness.stop().await;
}

#[tokio::test]
async fn a_target_that_stops_in_the_middle_fails() {
    let whole = text("a 1\nb 2\n");
    let (up, samples, _) = scrape(&Site::new([whole[..whole.len() - 3].to_vec()]), "").await;
    assert_eq!((up, samples.len()), (0.0, 0));
    let (up, ..) = scrape(&Site::new([Vec::new()]), "").await;
    assert_eq!(up, 0.0);
}

#[tokio::test]
async fn redirects_without_end_and_forbidden_ones_fail() {
    let around = answer("302 Found\r\nLocation: /metrics", b"");
    let (up, _, info) = scrape(&Site::new([around.clone()]), "").await;
    assert!(up == 0.0 && info.contains("redirects"), "{info}");
    let (up, _, info) = scrape(&Site::new([around]), "follow_redirects = false").await;
    assert!(up == 0.0 && info.contains("302"), "{info}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read_to_its_end() {
    let (up, _, info) = scrape(&Site::new([endless()]), "body_size_limit = \"100KiB\"").await;
    assert!(up == 0.0 && info.contains("larger than the limit"), "{info}");
}

#[tokio::test]
async fn a_gzip_bomb_costs_no_more_than_the_limit() {
    let (up, _, info) = scrape(&Site::new([gzip_bomb()]), "body_size_limit = \"256KiB\"").await;
    assert!(up == 0.0 && info.contains("exceeds the limit"), "{info}");
}

#[tokio::test]
async fn an_unknown_type_falls_back_and_an_unknown_encoding_fails() {
    let page = answer("200 OK\r\nContent-Type: text/html", b"a 1\n");
    let (up, samples, _) = scrape(&Site::new([page]), "").await;
    assert_eq!((up, samples.len()), (1.0, 1));
    let page = answer("200 OK\r\nContent-Encoding: br", b"a 1\n");
    let (up, _, info) = scrape(&Site::new([page]), "").await;
    assert!(up == 0.0 && info.contains("Content-Encoding"), "{info}");
}

#[tokio::test(start_paused = true)]
async fn a_label_of_ten_megabytes_passes_and_leaves_nothing_behind() {
    let bench = Bench::start("", [huge_label(), text("b 1\n")]).await;
    let batch = bench.next().await;
    assert_eq!(batch.points.at(0).series.get("x").map(str::len), Some(10 << 20));
    drop(batch);
    assert_eq!(bench.scraped().await.len(), 2);
}

#[test]
fn a_page_that_breaks_off_anywhere_counts_as_a_whole_or_not_at_all() {
    use super::super::page::{Memory, Rules, Scratch, read};
    use wire::exposition::Format;

    let page =
        b"# HELP a Help.\n# TYPE a counter\na_total{x=\"1\",y=\"\\\"\"} 1 # {t=\"i\"} 0.5\nb 2 1.5\n# EOF\n";
    let rules = Rules::plain(signal::Labels::from_pairs([("job", "j")]));
    for broken in 0..=page.len() {
        for replace in [None, Some(b'\n'), Some(b'"'), Some(b'}'), Some(0xff)] {
            let mut text = page.to_vec();
            match (replace, broken < page.len()) {
                (Some(byte), true) => text[broken] = byte,
                _ => text.truncate(broken),
            }
            let (mut memory, mut scratch) = (Memory::default(), Scratch::default());
            let mut batch = SampleBatch::default();
            let whole = (Format::OpenMetricsText, &page[..]);
            read(&mut memory, &mut scratch, &rules, whole, 1, &mut batch).1.expect("a good page");
            let mut second = SampleBatch::default();
            let (_, result) =
                read(&mut memory, &mut scratch, &rules, (Format::OpenMetricsText, &text), 2, &mut second);
            let stale = second.points.iter().filter(|p| is_stale(p.value)).count();
            if result.is_err() {
                assert!(second.points.len() == stale && stale <= 2 && second.exemplars.is_empty());
            }
            // Whatever the page was, the memory is sound: the good one gives its two samples again.
            let mut third = SampleBatch::default();
            read(&mut memory, &mut scratch, &rules, whole, 3, &mut third).1.expect("a good page");
            assert_eq!(third.points.iter().filter(|p| !is_stale(p.value)).count(), 2);
            assert_eq!(memory.lines().len(), 2);
        }
    }
}

//! What becomes of pages.

use signal::samples::is_stale;
use signal::{MetricKind, SampleBatch};

use super::*;

#[tokio::test(start_paused = true)]
async fn samples_get_the_labels_of_their_target() {
    let page = "# TYPE hits counter\nhits_total{code=\"200\"} 3\nup_since 1.5\n";
    let bench = Bench::start("", [text(page)]).await;
    let batch = bench.next().await;
    assert_eq!(shown(&batch), ["hits_total{code=\"200\"} 3", "up_since 1.5"]);
    assert_eq!(batch.points.at(1).series.to_string(), r#"up_since{instance="i", job="j"}"#);
    assert!(batch.origin.is_some());
    assert!(batch.points.iter().all(|p| p.timestamp_ms == batch.points.at(0).timestamp_ms));
    let reports =
        ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
    assert_eq!(reports.map(|name| reported(&batch, name)), [Some(1.0), Some(2.0), Some(2.0), Some(2.0)]);
    assert!(
        reported(&batch, "scrape_duration_seconds").is_some()
            && reported(&batch, "scrape_timeout_seconds").is_none()
    );
    let second = bench.next().await;
    assert_eq!(reported(&second, "scrape_series_added"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn labels_that_a_target_label_hides_are_exported_or_honored() {
    let page = "a{instance=\"x\",exported_instance=\"y\",job=\"k\"} 1\n";
    let bench = Bench::start("", [text(page)]).await;
    let batch = bench.next().await;
    assert_eq!(
        batch.points.at(0).series.to_string(),
        r#"a{exported_exported_instance="x", exported_instance="y", exported_job="k", instance="i", job="j"}"#
    );
    let bench = Bench::start("honor_labels = true", [text(page)]).await;
    let batch = bench.next().await;
    assert_eq!(batch.points.at(0).series.to_string(), r#"a{exported_instance="y", instance="x", job="k"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_honored_label_without_a_value_keeps_the_label_of_the_target_away() {
    let page = "a{instance=\"\",job=\"\"} 1\nb{instance=\"\"} 1\nc 1\n";
    let bench = Bench::start("honor_labels = true", [text(page)]).await;
    let batch = bench.next().await;
    let shown: Vec<_> = (0..3).map(|at| batch.points.at(at).series.to_string()).collect();
    assert_eq!(shown, ["a", r#"b{job="j"}"#, r#"c{instance="i", job="j"}"#]);
    let bench = Bench::start("", [text(page)]).await;
    assert_eq!(bench.next().await.points.at(0).series.to_string(), r#"a{instance="i", job="j"}"#);
}

#[tokio::test(start_paused = true)]
async fn times_on_the_page_are_taken_unless_told_otherwise() {
    let page = "a 1 1700000000000\n";
    let bench = Bench::start("", [text(page)]).await;
    assert_eq!(bench.next().await.points.at(0).timestamp_ms, 1_700_000_000_000);
    let bench = Bench::start("honor_timestamps = false", [text("a 1 5\n")]).await;
    assert_ne!(bench.next().await.points.at(0).timestamp_ms, 5);
    let bench = Bench::start("", [text("a 1 9700000000000\nb 2\n")]).await;
    assert_eq!(bench.scraped().await, ["b 2"], "a time far ahead is left out");
}

#[tokio::test(start_paused = true)]
async fn a_series_counts_as_added_when_its_first_sample_is_sent_and_not_when_that_is_left_out() {
    let ahead = "a 1 9700000000000\nb 2\n";
    let pages = [text(ahead), text(ahead), text("a 1\nb 2\n"), text("a 1\nb 2\n")];
    let bench = Bench::start("track_timestamps_staleness = true", pages.clone()).await;
    for (shows, added) in
        [(vec!["b 2"], 1.0), (vec!["b 2"], 0.0), (vec!["a 1", "b 2"], 1.0), (vec!["a 1", "b 2"], 0.0)]
    {
        let batch = bench.next().await;
        assert_eq!(shown(&batch), shows);
        assert_eq!(reported(&batch, "scrape_series_added"), Some(added), "{shows:?}");
        assert_eq!(reported(&batch, "scrape_samples_post_metric_relabeling"), Some(2.0));
    }
    let bench = Bench::start("track_timestamps_staleness = true", [text(ahead), text("c 3\n")]).await;
    bench.next().await;
    assert_eq!(bench.scraped().await, ["c 3", "b stale"], "what was never sent has not ended");
    let bench = Bench::start("sample_limit = 2", [text("a 1\nb 1\nc 1\nd 1\n")]).await;
    assert_eq!(reported(&bench.next().await, "scrape_series_added"), Some(2.0), "of those within the limit");
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\na 1\n";
    for (converted, added) in [("", 5.0), ("convert_classic_histograms_to_nhcb = true", 2.0)] {
        let bench = Bench::start(converted, [text(page)]).await;
        let [first, second] = [bench.next().await, bench.next().await];
        assert_eq!(reported(&first, "scrape_series_added"), Some(added), "{converted}");
        assert_eq!(reported(&second, "scrape_series_added"), Some(0.0), "{converted}");
    }
}

#[tokio::test(start_paused = true)]
async fn series_that_end_are_marked_once() {
    let bench = Bench::start("", [text("a 1\nb 1\nc 1\n"), text("c 2\na 2\n"), text("c 3\n")]).await;
    assert_eq!(bench.scraped().await, ["a 1", "b 1", "c 1"]);
    assert_eq!(bench.scraped().await, ["c 2", "a 2", "b stale"]);
    assert_eq!(bench.scraped().await, ["c 3", "a stale"]);
    assert_eq!(bench.scraped().await, ["c 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_scrape_ends_all_series_once() {
    let down = answer("500 Internal Server Error", b"");
    let bench =
        Bench::start("", [text("a 1\nb 1\n"), down.clone(), down, text("a 2\n"), text("a 3\n")]).await;
    assert_eq!(bench.scraped().await, ["a 1", "b 1"]);
    let failed = bench.next().await;
    assert_eq!(shown(&failed), ["a stale", "b stale"]);
    assert_eq!(reported(&failed, "up"), Some(0.0));
    assert_eq!(bench.scraped().await, Vec::<String>::new());
    let back = bench.next().await;
    assert_eq!(shown(&back), ["a 2"]);
    assert_eq!(reported(&back, "scrape_series_added"), Some(0.0));
    assert_eq!(bench.scraped().await, ["a 3"]);
}

#[tokio::test(start_paused = true)]
async fn series_with_times_of_their_own_are_not_marked_unless_told() {
    let pages = [text("a 1 1700000000000\nb 1\n"), text("c 1\n")];
    let bench = Bench::start("", pages.clone()).await;
    bench.next().await;
    assert_eq!(bench.scraped().await, ["c 1", "b stale"]);
    let bench = Bench::start("track_timestamps_staleness = true", pages).await;
    bench.next().await;
    let mut scraped = bench.scraped().await;
    scraped.sort();
    assert_eq!(scraped, ["a stale", "b stale", "c 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_on_the_page_twice_is_sent_once() {
    let bench = Bench::start("", [text("a 1\na 2\nb 1\n"), text("b 1\na 1\na 2\n"), text("a 1\n")]).await;
    let batch = bench.next().await;
    assert_eq!(shown(&batch), ["a 1", "b 1"]);
    assert_eq!(reported(&batch, "scrape_samples_scraped"), Some(3.0));
    assert_eq!(bench.scraped().await, ["b 1", "a 1"]);
    assert_eq!(bench.scraped().await, ["a 1", "b stale"]);
    // The same labels in another order are the same series: it has not ended.
    let pages = [text("a{x=\"1\",y=\"2\"} 1\n"), text("a{y=\"2\",x=\"1\"} 2\n")];
    let bench = Bench::start("", pages).await;
    bench.next().await;
    assert_eq!(bench.scraped().await, ["a{x=\"1\", y=\"2\"} 2"]);
}

#[tokio::test(start_paused = true)]
async fn limits_fail_the_whole_scrape() {
    let page = "a{long_name=\"long value\"} 1\nb 1\n";
    let cases = [
        ("sample_limit = 1", "sample_limit"),
        ("label_limit = 3", "label_limit"),
        ("label_name_length_limit = 8", "label_name_length_limit"),
        ("label_value_length_limit = 9", "label_value_length_limit"),
        ("body_size_limit = \"31B\"", "larger than the limit"),
        ("target_limit = 1", "target_limit"),
    ];
    for (limit, part) in cases {
        let targets =
            format!("{TARGET}, {{\"__address__\" = \"alloy.internal:12345\", \"instance\" = \"k\"}}");
        let targets = if limit.starts_with("target") { targets.as_str() } else { TARGET };
        let bench = Bench::with_targets(targets, limit, [text(page)]).await;
        let batch = bench.sink.wait(1).await.remove(0);
        assert_eq!(shown(&batch), Vec::<String>::new(), "{limit}");
        assert_eq!(reported(&batch, "up"), Some(0.0), "{limit}");
        let info = format!("{:?}", bench.harness.node.debug_info());
        assert!(info.contains(part), "{limit}: {info}");
    }
    let bench = Bench::start("sample_limit = 1", [text("a 1 9700000000000\nb 2\n")]).await;
    assert_eq!(reported(&bench.next().await, "up"), Some(0.0), "a sample that is left out counts");
    let limits = "sample_limit = 2\nlabel_limit = 4\nlabel_name_length_limit = 9\nlabel_value_length_limit = 10\ntarget_limit = 1\nbody_size_limit = \"32B\"";
    let bench = Bench::start(limits, [text(page)]).await;
    assert_eq!(bench.scraped().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn extra_metrics_tell_timeout_limit_and_size() {
    let bench =
        Bench::start("extra_metrics = true\nsample_limit = 5\nscrape_timeout = \"3s\"", [text("a 1\n")])
            .await;
    let batch = bench.next().await;
    let extra = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];
    assert_eq!(extra.map(|name| reported(&batch, name)), [Some(3.0), Some(5.0), Some(4.0)]);
    let bench = Bench::start("extra_metrics = true\nbody_size_limit = \"2B\"", [text("a 1\n")]).await;
    assert_eq!(reported(&bench.next().await, "scrape_body_size_bytes"), Some(-1.0));
}

#[tokio::test(start_paused = true)]
async fn names_outside_the_scheme_fail_the_scrape() {
    let page = "{\"a.b\",\"c.d\"=\"x\"} 1\n";
    let bench = Bench::start("", [text(page)]).await;
    assert_eq!(reported(&bench.next().await, "up"), Some(0.0));
    let bench = Bench::start("metric_name_validation_scheme = \"utf8\"", [text(page)]).await;
    assert_eq!(bench.scraped().await.len(), 1);
    assert!(bench.site.requests()[0].contains("escaping=allow-utf-8"));
}

fn family(batch: &SampleBatch, name: &str) -> Option<(String, MetricKind, String)> {
    let point = batch.points.iter().find(|p| p.series.metric_name() == Some(name)).expect(name);
    let family = batch.families.get(point.family as usize)?;
    Some((family.name.clone(), family.kind, family.help.clone()))
}

#[tokio::test(start_paused = true)]
async fn metadata_travels_with_its_samples_where_it_is_wanted() {
    let page = "# HELP hits Hits.\n# TYPE hits counter\nhits_total 1\nalone 2\n# TYPE size histogram\nsize_bucket{le=\"1\"} 1\nsize_sum 1\nsize_count 1\n";
    let bench = Bench::start("honor_metadata = true", [text(page)]).await;
    for _ in 0..2 {
        let batch = bench.next().await;
        assert_eq!(family(&batch, "hits_total"), Some(("hits".into(), MetricKind::Counter, "Hits.".into())));
        assert_eq!(family(&batch, "alone"), None);
        assert_eq!(family(&batch, "size_sum"), Some(("size".into(), MetricKind::Histogram, String::new())));
        assert_eq!((family(&batch, "up"), batch.families.len()), (None, 2));
    }
    let bench = Bench::start("", [text(page)]).await;
    assert!(bench.next().await.families.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_family_is_the_same_allocation_in_every_batch() {
    let page = "# TYPE shared_family gauge\nshared_family 1\n";
    let bench = Bench::start("honor_metadata = true", [text(page)]).await;
    let (one, two) = (bench.next().await, bench.next().await);
    assert!(std::sync::Arc::ptr_eq(&one.families[0], &two.families[0]));
}

#[tokio::test(start_paused = true)]
async fn type_and_unit_become_labels_where_they_are_wanted() {
    let page = "# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 1\n";
    let bench = Bench::start("enable_type_and_unit_labels = true", [openmetrics(page)]).await;
    assert_eq!(bench.scraped().await, ["size_bytes{__type__=\"gauge\", __unit__=\"bytes\"} 1"]);
}

#[tokio::test(start_paused = true)]
async fn classic_histograms_become_native_ones() {
    let page = |n| {
        format!(
            "# TYPE h histogram\nh_bucket{{a=\"1\",le=\"1\"}} {n}\nh_bucket{{a=\"1\",le=\"+Inf\"}} {n}\nh_sum{{a=\"1\"}} 1\nh_count{{a=\"1\"}} {n}\nh_bucket{{a=\"2\",le=\"+Inf\"}} 1\nh_sum{{a=\"2\"}} 1\nh_count{{a=\"2\"}} 1\nother 1\n"
        )
    };
    let pages = [text(&page(2)), text(&page(3)), text("other 1\n")];
    let bench = Bench::start("convert_classic_histograms_to_nhcb = true", pages.clone()).await;
    let batch = bench.next().await;
    assert_eq!(shown(&batch), ["other 1", "h{a=\"1\"} histogram 2", "h{a=\"2\"} histogram 1"]);
    assert_eq!(reported(&batch, "scrape_samples_scraped"), Some(3.0));
    assert_eq!(bench.scraped().await, ["other 1", "h{a=\"1\"} histogram 3", "h{a=\"2\"} histogram 1"]);
    let mut ended = bench.scraped().await;
    ended.sort();
    assert_eq!(ended, ["h{a=\"1\"} histogram stale", "h{a=\"2\"} histogram stale", "other 1"]);
    let both = "convert_classic_histograms_to_nhcb = true\nscrape_classic_histograms = true";
    let bench = Bench::start(both, pages).await;
    assert_eq!(bench.scraped().await.len(), 10);
    assert_eq!(bench.scraped().await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn exemplars_are_sent_when_they_are_new() {
    let page = |id| format!("# TYPE a counter\na_total 1 # {{trace_id=\"{id}\"}} 0.5 1700000000.5\n");
    let bench =
        Bench::start("", [openmetrics(&page("x")), openmetrics(&page("x")), openmetrics(&page("y"))]).await;
    let batch = bench.next().await;
    let exemplar = &batch.exemplars[0];
    assert_eq!((exemplar.labels.to_string().as_str(), exemplar.value), ("{trace_id=\"x\"}", 0.5));
    assert_eq!(exemplar.timestamp_ms, 1_700_000_000_500);
    assert_eq!(exemplar.series.metric_name(), Some("a_total"));
    assert!(bench.next().await.exemplars.is_empty());
    assert_eq!(bench.next().await.exemplars.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_counters_start_is_sent_as_a_zero_once() {
    let start = crate_now() / 1000 - 5;
    let page = format!("# TYPE a counter\na_total 7\na_created {start}\n");
    let bench = Bench::start("start_timestamp_zero_ingestion = true", [openmetrics(&page)]).await;
    let batch = bench.next().await;
    assert_eq!(shown(&batch), ["a_total 0", "a_total 7"]);
    assert_eq!((batch.points.at(0).timestamp_ms, batch.points.at(1).start_ms), (start * 1000, start * 1000));
    assert_eq!(bench.scraped().await, ["a_total 7"]);
    let restarted = crate_now() / 1000 + 9;
    bench.site.set(openmetrics(&format!("# TYPE a counter\na_total 1\na_created {restarted}\n")));
    let mut batch = bench.scraped().await;
    if batch == ["a_total 1"] {
        // The scrape came before the start that it tells: as the future, it is left out.
        batch = bench.scraped().await;
    }
    assert_eq!(batch, ["a_total 0", "a_total 1"]);
}

fn crate_now() -> i64 {
    super::super::worker::now_ms()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_format_ends_only_what_is_gone() {
    let bench = Bench::start("", [text("a 1\nb 1\n"), openmetrics("a 2\n")]).await;
    bench.next().await;
    assert_eq!(bench.scraped().await, ["a 2", "b stale"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_arguments_keeps_what_is_known_of_a_target() {
    let bench = Bench::start("", [text("a 1\nb 1\n")]).await;
    bench.next().await;
    bench.site.set(text("a{instance=\"x\"} 2\n"));
    bench.harness.update(&config(TARGET, "honor_labels = true")).await.expect("updated");
    let batch = bench.next().await;
    let series: Vec<_> =
        batch.points.iter().filter(|p| is_stale(p.value)).map(|p| p.series.to_string()).collect();
    assert_eq!(series.len(), 2, "{series:?}");
}

#[tokio::test(start_paused = true)]
async fn compressed_pages_are_read() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"a 1\n").expect("memory");
    let page = answer(
        "200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip",
        &gzip.finish().expect("memory"),
    );
    let bench = Bench::start("", [page]).await;
    assert_eq!(bench.scraped().await, ["a 1"]);
    assert!(bench.site.requests()[0].contains("accept-encoding: gzip"));
    let bench = Bench::start("enable_compression = false", [text("a 1\n")]).await;
    bench.next().await;
    assert!(bench.site.requests()[0].contains("accept-encoding: identity"));
}

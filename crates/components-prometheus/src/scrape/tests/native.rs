//! Native histograms, from protobuf pages.

use wire::proto::{
    push_bytes_field, push_f64_field, push_message_field, push_varint, push_varint_field, zigzag,
};

use super::*;

/// A histogram of 2 + 3 + … observations in neighbouring native buckets and two classic ones.
fn histogram(schema: i64, buckets: u64) -> Vec<u8> {
    let count: u64 = (2..2 + buckets).sum();
    let mut family = Vec::new();
    push_bytes_field(&mut family, 1, b"h");
    push_varint_field(&mut family, 3, 4);
    push_message_field(&mut family, 4, |metric| {
        push_message_field(metric, 7, |h| {
            push_varint_field(h, 1, count);
            push_f64_field(h, 2, 12.5);
            for (bound, below) in [(1.0, 1), (f64::INFINITY, count)] {
                push_message_field(h, 3, |bucket| {
                    push_varint_field(bucket, 1, below);
                    push_f64_field(bucket, 2, bound);
                });
            }
            push_varint_field(h, 5, zigzag(schema));
            push_f64_field(h, 6, 1e-9);
            push_message_field(h, 12, |span| push_varint_field(span, 2, buckets));
            push_message_field(h, 13, |deltas| {
                push_varint(deltas, zigzag(2));
                (1..buckets).for_each(|_| push_varint(deltas, zigzag(1)));
            });
        });
    });
    let mut page = Vec::new();
    push_varint(&mut page, family.len() as u64);
    page.extend_from_slice(&family);
    let head = "200 OK\r\nContent-Type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    answer(head, &page)
}

const NATIVE: &str = "scrape_native_histograms = true\n";

#[tokio::test(start_paused = true)]
async fn a_native_histogram_is_one_sample_and_ends_as_one() {
    let bench = Bench::start(NATIVE, [histogram(3, 3), histogram(3, 3), text("a 1\n")]).await;
    for _ in 0..2 {
        let batch = bench.next().await;
        assert_eq!(shown(&batch), ["h histogram 9"]);
        assert_eq!(batch.histograms[0].histogram.bucket_count(), 3);
        assert_eq!(reported(&batch, "scrape_samples_scraped"), Some(1.0));
    }
    assert_eq!(bench.scraped().await, ["a 1", "h histogram stale"]);
}

#[tokio::test(start_paused = true)]
async fn classic_series_come_alone_or_beside_the_native_one_as_told() {
    let classic = ["h_count 9", "h_sum 12.5", "h_bucket{le=\"1.0\"} 1", "h_bucket{le=\"+Inf\"} 9"];
    let bench = Bench::start("", [histogram(3, 3)]).await;
    assert_eq!(bench.scraped().await, classic);
    let both = format!("{NATIVE}scrape_classic_histograms = true");
    let bench = Bench::start(&both, [histogram(3, 3)]).await;
    let mut expected = classic.to_vec();
    expected.push("h histogram 9");
    assert_eq!(bench.scraped().await, expected);
    // What is native already is not converted.
    let bench =
        Bench::start(&format!("{both}\nconvert_classic_histograms_to_nhcb = true"), [histogram(3, 3)]).await;
    let batch = bench.next().await;
    assert_eq!(shown(&batch), expected);
    assert_eq!(batch.histograms[0].histogram.schema, 3);
}

#[tokio::test(start_paused = true)]
async fn resolution_is_lowered_to_fit_limits_and_factors() {
    let cases = [
        ("", 3, 8),
        ("native_histogram_bucket_limit = 5", 2, 5),
        ("native_histogram_bucket_limit = 4", 1, 3),
        ("native_histogram_min_bucket_factor = 1.4", 1, 3),
    ];
    for (limit, schema, buckets) in cases {
        let bench = Bench::start(&format!("{NATIVE}{limit}"), [histogram(3, 8)]).await;
        let batch = bench.next().await;
        let h = &batch.histograms[0].histogram;
        assert_eq!((h.schema, h.bucket_count()), (schema, buckets), "{limit}");
        assert_eq!(h.count(), 44.0);
    }
}

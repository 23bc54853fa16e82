//! Pages that repeat: their batches are rows, and any difference is noticed.

use super::*;

fn page(value: usize) -> String {
    format!("# HELP a What a is.\n# TYPE a gauge\na{{x=\"1\"}} {value}\na{{x=\"2\"}} {value}.5\nb {value}\n")
}

/// Families as `name: help` of each sample that is not reported.
fn families(batch: &Samples) -> Vec<String> {
    let known = |family: u32| batch.families.get(family as usize);
    let told = batch.points.iter().filter_map(|p| known(p.family));
    told.map(|f| format!("{}: {}", f.name, f.help)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_with_the_lines_of_the_one_before_is_a_row_of_the_same_list() {
    let pages = [page(1), page(2), page(3), page(4).replace(" 4.5", " NaN"), page(5).replace(" 5.5", " 1e3")];
    let bench = Bench::start("honor_metadata = true", pages.map(|page| text(&page))).await;
    let first = bench.next().await;
    assert!(first.points.row().is_none());
    assert_eq!(families(&first), ["a: What a is."; 2]);
    let mut lists = Vec::new();
    for (value, second) in [("2", "2.5"), ("3", "3.5"), ("4", "NaN"), ("5", "1000")] {
        let batch = bench.next().await;
        lists.push(batch.points.row().expect("a row").list().id());
        let expected =
            [format!("a{{x=\"1\"}} {value}"), format!("a{{x=\"2\"}} {second}"), format!("b {value}")];
        assert_eq!(shown(&batch), expected);
        assert_eq!(families(&batch), families(&first));
        let reports =
            ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
        assert_eq!(reports.map(|name| reported(&batch, name)), [Some(1.0), Some(3.0), Some(3.0), Some(0.0)]);
    }
    assert!(lists.iter().all(|list| *list == lists[0]));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_differs_in_anything_but_values_is_read_as_a_page() {
    let base = |value| page(value);
    let cases: [(String, &[&str]); 10] = [
        (base(4).replace("b 4\n", "b 4 1700000000000\n"), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]),
        (base(4).replace("b 4\n", ""), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b stale"]),
        (base(4) + "c 1\n", &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4", "c 1"]),
        (base(4) + "b 9\n", &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]),
        (
            base(4).replace("{x=\"2\"}", "{x=\"3\"}"),
            &[r#"a{x="1"} 4"#, r#"a{x="3"} 4.5"#, "b 4", r#"a{x="2"} stale"#],
        ),
        (base(4).replace("What a is", "Another help"), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]),
        (base(4).replace("b 4", "# HELP b What b is.\nb 4"), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]),
        (base(4).replace("b 4", "\nb 4"), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]),
        (base(4).replace("b 4", "bb 4"), &[r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "bb 4", "b stale"]),
        (base(4).replace("b 4", "b four"), &[r#"a{x="1"} stale"#, r#"a{x="2"} stale"#, "b stale"]),
    ];
    for (other, expected) in cases {
        let pages = [base(1), base(2), base(3), other.clone(), base(5), base(6), base(7)];
        let bench = Bench::start("honor_metadata = true", pages.map(|page| text(&page))).await;
        bench.next().await;
        bench.next().await;
        let list = bench.next().await.points.row().expect("a row").list().id();
        let batch = bench.next().await;
        // A page of the same lines, but with other comments, begins a list of its own.
        assert!(batch.points.row().is_none_or(|row| row.list().id() != list), "{other}");
        assert_eq!(shown(&batch), expected, "{other}");
        if other.contains("help") {
            assert_eq!(families(&batch), ["a: Another help.", "a: Another help."]);
        }
        bench.next().await;
        bench.next().await;
        let batch = bench.next().await;
        assert_eq!(shown(&batch), [r#"a{x="1"} 7"#, r#"a{x="2"} 7.5"#, "b 7"], "{other}");
        assert_ne!(batch.points.row().expect("a row again").list().id(), list, "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn series_are_packed_while_nobody_asks_for_them() {
    let pages = [page(1), page(2), page(3), page(4).replace("b 4\n", ""), page(5)];
    let bench = Bench::start("", pages.map(|page| text(&page))).await;
    bench.next().await;
    let list = bench.next().await.points.row().expect("a row").list().clone();
    let row = bench.next().await;
    assert_eq!(row.points.row().map(|row| row.list().id()), Some(list.id()));
    assert!(list.is_packed(), "it is when the next page comes");
    assert_eq!(shown(&bench.next().await), [r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b stale"]);
    assert_eq!(shown(&row), [r#"a{x="1"} 3"#, r#"a{x="2"} 3.5"#, "b 3"]);
    assert_eq!(shown(&bench.next().await), [r#"a{x="1"} 5"#, r#"a{x="2"} 5.5"#, "b 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_row_ends_with_its_target_and_with_a_failed_scrape() {
    let bench = Bench::start("", [text(&page(1)), text(&page(2)), text(&page(3))]).await;
    for _ in 0..3 {
        bench.next().await;
    }
    bench.site.set(answer("500 Oh", b""));
    let batch = bench.next().await;
    assert_eq!(shown(&batch), [r#"a{x="1"} stale"#, r#"a{x="2"} stale"#, "b stale"]);
    assert_eq!(reported(&batch, "up"), Some(0.0));
    bench.site.set(text(&page(4)));
    bench.next().await;
    assert_eq!(bench.scraped().await, [r#"a{x="1"} 4"#, r#"a{x="2"} 4.5"#, "b 4"]);
    bench.harness.update(&config("", "")).await.expect("updated");
    assert_eq!(bench.scraped().await, [r#"a{x="1"} stale"#, r#"a{x="2"} stale"#, "b stale"]);
}

#[tokio::test(start_paused = true)]
async fn changed_arguments_hold_for_a_page_that_repeats() {
    let bench = Bench::start("", [text(&page(1))]).await;
    for _ in 0..3 {
        bench.next().await;
    }
    bench.harness.update(&config(TARGET, "extra_metrics = true\nsample_limit = 9")).await.expect("updated");
    for _ in 0..3 {
        let batch = bench.next().await;
        assert_eq!(reported(&batch, "scrape_sample_limit"), Some(9.0));
        assert_eq!(shown(&batch).len(), 3);
    }
    bench.harness.update(&config(TARGET, "sample_limit = 2")).await.expect("updated");
    assert_eq!(reported(&bench.next().await, "up"), Some(0.0));
}

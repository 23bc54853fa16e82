//! What the pipeline promises to stages and to the relay.

use super::*;
use crate::process::testkit::{Bench, Case, batch, lines};

const STARTS: &str = r#"stage.multiline { firstline = "^START" }"#;
const LABEL: &str = r#"stage.static_labels { values = { new = "1" } }"#;
const COUNT: &str = r#"stage.drop { expression = "^x" }"#;

/// Puts each entry that begins with a digit that many milliseconds off.
struct Slow;

impl MapStage for Slow {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        if let Ok(ms) = record.line.parse() {
            cx.not_before(cx.now + Duration::from_millis(ms));
        }
        Flow::Next
    }
}

fn paced(texts: &[&str]) -> Vec<(Option<u64>, Vec<String>)> {
    let mut bench = Bench::new("");
    bench.pipeline.nodes = vec![Node::map(Slow)];
    let cases: Vec<Case> = texts.iter().map(|text| Case::new(*text)).collect();
    let pieces = bench.pipeline.process(&batch(&cases, None));
    let now = bench.pipeline.cx.now;
    let ms = |time: Instant| u64::try_from((time - now).as_millis()).expect("short");
    let texts = |piece: &Piece| piece.batch.entries.iter().map(|e| e.line.to_string()).collect();
    pieces.iter().map(|piece| (piece.not_before.map(ms), texts(piece))).collect()
}

#[test]
fn entries_that_have_to_wait_are_pieces_of_their_own() {
    assert_eq!(paced(&["a", "b"]), [(None, vec!["a".into(), "b".into()])]);
    assert_eq!(
        paced(&["a", "100", "b", "120", "149", "200", "0", "7"]),
        [
            (None, vec!["a".to_owned()]),
            (Some(149), vec!["100".into(), "b".into(), "120".into(), "149".into()]),
            (Some(200), vec!["200".into(), "0".into(), "7".into()]),
        ]
    );
    assert_eq!(paced(&["100"]), [(Some(100), vec!["100".to_owned()])]);
    assert_eq!(paced(&["0", "a"]), [(None, vec!["0".into(), "a".into()])], "the time has come already");
}

#[test]
fn an_empty_pipeline_passes_batches_on() {
    let mut bench = Bench::new("");
    let sent = batch(&[Case::new("a")], None);
    let pieces = bench.pipeline.process(&sent);
    assert!(std::ptr::eq(&*pieces[0].batch, &*sent));
}

#[test]
fn stages_that_stay_keep_what_they_remember() {
    let join = |parts: &[&str]| parts.join("\n");
    let cases = [
        (join(&[STARTS]), join(&[STARTS, LABEL]), true),
        (join(&[STARTS]), join(&[COUNT, STARTS]), true),
        (join(&[COUNT, STARTS, LABEL]), join(&[LABEL, STARTS, LABEL]), true),
        (join(&[COUNT, LABEL, STARTS, LABEL]), join(&[STARTS, LABEL]), true),
        (join(&[COUNT, STARTS, LABEL]), join(&[LABEL, STARTS, COUNT]), true),
        (join(&[STARTS, LABEL]), join(&[STARTS.replace("START", "BEGIN").as_str(), LABEL]), false),
        (join(&[STARTS]), String::new(), false),
    ];
    for (before, after, kept) in cases {
        let mut bench = Bench::new(&before);
        assert!(bench.run(&[Case::new("START")]).is_empty());
        assert_eq!(bench.update(&after).is_empty(), kept, "{before}\n->\n{after}");
        assert_eq!(bench.flush().len(), usize::from(kept));
    }
}

#[test]
fn what_a_stage_gives_out_when_it_goes_passes_the_stages_that_were_behind_it() {
    let mut bench = Bench::new(&format!("{STARTS}\n{LABEL}"));
    bench.run(&[Case::new("START"), Case::new("1")]);
    assert_eq!(bench.update(LABEL), ["1000000000 {new=\"1\"} \"START\\n1\""]);
}

#[test]
fn a_block_inside_of_blocks_goes_through_both() {
    let mut bench = Bench::new(&format!("{STARTS}\n{}", STARTS.replace("START", "[A-Z]")));
    bench.run(&[Case::new("START"), Case::new("x"), Case::new("START"), Case::new("y")]);
    assert_eq!(bench.flush().len(), 2);
    assert_eq!(bench.pipeline.due(), None);
}

#[test]
fn equal_label_sets_of_a_batch_share_a_place() {
    let mut bench = Bench::new(LABEL);
    let cases: Vec<Case> = (0..6).map(|i| Case::new("x").label("i", &(i % 2).to_string())).collect();
    let pieces = bench.pipeline.process(&batch(&cases, None));
    assert_eq!(pieces[0].batch.streams.len(), 2);
    assert_eq!(lines(&pieces).len(), 6);
}

#[test]
fn millions_of_label_values_are_survived_and_counted() {
    let mut bench = Bench::new(
        r#"stage.regex {
            expression         = "(?P<id>\\d+)"
            labels_from_groups = true
        }"#,
    );
    for round in 0..20 {
        let cases: Vec<Case> = (0..1000).map(|i| Case::new((round * 1000 + i).to_string())).collect();
        assert_eq!(bench.run(&cases).len(), 1000);
    }
    assert_eq!(bench.metric("loki_process_label_cache_overflows_total"), Some(1.0));
}

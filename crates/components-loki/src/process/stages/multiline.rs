//! `stage.multiline` joins a line that matches `firstline` with the lines after it.
//!
//! Each stream has a block of its own. A block goes on when the next one begins, when it has `max_lines`, when no
//! line has come for `max_wait_time`, or when blocks take too much memory. It keeps the promises of all batches
//! that its lines came in.

use std::time::Duration;

use bytestring::ByteString;
use component::eval::Invalid;
use component::{Arguments, Error};
use hashbrown::HashMap;
use signal::Labels;
use signal::re2::Regex;
use tokio::time::Instant;

use crate::process::expression::Expression;
use crate::process::pipeline::{FlatMapStage, Flush, Next, Node, StageCx};
use crate::process::record::{Kept, Record};

/// A block with more bytes than this goes on, the rest becomes the next one.
const BLOCK_BYTES: usize = 8 << 20;

/// When blocks take more bytes than this together, the oldest go on.
const TOTAL_BYTES: usize = 64 << 20;

/// How many streams are remembered.
const STREAMS: usize = 10_000;

/// `stage.multiline`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// RE2 expression that matches the first line of a block.
    pub firstline: Expression,
    /// Lines of a block at most; 0: any number.
    #[arg(default = 128)]
    pub max_lines: u64,
    /// A block goes on when no line has come for this long.
    #[arg(default = Duration::from_secs(3))]
    pub max_wait_time: Duration,
    /// Take line ends off before lines are joined.
    #[arg(default = true)]
    pub trim_newlines: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.firstline.given().is_none() {
            return Err(Invalid::field("firstline", "must not be empty"));
        }
        if self.max_wait_time.is_zero() {
            return Err(Invalid::field("max_wait_time", "must be above 0"));
        }
        Ok(())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let empty = || Error::argument("firstline", "must not be empty");
        Ok(Node::flat_map(Multiline {
            first_line: self.firstline.given().ok_or_else(empty)?.clone(),
            max_lines: if self.max_lines == 0 { u64::MAX } else { self.max_lines },
            wait: self.max_wait_time,
            trim: self.trim_newlines,
            streams: HashMap::default(),
            bytes: 0,
            due: None,
        }))
    }
}

struct Multiline {
    first_line: Regex,
    max_lines: u64,
    wait: Duration,
    trim: bool,
    /// Streams that have had a first line.
    streams: HashMap<Labels, Stream, foldhash::fast::RandomState>,
    /// Of all blocks.
    bytes: usize,
    /// Not later than the first block is due.
    due: Option<Instant>,
}

struct Stream {
    block: Option<Block>,
    last_line_at: Instant,
}

struct Block {
    /// The first line, with the promises of all lines.
    first: Kept,
    /// The lines joined, once there is more than one.
    text: String,
    lines: u64,
}

impl Block {
    fn bytes(&self) -> usize {
        self.text.len() + self.first.bytes()
    }

    fn append(&mut self, line: &str) {
        if self.lines == 1 {
            self.text.push_str(&self.first.line);
            self.first.line = ByteString::new();
        }
        self.text.push('\n');
        self.text.push_str(line);
        self.lines += 1;
    }

    /// Sends it through the stages behind.
    fn go(mut self, next: &mut Next<'_>) {
        if self.lines > 1 {
            self.first.line = self.text.into();
        }
        next.run_kept(&self.first);
    }
}

impl FlatMapStage for Multiline {
    fn process(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        let cx = next.cx;
        let labels = cx.labels(record);
        let is_first = self.first_line.is_match(&record.line);
        let Some(stream) = self.streams.get_mut(&labels) else {
            // Until a stream's first first line, lines go on one by one.
            if !is_first {
                return next.run(record);
            }
            self.make_room(next);
            let block = Some(self.begin(record, next));
            self.streams.insert(labels, Stream { block, last_line_at: cx.now });
            self.end_if_full(&labels_of(record, next), next);
            return;
        };
        stream.last_line_at = cx.now;
        if is_first && let Some(done) = stream.block.take() {
            self.bytes -= done.bytes();
            done.go(next);
        }
        match self.streams.get_mut(&labels).and_then(|s| s.block.as_mut()) {
            Some(block) => {
                self.bytes -= block.bytes();
                block.append(if self.trim { trimmed(&record.line) } else { &record.line });
                block.first.hold(cx.batch, cx.hold());
                self.bytes += block.bytes();
                self.due_after(cx.now);
            }
            None => {
                let block = self.begin(record, next);
                self.streams.insert(labels.clone(), Stream { block: Some(block), last_line_at: cx.now });
            }
        }
        self.end_if_full(&labels, next);
        while self.bytes > TOTAL_BYTES && self.let_go_oldest(next) {}
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn flush(&mut self, which: Flush, next: &mut Next<'_>) {
        let open = self.streams.iter().filter(|(_, s)| s.block.is_some());
        let mut due: Vec<(Instant, Labels)> = open.map(|(l, s)| (s.last_line_at, l.clone())).collect();
        due.retain(|(last, _)| which.covers(*last + self.wait));
        due.sort_by_key(|(last, _)| *last);
        for (_, labels) in due {
            self.end(&labels, next);
        }
        let open = self.streams.values().filter(|s| s.block.is_some());
        self.due = open.map(|s| s.last_line_at + self.wait).min();
    }
}

fn labels_of(record: &Record<'_>, next: &Next<'_>) -> Labels {
    next.cx.labels(record)
}

fn trimmed(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

impl Multiline {
    fn begin(&mut self, record: &Record<'_>, next: &Next<'_>) -> Block {
        let mut first = next.cx.keep(record);
        if self.trim {
            let line = trimmed(&first.line);
            if line.len() < first.line.len() {
                first.line = first.line.slice_ref(line);
            }
        }
        let block = Block { first, text: String::new(), lines: 1 };
        self.bytes += block.bytes();
        self.due_after(next.cx.now);
        block
    }

    fn due_after(&mut self, now: Instant) {
        let due = now + self.wait;
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    fn end_if_full(&mut self, labels: &Labels, next: &mut Next<'_>) {
        let full = |b: &Block| b.lines >= self.max_lines || b.text.len() > BLOCK_BYTES;
        if self.streams.get(labels).and_then(|s| s.block.as_ref()).is_some_and(full) {
            self.end(labels, next);
        }
    }

    fn end(&mut self, labels: &Labels, next: &mut Next<'_>) {
        if let Some(block) = self.streams.get_mut(labels).and_then(|s| s.block.take()) {
            self.bytes -= block.bytes();
            block.go(next);
        }
    }

    fn let_go_oldest(&mut self, next: &mut Next<'_>) -> bool {
        let open = self.streams.iter().filter(|(_, s)| s.block.is_some());
        let oldest = open.min_by_key(|(_, s)| s.last_line_at).map(|(labels, _)| labels.clone());
        oldest.inspect(|labels| self.end(labels, next)).is_some()
    }

    /// Forgets streams before there are too many: idle ones, else the half that had its last line first.
    fn make_room(&mut self, next: &mut Next<'_>) {
        if self.streams.len() < STREAMS {
            return;
        }
        self.streams.retain(|_, s| s.block.is_some());
        if self.streams.len() < STREAMS {
            return;
        }
        let mut all: Vec<(Instant, Labels)> =
            self.streams.iter().map(|(l, s)| (s.last_line_at, l.clone())).collect();
        all.sort_by_key(|(last, _)| *last);
        for (_, labels) in &all[..STREAMS / 2] {
            self.end(labels, next);
            self.streams.remove(labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testkit::{Bench, Case, fuzz, refused};

    const STARTS: &str = r#"stage.multiline { firstline = "^START" }"#;

    fn line(text: impl Into<String>) -> Case {
        Case::new(text)
    }

    fn texts(shown: &[String]) -> Vec<&str> {
        shown.iter().map(|s| &s[s.find('"').expect("a line")..]).collect()
    }

    #[test]
    fn lines_join_the_first_line_before_them() {
        let mut bench = Bench::new(STARTS);
        let got = bench.run(&[
            line("before"),
            line("START a\r\n").at(1),
            line("  one\n").at(2).metadata([("x", "y")]),
            line("").at(3),
            line("START b").at(4),
            line("START c").at(5),
        ]);
        assert_eq!(got, ["1000000000 {} \"before\"", "1 {} \"START a\\n  one\\n\"", "4 {} \"START b\""]);
        assert_eq!(bench.flush(), ["5 {} \"START c\""]);
        assert_eq!(bench.flush(), [""; 0]);
    }

    #[test]
    fn line_ends_stay_if_they_are_wanted() {
        let mut bench = Bench::new(
            r#"stage.multiline {
                firstline     = "^START"
                trim_newlines = false
            }"#,
        );
        assert_eq!(bench.run(&[line("START\n"), line("a\n")]), [""; 0]);
        assert_eq!(texts(&bench.flush()), [r#""START\n\na\n""#]);
    }

    #[test]
    fn streams_do_not_mix_and_what_was_extracted_is_that_of_the_first_line() {
        let mut bench = Bench::new(&format!(
            r#"
            stage.regex {{ expression = "(?P<id>\\d+)" }}
            {STARTS}
            stage.labels {{ values = {{ id = "" }} }}"#
        ));
        let of = |pod: &'static str, text: &str| Case::new(text).labels([("pod", pod)]);
        bench.run(&[of("a", "START 1"), of("b", "START 2"), of("a", "3"), of("b", "4")]);
        let mut got = bench.flush();
        got.sort();
        assert_eq!(
            got,
            [
                "1000000000 {id=\"1\", pod=\"a\"} \"START 1\\n3\"",
                "1000000000 {id=\"2\", pod=\"b\"} \"START 2\\n4\"",
            ]
        );
    }

    #[test]
    fn a_full_block_goes_on_and_the_rest_is_a_block_of_its_own() {
        let mut bench = Bench::new(
            r#"stage.multiline {
                firstline = "^START"
                max_lines = 2
            }"#,
        );
        let got = bench.run(&[
            line("START").at(1),
            line("1").at(2),
            line("2").at(3),
            line("3").at(4),
            line("4").at(5),
        ]);
        assert_eq!(got, ["1 {} \"START\\n1\"", "3 {} \"2\\n3\""]);
        assert_eq!(bench.flush(), ["5 {} \"4\""]);
        let mut bench = Bench::new(
            r#"stage.multiline {
                firstline = "^START"
                max_lines = 1
            }"#,
        );
        assert_eq!(bench.run(&[line("START"), line("1"), line("START")]).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_goes_on_when_no_line_has_come_for_a_while() {
        let mut bench = Bench::new(STARTS);
        bench.run(&[line("START")]);
        tokio::time::advance(Duration::from_secs(2)).await;
        bench.run(&[line("1")]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(bench.flush_due(), [""; 0], "the last line is two seconds old");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(texts(&bench.flush_due()), [r#""START\n1""#]);
        assert_eq!(bench.pipeline.due(), None);
        // What comes late is a block of its own.
        bench.run(&[line("2").at(9)]);
        assert_eq!(bench.flush(), ["9 {} \"2\""]);
    }

    #[test]
    fn huge_blocks_and_very_many_streams_are_bounded() {
        let mut bench = Bench::new(
            r#"stage.multiline {
                firstline = "^START"
                max_lines = 0
            }"#,
        );
        let part = "x".repeat(1 << 20);
        let mut lines = vec![line("START")];
        lines.extend((0..20).map(|_| line(part.clone())));
        assert_eq!(bench.run(&lines).len(), 2);
        let of = |i: usize| Case::new("START").label("i", &i.to_string());
        let mut got = 0;
        for i in 0..2 * STREAMS {
            got += bench.run(&[of(i)]).len();
        }
        assert!(got >= STREAMS, "{got}");
        assert_eq!(got + bench.flush().len(), 2 * STREAMS + 1);
    }

    #[test]
    fn blocks_of_all_streams_together_are_bounded() {
        let mut bench = Bench::new(STARTS);
        let mut got = 0;
        for i in 0..40 {
            let of = |text: String| Case::new(text).label("i", &i.to_string());
            got += bench.run(&[of("START".into()), of("x".repeat(4 << 20))]).len();
        }
        assert!((20..30).contains(&got), "{got}");
    }

    #[test]
    fn bad_arguments_are_refused() {
        refused("stage.multiline { }", "firstline");
        refused(r#"stage.multiline { firstline = "" }"#, "must not be empty");
        refused(r#"stage.multiline { firstline = "(" }"#, "missing closing )");
        refused(
            r#"stage.multiline { firstline = "x"
            max_wait_time = "0s" }"#,
            "above 0",
        );
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.multiline {
            firstline = "^[a-z]"
            max_lines = 3
        }"#,
        );
    }
}

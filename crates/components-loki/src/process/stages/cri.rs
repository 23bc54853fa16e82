//! `stage.cri` reads lines of container runtimes: `<time> <stdout|stderr> <F|P> <content>`, and joins the parts
//! (`P`) of long lines.
//!
//! Bounds: streams with an unfinished line (`max_partial_lines`), bytes of a line, bytes of all, and time; what
//! is over goes on unfinished.

use std::time::Duration;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, Error};
use hashbrown::HashMap;
use signal::Labels;
use tokio::time::Instant;

use crate::process::pipeline::{FlatMapStage, Flush, Next, Node, StageCx};
use crate::process::record::{Kept, Record};
use crate::process::rfc3339;

/// A line with more bytes than this goes on unfinished.
const LINE_BYTES: usize = 8 << 20;

/// When unfinished lines take more bytes than this together, the oldest go on.
const TOTAL_BYTES: usize = 64 << 20;

/// A line whose next part does not come goes on after this time: its container is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// `stage.cri`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Streams whose unfinished line is kept at a time.
    #[arg(default = 100)]
    pub max_partial_lines: i64,
    /// Bytes to which joined lines are cut if `max_partial_line_size_truncate` is on; 0: not cut.
    #[arg(default)]
    pub max_partial_line_size: u64,
    /// Cut joined lines to `max_partial_line_size`.
    #[arg(default)]
    pub max_partial_line_size_truncate: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max_partial_lines <= 0 {
            return Err(Invalid::field("max_partial_lines", "must be above 0"));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let cut = self.max_partial_line_size_truncate && self.max_partial_line_size > 0;
        Ok(Node::flat_map(Cri {
            most: usize::try_from(self.max_partial_lines).unwrap_or(usize::MAX),
            cut_to: cut.then(|| usize::try_from(self.max_partial_line_size).unwrap_or(usize::MAX)),
            unfinished: HashMap::default(),
            bytes: 0,
            due: None,
            flushed: cx.counters.cri_partial_lines_flushed.clone(),
            truncated: cx.counters.cri_lines_truncated.clone(),
        }))
    }
}

struct Cri {
    most: usize,
    cut_to: Option<usize>,
    unfinished: HashMap<Labels, Unfinished, foldhash::fast::RandomState>,
    /// Of all unfinished lines.
    bytes: usize,
    /// Not later than the first unfinished line is due.
    due: Option<Instant>,
    flushed: IntCounter,
    truncated: IntCounter,
}

/// The parts of a line so far.
struct Unfinished {
    text: String,
    cut: bool,
    /// The last part, with the promises of all parts.
    last: Kept,
    came_at: Instant,
}

impl FlatMapStage for Cri {
    fn process(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        let Some(parsed) = parse(&record.line) else { return next.run(record) };
        let (line, partial) = (record.line.clone(), parsed.partial);
        record.extracted.set("flags", if partial { "P" } else { "F" });
        record.extracted.set("stream", parsed.stream);
        record.extracted.set_part("content", &record.line, parsed.content);
        record.extracted.set_part("time", &record.line, parsed.time);
        record.labels.set("stream", parsed.stream);
        if let Some(time) = rfc3339::parse(parsed.time) {
            record.timestamp_ns = time;
        }
        let content = line.slice_ref(parsed.content);
        record.line.set(content);
        if partial {
            self.keep(record, next);
        } else if self.unfinished.is_empty() {
            next.run(record);
        } else {
            self.finish(record, next);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn flush(&mut self, which: Flush, next: &mut Next<'_>) {
        let mut due: Vec<(Instant, Labels)> =
            self.unfinished.iter().map(|(l, u)| (u.came_at, l.clone())).collect();
        due.retain(|(came_at, _)| which.covers(*came_at + PATIENCE));
        due.sort_by_key(|(came_at, _)| *came_at);
        for (_, labels) in due {
            self.let_go(&labels, next);
        }
        self.due = self.unfinished.values().map(|u| u.came_at + PATIENCE).min();
    }
}

impl Cri {
    /// A part of a line that others follow.
    fn keep(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        let cx = next.cx;
        let labels = cx.labels(record);
        if self.unfinished.len() >= self.most && !self.unfinished.contains_key(&labels) {
            self.let_go_oldest(next);
        }
        let mut last = cx.keep(record);
        let part = std::mem::take(&mut last.line);
        self.due = Some(self.due.unwrap_or(cx.now + PATIENCE).min(cx.now + PATIENCE));
        let before = self.bytes;
        match self.unfinished.get_mut(&labels) {
            Some(known) => {
                self.bytes -= known.text.len();
                last.hold_all(&known.last);
                (known.last, known.came_at) = (last, cx.now);
                known.append(&part, self.cut_to, &self.truncated);
                self.bytes += known.text.len();
            }
            None => {
                let mut new = Unfinished { text: String::new(), cut: false, last, came_at: cx.now };
                new.append(&part, self.cut_to, &self.truncated);
                self.bytes += new.text.len();
                self.unfinished.insert(labels.clone(), new);
            }
        }
        if self.unfinished.get(&labels).is_some_and(|u| u.text.len() > LINE_BYTES) {
            self.let_go(&labels, next);
        }
        while self.bytes > TOTAL_BYTES && self.bytes > before.min(TOTAL_BYTES) && !self.unfinished.is_empty()
        {
            self.let_go_oldest(next);
        }
    }

    /// The last part of a line, or a whole one.
    fn finish(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        let Some(mut known) = self.unfinished.remove(&next.cx.labels(record)) else {
            return next.run(record);
        };
        self.bytes -= known.text.len();
        known.append(&record.line, self.cut_to, &self.truncated);
        let mut whole = next.cx.keep(record);
        whole.hold_all(&known.last);
        whole.line = known.text.into();
        next.run_kept(&whole);
    }

    fn let_go_oldest(&mut self, next: &mut Next<'_>) {
        let oldest = self.unfinished.iter().min_by_key(|(_, u)| u.came_at).map(|(labels, _)| labels.clone());
        if let Some(labels) = oldest {
            self.let_go(&labels, next);
        }
    }

    /// A line goes on unfinished.
    fn let_go(&mut self, labels: &Labels, next: &mut Next<'_>) {
        if let Some(mut unfinished) = self.unfinished.remove(labels) {
            self.bytes -= unfinished.text.len();
            self.flushed.inc();
            unfinished.last.line = unfinished.text.into();
            next.run_kept(&unfinished.last);
        }
    }
}

impl Unfinished {
    fn append(&mut self, part: &str, cut_to: Option<usize>, truncated: &IntCounter) {
        if self.cut {
            return;
        }
        let room = cut_to.map_or(usize::MAX, |most| most - self.text.len().min(most));
        if part.len() <= room {
            self.text.push_str(part);
            return;
        }
        self.cut = true;
        truncated.inc();
        self.text.push_str(&part[..part.floor_char_boundary(room)]);
    }
}

struct Parsed<'a> {
    time: &'a str,
    stream: &'static str,
    partial: bool,
    content: &'a str,
}

/// The time is not looked into, tags may be absent: then the line is whole.
fn parse(line: &str) -> Option<Parsed<'_>> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, rest) = match rest.get(..6)? {
        "stdout" => ("stdout", &rest[6..]),
        "stderr" => ("stderr", &rest[6..]),
        _ => return None,
    };
    let rest = rest.strip_prefix(' ')?;
    let (tags, content) = rest.split_once(' ').unwrap_or((rest, ""));
    let (partial, content) = match tags.split(':').next() {
        Some("P") => (true, content),
        Some("F") => (false, content),
        _ => (false, rest),
    };
    Some(Parsed { time, stream, partial, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testkit::{Bench, Case, check, fuzz, refused};

    const TIME: i64 = 1_557_224_725_123_456_789;
    const AT: &str = "2019-05-07T10:25:25.123456789Z";

    fn whole(line: &str, stream: &str) -> Case {
        Case::new(line).labels([("stream", stream)]).at(TIME)
    }

    #[test]
    fn time_stream_and_content_are_taken_apart() {
        let line = |text: &str| Case::new(format!("{AT} {text}"));
        check(
            "stage.cri { }",
            &[
                line("stdout F message text").gives(whole("message text", "stdout")),
                line("stderr F ").gives(whole("", "stderr")),
                line("stderr F").gives(whole("", "stderr")),
                line("stdout F:tag  two").gives(whole(" two", "stdout")),
                line("stdout Forgotten tag").gives(whole("Forgotten tag", "stdout")),
                line("stdout F two\nlines").gives(whole("two\nlines", "stdout")),
                Case::new("when stdout F x").gives(Case::new("x").labels([("stream", "stdout")])),
                line("stdin F x").same(),
                line("stdout").same(),
                Case::new(AT).same(),
                Case::new("2019-05-07T10:25:25Z\tstdout F x").same(),
                Case::new("").same(),
            ],
        );
    }

    #[test]
    fn later_stages_find_the_parts() {
        check(
            r#"
            stage.cri { }
            stage.labels { values = { flags = "", time = "", content = "" } }"#,
            &[Case::new(format!("{AT} stdout F x")).gives(
                Case::new("x")
                    .labels([("stream", "stdout"), ("flags", "F"), ("time", AT), ("content", "x")])
                    .at(TIME),
            )],
        );
    }

    #[test]
    fn parts_are_joined_by_stream() {
        let part = |stream: &str, tag: &str, text: &str| Case::new(format!("{AT} {stream} {tag} {text}"));
        check(
            "stage.cri { }",
            &[part("stdout", "P", "kept until the end of the batch and longer").gives_nothing()],
        );
        let mut bench = Bench::new("stage.cri { }");
        assert_eq!(bench.run(&[part("stdout", "P", "one "), part("stderr", "P", "A")]), [""; 0]);
        let got = bench.run(&[
            part("stdout", "P", "two "),
            part("stderr", "F", "B"),
            part("stdout", "F", "three"),
            part("stdout", "F", "four"),
        ]);
        let shown = |line: &str, stream: &str| format!("{TIME} {{stream=\"{stream}\"}} {line:?}");
        assert_eq!(got, [shown("AB", "stderr"), shown("one two three", "stdout"), shown("four", "stdout")]);
        assert_eq!(bench.flush(), [""; 0]);
        assert_eq!(bench.metric("loki_process_cri_partial_lines_flushed_total"), Some(0.0));
    }

    fn partial(pod: &'static str, text: &str) -> Case {
        Case::new(format!("{AT} stdout P {text}")).labels([("pod", pod)])
    }

    #[test]
    fn with_too_many_streams_the_oldest_unfinished_line_goes_on() {
        let mut bench = Bench::new("stage.cri { max_partial_lines = 2 }");
        let got = bench.run(&[partial("a", "1"), partial("b", "2"), partial("a", "1"), partial("c", "3")]);
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(bench.flush().len(), 2);
        assert_eq!(bench.metric("loki_process_cri_partial_lines_flushed_total"), Some(3.0));
    }

    #[test]
    fn joined_lines_are_cut_between_characters() {
        let mut bench = Bench::new(
            "stage.cri {
                max_partial_line_size          = 6
                max_partial_line_size_truncate = true
            }",
        );
        let whole = |text: &str| Case::new(format!("{AT} stdout F {text}")).labels([("pod", "a")]);
        let got =
            bench.run(&[whole("longer than six"), partial("a", "123"), partial("a", "45é"), whole("7")]);
        assert_eq!(got.len(), 2);
        assert!(got[0].contains("longer than six") && got[1].ends_with("\"12345\""), "{got:?}");
        assert_eq!(bench.metric("loki_process_cri_lines_truncated_total"), Some(1.0));
        // 0 is no size to cut to.
        let mut bench = Bench::new("stage.cri { max_partial_line_size_truncate = true }");
        let got = bench.run(&[partial("a", "123"), whole("7")]);
        assert!(got[0].ends_with("\"1237\""), "{got:?}");
    }

    #[test]
    fn a_line_without_end_goes_on_in_pieces() {
        let mut bench = Bench::new("stage.cri { }");
        let part = "x".repeat(1 << 20);
        let mut pieces = 0;
        for _ in 0..20 {
            pieces += bench.run(&[partial("a", &part)]).len();
        }
        assert_eq!(pieces, 2);
        assert_eq!(bench.flush().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_whose_end_does_not_come_goes_on_after_a_while() {
        let mut bench = Bench::new("stage.cri { }");
        bench.run(&[partial("a", "1")]);
        tokio::time::advance(PATIENCE / 2).await;
        bench.run(&[partial("b", "2")]);
        assert_eq!(bench.flush_due(), [""; 0]);
        tokio::time::advance(PATIENCE / 2).await;
        assert_eq!(bench.flush_due().len(), 1);
        tokio::time::advance(PATIENCE / 2).await;
        assert_eq!(bench.flush_due().len(), 1);
        assert_eq!(bench.pipeline.due(), None);
    }

    #[test]
    fn limits_are_above_zero() {
        refused("stage.cri { max_partial_lines = 0 }", "above 0");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz("stage.cri { }");
    }
}

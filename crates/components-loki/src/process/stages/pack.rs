//! `stage.pack` puts labels and extracted values into the line, as JSON that Loki's `unpack` takes apart.

use component::{Arguments, Error};
use wire::json;

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.pack`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Labels and extracted values to put into the line; labels go there.
    pub labels: Vec<String>,
    /// Whether the entry gets the time of now, so that entries of streams that become one are in order.
    #[arg(default = true)]
    pub ingest_timestamp: bool,
}

impl Args {
    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let mut names = self.labels.clone();
        names.sort_unstable();
        names.dedup();
        Ok(Node::map(Pack { names, now: self.ingest_timestamp, last_ns: 0 }))
    }
}

struct Pack {
    /// Sorted.
    names: Vec<String>,
    now: bool,
    /// The last time that was given out.
    last_ns: i64,
}

impl MapStage for Pack {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        let mut line = String::with_capacity(record.line.len() + 32 * self.names.len() + 16);
        line.push('{');
        for name in &self.names {
            let Some(value) = record.extracted.text(name) else { continue };
            json::text(name, true, &mut line);
            line.push(':');
            json::text(&value, true, &mut line);
            line.push(',');
            record.labels.remove(name);
        }
        line.push_str("\"_entry\":");
        json::text(&record.line, true, &mut line);
        line.push('}');
        record.line.set(line);
        if self.now {
            // Each has a time of its own: of equal lines with equal times Loki would keep one.
            self.last_ns = cx.wall_ns.max(self.last_ns + 1);
            record.timestamp_ns = self.last_ns;
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    #[test]
    fn labels_and_the_line_become_json() {
        let text = "stage.pack { labels = [\"pod\", \"app\", \"pod\", \"none\"]\n ingest_timestamp = false }";
        check(
            text,
            &[
                Case::new("a \"b\" <c>\n").labels([("app", "x"), ("pod", "p-1"), ("job", "j")]).gives(
                    Case::new(r#"{"app":"x","pod":"p-1","_entry":"a \"b\" \u003cc\u003e\n"}"#)
                        .labels([("job", "j")]),
                ),
                Case::new("alone").gives(Case::new(r#"{"_entry":"alone"}"#)),
            ],
        );
    }

    #[test]
    fn packed_entries_get_the_time_of_now_each_its_own() {
        let mut bench = Bench::new("stage.pack { labels = [] }");
        let batch = crate::process::testkit::batch(&vec![Case::new("x"); 3], None);
        let times: Vec<i64> =
            bench.pipeline.process(&batch)[0].batch.entries.iter().map(|e| e.timestamp_ns).collect();
        assert!(times[0] > 1_700_000_000_000_000_000, "{times:?}");
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }

    #[test]
    fn labels_are_needed() {
        refused("stage.pack { }", "labels");
    }

    proptest! {
        #[test]
        fn what_is_packed_can_be_unpacked(line in ".{0,40}", value in ".{1,40}") {
            let mut bench = Bench::new("stage.pack { labels = [\"a\"]\n ingest_timestamp = false }");
            let batch = crate::process::testkit::batch(&[Case::new(line.clone()).labels([("a", &value)])], None);
            let pieces = bench.pipeline.process(&batch);
            let packed: BTreeMap<String, String> = serde_json::from_str(&pieces[0].batch.entries[0].line).expect("JSON");
            prop_assert_eq!(packed, BTreeMap::from([("a".into(), value), ("_entry".into(), line)]));
        }
    }
}

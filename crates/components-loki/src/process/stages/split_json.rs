//! `stage.split_json` makes an entry of each element of a JSON array.

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, Error};

use super::json::elements;
use crate::process::pipeline::{FlatMapStage, Next, Node, StageCx};
use crate::process::record::Record;

/// An array with more elements goes on as it is: it would be many times its size in memory.
const MOST: usize = 100_000;

/// `stage.split_json`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Extracted value that is split; the line where it is absent.
    #[arg(type_name = "string", code_type = "string(Source)")]
    pub source: Option<String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        super::source(self.source.as_ref())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let empty = cx.counters.dropped("split_json_empty_array");
        Ok(Node::flat_map(SplitJson { source: self.source.clone(), empty }))
    }
}

struct SplitJson {
    source: Option<String>,
    empty: IntCounter,
}

impl FlatMapStage for SplitJson {
    fn process(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        let array = record.source(self.source.as_deref());
        let array = array.filter(|text| text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('['));
        let Some(array) = array else { return next.run(record) };
        let Some(elements) = elements(&array, MOST) else { return next.run(record) };
        if elements.is_empty() {
            self.empty.inc();
            return;
        }
        let mut child = next.cx.keep(record);
        for element in elements {
            child.line = array.slice_ref(element);
            next.run_kept(&child);
        }
    }

    fn keeps_back(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Bench, Case, check, fuzz, refused};

    #[test]
    fn elements_become_entries_of_their_own() {
        let element = |line: &str| Case::new(line).labels([("job", "x")]).metadata([("id", "7")]);
        check(
            "stage.split_json { }",
            &[
                Case::new(" [{\"a\": 1}, \"b\",null , 3]")
                    .labels([("job", "x")])
                    .metadata([("id", "7")])
                    .gives_all([element("{\"a\": 1}"), element("\"b\""), element("null"), element("3")]),
                Case::new(r#"{"a":[1]}"#).same(),
                Case::new("[1,").same(),
                Case::new("[1] x").same(),
                Case::new("text").same(),
            ],
        );
    }

    #[test]
    fn what_was_extracted_before_goes_with_each_element_and_stays_apart_after() {
        check(
            r#"
            stage.json { expressions = { host = "", items = "" } }
            stage.split_json { source = "items" }
            stage.json { expressions = { id = "" } }
            stage.labels { values = { id = "", host = "" } }"#,
            &[Case::new(r#"{"host":"a","items":[{"id":1},{"no":2},{"id":3}]}"#).gives_all([
                Case::new(r#"{"id":1}"#).labels([("id", "1"), ("host", "a")]),
                Case::new(r#"{"no":2}"#).labels([("host", "a")]),
                Case::new(r#"{"id":3}"#).labels([("id", "3"), ("host", "a")]),
            ])],
        );
    }

    #[test]
    fn an_array_without_elements_is_counted_as_dropped() {
        let mut bench = Bench::new("stage.split_json { }");
        assert!(bench.run(&[Case::new("[]"), Case::new(" [ ] ")]).is_empty());
        assert_eq!(
            bench.metric(r#"loki_process_dropped_lines_total{reason="split_json_empty_array"}"#),
            Some(2.0)
        );
    }

    #[test]
    fn an_array_with_very_many_elements_goes_on_whole() {
        let line = format!("[{}1]", "1,".repeat(super::MOST));
        check("stage.split_json { }", &[Case::new(line).same()]);
    }

    #[test]
    fn an_empty_source_is_refused() {
        refused(r#"stage.split_json { source = "" }"#, "must name");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz("stage.split_json { }");
    }
}

//! `stage.structured_metadata` makes structured metadata of extracted values, and moves labels there.

use std::collections::BTreeMap;

use component::eval::Invalid;
use component::{Arguments, Error};
use signal::re2::Regex;

use crate::process::expression::{Expression, given};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.structured_metadata`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names in the structured metadata and the names of the values that they get; empty or null: the same name.
    #[arg(default)]
    pub values: BTreeMap<String, Option<String>>,
    /// Extracted values and labels whose name this RE2 expression matches somewhere are taken too.
    pub regex: Option<Expression>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        super::label_names("values", self.values.keys())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let pairs = super::named_sources(&self.values);
        Ok(Node::map(MakeMetadata { pairs, regex: given(self.regex.as_ref()).cloned() }))
    }
}

struct MakeMetadata {
    /// Name in the metadata, name of the value.
    pairs: Vec<(String, String)>,
    regex: Option<Regex>,
}

impl MapStage for MakeMetadata {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Record { extracted, labels, metadata, .. } = record;
        for (name, source) in &self.pairs {
            if let Some(text) = extracted.text(source) {
                metadata.set(name, &text);
            }
        }
        if let Some(regex) = &self.regex {
            for (name, value) in extracted.iter().filter(|(name, _)| regex.is_match(name)) {
                if let Some(text) = value.text() {
                    metadata.set(name, &text);
                }
            }
        }
        // A label that is there wins over the extracted value of its name, and goes.
        for (name, source) in &self.pairs {
            if let Some(value) = labels.get(source) {
                metadata.set(name, value);
            }
        }
        self.pairs.iter().for_each(|(_, source)| labels.remove(source));
        if let Some(regex) = &self.regex {
            labels.retain(|name, value| {
                let moves = regex.is_match(name);
                if moves {
                    metadata.set(name, value);
                }
                !moves
            });
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz, refused};

    #[test]
    fn extracted_values_become_metadata_and_labels_move_there() {
        check(
            r#"
            stage.logfmt { mapping = { trace = "trace_id", user = "" } }
            stage.structured_metadata { values = { id = "trace", user = "", pod = "", absent = "" } }"#,
            &[
                Case::new("trace_id=7 user=a").labels([("pod", "p"), ("job", "x"), ("user", "label")]).gives(
                    Case::new("trace_id=7 user=a").labels([("job", "x")]).metadata([
                        ("id", "7"),
                        ("user", "label"),
                        ("pod", "p"),
                    ]),
                ),
                Case::new("nothing").metadata([("old", "1")]).same(),
            ],
        );
    }

    #[test]
    fn names_may_be_matched() {
        check(
            r#"
            stage.logfmt { regex = "." }
            stage.structured_metadata { regex = "^tr|_id$" }"#,
            &[Case::new("trace=7 span_id=8 level=info").labels([("pod_id", "p"), ("job", "x")]).gives(
                Case::new("trace=7 span_id=8 level=info").labels([("job", "x")]).metadata([
                    ("trace", "7"),
                    ("span_id", "8"),
                    ("pod_id", "p"),
                ]),
            )],
        );
    }

    #[test]
    fn one_source_may_give_two_names() {
        check(
            r#"stage.structured_metadata { values = { a = "pod", b = "pod" } }"#,
            &[Case::new("x").labels([("pod", "p")]).gives(Case::new("x").metadata([("a", "p"), ("b", "p")]))],
        );
    }

    #[test]
    fn bad_names_and_expressions_are_refused() {
        refused(r#"stage.structured_metadata { values = { "a b" = "" } }"#, "a b");
        refused(r#"stage.structured_metadata { regex = "(" }"#, "missing closing )");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.logfmt { regex = "." }
            stage.structured_metadata { regex = "." }"#,
        );
    }
}

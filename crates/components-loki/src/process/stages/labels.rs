//! `stage.labels` makes labels of extracted values or of structured metadata.

use std::collections::BTreeMap;

use component::eval::Invalid;
use component::{ArgEnum, Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.labels`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Labels and the names of the values that they get; empty or null: the label's own name.
    pub values: BTreeMap<String, Option<String>>,
    /// Where values are looked up.
    #[arg(default, code_type = "string(SourceType)")]
    pub source_type: SourceType,
}

/// Where `stage.labels` looks up values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum SourceType {
    /// What earlier stages have taken out.
    #[default]
    Extracted,
    /// The entry's structured metadata.
    StructuredMetadata,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        super::label_names("values", self.values.keys())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(MakeLabels { pairs: super::named_sources(&self.values), from: self.source_type }))
    }
}

struct MakeLabels {
    /// Label, name of its value.
    pairs: Vec<(String, String)>,
    from: SourceType,
}

impl MapStage for MakeLabels {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        for (label, source) in &self.pairs {
            match self.from {
                SourceType::Extracted => {
                    if let Some(text) = record.extracted.text(source) {
                        record.labels.set(label, &text);
                    }
                }
                SourceType::StructuredMetadata => {
                    if let Some(text) = record.metadata.get(source) {
                        record.labels.set(label, text);
                    }
                }
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz, refused};

    #[test]
    fn labels_are_made_of_extracted_values() {
        check(
            r#"
            stage.json { expressions = { level = "", code = "status", ok = "", gone = "", host = "" } }
            stage.labels { values = { level = "", status = "code", ok = null, gone = "", host = "", absent = "" } }"#,
            &[
                Case::new(r#"{"level":"info","status":404,"ok":true,"gone":null}"#)
                    .labels([("host", "a"), ("gone", "kept")])
                    .gives(Case::new(r#"{"level":"info","status":404,"ok":true,"gone":null}"#).labels([
                        ("host", "a"),
                        ("gone", "kept"),
                        ("level", "info"),
                        ("status", "404"),
                        ("ok", "true"),
                    ])),
                Case::new("no json").labels([("level", "old")]).same(),
                // An empty value is no label.
                Case::new(r#"{"level":""}"#)
                    .labels([("level", "old"), ("job", "x")])
                    .gives(Case::new(r#"{"level":""}"#).labels([("job", "x")])),
            ],
        );
    }

    #[test]
    fn labels_are_made_of_labels_and_of_structured_metadata() {
        check(
            r#"stage.labels { values = { copy = "job" } }"#,
            &[Case::new("x")
                .labels([("job", "a")])
                .gives(Case::new("x").labels([("job", "a"), ("copy", "a")]))],
        );
        check(
            r#"
            stage.labels {
                values      = { id = "trace_id", level = "" }
                source_type = "structured_metadata"
            }"#,
            &[
                Case::new("x")
                    .metadata([("trace_id", "7")])
                    .gives(Case::new("x").labels([("id", "7")]).metadata([("trace_id", "7")])),
                Case::new("x").labels([("level", "a")]).same(),
            ],
        );
    }

    #[test]
    fn names_are_those_of_labels() {
        refused(r#"stage.labels { values = { "a.b" = "" } }"#, "a.b");
        refused(
            r#"stage.labels { values = { a = "" }
            source_type = "line" }"#,
            "structured_metadata",
        );
        refused("stage.labels { }", "values");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.regex { expression = "(?P<x>.*)(?P<y>.?)" }
            stage.labels { values = { x = "", y = "" } }"#,
        );
    }
}

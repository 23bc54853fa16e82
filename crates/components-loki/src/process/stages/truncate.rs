//! `stage.truncate` cuts lines, labels, structured metadata and extracted values that are too long.

use component::eval::{Invalid, Size};
use component::metrics::IntCounter;
use component::{ArgEnum, Arguments, Error};

use crate::process::extracted::Value;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.truncate`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What is cut, in this order.
    #[arg(block, required)]
    pub rule: Vec<Rule>,
}

/// What is cut where.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Rule::validate)]
pub struct Rule {
    /// Longest value, in bytes, with the suffix.
    pub limit: Size,
    /// What stands at the end of a value that was cut.
    #[arg(default)]
    pub suffix: String,
    /// Names of what is cut; all where there are none.
    #[arg(default)]
    pub sources: Vec<String>,
    /// What is cut.
    #[arg(default, code_type = "string(SourceType)")]
    pub source_type: SourceType,
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum SourceType {
    /// The line.
    #[default]
    #[arg(default)]
    Line,
    /// Labels.
    Label,
    /// Structured metadata.
    StructuredMetadata,
    /// Extracted values.
    Extracted,
}

/// Kinds in the order of their names, as `truncated` lists them.
const KINDS: [SourceType; 4] =
    [SourceType::Extracted, SourceType::Label, SourceType::Line, SourceType::StructuredMetadata];

/// Extracted value that tells what was cut.
const TOLD: &str = "truncated";

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.rule.is_empty() {
            return Err(Invalid::field("rule", "needs at least one rule"));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let counters = KINDS.map(|kind| cx.counters.truncated_fields.with_label_values(&[kind.as_str()]));
        Ok(Node::map(Truncate { rules: self.rule.clone(), counters }))
    }
}

impl Rule {
    fn validate(&self) -> Result<(), Invalid> {
        if self.limit.bytes() == 0 {
            return Err(Invalid::field("limit", "must be above 0"));
        }
        if self.source_type == SourceType::Line && !self.sources.is_empty() {
            let message = "there is one line: sources go with other source types";
            return Err(Invalid::field("sources", message));
        }
        if self.suffix.len() as u64 >= self.limit.bytes() {
            return Err(Invalid::field("suffix", "must be shorter than the limit"));
        }
        Ok(())
    }

    /// The value as it is cut; `None` where it is short enough. As Alloy: room is left for the suffix in any
    /// case. A cut in the middle of a character moves to its start.
    fn cut(&self, value: &str) -> Option<String> {
        let room = usize::try_from(self.limit.bytes()).unwrap_or(usize::MAX) - self.suffix.len();
        if value.len() <= room {
            return None;
        }
        Some([&value[..value.floor_char_boundary(room)], &self.suffix].concat())
    }

    fn concerns(&self, name: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|source| source == name)
    }

    /// Values of other names that are cut.
    fn cut_all(&self, for_each: impl FnOnce(&mut dyn FnMut(&str, &str))) -> Vec<(String, String)> {
        let mut cut = Vec::new();
        for_each(&mut |name, value| {
            if self.concerns(name)
                && let Some(short) = self.cut(value)
            {
                cut.push((name.to_owned(), short));
            }
        });
        cut
    }
}

struct Truncate {
    rules: Vec<Rule>,
    /// By kind.
    counters: [IntCounter; 4],
}

impl MapStage for Truncate {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let mut counts = [0_u64; 4];
        for rule in &self.rules {
            let kind = KINDS.iter().position(|kind| *kind == rule.source_type).unwrap_or_default();
            let cut = apply(rule, record);
            counts[kind] += cut;
            if cut > 0 {
                self.counters[kind].inc_by(cut);
            }
            if counts.iter().any(|count| *count > 0) {
                tell(record, &counts);
            }
        }
        Flow::Next
    }
}

/// Cuts what a rule is about; how many values were cut.
fn apply(rule: &Rule, record: &mut Record<'_>) -> u64 {
    let cut = match rule.source_type {
        SourceType::Line => {
            let Some(line) = rule.cut(&record.line) else { return 0 };
            record.line.set(line);
            return 1;
        }
        SourceType::Label => {
            let cut = rule.cut_all(|f| record.labels.for_each(f));
            cut.iter().for_each(|(name, value)| record.labels.set(name, value));
            cut
        }
        SourceType::StructuredMetadata => {
            let cut = rule.cut_all(|f| record.metadata.for_each(f));
            cut.iter().for_each(|(name, value)| record.metadata.set(name, value));
            cut
        }
        SourceType::Extracted => {
            let texts = |f: &mut dyn FnMut(&str, &str)| {
                for (name, value) in record.extracted.iter() {
                    if let Value::Text(text) = value {
                        f(name, text);
                    }
                }
            };
            let cut = rule.cut_all(texts);
            cut.iter().for_each(|(name, value)| record.extracted.set(name, value));
            cut
        }
    };
    cut.len() as u64
}

/// Notes what was cut, beside what stages before have cut.
fn tell(record: &mut Record<'_>, counts: &[u64; 4]) {
    let known = match record.extracted.get(TOLD) {
        Some(Value::Text(text)) => text.to_owned(),
        _ => String::new(),
    };
    let mut kinds: Vec<&str> = known.split(',').filter(|kind| !kind.is_empty()).collect();
    kinds.extend(KINDS.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(kind, _)| kind.as_str()));
    kinds.sort_unstable();
    kinds.dedup();
    record.extracted.set(TOLD, &kinds.join(","));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    fn rules(rules: &[&str]) -> String {
        let rules: String =
            rules.iter().map(|rule| format!("rule {{ {} }}\n", rule.replace("; ", "\n"))).collect();
        format!("stage.truncate {{\n{rules}}}\n")
    }

    #[test]
    fn lines_are_cut_with_room_for_the_suffix() {
        check(
            &rules(&["limit = \"10B\"; suffix = \"...\""]),
            &[
                Case::new("1234567").same(),
                Case::new("12345678").gives(Case::new("1234567...")),
                Case::new("a long long line").gives(Case::new("a long ...")),
                Case::new("ééééé").gives(Case::new("ééé...")),
            ],
        );
    }

    #[test]
    fn named_and_all_labels_are_cut() {
        let came = || Case::new("x").labels([("a", "123456"), ("b", "123456")]);
        check(
            &rules(&["limit = \"4B\"; source_type = \"label\"; sources = [\"a\", \"none\"]"]),
            &[came().gives(Case::new("x").labels([("a", "1234"), ("b", "123456")]))],
        );
        check(
            &rules(&["limit = \"4B\"; source_type = \"label\""]),
            &[came().gives(Case::new("x").labels([("a", "1234"), ("b", "1234")]))],
        );
    }

    #[test]
    fn structured_metadata_is_cut() {
        check(
            &rules(&["limit = \"4B\"; suffix = \"~\"; source_type = \"structured_metadata\""]),
            &[
                Case::new("x").metadata([("a", "123456")]).gives(Case::new("x").metadata([("a", "123~")])),
                Case::new("x").metadata([("a", "123")]).same(),
            ],
        );
    }

    #[test]
    fn what_was_cut_is_told_and_counted() {
        let text = rules(&[
            "limit = \"3B\"; source_type = \"extracted\"; sources = [\"a\"]",
            "limit = \"2B\"",
        ]) + &rules(&["limit = \"1B\"; source_type = \"label\"; sources = [\"a\"]"])
            + "stage.template { source = \"out\"\n template = \"{{ .a }} {{ .truncated }}\" }\nstage.output { source = \"out\" }";
        let mut bench = Bench::new(&text);
        let got = bench.run(&[Case::new("line").labels([("a", "12345")])]);
        assert_eq!(got, [r#"1000000000 {a="1"} "123 extracted,label,line""#]);
        for kind in ["extracted", "label", "line"] {
            let name = format!("loki_process_truncated_fields_total{{field=\"{kind}\"}}");
            assert_eq!(bench.metric(&name), Some(1.0), "{kind}");
        }
    }

    #[test]
    fn rules_are_checked() {
        refused("stage.truncate { }", "rule");
        refused(&rules(&["limit = \"0B\""]), "must be above 0");
        refused(&rules(&["limit = \"3B\"; suffix = \"...\""]), "shorter than the limit");
        refused(&rules(&["limit = \"3B\"; sources = [\"a\"]"]), "there is one line");
        refused(&rules(&["limit = \"3B\"; source_type = \"labels\""]), "label");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_its_limit(line in ".{0,40}", limit in 3_usize..20) {
            let mut bench = Bench::new(&rules(&[&format!("limit = \"{limit}B\"; suffix = \"..\"")]));
            let batch = crate::process::testkit::batch(&[Case::new(line)], None);
            prop_assert!(bench.pipeline.process(&batch)[0].batch.entries[0].line.len() <= limit);
        }
    }
}

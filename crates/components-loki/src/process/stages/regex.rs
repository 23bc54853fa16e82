//! `stage.regex` extracts the named groups of an RE2 expression.

use component::eval::Invalid;
use component::{Arguments, Error};
use signal::re2::Regex as Re2;

use crate::process::expression::Expression;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.regex`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// RE2 expression; its named groups are extracted.
    pub expression: Expression,
    /// Extracted value that is matched; the line where it is absent.
    pub source: Option<String>,
    /// Make labels of the groups too.
    #[arg(default)]
    pub labels_from_groups: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.expression.given().is_none() {
            return Err(Invalid::field("expression", "must not be empty"));
        }
        super::source(self.source.as_ref())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let regex = self.expression.given().cloned().unwrap_or_else(|| unreachable!("validated"));
        let names = regex.group_names().enumerate();
        let groups =
            names.filter_map(|(index, name)| Some(Group::new(index, name?, self.labels_from_groups)));
        Ok(Node::map(Regex {
            locations: regex.locations(),
            groups: groups.collect(),
            regex: regex.clone(),
            source: self.source.clone(),
        }))
    }
}

struct Regex {
    regex: Re2,
    locations: regex::CaptureLocations,
    groups: Vec<Group>,
    source: Option<String>,
}

struct Group {
    index: usize,
    name: String,
    /// A name may begin with a digit here, but not as that of a label.
    is_label: bool,
}

impl Group {
    fn new(index: usize, name: &str, labels: bool) -> Self {
        Self { index, name: name.to_owned(), is_label: labels && signal::names::is_legacy_label(name) }
    }
}

impl MapStage for Regex {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(input) = record.source(self.source.as_deref()) else { return Flow::Next };
        if !self.regex.read_captures(&mut self.locations, &input, 0) {
            return Flow::Next;
        }
        for Group { index, name, is_label } in &self.groups {
            // As Alloy: a group that took no part is an empty text.
            let text = self.locations.get(*index).map_or("", |(start, end)| &input[start..end]);
            record.extracted.set_part(name, &input, text);
            if *is_label {
                record.labels.set(name, text);
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz, refused};

    #[test]
    fn named_groups_of_the_first_match_are_extracted() {
        let line =
            r#"11.11.11.11 - frank [25/Jan/2000:14:00:01 -0500] "GET /1986.js HTTP/1.1" 200 932 "-" "x""#;
        check(
            r#"
            stage.regex {
                expression = "^(?P<ip>\\S+) (?P<identd>\\S+) (?P<user>\\S+) \\[(?P<timestamp>[\\w:/]+\\s[+\\-]\\d{4})\\] \"(?P<action>\\S+)\\s?(?P<path>\\S+)?\\s?(?P<protocol>\\S+)?\" (?P<status>\\d{3}|-) (\\d+|-)"
            }
            stage.labels { values = { ip = "", status = "", path = "", none = "" } }"#,
            &[
                Case::new(line).gives(Case::new(line).labels([
                    ("ip", "11.11.11.11"),
                    ("status", "200"),
                    ("path", "/1986.js"),
                ])),
                Case::new("no match").same(),
            ],
        );
    }

    #[test]
    fn a_group_that_took_no_part_is_empty_and_may_remove_a_label() {
        check(
            r#"stage.regex {
                expression         = "(?P<a>x)|(?P<b>y)"
                labels_from_groups = true
            }"#,
            &[Case::new("..y").labels([("a", "old")]).gives(Case::new("..y").labels([("b", "y")]))],
        );
    }

    #[test]
    fn a_source_is_matched_instead_of_the_line() {
        check(
            r#"stage.regex {
                expression         = "^/(?P<dir>[^/]+)"
                source             = "filename"
                labels_from_groups = true
            }"#,
            &[
                Case::new("/line")
                    .labels([("filename", "/var/x")])
                    .gives(Case::new("/line").labels([("filename", "/var/x"), ("dir", "var")])),
                Case::new("/line").same(),
            ],
        );
    }

    #[test]
    fn patterns_that_backtracking_engines_die_of_are_matched_in_linear_time() {
        let line = "a".repeat(50_000);
        // Backtracking would not end before the universe does.
        check(r#"stage.regex { expression = "^(?P<x>(a+)+)+$|(?P<y>(a|aa)*b)" }"#, &[Case::new(line).same()]);
    }

    #[test]
    fn bad_arguments_are_refused() {
        refused(r#"stage.regex { expression = "" }"#, "must not be empty");
        refused(r#"stage.regex { expression = "(?P<ts" }"#, "invalid named capture");
        refused(
            r#"stage.regex { expression = "(?P<a>x)"
            source = "" }"#,
            "must name",
        );
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.regex { expression = "(?P<a>.*?)(?P<b>[^a]|$)"
            labels_from_groups = true }"#,
        );
    }
}

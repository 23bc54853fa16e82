//! `stage.pattern` extracts values with a pattern as LogQL has it: `<ip> - <user> [<_>] "<method> <path>`.

mod matcher;

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;
use matcher::Pattern;

/// `stage.pattern`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Text with captures `<name>`; `<_>` matches without being extracted.
    pub pattern: String,
    /// Extracted value that is matched; the line where it is absent.
    pub source: Option<String>,
    /// Make labels of the captures too.
    #[arg(default)]
    pub labels_from_groups: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        Pattern::new(&self.pattern).map_err(|e| Invalid::field("pattern", e))?;
        super::source(self.source.as_ref())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let pattern = Pattern::new(&self.pattern).map_err(|e| Error::argument("pattern", e))?;
        Ok(Node::map(Capture { pattern, source: self.source.clone(), labels: self.labels_from_groups }))
    }
}

struct Capture {
    pattern: Pattern,
    source: Option<String>,
    labels: bool,
}

impl MapStage for Capture {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(input) = record.source(self.source.as_deref()) else { return Flow::Next };
        self.pattern.captures(&input, |name, text| {
            record.extracted.set_part(name, &input, text);
            if self.labels {
                record.labels.set(name, text);
            }
        });
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz, refused};

    #[test]
    fn captures_are_extracted() {
        let line = r#"11.11.11.11 - frank [25/Jan/2000:14:00:01 -0500] "GET /1986.js HTTP/1.1" 200 932"#;
        check(
            r#"
            stage.pattern { pattern = "<ip> - <user> [<_>] \"<action> <path> <_>\" <status> <size>" }
            stage.labels { values = { ip = "", user = "", action = "", path = "", status = "", size = "" } }"#,
            &[
                Case::new(line).gives(Case::new(line).labels([
                    ("ip", "11.11.11.11"),
                    ("user", "frank"),
                    ("action", "GET"),
                    ("path", "/1986.js"),
                    ("status", "200"),
                    ("size", "932"),
                ])),
                Case::new("").same(),
            ],
        );
    }

    #[test]
    fn captures_may_become_labels_at_once_and_come_from_a_source() {
        check(
            r#"stage.pattern {
                pattern            = "/<dir>/<_>"
                source             = "filename"
                labels_from_groups = true
            }"#,
            &[
                Case::new("x")
                    .labels([("filename", "/var/log/x"), ("dir", "old")])
                    .gives(Case::new("x").labels([("filename", "/var/log/x"), ("dir", "var")])),
                Case::new("/x/y").same(),
            ],
        );
    }

    #[test]
    fn bad_patterns_are_refused() {
        refused(r#"stage.pattern { pattern = "" }"#, "pattern");
        refused(r#"stage.pattern { pattern = "<_> text" }"#, "at least one");
        refused(r#"stage.pattern { pattern = "<a><b>" }"#, "next to each other");
        refused(r#"stage.pattern { pattern = "<a> <a>" }"#, "twice");
        refused(
            r#"stage.pattern { pattern = "<a>"
            source = "" }"#,
            "must name",
        );
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(
            r#"stage.pattern { pattern = "<a> <b>=<c>"
            labels_from_groups = true }"#,
        );
    }
}

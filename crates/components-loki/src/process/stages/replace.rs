//! `stage.replace` replaces what the groups of an RE2 expression match, everywhere in a text.

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, Error};
use signal::re2::Regex;

use crate::process::expression::Expression;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;
use crate::process::template::{Data, RenderError, Template};

/// A text that would grow beyond this is dropped with its entry: half of it replaced is worse than nothing.
const RESULT_BYTES: usize = 16 << 20;

/// `stage.replace`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// RE2 expression; what its groups match is replaced, the rest of a match stays.
    pub expression: Expression,
    /// Extracted value that is changed; the line where it is absent.
    #[arg(default)]
    pub source: String,
    /// What a group is replaced by: a Go template, in which `.Value` is what the group matches.
    #[arg(default)]
    pub replace: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.expression.given().is_none() {
            return Err(Invalid::field("expression", "must not be empty"));
        }
        Template::parse(&self.replace).map_err(|e| Invalid::field("replace", e.to_string()))?;
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let empty = || Error::argument("expression", "must not be empty");
        let regex = self.expression.given().ok_or_else(empty)?.clone();
        let with = if self.replace.contains("{{") {
            let template =
                Template::parse(&self.replace).map_err(|e| Error::argument("replace", e.to_string()))?;
            With::Template(Box::new(template), Data::new())
        } else {
            With::Text(self.replace.clone())
        };
        Ok(Node::map(Replace {
            locations: regex.locations(),
            names: regex.group_names().map(|name| name.map(str::to_owned)).collect(),
            regex,
            source: Some(self.source.clone()).filter(|s| !s.is_empty()),
            with,
            result: String::new(),
            named: Vec::new(),
            too_large: cx.counters.dropped("replace_result_too_large"),
        }))
    }
}

struct Replace {
    regex: Regex,
    locations: regex::CaptureLocations,
    /// Of the groups, the whole match first.
    names: Vec<Option<String>>,
    source: Option<String>,
    with: With,
    result: String,
    /// Groups of the first match, and where in `result` what replaces them was written.
    named: Vec<(usize, String)>,
    too_large: IntCounter,
}

enum With {
    Text(String),
    Template(Box<Template>, Data),
}

enum Failed {
    Template,
    TooLarge,
}

impl MapStage for Replace {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(input) = record.source(self.source.as_deref()) else { return Flow::Next };
        if !self.regex.read_captures(&mut self.locations, &input, 0) {
            return Flow::Next;
        }
        if let With::Template(template, data) = &mut self.with {
            data.clear();
            for (name, value) in record.extracted.iter().filter(|(name, _)| template.reads(name)) {
                if let Some(text) = value.text() {
                    data.set(name, &text);
                }
            }
        }
        match self.replace(&input) {
            Ok(()) => {}
            // As Alloy: the entry goes on as it is.
            Err(Failed::Template) => return Flow::Next,
            Err(Failed::TooLarge) => {
                self.too_large.inc();
                return Flow::Drop;
            }
        }
        match &self.source {
            Some(source) => record.extracted.set(source, &self.result),
            None if self.result.as_str() != &*input => record.line.set(self.result.as_str()),
            None => {}
        }
        for (group, text) in self.named.drain(..) {
            if let Some(Some(name)) = self.names.get(group) {
                record.extracted.set(name, &text);
            }
        }
        if self.result.capacity() > 1 << 20 {
            self.result = String::new();
        }
        Flow::Next
    }
}

impl Replace {
    /// All matches; the locations are those of the first.
    fn replace(&mut self, input: &str) -> Result<(), Failed> {
        self.result.clear();
        self.named.clear();
        let (mut copied, mut at, mut last_end, mut first) = (0, 0, None, true);
        loop {
            let (start, end) = self.locations.get(0).unwrap_or((at, at));
            // As Go: no empty match right behind a match.
            if end > start || last_end != Some(start) {
                self.groups(input, &mut copied, first)?;
                first = false;
            }
            last_end = Some(end);
            at = if end > at { end } else { at + input[at..].chars().next().map_or(1, char::len_utf8) };
            if at > input.len() || !self.regex.read_captures(&mut self.locations, input, at) {
                break;
            }
        }
        self.result.push_str(&input[copied..]);
        Ok(())
    }

    /// The groups of one match. One that lies inside of another that has been replaced is not replaced again.
    fn groups(&mut self, input: &str, copied: &mut usize, first: bool) -> Result<(), Failed> {
        for group in 1..self.names.len() {
            let Some((start, end)) = self.locations.get(group) else { continue };
            let replaced = *copied <= start;
            let named = first && self.names[group].is_some();
            if !replaced && !named {
                continue;
            }
            if replaced {
                self.result.push_str(&input[*copied..start]);
                *copied = end;
            }
            let before = self.result.len();
            self.with.write(&input[start..end], &mut self.result).map_err(|_| Failed::Template)?;
            if named {
                self.named.push((group, self.result[before..].to_owned()));
            }
            if !replaced {
                self.result.truncate(before);
            }
            if self.result.len() > RESULT_BYTES {
                return Err(Failed::TooLarge);
            }
        }
        Ok(())
    }
}

impl With {
    fn write(&mut self, value: &str, out: &mut String) -> Result<(), RenderError> {
        match self {
            Self::Text(text) => {
                out.push_str(text);
                Ok(())
            }
            Self::Template(template, data) => {
                data.set("Value", value);
                template.render(data, out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Bench, Case, check, fuzz, refused};

    fn replaces(expression: &str, replace: &str, cases: &[(&str, &str)]) {
        let text = format!("stage.replace {{\n expression = {expression:?}\n replace = {replace:?}\n}}");
        let case = |(line, result): &(&str, &str)| Case::new(*line).gives(Case::new(*result));
        check(&text, &cases.iter().map(case).collect::<Vec<_>>());
    }

    #[test]
    fn what_groups_match_is_replaced_everywhere() {
        replaces(
            "11.11.11.11 - (\\S+) .*",
            "dummy",
            &[("11.11.11.11 - frank x", "11.11.11.11 - dummy x"), ("y", "y")],
        );
        replaces("password=(\\S+)", "***", &[("password=a x password=bc", "password=*** x password=***")]);
        replaces(
            "(\\d{2}\\.\\d{2}) - (\\S+)",
            "<{{ .Value }}>",
            &[("11.11 - a 12.12 - b", "<11.11> - <a> <12.12> - <b>")],
        );
        replaces("no group", "x", &[("no group here", "no group here")]);
        replaces("(secret)", "", &[("a secret b", "a  b")]);
        replaces("((a)b)", "[{{ .Value }}]", &[("ab ab", "[ab] [ab]")]);
        replaces("(x)|(y)", "{{ .Value | ToUpper }}", &[("axyb", "aXYb")]);
        replaces("(é*)", "-", &[("aéb", "-a-b-"), ("", "-")]);
    }

    #[test]
    fn templates_see_what_was_extracted_and_groups_are_extracted_replaced() {
        check(
            r#"
            stage.logfmt { mapping = { level = "" } }
            stage.replace {
                expression = "user=(?P<user>\\S+) (?P<gone>q)?"
                replace    = "{{ if eq .level \"debug\" }}{{ .Value }}{{ else }}{{ .job }}-{{ .Value | Hash \"salt\" | trunc 4 }}{{ end }}"
            }
            stage.labels { values = { user = "", gone = "" } }"#,
            &[Case::new("level=debug user=ann x")
                .labels([("job", "j")])
                .gives(Case::new("level=debug user=ann x").labels([("job", "j"), ("user", "ann")]))],
        );
        check(
            r#"
            stage.replace {
                expression = "user=(?P<user>\\S+)"
                replace    = "{{ .job }}"
            }
            stage.labels { values = { user = "" } }"#,
            &[Case::new("user=ann user=bob")
                .labels([("job", "j")])
                .gives(Case::new("user=j user=j").labels([("job", "j"), ("user", "j")]))],
        );
    }

    #[test]
    fn a_source_is_changed_instead_of_the_line() {
        check(
            r#"
            stage.replace {
                expression = "(\\d+)"
                replace    = "N"
                source     = "path"
            }
            stage.output { source = "path" }"#,
            &[
                Case::new("1")
                    .labels([("path", "/a/1/b/22")])
                    .gives(Case::new("/a/N/b/N").labels([("path", "/a/1/b/22")])),
                Case::new("1").same(),
            ],
        );
    }

    #[test]
    fn a_template_that_fails_leaves_the_entry_as_it_is() {
        replaces("(a)", "{{ .Value | atoi | div 0 }}", &[("xax", "xax")]);
    }

    #[test]
    fn a_result_that_would_be_huge_is_dropped_and_counted() {
        let mut bench = Bench::new(&format!(
            "stage.replace {{\n expression = \"(.)\"\n replace = {:?}\n}}",
            "x".repeat(1000)
        ));
        assert_eq!(bench.run(&[Case::new("y".repeat(1 << 20)), Case::new("y")]).len(), 1);
        assert_eq!(
            bench.metric(r#"loki_process_dropped_lines_total{reason="replace_result_too_large"}"#),
            Some(1.0)
        );
    }

    #[test]
    fn bad_arguments_are_refused() {
        refused(r#"stage.replace { expression = "" }"#, "must not be empty");
        refused(r#"stage.replace { expression = "(" }"#, "missing closing )");
        refused("stage.replace {\n expression = \"(a)\"\n replace = \"{{ nope }}\"\n}", "nope");
        refused("stage.replace {\n expression = \"(a)\"\n replace = \"{{ .Value \"\n}", "line 1");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz("stage.replace {\n expression = \"(a*)(?P<x>[^b]?)\"\n replace = \"<{{ .Value }}>\"\n}");
    }
}

//! `stage.template` makes an extracted value by a Go template.

use std::time::Duration;

use component::eval::Invalid;
use component::{Arguments, Error};
use tokio::time::Instant;

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;
use crate::process::template::{self, Data};

/// `stage.template`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Extracted value that the template makes; the template sees the one of before as `.Value`.
    pub source: String,
    /// Go template; it sees extracted values by their names, and the line as `.Entry`.
    #[arg(code_type = "string(Template)")]
    pub template: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.source.is_empty() {
            return Err(Invalid::field("source", "must name an extracted value"));
        }
        match template::Template::parse(&self.template) {
            Ok(_) => Ok(()),
            Err(error) => Err(Invalid::field("template", error.to_string())),
        }
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let template = template::Template::parse(&self.template)
            .map_err(|error| Error::argument("template", error.to_string()))?;
        Ok(Node::map(Template {
            source: self.source.clone(),
            template,
            node: cx.node.id().to_owned(),
            complained: None,
            data: Data::new(),
            out: String::new(),
        }))
    }
}

struct Template {
    source: String,
    template: template::Template,
    node: String,
    /// When it last said in the log that a template fails.
    complained: Option<Instant>,
    data: Data,
    out: String,
}

/// How often a template that fails is told about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// A buffer above this size is given back after an entry.
const KEPT_BYTES: usize = 256 << 10;

/// Puts what a template reads into its data: extracted values, the line as `Entry`.
fn fill(data: &mut Data, template: &template::Template, record: &Record<'_>) {
    match template.fields() {
        Some(fields) => {
            for field in fields {
                match record.extracted.text(field) {
                    Some(text) => data.set(field, &text),
                    None => data.remove(field),
                }
            }
        }
        None => {
            data.clear();
            for (name, value) in record.extracted.iter() {
                if let Some(text) = value.text() {
                    data.set(name, &text);
                }
            }
        }
    }
    if template.reads("Entry") {
        data.set("Entry", &record.line);
    }
}

impl MapStage for Template {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        fill(&mut self.data, &self.template, record);
        if self.template.reads("Value")
            && let Some(value) = record.extracted.text(&self.source)
        {
            self.data.set("Value", &value);
        }
        self.out.clear();
        match self.template.render(&self.data, &mut self.out) {
            Ok(()) if self.out.is_empty() => record.extracted.remove(&self.source),
            Ok(()) => record.extracted.set(&self.source, &self.out),
            Err(error) => {
                if self.complained.is_none_or(|at| cx.now - at >= COMPLAIN_EVERY) {
                    self.complained = Some(cx.now);
                    tracing::warn!(node = %self.node, source = %self.source, %error, "stage.template: the template fails for some entries, whose value stays as it is");
                }
            }
        }
        if self.out.capacity() > KEPT_BYTES {
            self.out = String::new();
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    fn stages(template: &str) -> String {
        format!(
            "stage.template {{ source = \"out\"\n template = {} }}\nstage.output {{ source = \"out\" }}",
            serde_json::to_string(template).expect("a text")
        )
    }

    #[test]
    fn a_template_makes_a_value_of_what_is_there() {
        let came = || Case::new("the line").labels([("app", "web"), ("out", "old"), ("n", "5")]);
        for (template, line) in [
            ("{{ .app }}", "web"),
            ("{{ .Value }} {{ ToUpper .app }}", "old WEB"),
            ("{{ .Entry | upper }}", "THE LINE"),
            ("{{ .nothing }}", "<no value>"),
            ("{{ .nothing | default \"d\" }}", "d"),
            ("{{ if eq .app \"web\" }}yes{{ end }}", "yes"),
            ("{{ . | toJson }}", r#"{"Entry":"the line","Value":"old","app":"web","n":"5","out":"old"}"#),
            ("{{ add .n 1 }}", "6"),
            // What fails changes nothing: `out` is as it was.
            ("{{ ToUpper .nothing }}", "old"),
            ("{{ fail \"no\" }}", "old"),
        ] {
            let expected = Case::new(line).labels([("app", "web"), ("out", "old"), ("n", "5")]);
            check(&stages(template), &[came().gives(expected)]);
        }
    }

    #[test]
    fn an_empty_result_takes_the_value_away() {
        check(&stages("{{ if .x }}x{{ end }}"), &[Case::new("line").labels([("out", "old")]).same()]);
    }

    #[test]
    fn values_of_one_entry_are_not_seen_by_the_next() {
        let mut bench = Bench::new(&stages("{{ .Value }}-{{ .a }}-{{ .Entry }}"));
        let got = bench.run(&[Case::new("1").labels([("a", "x"), ("out", "v")]), Case::new("2")]);
        assert_eq!(got[1], "1000000000 {} \"<no value>-<no value>-2\"");
        let mut bench = Bench::new(&stages("{{ toJson . }}"));
        let got = bench.run(&[Case::new("1").labels([("a", "x"), ("out", "v")]), Case::new("2")]);
        assert_eq!(got[1], r#"1000000000 {} "{\"Entry\":\"2\"}""#);
    }

    #[test]
    fn source_and_a_right_template_are_needed() {
        refused("stage.template { source = \"\"\n template = \"x\" }", "must name an extracted value");
        refused("stage.template { source = \"a\" }", "template");
        refused(
            "stage.template { source = \"a\"\n template = \"a\\n{{ nosuch }}\" }",
            "line 2, column 4: function \"nosuch\" not defined",
        );
    }

    proptest! {
        #[test]
        fn any_line_and_value_go_through(line in ".{0,40}", value in ".{0,40}") {
            let mut bench = Bench::new(&stages("{{ .Value | trunc 5 }}{{ .Entry | substr 0 3 | quote }}{{ . | toJson }}"));
            prop_assert_eq!(bench.run(&[Case::new(line).labels([("out", &value)])]).len(), 1);
        }
    }
}

//! `stage.docker` reads lines of Docker's json-file driver: `{"log": …, "stream": …, "time": …}`.

use bytestring::ByteString;
use component::{Arguments, Error};

use super::json::{extract, fields, unescape};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;
use crate::process::rfc3339;

/// `stage.docker`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {}

impl Args {
    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(Docker))
    }
}

struct Docker;

impl MapStage for Docker {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let input = record.line.clone();
        let Some([log, stream, time]) = fields(&input, ["log", "stream", "time"]) else { return Flow::Next };
        for (name, raw) in [("stream", stream), ("timestamp", time)] {
            match raw {
                Some(raw) => extract(&mut record.extracted, name, &input, raw),
                None => record.extracted.set_null(name),
            }
        }
        if let Some(stream) = record.extracted.text("stream") {
            record.labels.set("stream", &stream);
        }
        if let Some(time) = record.extracted.text("timestamp").and_then(|text| rfc3339::parse(&text)) {
            record.timestamp_ns = time;
        }
        match log {
            // Nearly always: it ends with an escaped newline. One copy serves the value and the line.
            Some(raw) if raw.starts_with('"') => {
                let text = match unescape(raw) {
                    std::borrow::Cow::Borrowed(text) => input.slice_ref(text),
                    std::borrow::Cow::Owned(text) => ByteString::from(text),
                };
                record.extracted.set_shared("output", text.clone());
                record.line.set(text);
            }
            Some(raw) => {
                extract(&mut record.extracted, "output", &input, raw);
                if let Some(text) = record.extracted.shared_text("output") {
                    record.line.set(text);
                }
            }
            None => record.extracted.set_null("output"),
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz};

    #[test]
    fn log_stream_and_time_are_taken_apart() {
        let ok =
            r#"{"log":"11.11.11.11 - \"frank\"\n","stream":"stderr","time":"2019-04-30T02:12:41.8443515Z"}"#;
        let at = 1_556_590_361_844_351_500;
        check(
            "stage.docker { }",
            &[
                Case::new(ok).labels([("job", "x")]).gives(
                    Case::new("11.11.11.11 - \"frank\"\n")
                        .labels([("job", "x"), ("stream", "stderr")])
                        .at(at),
                ),
                Case::new(r#"{"log":"plain","time":"yesterday","attrs":{"log":1}}"#)
                    .labels([("stream", "old")])
                    .gives(Case::new("plain").labels([("stream", "old")])),
                Case::new(r#"{"log":5,"stream":"stdout"}"#)
                    .gives(Case::new("5").labels([("stream", "stdout")])),
                Case::new(r#"{"log":null}"#).same(),
                Case::new("{}").same(),
                Case::new(r#"{"log":"half"#).same(),
                Case::new("text").labels([("job", "x")]).same(),
            ],
        );
    }

    #[test]
    fn later_stages_find_the_parts() {
        check(
            r#"
            stage.docker { }
            stage.labels { values = { output = "", timestamp = "" } }"#,
            &[Case::new(r#"{"log":"a\n","stream":"stdout","time":"t"}"#).gives(Case::new("a\n").labels([
                ("stream", "stdout"),
                ("output", "a\n"),
                ("timestamp", "t"),
            ]))],
        );
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz("stage.docker { }");
    }
}

//! `stage.eventlogmessage` takes `name: value` lines out of the message of a Windows event.

use component::eval::Invalid;
use component::{Arguments, Error};

use super::windowsevent::{check_source, unused_name};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.eventlogmessage`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Extracted value that holds the message.
    #[arg(default = "message")]
    pub source: String,
    /// Whether values whose name is no name of a label are left out; else their names are made such.
    #[arg(default)]
    pub drop_invalid_labels: bool,
    /// Whether values replace others of their name; else `_extracted` is added to theirs.
    #[arg(default)]
    pub overwrite_existing: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        check_source(&self.source)
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(EventLogMessage(self.clone())))
    }
}

struct EventLogMessage(Args);

impl MapStage for EventLogMessage {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Args { source, drop_invalid_labels, overwrite_existing } = &self.0;
        let Some(message) = record.extracted.shared_text(source) else { return Flow::Next };
        for (name, value) in message.split("\r\n").filter_map(|line| line.split_once(':')) {
            if let Some(name) =
                unused_name(name, *drop_invalid_labels, *overwrite_existing, &record.extracted)
            {
                record.extracted.set(&name, value.trim());
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    /// The message is the label `message`; what was extracted becomes the line.
    fn stages(rest: &str) -> String {
        format!(
            "stage.eventlogmessage {{ {rest} }}\nstage.template {{ source = \"out\"\n template = \"{{{{ omit . \\\"message\\\" \\\"Entry\\\" | toJson }}}}\" }}\nstage.output {{ source = \"out\" }}"
        )
    }

    fn shown(rest: &str, message: &str, line: &str) {
        let labels = || [("message", message), ("known", "k")];
        check(&stages(rest), &[Case::new("x").labels(labels()).gives(Case::new(line).labels(labels()))]);
    }

    #[test]
    fn lines_with_a_colon_become_values() {
        let message = "Key1: value 1\r\nKey 2:  v:2 \r\nno colon\r\nempty:\r\nknown: new";
        shown(
            "",
            message,
            r#"{"Key1":"value 1","Key_2":"v:2","empty":"","known":"k","known_extracted":"new"}"#,
        );
        shown(
            "drop_invalid_labels = true",
            message,
            r#"{"Key1":"value 1","empty":"","known":"k","known_extracted":"new"}"#,
        );
        shown(
            "overwrite_existing = true",
            message,
            r#"{"Key1":"value 1","Key_2":"v:2","empty":"","known":"new"}"#,
        );
        shown("", ": no name\r\n9: digit", r#"{"_":"no name","__extracted":"digit","known":"k"}"#);
    }

    #[test]
    fn without_a_message_nothing_changes() {
        check(
            "stage.eventlogmessage { source = \"other\" }",
            &[Case::new("x").labels([("message", "a: b")]).same()],
        );
    }

    #[test]
    fn the_source_is_a_name() {
        refused("stage.eventlogmessage { source = \"a-b\" }", "a-b");
        refused("stage.eventlogmessage { source = \"\" }", "name");
    }

    proptest! {
        #[test]
        fn any_message_is_taken_apart(message in "([a-z:\r\n ]|.){0,60}") {
            let mut bench = Bench::new("stage.eventlogmessage { }");
            prop_assert_eq!(bench.run(&[Case::new("x").labels([("message", &message)])]).len(), 1);
        }
    }
}

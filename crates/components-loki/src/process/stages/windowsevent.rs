//! `stage.windowsevent` takes the sections of the message of a Windows event apart.

use component::eval::Invalid;
use component::{Arguments, Error};
use signal::names::is_legacy_label;

use crate::process::extracted::Extracted;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.windowsevent`
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
        Ok(Node::map(WindowsEvent(self.clone())))
    }
}

pub(super) fn check_source(source: &str) -> Result<(), Invalid> {
    if is_legacy_label(source) {
        return Ok(());
    }
    Err(Invalid::field("source", format!("{source:?} is not a name of a label"))
        .with_help("letters, digits and _ only, and no digit first"))
}

/// The name under which a value is kept. `None` where it is left out.
pub(super) fn unused_name(
    name: &str,
    drop_invalid: bool,
    overwrite: bool,
    extracted: &Extracted<'_>,
) -> Option<String> {
    let mut name = name.to_owned();
    if !is_legacy_label(&name) {
        if drop_invalid {
            return None;
        }
        name = sanitized(&name);
    }
    if !overwrite && extracted.contains(&name) {
        name.push_str("_extracted");
    }
    Some(name)
}

/// As Prometheus' `SanitizeFullLabelName`.
fn sanitized(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let kept = |(at, c): (usize, char)| {
        let fits = c.is_ascii_alphabetic() || c == '_' || c.is_ascii_digit() && at > 0;
        if fits { c } else { '_' }
    };
    name.char_indices().map(kept).collect()
}

struct WindowsEvent(Args);

impl WindowsEvent {
    fn set(&self, name: &str, value: &str, record: &mut Record<'_>) {
        let name: String = name.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n' | ' ')).collect();
        let value: String = value.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
        let Args { drop_invalid_labels, overwrite_existing, .. } = &self.0;
        if let Some(name) = unused_name(&name, *drop_invalid_labels, *overwrite_existing, &record.extracted) {
            record.extracted.set(&name, value.trim());
        }
    }

    /// Lines `name: value`; a first line without a value is the title of the section and goes in front of its
    /// names; lines without a colon belong to the value before them.
    fn section(&self, section: &str, record: &mut Record<'_>) {
        let mut lines = section.split("\r\n").enumerate().peekable();
        let mut title = "";
        while let Some((at, line)) = lines.next() {
            let Some((name, value)) = line.split_once(':') else { continue };
            if value.is_empty() {
                if at == 0 {
                    title = name;
                }
                continue;
            }
            let mut value = value.to_owned();
            while let Some((_, more)) = lines.next_if(|(_, next)| !next.is_empty() && !next.contains(':')) {
                value.push(',');
                value.push_str(more);
            }
            if title.is_empty() {
                self.set(name, &value, record);
            } else {
                self.set(&format!("{title}_{name}"), &value, record);
            }
        }
    }
}

impl MapStage for WindowsEvent {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        let Some(message) = record.extracted.shared_text(&self.0.source) else { return Flow::Next };
        let mut sections = message.split("\r\n\r\n");
        if let Some(description) = sections.next() {
            self.set("Description", description, record);
        }
        sections.for_each(|section| self.section(section, record));
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sanitized;
    use crate::process::testkit::{Bench, Case, check, refused};

    const LOGON: &str = "An account was successfully logged on.\r\n\r\nSubject:\r\n\tSecurity ID:\t\tSYSTEM\r\n\tAccount Name:\tDESKTOP$\r\n\r\nLogon Information:\r\n\tLogon Type:\t\t5\r\n\tPrivileges:\tSeDebug\r\n\t\t\tSeBackup\r\n\tEmpty:\r\n\tOther-Name: a:b\r\n\r\nPlain: value\r\nno colon";

    fn extracted(rest: &str, message: &str) -> String {
        let text = format!(
            "stage.windowsevent {{ {rest} }}\nstage.template {{ source = \"out\"\n template = \"{{{{ omit . \\\"message\\\" \\\"Entry\\\" | toJson }}}}\" }}\nstage.output {{ source = \"out\" }}"
        );
        let batch = crate::process::testkit::batch(
            &[Case::new("x").labels([("message", message), ("Plain", "was")])],
            None,
        );
        Bench::new(&text).pipeline.process(&batch)[0].batch.entries[0].line.to_string()
    }

    #[test]
    fn sections_give_names_and_values() {
        assert_eq!(
            extracted("", LOGON),
            r#"{"Description":"An account was successfully logged on.","LogonInformation_LogonType":"5","LogonInformation_Other_Name":"a:b","LogonInformation_Privileges":"SeDebug,SeBackup","Plain":"was","Plain_extracted":"value,no colon","Subject_AccountName":"DESKTOP$","Subject_SecurityID":"SYSTEM"}"#
        );
        assert_eq!(
            extracted("drop_invalid_labels = true\n overwrite_existing = true", LOGON),
            r#"{"Description":"An account was successfully logged on.","LogonInformation_LogonType":"5","LogonInformation_Privileges":"SeDebug,SeBackup","Plain":"value,no colon","Subject_AccountName":"DESKTOP$","Subject_SecurityID":"SYSTEM"}"#
        );
        assert_eq!(extracted("", "one\r\ntwo"), r#"{"Description":"onetwo","Plain":"was"}"#);
    }

    #[test]
    fn without_a_message_nothing_changes() {
        check("stage.windowsevent { }", &[Case::new("x").labels([("other", "a: b")]).same()]);
        refused("stage.windowsevent { source = \"a b\" }", "a b");
    }

    #[test]
    fn names_are_made_names_of_labels() {
        for (name, label) in [("", "_"), ("a b", "a_b"), ("9a9", "_a9"), ("ä", "_"), ("a", "a")] {
            assert_eq!(sanitized(name), label);
        }
    }

    proptest! {
        #[test]
        fn any_message_is_taken_apart(message in "([a-z:\t ]|\r\n|.){0,60}") {
            let mut bench = Bench::new("stage.windowsevent { }");
            prop_assert_eq!(bench.run(&[Case::new("x").labels([("message", &message)])]).len(), 1);
        }
    }
}

//! The labels of a message, as far as any rule can see them.
//!
//! Labels that begin with `__` are gone after the rules. So what no rule asks for is not made: a process ID in
//! every message would make every message a label set of its own, which to remember is of no use.

use component::{RelabelAction, RelabelRules};
use hashbrown::HashSet;
use signal::LabelsBuilder;
use wire::syslog::{Elements, Message, Priority};

/// In front of labels made of structured data.
const STRUCTURED: &str = "__syslog_message_sd_";
/// The name of the other end.
pub(super) const CONNECTION_HOSTNAME: &str = "__syslog_connection_hostname";
/// The address of the other end.
pub(super) const CONNECTION_IP: &str = "__syslog_connection_ip_address";

/// Which labels rules ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None: there are no rules.
    Nothing,
    /// Those of these names.
    Names(HashSet<String>),
    /// Any: a rule looks at all names.
    All,
}

impl Wanted {
    pub(super) fn by(rules: Option<&RelabelRules>) -> Self {
        let rules = match rules {
            Some(rules) if !rules.0.is_empty() => &rules.0,
            _ => return Self::Nothing,
        };
        let looks_at_names = |action| {
            matches!(action, RelabelAction::LabelMap | RelabelAction::LabelDrop | RelabelAction::LabelKeep)
        };
        if rules.iter().any(|rule| looks_at_names(rule.action)) {
            return Self::All;
        }
        // The target matters where its value is compared.
        let names = rules.iter().flat_map(|r| r.source_labels.iter().chain([&r.target_label]));
        Self::Names(names.filter(|name| name.starts_with("__")).cloned().collect())
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Names(names) => names.contains(name),
            Self::All => true,
        }
    }

    fn wants_prefix(&self, prefix: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Names(names) => names.iter().any(|name| name.starts_with(prefix)),
            Self::All => true,
        }
    }

    fn set(&self, labels: &mut LabelsBuilder, name: &str, value: Option<&str>) {
        if let Some(value) = value
            && self.wants(name)
        {
            labels.set(name, value);
        }
    }

    /// Adds the labels of a message.
    pub(super) fn message(&self, message: &Message<'_>, structured: bool, labels: &mut LabelsBuilder) {
        if *self == Self::Nothing {
            return;
        }
        self.set(labels, "__syslog_message_severity", message.priority.map(Priority::severity));
        self.set(labels, "__syslog_message_facility", message.priority.and_then(Priority::facility));
        self.set(labels, "__syslog_message_hostname", message.hostname);
        self.set(labels, "__syslog_message_app_name", message.app_name);
        self.set(labels, "__syslog_message_proc_id", message.proc_id);
        self.set(labels, "__syslog_message_msg_id", message.msg_id);
        for (name, number) in [
            ("__syslog_message_msg_counter", message.counter),
            ("__syslog_message_sequence", message.sequence),
        ] {
            if let Some(number) = number {
                self.set(labels, name, Some(&number.to_string()));
            }
        }
        if let Some(elements) = message.structured
            && structured
            && self.wants_prefix(STRUCTURED)
        {
            self.structured(elements, labels);
        }
    }

    fn structured(&self, elements: Elements<'_>, labels: &mut LabelsBuilder) {
        elements.each(|id, name, value| {
            let label = format!("{STRUCTURED}{}_{name}", id.replace('@', "_"));
            self.set(labels, &label, Some(&value));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use component::{Pattern, RelabelRule};
    use wire::syslog::parse_rfc5424;

    use super::*;

    fn rules(rules: &[(&[&str], &str, RelabelAction)]) -> RelabelRules {
        let rule = |(sources, target, action): &(&[&str], &str, RelabelAction)| RelabelRule {
            source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
            separator: ";".into(),
            regex: Some("(.*)".parse::<Pattern>().expect("a pattern")),
            modulus: 0,
            target_label: (*target).into(),
            replacement: "$1".into(),
            action: *action,
        };
        RelabelRules(Arc::new(rules.iter().map(rule).collect()))
    }

    #[test]
    fn only_what_rules_ask_for_is_made() {
        const TEXT: &str = "<165>1 - host app 42 id [x@1 k=\"v\" other=\"o\"][y z=\"1\"] text";
        let message = parse_rfc5424(TEXT).expect("valid");
        let labels = |rules: Option<&RelabelRules>, structured| {
            let mut labels = LabelsBuilder::new();
            Wanted::by(rules).message(&message, structured, &mut labels);
            labels.build().to_string()
        };
        let replace = RelabelAction::Replace;
        assert_eq!(labels(None, true), "{}");
        assert_eq!(labels(Some(&rules(&[])), true), "{}");
        let some = rules(&[
            (&["__syslog_message_hostname", "x"], "host", replace),
            (&["__syslog_message_sd_x_1_k"], "k", replace),
        ]);
        assert_eq!(labels(Some(&some), false), "{__syslog_message_hostname=\"host\"}");
        assert_eq!(
            labels(Some(&some), true),
            "{__syslog_message_hostname=\"host\", __syslog_message_sd_x_1_k=\"v\"}"
        );
        let all = rules(&[(&[], "", RelabelAction::LabelMap)]);
        assert_eq!(
            labels(Some(&all), true),
            "{__syslog_message_app_name=\"app\", __syslog_message_facility=\"local4\", \
             __syslog_message_hostname=\"host\", __syslog_message_msg_id=\"id\", __syslog_message_proc_id=\"42\", \
             __syslog_message_sd_x_1_k=\"v\", __syslog_message_sd_x_1_other=\"o\", __syslog_message_sd_y_z=\"1\", \
             __syslog_message_severity=\"notice\"}"
        );
    }
}

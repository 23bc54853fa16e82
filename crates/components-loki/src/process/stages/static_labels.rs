//! `stage.static_labels` adds fixed labels.

use std::collections::BTreeMap;

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.static_labels`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Labels by name; those with an empty value are left out.
    pub values: BTreeMap<String, String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.values.is_empty() {
            return Err(Invalid::field("values", "must hold at least one label"));
        }
        super::label_names("values", self.values.keys())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let given = self.values.iter().filter(|(_, value)| !value.is_empty());
        Ok(Node::map(StaticLabels(given.map(|(n, v)| (n.clone(), v.clone())).collect())))
    }
}

struct StaticLabels(Vec<(String, String)>);

impl MapStage for StaticLabels {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        for (name, value) in &self.0 {
            record.labels.set(name, value);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn fixed_labels_are_added_and_replace_those_that_are_there() {
        check(
            r#"stage.static_labels { values = { env = "prod", empty = "" } }"#,
            &[
                Case::new("x")
                    .labels([("env", "dev"), ("empty", "kept")])
                    .gives(Case::new("x").labels([("env", "prod"), ("empty", "kept")])),
                Case::new("x").labels([("env", "prod")]).same(),
            ],
        );
    }

    #[test]
    fn labels_are_needed_and_have_names_of_labels() {
        refused("stage.static_labels { values = {} }", "at least one");
        refused(r#"stage.static_labels { values = { "a-b" = "x" } }"#, "a-b");
    }
}

//! `stage.label_keep` removes all labels but the named ones.

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.label_keep`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names of the labels that stay.
    pub values: Vec<String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        super::not_empty("values", &self.values)
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(Keep(self.values.clone())))
    }
}

struct Keep(Vec<String>);

impl MapStage for Keep {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        record.labels.retain(|name, _| self.0.iter().any(|kept| kept == name));
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn only_named_labels_stay() {
        check(
            r#"
            stage.static_labels { values = { new = "1" } }
            stage.label_keep { values = ["job", "absent"] }"#,
            &[
                Case::new("x")
                    .labels([("old", "1"), ("job", "a")])
                    .gives(Case::new("x").labels([("job", "a")])),
                Case::new("x").labels([("job", "a")]).same(),
            ],
        );
    }

    #[test]
    fn names_are_needed() {
        refused("stage.label_keep { values = [] }", "at least one");
    }
}

//! `stage.label_drop` removes labels by name.

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.label_drop`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names of the labels that go.
    pub values: Vec<String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        super::not_empty("values", &self.values)
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(Drop(self.values.clone())))
    }
}

struct Drop(Vec<String>);

impl MapStage for Drop {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        self.0.iter().for_each(|name| record.labels.remove(name));
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn named_labels_go_whoever_has_set_them() {
        check(
            r#"
            stage.static_labels { values = { new = "1" } }
            stage.label_drop { values = ["new", "old", "absent"] }"#,
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
        refused("stage.label_drop { values = [] }", "at least one");
    }
}

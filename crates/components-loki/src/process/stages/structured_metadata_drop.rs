//! `stage.structured_metadata_drop` removes structured metadata by name.

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.structured_metadata_drop`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Names that go.
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
        self.0.iter().for_each(|name| record.metadata.remove(name));
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn named_metadata_goes() {
        check(
            r#"stage.structured_metadata_drop { values = ["a", "absent"] }"#,
            &[
                Case::new("x")
                    .metadata([("a", "1"), ("b", "2")])
                    .gives(Case::new("x").metadata([("b", "2")])),
                Case::new("x").metadata([("a", "1")]).gives(Case::new("x")),
                Case::new("x").labels([("a", "1")]).same(),
            ],
        );
    }

    #[test]
    fn names_are_needed() {
        refused("stage.structured_metadata_drop { values = [] }", "at least one");
    }
}

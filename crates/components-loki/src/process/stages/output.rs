//! `stage.output` replaces the line by an extracted value.

use component::eval::Invalid;
use component::{Arguments, Error};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.output`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Extracted value that becomes the line.
    pub source: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.source.is_empty() {
            return Err(Invalid::field("source", "must name an extracted value"));
        }
        Ok(())
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        Ok(Node::map(Output(self.source.clone())))
    }
}

struct Output(String);

impl MapStage for Output {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        if let Some(text) = record.extracted.shared_text(&self.0) {
            record.line.set(text);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, refused};

    #[test]
    fn an_extracted_value_or_a_label_becomes_the_line() {
        check(
            "stage.output { source = \"job\" }",
            &[
                Case::new("as it came")
                    .labels([("job", "app")])
                    .gives(Case::new("app").labels([("job", "app")])),
                Case::new("as it came").same(),
            ],
        );
    }

    #[test]
    fn a_source_is_needed() {
        refused("stage.output { }", "source");
        refused("stage.output { source = \"\" }", "must name an extracted value");
    }
}

//! `stage.decolorize` takes terminal escape sequences out of the line.

use component::{Arguments, Error};
use signal::re2::{Regex, Template};

use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.decolorize`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {}

/// Control sequences as terminals know them: strings that end with a bell, and sequences that end with a letter
/// or sign of their class.
const SEQUENCE: &str = "[\u{1b}\u{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z\\d]*(?:;[a-zA-Z\\d]*)*)?\u{7})\
                        |(?:(?:\\d{1,4}(?:;\\d{0,4})*)?[\\dA-PRZcf-ntqry=><~]))";

impl Args {
    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let sequence = Regex::new(SEQUENCE).expect("a constant that a test compiles");
        let nothing = sequence.template("");
        Ok(Node::map(Decolorize { sequence, nothing }))
    }
}

struct Decolorize {
    sequence: Regex,
    nothing: Template,
}

impl MapStage for Decolorize {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        // U+009B is 0xC2 0x9B in UTF-8.
        if memchr::memchr2(0x1b, 0x9b, record.line.as_bytes()).is_some()
            && self.sequence.is_match(&record.line)
        {
            let plain = self.sequence.replace_all(&record.line, &self.nothing);
            record.line.set(plain);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Case, check, fuzz};

    #[test]
    fn escape_sequences_go_and_other_text_stays() {
        let gives = |line: &str, plain: &str| Case::new(line).gives(Case::new(plain));
        check(
            "stage.decolorize { }",
            &[
                gives("\u{1b}[31mred\u{1b}[0m plain \u{1b}[1;38;5;12mblue\u{1b}[m", "red plain blue"),
                gives("\u{9b}32mgreen\u{9b}0m", "green"),
                gives("\u{1b}]0;title\u{7}text", "text"),
                gives("\u{1b}[2K\u{1b}[1Gprogress", "progress"),
                Case::new("no colours [31m here é\u{5db}").same(),
                Case::new("ends in \u{1b}").same(),
            ],
        );
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz("stage.decolorize { }");
    }
}

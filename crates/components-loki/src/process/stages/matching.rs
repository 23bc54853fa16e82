//! `stage.match` runs stages on the entries that a selector selects, or drops those.

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{ArgEnum, Arguments, Error};
use tokio::time::Instant;

use super::Stage;
use crate::process::logql::Selector;
use crate::process::pipeline::{
    Cx, FlatMapStage, Flow, Flush, MapStage, Next, Node, StageCx, build, due, keeps_back, open,
};
use crate::process::record::Record;

/// `stage.match`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// LogQL selector with line filters, such as `{app="x"} |= "error"`.
    pub selector: String,
    /// What to do with selected entries.
    #[arg(default, code_type = "string")]
    pub action: Action,
    /// Name for people.
    #[arg(default, no_effect = "it is a name for people alone; a comment says the same")]
    pub pipeline_name: String,
    /// Reason under which dropped entries are counted.
    #[arg(default = "match_stage")]
    pub drop_counter_reason: String,
    /// Stages for selected entries.
    #[arg(one_of)]
    pub stage: Vec<Stage>,
}

/// What to do with selected entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Action {
    /// Run the stages on them.
    #[default]
    #[arg(default, alias = "")]
    Keep,
    /// Drop them.
    Drop,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.selector.is_empty() {
            return Err(Invalid::field("selector", "must be a selector such as {app=\"x\"}"));
        }
        match (self.action, self.stage.is_empty()) {
            (Action::Keep, true) => {
                let message = "needs at least one stage inside where the action is \"keep\"";
                return Err(Invalid::body(message));
            }
            (Action::Drop, false) => {
                let message = "entries that are dropped go through no stages";
                return Err(
                    Invalid::field("action", message).with_help("remove the stages inside, or the action")
                );
            }
            _ => {}
        }
        Selector::parse(&self.selector)
            .map(drop)
            .map_err(|error| Invalid::field("selector", error.to_string()))
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let selector =
            Selector::parse(&self.selector).map_err(|e| Error::argument("selector", e.to_string()))?;
        if self.action == Action::Drop {
            // As Alloy: an empty reason is the default one.
            let reason =
                if self.drop_counter_reason.is_empty() { "match_stage" } else { &self.drop_counter_reason };
            return Ok(Node::map(Drop { selector, dropped: cx.counters.dropped(reason) }));
        }
        let stages = build(&self.stage, cx)?;
        Ok(Node::flat_map(Keep { keeps_back: keeps_back(&stages), selector, stages }))
    }
}

fn selects(selector: &Selector, record: &Record<'_>) -> bool {
    selector.matches(|name| record.labels.get(name), &record.line)
}

struct Drop {
    selector: Selector,
    dropped: IntCounter,
}

impl MapStage for Drop {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        if selects(&self.selector, record) {
            self.dropped.inc();
            return Flow::Drop;
        }
        Flow::Next
    }
}

struct Keep {
    selector: Selector,
    stages: Vec<Node>,
    keeps_back: bool,
}

impl FlatMapStage for Keep {
    fn process(&mut self, record: &mut Record<'_>, next: &mut Next<'_>) {
        if selects(&self.selector, record) {
            next.run_through(&mut self.stages, record);
        } else {
            next.run(record);
        }
    }

    fn due(&self) -> Option<Instant> {
        due(&self.stages)
    }

    fn flush(&mut self, which: Flush, next: &mut Next<'_>) {
        next.flush_through(&mut self.stages, which);
    }

    fn keeps_back(&self) -> bool {
        self.keeps_back
    }

    fn open(&mut self) -> Result<(), Error> {
        open(&mut self.stages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    #[test]
    fn selected_entries_go_through_the_stages_inside() {
        let text = r#"
            stage.match {
                selector = "{app=\"web\"} |= \"error\" != \"timeout\""
                stage.static_labels { values = { level = "error" } }
                stage.match {
                    selector = "{level=\"error\"} |~ `5\\d\\d`"
                    stage.static_labels { values = { status = "5xx" } }
                }
            }
            stage.static_labels { values = { seen = "1" } }"#;
        let web = |line| Case::new(line).labels([("app", "web")]);
        check(
            text,
            &[
                web("error 503").gives(Case::new("error 503").labels([
                    ("app", "web"),
                    ("level", "error"),
                    ("status", "5xx"),
                    ("seen", "1"),
                ])),
                web("error 4").gives(Case::new("error 4").labels([
                    ("app", "web"),
                    ("level", "error"),
                    ("seen", "1"),
                ])),
                web("error timeout")
                    .gives(Case::new("error timeout").labels([("app", "web"), ("seen", "1")])),
                Case::new("error")
                    .labels([("app", "db")])
                    .gives(Case::new("error").labels([("app", "db"), ("seen", "1")])),
            ],
        );
    }

    #[test]
    fn labels_that_stages_have_set_are_matched_and_extracted_inside() {
        let text = r#"
            stage.static_labels { values = { level = "warn" } }
            stage.match {
                selector = "{level=\"warn\"}"
                stage.output { source = "level" }
            }"#;
        check(text, &[Case::new("x").gives(Case::new("warn").labels([("level", "warn")]))]);
    }

    #[test]
    fn selected_entries_are_dropped_and_counted() {
        let text = r#"stage.match {
            selector = "{app=~\".+\"}"
            action = "drop"
            drop_counter_reason = "noise"
            pipeline_name = "for people"
        }"#;
        check(text, &[Case::new("x").same(), Case::new("x").labels([("app", "a")]).gives_nothing()]);
        let mut bench = Bench::new(text);
        bench.run(&[Case::new("x").labels([("app", "a")]), Case::new("y").labels([("app", "b")])]);
        assert_eq!(bench.metric("loki_process_dropped_lines_total{reason=\"noise\"}"), Some(2.0));
    }

    #[test]
    fn arguments_are_checked() {
        let stage = |rest: &str| format!("stage.match {{ {rest} }}");
        let inner = "stage.output { source = \"a\" }";
        refused(&stage("selector = \"\""), "must be a selector");
        refused(&stage("selector = \"{a=\\\"b\\\"}\""), "needs at least one stage");
        refused(
            &stage(&format!("selector = \"{{a=\\\"b\\\"}}\"\n action = \"drop\"\n {inner}")),
            "go through no stages",
        );
        refused(&stage(&format!("selector = \"{{a=b}}\"\n {inner}")), "line 1, column 4");
        refused(&stage("selector = \"{a=\\\"b\\\"}\"\n action = \"replace\""), "keep");
        refused(&stage("selector = \"{a=\\\"b\\\"}\"\n stage.output { }"), "source");
    }

    proptest! {
        #[test]
        fn any_line_is_matched_or_not(line in ".{0,40}", value in ".{0,20}") {
            let text = "stage.match { selector = \"{a=~\\\"x.*\\\"} |~ \\\"[a-z]+\\\" != \\\"b\\\"\"\n stage.output { source = \"a\" } }";
            prop_assert_eq!(Bench::new(text).run(&[Case::new(line).labels([("a", &value)])]).len(), 1);
        }
    }
}

//! `stage.drop` drops entries: all conditions that are given must be met.

use std::time::Duration;

use component::eval::{Invalid, Size};
use component::metrics::IntCounter;
use component::{Arguments, Error};
use signal::re2::Regex;

use crate::process::expression::{Expression, given};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.drop`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Reason under which dropped lines are counted.
    #[arg(default = "drop_stage".to_string())]
    pub drop_counter_reason: String,
    /// Extracted values, separated by commas, that must be there or match; the line where it is absent.
    #[arg(default)]
    pub source: String,
    /// What the source must be. Excludes `expression`.
    #[arg(default)]
    pub value: String,
    /// What stands between several sources when they are matched.
    #[arg(default = ";".to_string())]
    pub separator: String,
    /// RE2 expression that must match somewhere in the source. Excludes `value`.
    pub expression: Option<Expression>,
    /// The entry's time must be longer ago.
    #[arg(default)]
    pub older_than: Duration,
    /// The line must have more bytes.
    #[arg(default)]
    pub longer_than: Size,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let expression = given(self.expression.as_ref());
        if !self.value.is_empty() && expression.is_some() {
            return Err(Invalid::field("value", "value and expression exclude each other"));
        }
        if !self.value.is_empty() && self.source.is_empty() {
            return Err(
                Invalid::field("value", "needs source").with_help("name the extracted value to compare with")
            );
        }
        let none = self.source.is_empty()
            && expression.is_none()
            && self.older_than.is_zero()
            && self.longer_than.bytes() == 0;
        if none {
            return Err(Invalid::body("drops nothing")
                .with_help("give at least one of source, expression, older_than and longer_than"));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let or =
            |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let wanted = match given(self.expression.as_ref()) {
            Some(regex) => Wanted::Matches(regex.clone()),
            None if !self.value.is_empty() => Wanted::Is(self.value.clone()),
            None => Wanted::There,
        };
        let sources =
            if self.source.is_empty() { vec![] } else { self.source.split(',').map(str::to_owned).collect() };
        Ok(Node::map(Drop {
            sources,
            wanted,
            separator: or(&self.separator, ";"),
            older_than_ns: i64::try_from(self.older_than.as_nanos()).unwrap_or(i64::MAX),
            longer_than: self.longer_than.bytes(),
            joined: String::new(),
            dropped: cx.counters.dropped(&or(&self.drop_counter_reason, "drop_stage")),
        }))
    }
}

enum Wanted {
    There,
    Is(String),
    Matches(Regex),
}

struct Drop {
    sources: Vec<String>,
    wanted: Wanted,
    separator: String,
    older_than_ns: i64,
    longer_than: u64,
    joined: String,
    dropped: IntCounter,
}

impl MapStage for Drop {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        if self.longer_than > 0 && record.line.len() as u64 <= self.longer_than {
            return Flow::Next;
        }
        let age = || cx.wall_ns.saturating_sub(record.timestamp_ns);
        if self.older_than_ns > 0 && age() <= self.older_than_ns {
            return Flow::Next;
        }
        if !self.source_fits(record) {
            return Flow::Next;
        }
        self.dropped.inc();
        Flow::Drop
    }
}

impl Drop {
    fn source_fits(&mut self, record: &Record<'_>) -> bool {
        match (&self.wanted, self.sources.as_slice()) {
            (Wanted::There, sources) => sources.iter().all(|name| record.extracted.contains(name)),
            (wanted, []) => wanted.fits(&record.line),
            (wanted, sources) => {
                self.joined.clear();
                let mut first = true;
                for name in sources {
                    let Some(value) = record.extracted.get(name) else { continue };
                    // Null has no text: nothing to match, nothing to drop.
                    let Some(text) = value.text() else { return false };
                    if !std::mem::take(&mut first) {
                        self.joined.push_str(&self.separator);
                    }
                    self.joined.push_str(&text);
                }
                wanted.fits(&self.joined)
            }
        }
    }
}

impl Wanted {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::There => true,
            Self::Is(value) => text == value,
            Self::Matches(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::process::testkit::{Bench, Case, check, fuzz, refused};

    const DAY: i64 = 86_400_000_000_000;

    #[test]
    fn an_entry_goes_when_all_conditions_are_met() {
        check(
            r#"stage.drop { expression = "^debug" }"#,
            &[Case::new("debug x").gives_nothing(), Case::new("x debug").same()],
        );
        check(
            r#"stage.drop {
                longer_than = "8B"
                expression  = "debug"
            }"#,
            &[
                Case::new("debug xyz").gives_nothing(),
                Case::new("debug xy").same(),
                Case::new("information").same(),
            ],
        );
        check(
            r#"stage.drop { source = "level" }"#,
            &[Case::new("x").labels([("level", "a")]).gives_nothing(), Case::new("x").same()],
        );
        check(
            r#"stage.drop {
                source = "level"
                value  = "de.ug"
            }"#,
            &[
                Case::new("x").labels([("level", "de.ug")]).gives_nothing(),
                Case::new("x").labels([("level", "debug")]).same(),
            ],
        );
    }

    #[test]
    fn several_sources_are_joined() {
        check(
            r#"stage.drop {
                source     = "level,app"
                expression = "^debug;noisy$"
            }"#,
            &[
                Case::new("x").labels([("level", "debug"), ("app", "noisy")]).gives_nothing(),
                Case::new("x").labels([("level", "debug"), ("app", "other")]).same(),
                Case::new("x").labels([("level", "debug;noisy")]).gives_nothing(),
            ],
        );
        check(
            r#"stage.drop { source = "level,app" }"#,
            &[
                Case::new("x").labels([("level", "debug"), ("app", "noisy")]).gives_nothing(),
                Case::new("x").labels([("level", "debug")]).same(),
            ],
        );
    }

    #[test]
    fn null_has_nothing_to_match() {
        check(
            r#"
            stage.json { expressions = { a = "" } }
            stage.drop {
                source     = "a"
                expression = ".*"
            }"#,
            &[Case::new(r#"{"a":null}"#).same(), Case::new(r#"{"a":1}"#).gives_nothing()],
        );
    }

    #[test]
    fn old_entries_go() {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("our time");
        check(
            r#"stage.drop { older_than = "24h" }"#,
            &[Case::new("old").at(now - 2 * DAY).gives_nothing(), Case::new("new").at(now).same()],
        );
    }

    #[test]
    fn drops_are_counted_by_reason() {
        let mut bench = Bench::new(
            r#"
            stage.drop { expression = "a" }
            stage.drop {
                expression          = "b"
                drop_counter_reason = "noise"
            }"#,
        );
        assert_eq!(bench.run(&["a", "ab", "b", "c"].map(Case::new)).len(), 1);
        assert_eq!(bench.metric(r#"loki_process_dropped_lines_total{reason="drop_stage"}"#), Some(2.0));
        assert_eq!(bench.metric(r#"loki_process_dropped_lines_total{reason="noise"}"#), Some(1.0));
    }

    #[test]
    fn conditions_that_do_not_fit_together_are_refused() {
        refused("stage.drop { }", "at least one of");
        refused(r#"stage.drop { value = "x" }"#, "needs source");
        refused(
            r#"stage.drop { source = "a"
            value = "x"
            expression = "y" }"#,
            "exclude each other",
        );
        refused(r#"stage.drop { expression = "(" }"#, "missing closing )");
    }

    #[test]
    fn any_bytes_go_through() {
        fuzz(r#"stage.drop { expression = "(a|é)+$" }"#);
    }
}

//! What is read and changes nothing: marked in the struct, warned of where it is written. Diagnostics are compared as
//! `code @ the text pointed at: message (help)`.

use std::time::Duration;

use eval::{Arguments, Invalid, Scope, check, check_schema, decode};
use macros::Arguments;
use syntax::{Diagnostic, Source, parse};

fn shown(diagnostics: &[Diagnostic]) -> Vec<String> {
    let place = |d: &Diagnostic| d.location.as_ref().map(|l| l.source.slice(l.span).to_owned());
    let line = |d: &Diagnostic| {
        let (place, help) = (place(d).expect("a place"), d.help.as_ref().expect("a way out"));
        format!("{} @ {place}: {} ({help})", d.code, d.message)
    };
    diagnostics.iter().map(line).collect()
}

#[derive(Debug, PartialEq, Arguments)]
#[arguments(without_effect = Spool::without_effect)]
struct Spool {
    #[arg(default = true)]
    enabled: bool,
    #[arg(default = "5m", no_effect = "nothing is polled; use batch")]
    poll: Duration,
    #[arg(block)]
    batch: Option<BatchArgs>,
    #[arg(block, no_effect = "files are removed at once")]
    compaction: Option<BatchArgs>,
    #[arg(one_of)]
    step: Vec<Gait>,
}

#[derive(Debug, PartialEq, Arguments)]
struct BatchArgs {
    #[arg(default)]
    size: i64,
}

#[derive(Debug, PartialEq, Arguments)]
enum Gait {
    #[arg(name = "step.wait", no_effect = "nothing waits")]
    Wait,
    #[arg(name = "step.go")]
    Go,
}

impl Spool {
    fn without_effect(&self) -> Vec<Invalid> {
        let sized = !self.enabled && self.batch.as_ref().is_some_and(|b| b.size > 0);
        sized.then(|| Invalid::without_effect("batch.size", "the queue is off")).into_iter().collect()
    }
}

#[test]
fn what_has_no_effect_is_warned_of_where_it_is_written_and_decodes_all_the_same() {
    let text = "poll = \"5m\"\ncompaction {\nsize = 1\n}\nstep.wait { }\nstep.go { }\nstep.wait { }\n";
    let source = Source::new("f", text);
    let (file, _) = parse(&source);
    let scope = Scope::new(&());
    let (decoded, warnings) = decode::<Spool>(&source, &file.body, None, &scope);
    assert_eq!(decoded.map(|q| q.step.len()), Some(3));
    assert!(warnings.iter().all(|d| !d.is_error() && d.help.is_some()));
    let expected = [
        "no_effect @ poll: argument \"poll\" has no effect: nothing is polled; use batch (remove it: without it the \
         same happens)",
        "no_effect @ compaction: block \"compaction\" has no effect: files are removed at once (remove it: without it \
         the same happens)",
        "no_effect @ step.wait: block \"step.wait\" has no effect: nothing waits (remove it: without it the same happens)",
        "no_effect @ step.wait: block \"step.wait\" has no effect: nothing waits (remove it: without it the same happens)",
    ];
    assert_eq!(shown(&warnings), expected);
    assert_eq!(check::<Spool>(&source, &file.body, None, &scope), warnings);
    assert_eq!(check_schema(Spool::schema(), &source, &file.body, None, &scope), warnings);
}

#[test]
fn what_has_no_effect_with_some_values_only_is_warned_of_with_those() {
    let found = |text: &str| {
        let source = Source::new("f", text);
        shown(&check::<Spool>(&source, &parse(&source).0.body, None, &Scope::new(&())))
    };
    let batch = "batch {\nsize = 1\n}\n";
    assert_eq!(found(batch), Vec::<String>::new());
    let message = "\"size\" has no effect: the queue is off (remove it: without it the same happens)";
    assert_eq!(found(&format!("enabled = false\n{batch}")), [format!("no_effect @ size = 1: {message}")]);
    // A mistake comes first.
    assert!(found(&format!("enabled = false\nwrong = 1\n{batch}")).iter().all(|d| !d.contains("no_effect")));
}

#[test]
fn the_schema_says_what_has_no_effect() {
    let json = Spool::schema().to_json();
    assert_eq!(json["arguments"][1]["no_effect"], "nothing is polled; use batch");
    assert_eq!(json["arguments"][0].get("no_effect"), None);
    let blocks = json["blocks"].as_array().expect("a list");
    let said = |path: &str| blocks.iter().find(|b| b["path"] == path).expect(path).get("no_effect").cloned();
    assert_eq!(said("compaction"), Some("files are removed at once".into()));
    assert_eq!(said("step.wait"), Some("nothing waits".into()));
    assert_eq!((said("batch"), said("step.go")), (None, None));
}

//! Golden folders: `passing/` holds test files that pass; `failing/` and `broken/` hold files beside the text that they
//! are to give. `UPDATE=1` writes the texts anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline_test::{Program, Report, Selection};

pub(crate) const PROGRAM: Program =
    Program { registry: catalog::all, blocks: Vec::new, imports: Vec::new, version: "0.0.0" };

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new("tests/suite").join(name)
}

fn run(paths: &[PathBuf]) -> Report {
    let selection = Selection { filter: None, limit: Duration::from_secs(120) };
    pipeline_test::run(PROGRAM, paths, &selection)
}

#[test]
fn what_is_to_pass_passes() {
    let files = pipeline_test::discover(&folder("passing")).expect("the folder exists");
    assert!(files.len() > 3, "{files:?}");
    let report = run(&files);
    assert_eq!(report.exit_code(), 0, "{}", report.text());
}

/// Compares what each file of a folder gives with the text beside it.
fn texts(name: &str, exit_code: u8) {
    let files = pipeline_test::discover(&folder(name)).expect("the folder exists");
    let mut wrong = Vec::new();
    for file in &files {
        let report = run(std::slice::from_ref(file));
        let text = timeless(&report.text());
        let beside = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&beside, &text).expect("the folder can be written");
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if text != expected || report.exit_code() != exit_code {
            wrong.push(format!("{}: exit code {}\n{text}", file.display(), report.exit_code()));
        }
    }
    assert!(files.len() > 2 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without the real time that a test took.
fn timeless(text: &str) -> String {
    regex::Regex::new(r#"\(\d+ ms\)|time="[0-9.]+""#)
        .expect("a pattern")
        .replace_all(text, "(time)")
        .into_owned()
}

#[test]
fn a_claim_that_does_not_hold_is_told_with_what_came_instead() {
    texts("failing", 1);
}

#[test]
fn a_test_that_makes_no_sense_is_told_with_file_line_and_column() {
    texts("broken", 2);
}

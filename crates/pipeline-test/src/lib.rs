//! Unit tests for pipelines: `ferroalloy test`. [`DOCS`] describes the format.
//!
//! Data path: a YAML file → [`parse`] (a tree with places, then claims) → for each test a graph of the true
//! components in which writers record, listeners are fed and servers are answered for ([`roles`], [`nodes`]) → what
//! came to each receiver ([`journal`]) → [`judge`] → [`Report`].
//! Invariants: the static pass and the argument checks are those of `run`; no socket is opened; the clock stands
//! still until a test moves it.

mod bench;
mod claims;
mod feed;
mod items;
mod journal;
mod judge;
mod nodes;
mod parse;
mod prelude;
mod read;
mod report;
mod roles;
mod run;
mod spec;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use syntax::Diagnostic;

pub use report::{FileReport, Outcome, Problem, Report, TestReport};
pub use run::Program;

/// The description of the format.
pub const DOCS: &str = include_str!("../format.md");

/// What to run and how.
#[derive(Clone)]
pub struct Selection {
    /// Only tests whose `file > name` matches.
    pub filter: Option<regex::Regex>,
    /// Real time after which a test is given up.
    pub limit: Duration,
}

/// The test files of a path: itself, or in a folder and those below it all `*_test.yaml` and `test.yaml`.
///
/// # Errors
/// If the path does not exist or cannot be listed.
pub fn discover(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
        if entry.file_type().is_file() && stem.is_some_and(|s| s == "test" || s.ends_with("_test")) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Runs the tests of files, one after the other.
pub fn run(program: Program, files: &[PathBuf], selection: &Selection) -> Report {
    Report { files: files.iter().filter_map(|path| run_file(program, path, selection)).collect() }
}

/// `None`: no test of it is wanted.
fn run_file(program: Program, path: &Path, selection: &Selection) -> Option<FileReport> {
    let name = path.display().to_string();
    let mut report = FileReport { path: name.clone(), unusable: Vec::new(), tests: Vec::new() };
    let file = match open(path, &name) {
        Ok(file) => file,
        Err(unusable) => {
            report.unusable = unusable;
            return Some(report);
        }
    };
    let wanted = |test: &&spec::TestCase| {
        let full = format!("{name} > {}", test.name);
        selection.filter.as_ref().is_none_or(|f| f.is_match(&full))
    };
    let mut read = BTreeSet::new();
    for test in file.tests.iter().filter(wanted) {
        let began = Instant::now();
        let outcome = run::run(program, &file.source, test, selection.limit);
        read.extend(outcome.files_read.iter().cloned());
        report.tests.push(TestReport { name: test.name.clone(), outcome, took: began.elapsed() });
    }
    if report.tests.len() == file.tests.len() && report.tests.iter().all(|t| t.outcome.problems.is_empty()) {
        let unread = file.files.iter().filter(|(path, _)| !read.contains(path));
        report.unusable = unread.map(|(path, span)| unread_file(&file, path, *span)).collect();
    }
    (!report.tests.is_empty()).then_some(report)
}

/// A path that is given for nothing is a mistake in it.
fn unread_file(file: &spec::TestFile, path: &str, span: syntax::Span) -> Diagnostic {
    let message = format!("no local.file of any test reads {path:?}");
    Diagnostic::error("test_file", message, &file.source, span)
        .with_help("write the path as the component's filename has it, or take it out")
}

/// Reads any text as a file of tests, without running them; for `tests/fuzz/fuzz_targets/pipeline_test.rs` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str) -> Result<(), Vec<Diagnostic>> {
    parse::parse(&syntax::Source::new("fuzz.yaml", text)).map(drop)
}

fn open(path: &Path, name: &str) -> Result<spec::TestFile, Vec<Diagnostic>> {
    let bytes = std::fs::read(path)
        .map_err(|error| vec![Diagnostic::plain("unreadable", format!("{name}: {error}"))])?;
    let source = syntax::decode(&bytes, name.to_string()).map_err(|d| vec![d])?;
    parse::parse(&source)
}

//! What has come of tests, for people and for build servers.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use quick_xml::escape::escape;
use syntax::Diagnostic;

/// What is wrong with a test or its pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The pipeline does something else than the test claims.
    Failed(String),
    /// The test can say nothing about the pipeline: a mistake in the test or its configuration.
    Broken(String),
}

impl Problem {
    /// Whether the test itself is at fault.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// What is wrong.
    pub fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Broken(text) => text,
        }
    }
}

/// How a test has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Nothing: it passed.
    pub problems: Vec<Problem>,
    /// The files of the test that its configuration has read.
    pub files_read: BTreeSet<String>,
}

/// One test that was run.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its name.
    pub name: String,
    /// How it has ended.
    pub outcome: Outcome,
    /// How long it took, in real time.
    pub took: Duration,
}

/// One file of tests.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Its path.
    pub path: String,
    /// What is wrong with the file as a whole; its tests are not run then.
    pub unusable: Vec<Diagnostic>,
    /// Its tests, in the order of the file.
    pub tests: Vec<TestReport>,
}

/// All files.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they were run.
    pub files: Vec<FileReport>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    passed: usize,
    failed: usize,
    broken: usize,
}

impl TestReport {
    fn is_broken(&self) -> bool {
        self.outcome.problems.iter().any(Problem::is_broken)
    }

    fn passed(&self) -> bool {
        self.outcome.problems.is_empty()
    }
}

impl FileReport {
    fn sums(&self) -> Sums {
        let mut sums = Sums { broken: usize::from(!self.unusable.is_empty()), ..Sums::default() };
        for test in &self.tests {
            match (test.passed(), test.is_broken()) {
                (true, _) => sums.passed += 1,
                (false, true) => sums.broken += 1,
                (false, false) => sums.failed += 1,
            }
        }
        sums
    }
}

impl Report {
    fn sums(&self) -> Sums {
        self.files.iter().map(FileReport::sums).fold(Sums::default(), |a, b| Sums {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
            broken: a.broken + b.broken,
        })
    }

    /// 0: all have passed; 1: a claim does not hold; 2: a test is broken, or there is none.
    pub fn exit_code(&self) -> u8 {
        match self.sums() {
            Sums { broken: 1.., .. } => 2,
            Sums { failed: 1.., .. } => 1,
            Sums { passed: 0, .. } => 2,
            _ => 0,
        }
    }

    /// For people: a line a test, and below it what is wrong.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for file in &self.files {
            if !file.unusable.is_empty() {
                let _ = writeln!(out, "BROKEN  {}", file.path);
                indent(&syntax::render(&file.unusable, false), &mut out);
            }
            for test in &file.tests {
                let word = match (test.passed(), test.is_broken()) {
                    (true, _) => "ok    ",
                    (false, true) => "BROKEN",
                    (false, false) => "FAILED",
                };
                let _ = writeln!(out, "{word}  {} > {} ({})", file.path, test.name, milliseconds(test.took));
                for problem in &test.outcome.problems {
                    indent(problem.text(), &mut out);
                }
            }
        }
        let Sums { passed, failed, broken } = self.sums();
        let _ = writeln!(out, "{passed} passed, {failed} failed, {broken} broken");
        out
    }

    /// For build servers: the XML that JUnit has made the rule.
    pub fn junit(&self) -> String {
        let all = self.sums();
        let took: Duration = self.files.iter().flat_map(|f| &f.tests).map(|t| t.took).sum();
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            out,
            "<testsuites name=\"ferroalloy test\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\">",
            all.passed + all.failed + all.broken,
            all.failed,
            all.broken,
            took.as_secs_f64()
        );
        self.files.iter().for_each(|file| suite(file, &mut out));
        out.push_str("</testsuites>\n");
        out
    }
}

fn suite(file: &FileReport, out: &mut String) {
    let sums = file.sums();
    let took: Duration = file.tests.iter().map(|t| t.took).sum();
    let path = attribute(&file.path);
    let _ = writeln!(
        out,
        "  <testsuite name=\"{path}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\" time=\"{:.3}\">",
        sums.passed + sums.failed + sums.broken,
        sums.failed,
        sums.broken,
        took.as_secs_f64()
    );
    if !file.unusable.is_empty() {
        let _ = writeln!(out, "    <testcase classname=\"{path}\" name=\"(file)\" time=\"0.000\">");
        element("error", &syntax::render(&file.unusable, false), out);
        out.push_str("    </testcase>\n");
    }
    for test in &file.tests {
        let name = attribute(&test.name);
        let took = test.took.as_secs_f64();
        let _ = write!(out, "    <testcase classname=\"{path}\" name=\"{name}\" time=\"{took:.3}\"");
        if test.passed() {
            out.push_str("/>\n");
            continue;
        }
        out.push_str(">\n");
        // One element a test: several are not in every reader's schema.
        let texts: Vec<&str> = test.outcome.problems.iter().map(|p| p.text().trim_end()).collect();
        element(if test.is_broken() { "error" } else { "failure" }, &texts.join("\n\n"), out);
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n");
}

fn element(name: &str, text: &str, out: &mut String) {
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let kind = if name == "error" { "broken" } else { "assertion" };
    let _ = writeln!(
        out,
        "      <{name} type=\"{kind}\" message=\"{}\">{}</{name}>",
        attribute(first.trim()),
        escape(allowed(text))
    );
}

fn attribute(text: &str) -> String {
    escape(allowed(text)).replace('\n', "&#10;")
}

/// Without the characters that XML 1.0 cannot carry at all.
fn allowed(text: &str) -> String {
    let is_allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_allowed(&c) { c } else { '\u{fffd}' }).collect()
}

fn indent(text: &str, out: &mut String) {
    for line in text.trim_end().lines() {
        let _ = if line.is_empty() { writeln!(out) } else { writeln!(out, "    {line}") };
    }
    out.push('\n');
}

fn milliseconds(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

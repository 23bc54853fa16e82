//! `ferroalloy test`: unit tests of pipelines, as text and as JUnit's XML.

use std::process::ExitCode;

use anyhow::Context;
use pipeline_test::{Program, Selection};

use crate::args::{TestArgs, TestFormat};

/// What this program brings to its tests. `import.git` is left out: a test has no network.
const PROGRAM: Program = Program {
    registry: catalog::all,
    blocks: crate::blocks::checked,
    imports: || vec![import_http::IMPORT],
    version: crate::VERSION,
};

/// Exit code 0: all have passed; 1: a claim does not hold; 2: a test is broken, or there is none.
pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    if args.docs {
        super::print(pipeline_test::DOCS)?;
        return Ok(ExitCode::SUCCESS);
    }
    net::install_provider();
    let filter = args.run.as_deref().map(regex::Regex::new).transpose().context("--run")?;
    let selection = Selection { filter, limit: args.timeout };
    let mut files = Vec::new();
    for path in &args.paths {
        match pipeline_test::discover(path) {
            Ok(found) => files.extend(found),
            Err(error) => {
                super::print(&format!("{}: {error}\n", path.display()))?;
                return Ok(ExitCode::from(2));
            }
        }
    }
    let report = pipeline_test::run(PROGRAM, &files, &selection);
    let rendered = match args.format {
        TestFormat::Text => report.text(),
        TestFormat::Junit => report.junit(),
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, &rendered).with_context(|| path.display().to_string())?;
            super::print(&report.text())?;
        }
        None => super::print(&rendered)?,
    }
    Ok(ExitCode::from(report.exit_code()))
}

//! What `tests/sdk/install` has put into the target folder: others' SDKs, and the Go programs that the tests run.

use std::path::PathBuf;

/// `target/sdk`.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test runs from a file");
    let target = test.ancestors().nth(3).expect("target/<profile>/deps/<test>");
    target.join("sdk")
}

/// A file that is installed.
pub fn installed(path: &str) -> PathBuf {
    let path = folder().join(path);
    assert!(path.exists(), "{} is not there: run tests/sdk/install, as .ci/run does", path.display());
    path
}

/// A Go program, by its path below that folder; `None`, told on standard error, where this machine cannot build it.
pub fn go_program(path: &str) -> Option<PathBuf> {
    let absent = folder().join(path).with_file_name("absent");
    if let Ok(why) = std::fs::read_to_string(absent) {
        eprintln!("SKIPPED: {why}");
        return None;
    }
    Some(installed(path))
}

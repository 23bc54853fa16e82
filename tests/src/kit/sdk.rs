//! Programs of others that tests run: `tests/sdk/install` puts them into the target folder.

use std::path::PathBuf;

/// `target/sdk`.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test runs from a file");
    let target = test.ancestors().nth(3).expect("target/<profile>/deps/<test>");
    target.join("sdk")
}

/// A file that the script has installed.
///
/// # Panics
/// If it is not there.
pub fn installed(path: &str) -> PathBuf {
    let path = folder().join(path);
    assert!(path.exists(), "{} is not there: run tests/sdk/install, as .ci/run does", path.display());
    path
}

/// A program in Go. The script has noted why there is none where there is no toolchain; then this says so too.
pub fn go_program(path: &str) -> Option<PathBuf> {
    let absent = folder().join(path).with_file_name("absent");
    match std::fs::read_to_string(absent) {
        Ok(why) => {
            super::skipped(why.trim_end());
            None
        }
        Err(_) => Some(installed(path)),
    }
}

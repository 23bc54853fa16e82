//! Folder tests: `testdata/format/*.alloy` against `.formatted`, `testdata/diagnostics/*.alloy` against
//! `.txt`. `UPDATE=1 cargo test -p syntax --test golden` rewrites the expectations; review them as code.

use std::fs;
use std::path::{Path, PathBuf};

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("the folder is part of the crate")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "alloy"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn compare(input: &Path, extension: &str, got: &str) {
    let path = input.with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, got).expect("writable");
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{}", path.display());
}

fn source(path: &Path) -> syntax::Source {
    let name = path.file_name().expect("a file").to_string_lossy();
    syntax::decode(&fs::read(path).expect("readable"), name).expect("UTF-8")
}

#[test]
fn files_are_formatted_as_written_down() {
    for path in inputs("format") {
        let (file, problems) = syntax::parse(&source(&path));
        assert_eq!(syntax::render(&problems, false), "", "{}", path.display());
        let text = syntax::format(&file);
        compare(&path, "formatted", &text);
        let (again, problems) = syntax::parse(&syntax::Source::new("formatted", text.as_str()));
        assert_eq!(problems, [], "{}", path.display());
        assert_eq!(syntax::format(&again), text, "{} is no fixed point", path.display());
        assert_eq!(again.comments.len(), file.comments.len(), "{} lost a comment", path.display());
    }
}

#[test]
fn every_mistake_is_reported_once_with_a_way_out() {
    for path in inputs("diagnostics") {
        let (_, problems) = syntax::parse(&source(&path));
        assert!(problems.iter().all(|p| p.help.is_some()), "{}", path.display());
        compare(&path, "txt", &syntax::render(&problems, false));
    }
}

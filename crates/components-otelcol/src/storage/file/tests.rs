//! The folder: where it is, what it is called inside, what happens where it cannot be made.

use std::os::unix::fs::PermissionsExt;

use component::eval::{ArgValue as _, Arguments as _};
use component::testkit::{Harness, Names, surface};
use component::{ComponentDef, Services};

use super::*;

fn harness(root: &Path) -> Harness {
    Harness::new(ComponentDef::of::<FileStorage>(), Names::default(), Services::for_tests(root))
}

fn folder(harness: &Harness) -> Folder {
    let exports = harness.node.exports();
    let handler =
        Handler::from_value(&exports.as_object().expect("an object")["handler"]).expect("a handler");
    handler.folder().expect("of a storage").clone()
}

#[tokio::test]
async fn a_folder_is_made_with_the_permissions_that_are_asked_for() {
    let root = tempfile::tempdir().expect("a folder");
    let directory = root.path().join("a/b");
    let harness = harness(root.path());
    let body = format!("directory = {directory:?}\ndirectory_permissions = \"0700\"\nfsync = true");
    harness.update(&body).await.expect("valid");
    let found = folder(&harness);
    assert!(found.fsync() && found.directory() == directory);
    found.prepare().expect("made");
    let mode = std::fs::metadata(&directory).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    harness.update("").await.expect("valid");
    assert_eq!(folder(&harness).directory(), root.path().join("otelcol.storage.file.test"));
}

#[tokio::test]
async fn new_arguments_are_a_new_handler() {
    let root = tempfile::tempdir().expect("a folder");
    let harness = harness(root.path());
    harness.update("").await.expect("valid");
    harness.node.start();
    let other = root.path().join("other");
    harness.update(&format!("directory = {other:?}\ntimeout = \"3s\"")).await.expect("valid");
    assert_eq!(folder(&harness).directory(), other);
    assert_eq!(folder(&harness).timeout(), Duration::from_secs(3));
    harness.stop().await;
}

#[test]
fn a_folder_that_may_not_be_made_is_missed() {
    let root = tempfile::tempdir().expect("a folder");
    let missing =
        Folder { directory: root.path().join("x"), timeout: Duration::ZERO, fsync: false, create: None };
    assert!(missing.prepare().expect_err("not there").contains("create_directory"));
    std::fs::write(root.path().join("x"), "").expect("written");
    assert!(missing.prepare().expect_err("a file").contains("is no folder"));
}

#[test]
fn every_user_has_a_place_of_its_own_inside() {
    let names = ["a", "A", "a.b", "a/b", "a~b", "..", ".", "a:1", "a~3a1", "é", ""];
    let folder = Folder { directory: "/s".into(), timeout: Duration::ZERO, fsync: false, create: None };
    let places: std::collections::BTreeSet<_> = names.iter().map(|name| folder.of(name)).collect();
    assert_eq!(places.len(), names.len());
    for place in places {
        assert!(place == Path::new("/s/") || place.parent() == Some(Path::new("/s")), "{place:?}");
        assert!(!place.ends_with(".."));
    }
}

#[test]
fn those_who_have_a_place_are_found_by_name() {
    let root = tempfile::tempdir().expect("a folder");
    let folder =
        Folder { directory: root.path().into(), timeout: Duration::ZERO, fsync: false, create: None };
    let mut names = ["a.b/c_[::1]:4317_logs", "~", "é", "plain"];
    names.iter().for_each(|name| std::fs::create_dir(folder.of(name)).expect("made"));
    std::fs::create_dir(root.path().join("~zz")).expect("made");
    let mut found = folder.names();
    names.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, names);
}

#[tokio::test]
async fn what_cannot_be_is_told() {
    let root = tempfile::tempdir().expect("a folder");
    for (body, expected) in [
        ("directory_permissions = \"0999\"", "octal"),
        ("directory_permissions = \"7777\"", "beyond"),
        ("compaction {\nmax_transaction_size = -1\n}", "max_transaction_size"),
        ("compaction {\non_rebound = true\ncheck_interval = \"0s\"\n}", "check_interval"),
    ] {
        let refused = format!("{:?}", harness(root.path()).update(body).await.expect_err(body));
        assert!(refused.contains(expected), "{body}: {refused}");
    }
}

/// The facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let ours = surface(Args::schema());
    for line in [
        "directory string",
        "timeout duration = \"1s\"",
        "fsync bool",
        "create_directory bool = true",
        "directory_permissions string = \"0750\"",
        "compaction.rebound_needed_threshold_mib int = 100",
        "compaction.rebound_trigger_threshold_mib int = 10",
        "compaction.max_transaction_size int = 65536",
        "compaction.check_interval duration = \"5s\"",
    ] {
        assert!(ours.iter().any(|o| o == line), "{line}: {ours:#?}");
    }
}

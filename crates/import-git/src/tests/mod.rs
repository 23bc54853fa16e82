//! Looks at repositories that the `git` program makes in a temporary folder.

mod block;
mod network;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tempfile::TempDir;

use crate::origin::Origin;
use crate::update::{look, work_tree};
use crate::{BasicAuth, SshKey};

/// A repository with a place for its clone.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.remote()).unwrap();
        world.git(&["init", "-q", "-b", "main", "."]);
        world
    }

    fn remote(&self) -> PathBuf {
        self.dir.path().join("remote")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn git(&self, args: &[&str]) -> String {
        let done = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.remote())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_string()
    }

    /// Writes files, commits them and gives the commit's name.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.remote().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn origin(&self) -> Origin {
        Origin::new(self.remote().to_str().unwrap(), None, None).unwrap()
    }

    fn look(&self, revision: &str, path: &str) -> Result<Vec<(String, String)>, String> {
        self.look_at(&self.origin(), revision, path)
    }

    fn look_at(&self, origin: &Origin, revision: &str, path: &str) -> Result<Vec<(String, String)>, String> {
        let interrupt = AtomicBool::new(false);
        look(&self.data(), origin, (revision, path), Duration::from_secs(60), &interrupt)
    }

    /// The text of the one file that a look finds.
    fn text(&self, revision: &str, path: &str) -> String {
        let texts = self.look(revision, path).unwrap();
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts[0].1.clone()
    }

    fn error(&self, revision: &str, path: &str) -> String {
        self.look(revision, path).unwrap_err()
    }

    /// Makes the remote unreachable, or reachable again.
    fn away(&self, away: bool) {
        let (here, there) = (self.remote(), self.dir.path().join("elsewhere"));
        match away {
            true => std::fs::rename(here, there).unwrap(),
            false => std::fs::rename(there, here).unwrap(),
        }
    }
}

fn names(texts: &[(String, String)], root: &Path) -> Vec<String> {
    let short = |name: &String| Path::new(name).strip_prefix(root).unwrap().display().to_string();
    texts.iter().map(|(name, _)| short(name)).collect()
}

#[test]
fn a_branch_is_followed_wherever_it_moves() {
    let world = World::new();
    world.commit(&[("a.alloy", "1"), ("gone/b.alloy", "x")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    assert!(work_tree(&world.data()).join("gone/b.alloy").exists());
    let packs = || std::fs::read_dir(world.data().join("repo.git/objects/pack")).unwrap().count();
    let before = packs();
    assert_eq!(world.text("main", "a.alloy"), "1");
    assert_eq!(packs(), before, "nothing new is fetched while the branch stays");

    world.git(&["rm", "-q", "-r", "gone"]);
    world.commit(&[("a.alloy", "22")]);
    assert_eq!(world.text("main", "a.alloy"), "22");
    assert!(!work_tree(&world.data()).join("gone").exists(), "files of the old commit are gone");

    // A force-push: the branch moves to a commit that does not follow from the last one.
    world.git(&["checkout", "-q", "--orphan", "other"]);
    let forced = world.commit(&[("a.alloy", "333")]);
    world.git(&["branch", "-f", "main", &forced]);
    assert_eq!(world.text("main", "a.alloy"), "333");
    // And back.
    world.git(&["branch", "-f", "main", "main@{1}"]);
    assert_eq!(world.text("main", "a.alloy"), "22");
}

#[test]
fn the_clone_is_shallow_until_history_is_asked_for() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    world.commit(&[("a.alloy", "2")]);
    world.commit(&[("a.alloy", "3")]);
    assert_eq!(world.text("main", "a.alloy"), "3");
    let count = || {
        let bare = world.data().join("repo.git");
        let dir = format!("--git-dir={}", bare.display());
        world.git(&["-c", "safe.directory=*", &dir, "rev-list", "--count", "refs/heads/main"])
    };
    assert_eq!(count(), "1");
    assert_eq!(world.text("main~2", "a.alloy"), "1");
    assert_eq!(count(), "3");
    assert_eq!(world.text("main", "a.alloy"), "3");
}

#[test]
fn a_revision_may_be_a_branch_a_tag_a_commit_or_a_part_of_its_name() {
    let world = World::new();
    let first = world.commit(&[("a.alloy", "1")]);
    world.git(&["tag", "light"]);
    let second = world.commit(&[("a.alloy", "2")]);
    world.git(&["tag", "-a", "-m", "x", "annotated"]);
    world.git(&["branch", "feature/x"]);
    world.git(&["branch", "both", &first]);
    world.git(&["tag", "both", &second]);
    world.commit(&[("a.alloy", "3")]);
    for (revision, text) in [
        ("main", "3"),
        ("refs/heads/main", "3"),
        ("origin/main", "3"),
        ("light", "1"),
        ("annotated", "2"),
        ("refs/tags/annotated", "2"),
        ("feature/x", "2"),
        ("both", "2"),
        (&*first, "1"),
        (&*second, "2"),
        (&first[..8], "1"),
        ("main~1", "2"),
    ] {
        assert_eq!(world.text(revision, "a.alloy"), text, "{revision}");
    }
}

#[test]
fn a_commit_that_is_here_needs_no_remote() {
    let world = World::new();
    let commit = world.commit(&[("a.alloy", "1")]);
    assert_eq!(world.text(&commit, "a.alloy"), "1");
    world.away(true);
    assert_eq!(world.text(&commit, "a.alloy"), "1");
}

#[test]
fn a_directory_gives_its_alloy_files_in_order() {
    let world = World::new();
    world.commit(&[("m/b.alloy", "b"), ("m/a.alloy", "a"), ("m/c.txt", "c"), ("m/d/e.alloy", "e")]);
    let texts = world.look("main", "m").unwrap();
    assert_eq!(names(&texts, &work_tree(&world.data())), ["m/a.alloy", "m/b.alloy"]);
    assert!(world.look("main", ".").unwrap().is_empty());
}

#[test]
fn a_path_into_a_submodule_is_refused_with_what_to_do_and_the_rest_can_be_used() {
    let world = World::new();
    let first = world.commit(&[("a.alloy", "1")]);
    world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},deps/lib")]);
    world.git(&["commit", "-q", "-m", "x"]);
    for path in ["deps/lib", "deps/lib/m.alloy"] {
        let error = world.error("main", path);
        assert!(
            error.contains("a submodule at \"deps/lib\"") && error.contains("import.git block"),
            "{error}"
        );
    }
    assert_eq!(world.text("main", "a.alloy"), "1");
    // Where it was a folder once.
    assert!(world.error(&first, "deps/lib").contains("has no \"deps/lib\""));
}

#[test]
fn what_does_not_exist_is_named_with_what_to_correct() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let error = world.error("nope", "a.alloy");
    assert!(error.contains("no branch, tag or commit \"nope\": correct revision"), "{error}");
    let error = world.error("deadbeef", "a.alloy");
    assert!(error.contains("no branch, tag or commit \"deadbeef\""), "{error}");
    let error = world.error("0123456789012345678901234567890123456789", "a.alloy");
    assert!(error.contains("no branch, tag or commit"), "{error}");
    let error = world.error("main", "b/c.alloy");
    assert!(error.contains("has no \"b/c.alloy\" at revision \"main\": correct path"), "{error}");
    let error = world.error("main", "a.alloy/x");
    assert!(error.contains("correct path"), "{error}");
    // After all that, what is right still works.
    assert_eq!(world.text("main", "a.alloy"), "1");
}

#[test]
fn an_empty_repository_has_no_such_revision() {
    let world = World::new();
    let error = world.error("main", "a.alloy");
    assert!(error.contains("no branch, tag or commit \"main\""), "{error}");
}

#[test]
fn nothing_outside_the_repository_is_read() {
    let world = World::new();
    let secret = world.dir.path().join("secret.alloy");
    std::fs::write(&secret, "secret").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, world.remote().join(name)).unwrap();
    std::fs::create_dir(world.remote().join("m")).unwrap();
    link(&secret, "file.alloy");
    link(world.dir.path(), "folder");
    link(&secret, "m/x.alloy");
    link(Path::new("../../../secret.alloy"), "m/y.txt");
    link(Path::new("a.alloy"), "good.alloy");
    world.commit(&[("a.alloy", "1")]);
    for path in ["file.alloy", "folder/secret.alloy", "folder", "m", "m/y.txt"] {
        let error = world.error("main", path);
        assert!(error.contains("out of the repository"), "{path}: {error}");
    }
    for path in ["..", "../secret.alloy", "m/../../secret.alloy"] {
        let error = world.error("main", path);
        assert!(error.contains("out of the repository"), "{path}: {error}");
    }
    assert_eq!(world.text("main", "good.alloy"), "1");
}

#[test]
fn a_damaged_clone_is_made_anew_and_a_damaged_work_tree_is_written_again() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let damages: [fn(&Path); 5] = [
        |data| std::fs::write(data.join("repo.git/HEAD"), "rubbish").unwrap(),
        |data| std::fs::remove_dir_all(data.join("repo.git/objects")).unwrap(),
        |data| {
            for entry in std::fs::read_dir(data.join("repo.git/objects/pack")).unwrap() {
                let path = entry.unwrap().path();
                std::fs::remove_file(&path).unwrap();
                std::fs::write(path, "rubbish").unwrap();
            }
        },
        |data| std::fs::remove_dir_all(data.join("repo")).unwrap(),
        |data| std::fs::remove_file(data.join("repo/a.alloy")).unwrap(),
    ];
    for (i, damage) in damages.iter().enumerate() {
        assert_eq!(world.text("main", "a.alloy"), "1", "before {i}");
        damage(&world.data());
        assert_eq!(world.text("main", "a.alloy"), "1", "after {i}");
        damage(&world.data());
        world.commit(&[("b.alloy", &format!("{i}"))]);
        assert_eq!(world.text("main", "b.alloy"), format!("{i}"));
    }
}

#[test]
fn a_clone_of_another_program_in_the_same_place_is_replaced() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    let repo = work_tree(&world.data());
    std::fs::create_dir_all(repo.join(".git/objects")).unwrap();
    std::fs::write(repo.join("a.alloy"), "old").unwrap();
    assert_eq!(world.text("main", "a.alloy"), "1");
    assert!(repo.join(".git").is_file());
}

#[test]
fn another_repository_in_the_same_folder_starts_with_a_clone_of_its_own() {
    let (world, other) = (World::new(), World::new());
    world.commit(&[("a.alloy", "1")]);
    other.commit(&[("a.alloy", "other")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    let texts = world.look_at(&other.origin(), "main", "a.alloy").unwrap();
    assert_eq!(texts[0].1, "other");
    other.away(true);
    assert_eq!(world.text("main", "a.alloy"), "1");
}

#[test]
fn a_remote_that_is_away_is_an_error_with_advice_and_what_was_fetched_stays() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    world.away(true);
    let error = world.error("main", "a.alloy");
    assert!(error.contains(world.remote().to_str().unwrap()), "{error}");
    assert!(error.contains("check the path"), "{error}");
    assert_eq!(std::fs::read_to_string(work_tree(&world.data()).join("a.alloy")).unwrap(), "1");
    world.away(false);
    assert_eq!(world.text("main", "a.alloy"), "1");
}

#[test]
fn after_a_restart_the_last_clone_serves_while_the_remote_is_away() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    world.away(true);
    // A folder that this process has not seen is what a new process finds.
    let moved = world.dir.path().join("data-of-a-new-process");
    std::fs::rename(world.data(), &moved).unwrap();
    let again = |revision: &str| {
        let interrupt = AtomicBool::new(false);
        look(&moved, &world.origin(), (revision, "a.alloy"), Duration::ZERO, &interrupt)
    };
    assert!(again("other").is_err(), "another revision is not what is there");
    assert_eq!(again("main").unwrap()[0].1, "1");
    assert!(again("main").is_err(), "from then on the importer keeps its content and is told");
}

#[test]
fn many_fetches_do_not_fill_the_disk() {
    let world = World::new();
    let pack = world.data().join("repo.git/objects/pack");
    world.commit(&[("a.alloy", "0")]);
    assert_eq!(world.text("main", "a.alloy"), "0");
    for i in 0..80 {
        std::fs::write(pack.join(format!("pack-{i}.pack")), "rubbish").unwrap();
    }
    world.commit(&[("a.alloy", "1")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    assert!(std::fs::read_dir(pack).unwrap().count() < 10);
}

#[test]
fn an_interrupted_look_ends_with_an_error_and_the_clone_stays_for_the_next_one() {
    let world = World::new();
    let interrupted = || {
        let interrupt = AtomicBool::new(true);
        look(&world.data(), &world.origin(), ("main", "a.alloy"), Duration::ZERO, &interrupt)
    };
    world.commit(&[("a.alloy", "1")]);
    assert!(interrupted().is_err());
    assert_eq!(world.text("main", "a.alloy"), "1");
    world.commit(&[("a.alloy", "2")]);
    let mark = world.data().join("repo.git/mark");
    std::fs::write(&mark, "").unwrap();
    assert!(interrupted().is_err());
    assert!(interrupted().is_err());
    assert_eq!(world.text("main", "a.alloy"), "2");
    assert!(mark.exists());
}

#[test]
fn a_fetch_that_breaks_off_once_keeps_the_clone_and_twice_makes_it_anew() {
    let world = World::new();
    world.commit(&[("a.alloy", "1")]);
    assert_eq!(world.text("main", "a.alloy"), "1");
    world.commit(&[("a.alloy", "2")]);
    // As a process leaves it that was killed while it fetched.
    let (bare, mark) = (world.data().join("repo.git"), world.data().join("repo.git/mark"));
    std::fs::write(&mark, "").unwrap();
    std::fs::write(bare.join("shallow.lock"), "").unwrap();
    world.look("main", "a.alloy").unwrap_err();
    assert!(mark.exists());
    assert_eq!(world.text("main", "a.alloy"), "2");
    assert!(!mark.exists());
}

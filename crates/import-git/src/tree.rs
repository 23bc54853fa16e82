//! The work tree of one commit, and the modules in it.
//!
//! Invariants: a work tree is written beside the old one and takes its place when it is whole; nothing
//! outside it is read, whatever a path or a symbolic link says.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::progress::Discard;

use crate::clone::{Failed, remove};

/// No configuration is larger; more is a mistake in the path.
const MAX_BYTES: u64 = 16 << 20;

/// Text of a module with the path it was read from.
pub(crate) type Text = (String, String);

/// The name of the file that says what a work tree holds: no commit can contain one of this name.
const STATE: &str = ".git";

/// What a work tree holds.
pub(crate) struct State {
    /// The commit.
    pub(crate) commit: ObjectId,
    /// What was asked for.
    pub(crate) asked: String,
}

/// Reads what the work tree in `dir` holds; `None` where there is no whole one.
pub(crate) fn state(dir: &Path) -> Option<State> {
    let text = std::fs::read_to_string(dir.join(STATE)).ok()?;
    let (commit, asked) = text.split_once('\n')?;
    let commit = ObjectId::from_hex(commit.as_bytes()).ok()?;
    Some(State { commit, asked: asked.to_string() })
}

/// Whether a commit has something at a path.
pub(crate) fn contains(repository: &gix::Repository, commit: ObjectId, path: &Path) -> bool {
    let entry = || repository.find_object(commit)?.peel_to_tree()?.lookup_entry_by_path(path);
    entry().is_ok_and(|entry: Option<gix::object::tree::Entry<'_>>| entry.is_some())
}

/// The submodule that a path of a commit is, or leads into.
pub(crate) fn submodule(repository: &gix::Repository, commit: ObjectId, path: &Path) -> Option<PathBuf> {
    let tree = repository.find_object(commit).ok()?.peel_to_tree().ok()?;
    let mut outer: Vec<&Path> = path.ancestors().filter(|p| !p.as_os_str().is_empty()).collect();
    outer.reverse();
    let is_submodule = |path: &&Path| {
        tree.lookup_entry_by_path(path).is_ok_and(|entry| entry.is_some_and(|e| e.mode().is_commit()))
    };
    outer.into_iter().find(is_submodule).map(Path::to_path_buf)
}

/// Makes `dir` the work tree of a commit; answers the submodules that it leaves empty.
pub(crate) fn check_out(
    repository: &gix::Repository,
    commit: ObjectId,
    asked: &str,
    dir: &Path,
    interrupt: &AtomicBool,
) -> Result<Vec<String>, Failed> {
    let (new, old) = (dir.with_extension("new"), dir.with_extension("old"));
    remove(&new)?;
    std::fs::create_dir_all(&new).map_err(Failed::clone("making the work tree"))?;
    let submodules = write(repository, commit, &new, interrupt)?;
    let io = |result: std::io::Result<()>| result.map_err(Failed::clone("replacing the work tree"));
    io(std::fs::write(new.join(STATE), format!("{commit}\n{asked}")))?;
    remove(&old)?;
    if std::fs::symlink_metadata(dir).is_ok() {
        io(std::fs::rename(dir, &old))?;
    }
    io(std::fs::rename(&new, dir))?;
    remove(&old)?;
    Ok(submodules)
}

fn write(
    repository: &gix::Repository,
    commit: ObjectId,
    dir: &Path,
    interrupt: &AtomicBool,
) -> Result<Vec<String>, Failed> {
    use gix::worktree::stack::state::attributes::Source;
    let written = || -> Result<_, gix::Error> {
        let tree = repository.find_object(commit)?.peel_to_tree()?.id;
        let mut index = repository.index_from_tree(&tree)?;
        let mut options = repository.checkout_options(Source::IdMapping)?;
        options.destination_is_initially_empty = true;
        let objects = repository.objects.clone().into_arc().map_err(gix::Error::from_error)?;
        let is_submodule = |e: &&gix::index::Entry| e.mode == gix::index::entry::Mode::COMMIT;
        let submodules = index.entries().iter().filter(is_submodule).map(|e| e.path(&index).to_string());
        let submodules: Vec<String> = submodules.collect();
        gix::worktree::state::checkout(&mut index, dir, objects, &Discard, &Discard, interrupt, options)
            .map(|outcome| (outcome, submodules))
    };
    let (outcome, submodules) = written().map_err(Failed::clone("checking out"))?;
    if interrupt.load(Ordering::Relaxed) {
        return Err(Failed::Remote("checking out was interrupted".to_string()));
    }
    if let Some(problem) = outcome.errors.first() {
        return Err(Failed::Clone(format!("checking out {}: {}", problem.path, problem.error)));
    }
    if let Some(collision) = outcome.collisions.first() {
        let message = format!("{} cannot be checked out: another file has its name", collision.path);
        return Err(Failed::Request(message));
    }
    Ok(submodules)
}

/// A path as it is inside a repository; `None` where it leads out.
pub(crate) fn inside(path: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Why modules cannot be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// There is no such file.
    Missing,
    /// Anything else.
    Other(String),
}

/// The texts of a file, or of a directory's `*.alloy` files sorted by name.
pub(crate) fn read(root: &Path, path: &Path) -> Result<Vec<Text>, Unread> {
    let start = root.join(path);
    if !resolve(root, &start)?.is_dir() {
        return Ok(vec![read_text(root, &start)?]);
    }
    let io = |e: std::io::Error| Unread::Other(format!("{}: {e}", start.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&start).map_err(io)? {
        let file = entry.map_err(io)?.path();
        // Before it is known to be inside, nothing is asked about what a link points to.
        if file.extension().is_some_and(|e| e == "alloy") && !resolve(root, &file)?.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    files.iter().map(|file| read_text(root, file)).collect()
}

/// The real path of a file, which must be inside the work tree.
fn resolve(root: &Path, path: &Path) -> Result<PathBuf, Unread> {
    let real = |path: &Path| {
        path.canonicalize().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Unread::Missing,
            _ => Unread::Other(format!("{}: {e}", path.display())),
        })
    };
    let resolved = real(path)?;
    if resolved.starts_with(real(root)?) {
        return Ok(resolved);
    }
    Err(Unread::Other(format!("{} is a link that leads out of the repository", path.display())))
}

fn read_text(root: &Path, path: &Path) -> Result<Text, Unread> {
    let name = path.display().to_string();
    let real = resolve(root, path)?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(&real)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| Unread::Other(format!("{name}: {e}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unread::Other(format!("{name} is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| Unread::Other(format!("{name} is not UTF-8 text")))?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_or_is_refused() {
        for (path, clean) in [
            ("a.alloy", Some("a.alloy")),
            ("/m/a.alloy", Some("m/a.alloy")),
            ("./m//x/../a.alloy", Some("m/a.alloy")),
            ("", Some("")),
            ("..", None),
            ("m/../../a.alloy", None),
            ("/../a.alloy", None),
        ] {
            assert_eq!(inside(path), clean.map(PathBuf::from), "{path}");
        }
    }
}

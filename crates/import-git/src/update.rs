//! One look at a repository: bring the clone up to date, then read the modules.
//!
//! In the import's folder: `repo.git`, the bare clone; `repo`, the work tree of the commit in use. Invariants:
//! a clone that cannot be used is made anew while the work tree stays; one look at a time per folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clone::{Bare, Failed, remove};
use crate::origin::Origin;
use crate::tree::{self, Text, Unread};

/// What is known of a folder in this process.
#[derive(Default)]
struct Folder {
    /// Modules were read from it, so that the importer has content to keep.
    served: bool,
    /// The last fetch broke off: if the next one does too, the clone is to blame after all.
    suspect: bool,
}

/// One entry for each import block that ever was; the lock is held for as long as a look takes.
static FOLDERS: LazyLock<Mutex<BTreeMap<PathBuf, Arc<Mutex<Folder>>>>> = LazyLock::new(Mutex::default);

/// The work tree's place.
pub(crate) fn work_tree(data: &Path) -> PathBuf {
    data.join("repo")
}

/// Brings the clone under `data` up to date and reads the modules at `path`; waits up to `patience` for a
/// look that still runs.
pub(crate) fn look(
    data: &Path,
    origin: &Origin,
    (revision, path): (&str, &str),
    patience: Duration,
    interrupt: &AtomicBool,
) -> Result<Vec<Text>, String> {
    let folder = FOLDERS.lock().entry(data.to_path_buf()).or_default().clone();
    let Some(mut folder) = folder.try_lock_for(patience) else {
        return Err(format!("{}: the last fetch has not ended", origin.shown()));
    };
    let texts = Look { data, origin, revision, interrupt }.run(path, &mut folder)?;
    folder.served = true;
    Ok(texts)
}

struct Look<'a> {
    data: &'a Path,
    origin: &'a Origin,
    revision: &'a str,
    interrupt: &'a AtomicBool,
}

impl Look<'_> {
    fn run(&self, path: &str, folder: &mut Folder) -> Result<Vec<Text>, String> {
        let inside =
            tree::inside(path).ok_or_else(|| format!("path {path:?} leads out of the repository"))?;
        let work_tree = work_tree(self.data);
        let updated = self.update(&inside, folder.suspect);
        folder.suspect = matches!(updated, Err(Failed::Fetch(_)));
        match updated {
            Ok(()) => {}
            // As Alloy: a restart does not fail because the remote is away for a while.
            Err(Failed::Remote(error) | Failed::Fetch(error))
                if !folder.served && self.holds_what_is_asked(&work_tree) =>
            {
                tracing::warn!(error, "the repository cannot be updated; what was fetched before is used");
            }
            Err(failed) => return Err(failed.message().to_string()),
        }
        tree::read(&work_tree, &inside).map_err(|unread| match unread {
            Unread::Other(message) => message,
            Unread::Missing => {
                let shown = self.origin.shown();
                format!("{shown} has no {path:?} at revision {:?}: correct path or revision", self.revision)
            }
        })
    }

    fn asked(&self) -> String {
        format!("{}\n{}\n", self.origin.shown(), self.revision)
    }

    fn holds_what_is_asked(&self, work_tree: &Path) -> bool {
        tree::state(work_tree).is_some_and(|state| state.asked == self.asked())
    }

    /// Makes the work tree that of the commit the revision means now.
    fn update(&self, inside: &Path, suspect: bool) -> Result<(), Failed> {
        let (settings, _key) = self.origin.settings(self.data).map_err(Failed::Request)?;
        let dir = self.data.join("repo.git");
        let mut bare = Bare::open(&dir, self.origin, &settings)?;
        let updated = self.update_with(&bare, inside);
        let why = match &updated {
            Err(Failed::Clone(why)) => why,
            Err(Failed::Fetch(why)) if suspect => why,
            _ => return updated,
        };
        if bare.new || self.interrupt.load(Ordering::Relaxed) {
            return updated;
        }
        tracing::warn!(path = %dir.display(), why, "the clone cannot be used as it is: it is made anew");
        drop(bare);
        remove(&dir)?;
        bare = Bare::open(&dir, self.origin, &settings)?;
        self.update_with(&bare, inside)
    }

    fn update_with(&self, bare: &Bare<'_>, inside: &Path) -> Result<(), Failed> {
        let commit = bare.commit_of(self.revision, self.interrupt)?;
        if let Some(submodule) = tree::submodule(&bare.repository, commit, inside) {
            return Err(Failed::Request(format!(
                "{} has a submodule at {:?}, and submodules are not fetched: import its own repository with an \
                 import.git block",
                self.origin.shown(),
                submodule.display().to_string()
            )));
        }
        let (work_tree, asked) = (work_tree(self.data), self.asked());
        let state = tree::state(&work_tree);
        if state.is_some_and(|s| s.commit == commit && s.asked == asked) {
            // Somebody may have removed the file from the work tree.
            let there = std::fs::symlink_metadata(work_tree.join(inside)).is_ok();
            if there || !tree::contains(&bare.repository, commit, inside) {
                return Ok(());
            }
        }
        let submodules = tree::check_out(&bare.repository, commit, &asked, &work_tree, self.interrupt)?;
        if !submodules.is_empty() {
            let repository = self.origin.shown();
            tracing::warn!(repository, ?submodules, "submodules are not fetched: their folders are empty");
        }
        tracing::info!(repository = self.origin.shown(), revision = self.revision, %commit, "checked out");
        Ok(())
    }
}

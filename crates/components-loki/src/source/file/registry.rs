//! Which files are read, or were, under another target's path.
//!
//! A pattern may match rotated files too: then a renamed file becomes a target of its own, or takes the place of
//! one, while the target that it was before still reads it. Here the new one sees that, waits, and goes on where
//! the other has stopped.

use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Labels;

use super::identity::{FileId, Mark};

/// So many files that are done are remembered.
const REMEMBERED: usize = 8192;

/// What a target has to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Its path leads to it, or did when that was last seen.
    Current,
    /// It has left its path, and is read to its end.
    Followed,
    /// It has left its path, and was read up to here.
    Done(Mark),
}

/// What others have to do with a file that a target meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is read elsewhere: wait.
    Wait,
    /// It was read up to here.
    From(Mark),
}

/// The files of all targets of a component.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<FileId, Vec<Entry>>,
    done: usize,
}

#[derive(Debug)]
struct Entry {
    labels: Labels,
    owner: PathBuf,
    stand: Stand,
}

impl Registry {
    /// A target's path leads to a file.
    pub fn current(&self, id: FileId, labels: &Labels, owner: &Path) {
        self.set(id, labels, owner, Stand::Current);
    }

    /// A target reads a file that has left its path.
    pub fn follow(&self, id: FileId, labels: &Labels, owner: &Path) {
        self.set(id, labels, owner, Stand::Followed);
    }

    /// A target is done with a file.
    pub fn done(&self, id: FileId, labels: &Labels, owner: &Path, mark: Mark) {
        self.set(id, labels, owner, Stand::Done(mark));
    }

    /// A target has nothing to do with a file any more, and cannot say how far it was read: the inode may be
    /// given to another.
    pub fn forget(&self, id: FileId, labels: &Labels, owner: &Path) {
        let mut inner = self.0.lock();
        if let Some(entries) = inner.files.get_mut(&id) {
            entries.retain(|e| e.labels != *labels || e.owner != owner);
            if entries.is_empty() {
                inner.files.remove(&id);
            }
        }
    }

    fn set(&self, id: FileId, labels: &Labels, owner: &Path, stand: Stand) {
        let mut inner = self.0.lock();
        if matches!(stand, Stand::Done(_)) {
            inner.done += 1;
            if inner.done > REMEMBERED {
                inner.done = 1;
                inner.files.retain(|_, entries| {
                    entries.retain(|e| !matches!(e.stand, Stand::Done(_)));
                    !entries.is_empty()
                });
            }
        }
        let entries = inner.files.entry(id).or_default();
        match entries.iter_mut().find(|e| e.labels == *labels && e.owner == owner) {
            Some(entry) => entry.stand = stand,
            None => entries.push(Entry { labels: labels.clone(), owner: owner.to_path_buf(), stand }),
        }
    }

    /// What targets with the same labels have to do with a file that is met at `path`. A file that another path
    /// still leads to is one of two names of it, each of which was asked for. One that had left this path and was
    /// done may have come back.
    pub fn claim(&self, id: FileId, labels: &Labels, path: &Path) -> Option<Claim> {
        let mut claim = None;
        let mut owners = Vec::new();
        {
            let inner = self.0.lock();
            for entry in inner.files.get(&id)?.iter().filter(|e| e.labels == *labels) {
                match entry.stand {
                    Stand::Current | Stand::Followed if entry.owner == path => {}
                    Stand::Current => owners.push(entry.owner.clone()),
                    Stand::Followed => return Some(Claim::Wait),
                    Stand::Done(mark) => claim = Some(Claim::From(mark)),
                }
            }
        }
        let leads_to = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| FileId::of(&m) == id);
        if owners.iter().any(|owner| !leads_to(owner)) { Some(Claim::Wait) } else { claim }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_left_another_path_is_waited_for_and_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "").unwrap();
        let id = FileId::of(&std::fs::metadata(&a).unwrap());
        let (labels, others) = (Labels::from_pairs([("job", "x")]), Labels::from_pairs([("job", "y")]));
        let registry = Registry::default();
        assert_eq!(registry.claim(id, &labels, &b), None);
        registry.current(id, &labels, &a);
        assert_eq!(registry.claim(id, &labels, &b), None, "a second name of a file is another target");
        std::fs::rename(&a, &b).unwrap();
        assert_eq!(registry.claim(id, &labels, &b), Some(Claim::Wait), "the other does not know yet");
        registry.follow(id, &labels, &a);
        assert_eq!(registry.claim(id, &labels, &b), Some(Claim::Wait));
        let mark = Mark { offset: 7, ..Mark::default() };
        registry.done(id, &labels, &a, mark);
        assert_eq!(registry.claim(id, &labels, &b), Some(Claim::From(mark)));
        assert_eq!(registry.claim(id, &others, &b), None);
        assert_eq!(registry.claim(id, &labels, &a), Some(Claim::From(mark)), "it may come back");
        registry.forget(id, &labels, &a);
        assert_eq!(registry.claim(id, &labels, &b), None);
    }

    #[test]
    fn what_is_done_is_forgotten_when_it_is_too_much_and_what_is_read_is_not() {
        let registry = Registry::default();
        let id = |ino| FileId { dev: 1, ino };
        registry.follow(id(0), &Labels::empty(), Path::new("/a"));
        for ino in 1..20_000 {
            registry.done(id(ino), &Labels::empty(), Path::new("/a"), Mark::default());
        }
        assert!(registry.0.lock().files.len() <= REMEMBERED + 1);
        assert_eq!(registry.claim(id(0), &Labels::empty(), Path::new("/b")), Some(Claim::Wait));
    }
}

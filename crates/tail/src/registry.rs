//! Which files are read, or were, under another target's path.
//!
//! A pattern may match rotated files too: then a renamed file becomes a target of its own, or takes the place of
//! one, while the target that it was before still reads it. Here the new one sees that, waits, and goes on where
//! the other has stopped.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Labels;

use crate::handle::{Codec, Handle};
use crate::identity::{FileId, Mark, Place};
use crate::positions::{Key, Record};
use crate::siblings::{holds, stem};

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

/// What is known of a file by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was read up to here, under another name.
    At(Mark),
    /// It is a compressed copy of one that was read, and is not taken for compressed here.
    Packed,
}

/// So short heads and seams say nothing by themselves.
const LEAST_PRINT: u32 = 64;

/// A file that was read by an earlier process, or is done.
#[derive(Clone, Debug)]
struct Past {
    key: Key,
    place: Place,
    is_done: bool,
}

/// The files of all targets of a component.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Inner>, Mutex<VecDeque<Past>>);

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

    /// Whether another target with these labels has to do with a file.
    pub fn is_taken(&self, id: FileId, labels: &Labels, path: &Path) -> bool {
        let inner = self.0.lock();
        inner.files.get(&id).is_some_and(|e| e.iter().any(|e| e.labels == *labels && e.owner != path))
    }

    /// What an earlier process has stored.
    pub fn know(&self, records: &BTreeMap<Key, Record>) {
        let mut past = self.1.lock();
        for (key, record) in records {
            let open = record.file.iter().chain(&record.rest).map(|place| (place, false));
            for (place, is_done) in open.chain(record.done.iter().map(|place| (place, true))) {
                if place.head.len > 0 {
                    past.push_back(Past { key: key.clone(), place: place.clone(), is_done });
                }
            }
        }
    }

    /// A target is done with a file for good.
    pub fn know_done(&self, key: &Key, place: Place) {
        let mut past = self.1.lock();
        if place.head.len == 0 {
            return;
        }
        if past.len() >= REMEMBERED {
            past.pop_front();
        }
        past.push_back(Past { key: key.clone(), place, is_done: true });
    }

    /// How far a file was read under another name, as its content tells. A file that still is where it was is
    /// another, however alike they are.
    pub fn known(&self, path: &Path, id: FileId, handle: &mut Handle, key: &Key) -> Option<Known> {
        let past: Vec<Past> = {
            let past = self.1.lock();
            let others = past.iter().filter(|p| p.key.labels == key.labels);
            others.filter(|p| p.is_done || p.key.path != key.path).cloned().collect()
        };
        let longest = past.iter().map(|p| p.place.head.len as usize).max()?;
        // An inode may have been given to another file since.
        let leads = |path: &Path, place: &Place| {
            let handle = std::fs::metadata(path).ok().filter(|m| FileId::of(m).ino == place.id.ino);
            let handle = handle.and_then(|_| Handle::open(path, None).ok());
            handle.is_some_and(|mut handle| holds(&mut handle, place))
        };
        let search = |handle: &mut Handle| {
            let head = handle.head(longest).ok()?;
            let fits = past.iter().filter(|p| p.place.head.heads(&head)).filter(|p| {
                let place = &p.place;
                if place.id.ino == id.ino {
                    return !leads(Path::new(&p.key.path), place);
                }
                // Where a file is written, the same text again is another's.
                let elsewhere = path != place.path && path != Path::new(&p.key.path);
                elsewhere
                    && place.head.len + place.mark.seam.len >= LEAST_PRINT
                    && is_related(path, &p.place.path, Path::new(&p.key.path))
                    && !leads(&place.path, place)
                    && !leads(Path::new(&p.key.path), place)
            });
            let mut fits: Vec<Mark> = fits.map(|p| p.place.mark).collect();
            let holds_at = |handle: &mut Handle, mark: &Mark| {
                past.iter().any(|p| p.place.mark == *mark && holds(handle, &p.place))
            };
            fits.retain(|mark| holds_at(handle, mark));
            fits.into_iter().max_by_key(|mark| mark.offset)
        };
        if let Some(mark) = search(handle) {
            return Some(Known::At(mark));
        }
        let codec = Codec::of_name(path.file_name()?.to_str()?).filter(|_| !handle.is_packed())?;
        let mut unpacked = Handle::open(path, Some(codec)).ok()?;
        search(&mut unpacked).map(|_| Known::Packed)
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

/// Whether a name may be that of a rotated file: beside it, and with the same beginning.
fn is_related(path: &Path, was: &Path, owner: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_string);
    let Some(here) = name(path) else { return false };
    [was, owner].into_iter().any(|other| {
        let beside = path.parent() == other.parent();
        beside
            && name(other)
                .is_some_and(|other| here.starts_with(stem(&other)) || other.starts_with(stem(&here)))
    })
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

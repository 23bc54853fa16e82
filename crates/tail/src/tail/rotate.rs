//! What became of a file that the path does not lead to any more, or that was truncated.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{LINGER, State, Surroundings, Tail};
use crate::generation::Generation;
use crate::handle::Handle;
use crate::identity::{FileId, Place};
use crate::registry::Known;
use crate::siblings::{Found, Sibling, Siblings};

impl Tail {
    /// The path leads nowhere: what it led to was renamed or removed and may still be written to.
    pub(super) fn left(&self, state: &mut State, at: &Surroundings<'_>) {
        let Some(current) = state.current() else { return };
        if current.handle.is_some() || self.find_closed(current, at) {
            (current.rotated, current.linger) = (Some(Instant::now()), LINGER);
            at.registry.follow(current.id, &self.labels, &self.path);
        } else {
            let (id, mark) = (current.id, current.read);
            at.registry.done(id, &self.labels, &self.path, mark);
            state.files.pop_back();
        }
        self.moved.store(true, Ordering::Relaxed);
    }

    /// The path leads to another file.
    pub(super) fn replaced(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let new = self.open(at)?;
        let current = state.files.back_mut().expect("there is a current file");
        if new.id == current.id {
            return Ok(());
        }
        if current.handle.is_none() && !self.find_closed(current, at) {
            // Closed because it was read to its end, and gone: nothing that is known of is lost.
            let old = state.files.pop_back().expect("there is a current file");
            at.registry.done(old.id, &self.labels, &self.path, old.read);
            return self.append_current(state, at, Some(new));
        }
        if written_anew(current, &new) {
            let (id, path, size) = (new.id, new.path, new.size);
            at.registry.forget(current.id, &self.labels, &self.path);
            (current.id, current.path, current.handle) = (id, path, new.handle);
            current.seen(size, new.modified);
            at.registry.current(id, &self.labels, &self.path);
            self.armed.store(false, Ordering::Relaxed);
            return Ok(());
        }
        (current.rotated, current.linger) = (Some(Instant::now()), LINGER);
        self.append_current(state, at, Some(new))
    }

    /// Finds a file by its inode that was closed to spare handles.
    pub(super) fn find_closed(&self, file: &mut Generation, at: &Surroundings<'_>) -> bool {
        let place = file.place(file.read);
        let siblings = self.siblings(&[&self.path, &place.path]);
        let found = siblings.by_id(&place).or_else(|| siblings.by_content(&place, &[]));
        let Some(mut found) = found else { return false };
        found.handle.count_in(at.slots);
        file.size = found.handle.metadata().map_or(file.size, |m| m.len());
        (file.handle, file.path) = (Some(found.handle), found.sibling.path);
        true
    }

    /// Puts a new file at the end, and before it those that came and went since the last look.
    pub(super) fn append_current(
        &self,
        state: &mut State,
        at: &Surroundings<'_>,
        new: Option<Generation>,
    ) -> io::Result<()> {
        let new = match new {
            Some(new) => new,
            None => self.open(at)?,
        };
        if state.files.iter().any(|f| f.id == new.id && !f.done) {
            // Renamed back.
            if let Some(i) = state.files.iter().position(|f| f.id == new.id) {
                let mut file = state.files.remove(i).expect("the index was just found");
                file.rotated = None;
                at.registry.current(file.id, &self.labels, &self.path);
                state.files.push_back(file);
            }
            return Ok(());
        }
        let Some((new, _)) = self.admit(new, at) else { return self.wait_for_path(state, at) };
        if let Some(last) = state.files.back() {
            let place = last.place(last.read);
            let siblings = self.siblings(&[&self.path, &new.path, &place.path]);
            let mut ids: Vec<FileId> = state.files.iter().map(|f| f.id).chain([new.id]).collect();
            if let Some(found) = siblings.by_id(&place) {
                self.add_missed(&siblings, &found.sibling, &mut ids, &mut state.files, at);
            }
        }
        self.register(&state.files, at);
        at.refolder.store(true, Ordering::Relaxed);
        state.files.push_back(new);
        self.armed.store(false, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The path leads to a file that another target reads.
    pub(super) fn wait_for_path(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        self.register(&state.files, at);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The current file was truncated: what was not read of it may be in a copy. It starts anew.
    pub fn truncated(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let fresh = self.open(at)?;
        let Some(current) = state.current() else { return Ok(()) };
        if fresh.id != current.id {
            return self.replaced(state, at);
        }
        let place = current.place(current.read);
        let unread = current.size.saturating_sub(current.read.offset);
        let siblings = self.siblings(&[&self.path, &place.path]);
        let copy = siblings.by_content(&place, &[current.id]);
        if copy.is_none() && unread > 0 {
            let path = self.path.display();
            tracing::warn!(%path, "the file was truncated and no copy of it is there; what was not read is lost");
        }
        let copy = copy.and_then(|found| self.adopt(found, at).ok());
        if let Some(copy) = &copy {
            at.registry.follow(copy.id, &self.labels, &self.path);
        }
        // Nobody writes to a copy, so that its last line is one even without an end.
        let copy = copy.map(|copy| Generation { finish: !copy.is_packed(), ..copy });
        if let Some(rest) = current.continue_in(copy, fresh) {
            let end = state.files.len() - 1;
            state.files.insert(end, rest);
        }
        self.armed.store(false, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The rest of a file that was rotated away, then those that came and went after it.
    pub(super) fn add_rotated(
        &self,
        siblings: &Siblings,
        place: &Place,
        ids: &mut Vec<FileId>,
        files: &mut VecDeque<Generation>,
        at: &Surroundings<'_>,
    ) {
        let Some((file, sibling)) = self.find(siblings, place, ids, at) else {
            self.not_found(place);
            // Its link has gone on since: what came after it is known by name.
            for later in siblings.since(&place.path) {
                self.adopt_missed(later, ids, files, at);
            }
            return;
        };
        if let Some(file) = file {
            ids.push(file.id);
            files.push_back(file);
        }
        self.add_missed(siblings, &sibling, ids, files, at);
    }

    pub(super) fn add_missed(
        &self,
        siblings: &Siblings,
        known: &Sibling,
        ids: &mut Vec<FileId>,
        files: &mut VecDeque<Generation>,
        at: &Surroundings<'_>,
    ) {
        for sibling in siblings.after(known) {
            self.adopt_missed(sibling, ids, files, at);
        }
    }

    /// A file that nobody has read or reads.
    fn adopt_missed(
        &self,
        sibling: Sibling,
        ids: &mut Vec<FileId>,
        files: &mut VecDeque<Generation>,
        at: &Surroundings<'_>,
    ) {
        let Ok(mut handle) = Handle::open(&sibling.path, sibling.codec) else { return };
        let Ok(id) = handle.id() else { return };
        if ids.contains(&id) || at.registry.is_taken(id, &self.labels, &self.path) {
            return;
        }
        let mark = match at.registry.known(&sibling.path, id, &mut handle, &self.key) {
            Some(Known::At(mark)) => Some(mark),
            Some(Known::Packed) => return,
            None => None,
        };
        let found = Found { handle, id, sibling };
        if let Ok(mut file) = self.adopt(found, at) {
            tracing::info!(path = %file.path.display(), "a file came and went unseen; it is read now");
            if let Some(mark) = mark {
                file = file.at(mark);
            }
            ids.push(file.id);
            files.push_back(file);
        }
    }

    /// What lies beside the path and where it led to.
    pub(super) fn siblings(&self, paths: &[&std::path::Path]) -> Siblings {
        let is_link = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.is_symlink());
        let target = is_link.then(|| std::fs::canonicalize(&self.path).ok()).flatten();
        Siblings::of(paths, target.as_deref())
    }

    /// The file of a place, opened there unless another target reads what is a copy of it.
    pub(super) fn find(
        &self,
        siblings: &Siblings,
        place: &Place,
        not: &[FileId],
        at: &Surroundings<'_>,
    ) -> Option<(Option<Generation>, Sibling)> {
        let found = match siblings.by_id(place).filter(|f| !not.contains(&f.id)) {
            Some(found) => found,
            None => {
                let copy = siblings.by_content(place, not)?;
                if at.registry.is_taken(copy.id, &self.labels, &self.path) {
                    return Some((None, copy.sibling));
                }
                copy
            }
        };
        let sibling = found.sibling.clone();
        let mut file = self.adopt(found, at).ok()?.at(place.mark);
        file.head = place.head;
        Some((Some(file), sibling))
    }

    pub(super) fn adopt(&self, found: Found, at: &Surroundings<'_>) -> io::Result<Generation> {
        let Found { mut handle, sibling, .. } = found;
        handle.count_in(at.slots);
        Ok(Generation::open(handle, sibling.path, at.settings)?.rotated(LINGER))
    }

    pub(super) fn not_found(&self, place: &Place) {
        if place.mark.offset > 0 || place.head.len > 0 {
            let last = place.path.display();
            tracing::warn!(path = %self.path.display(), %last, "a rotated file is gone; what was not read of it is lost");
        }
    }

    pub(super) fn register(&self, files: &VecDeque<Generation>, at: &Surroundings<'_>) {
        for file in files.iter().filter(|f| f.rotated.is_some()) {
            at.registry.follow(file.id, &self.labels, &self.path);
        }
    }
}

/// Whether a file was replaced by one that holds the same and perhaps more, as editors do it.
fn written_anew(current: &mut Generation, new: &Generation) -> bool {
    let offset = current.read.offset;
    if current.is_packed() || offset == 0 || new.size < offset {
        return false;
    }
    let window = offset.min(4096) as usize;
    let (mut before, mut after) = (vec![0; window], vec![0; window]);
    let Some(handle) = &current.handle else { return false };
    let Some(other) = &new.handle else { return false };
    for from in [0, offset - window as u64] {
        let read = handle.file().read_exact_at(&mut before, from);
        let read = read.and_then(|()| other.file().read_exact_at(&mut after, from));
        if read.is_err() || before != after {
            return false;
        }
    }
    true
}

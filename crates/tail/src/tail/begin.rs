//! Where a target's first file is begun with: at its start, at its last line, or where it was left, perhaps
//! under another name.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::time::Instant;

use super::{State, Surroundings, Tail};
use crate::generation::Generation;
use crate::identity::{FileId, Mark, Place};
use crate::registry::{Claim, Known};
use crate::siblings::Siblings;
use crate::{OnLost, Start};

impl Tail {
    /// The target's first file, of which nothing is known.
    pub(super) fn begin(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        if let Some(wait) = at.settings.initial_delay() {
            let until = *state.start_at.get_or_insert(Instant::now() + wait);
            if until > Instant::now() {
                return Ok(());
            }
        }
        let Some((mut file, is_known)) = self.admit(self.open(at)?, at) else { return Ok(()) };
        let handle = file.handle.as_mut().expect("it was just opened");
        if !is_known && at.registry.known(&file.path, file.id, handle, &self.key) == Some(Known::Packed) {
            // Whoever knows the file reads its rest there; here it would be read as it is, compressed.
            tracing::info!(path = %self.path.display(), "a compressed copy of what was read is left out");
            state.skipped = true;
            at.registry.forget(file.id, &self.labels, &self.path);
            return Ok(());
        }
        if is_known {
            // It was read before, under another name.
        } else if !state.started && existed_at(&file, at.damaged) {
            match at.settings.on_lost {
                OnLost::Skip => {
                    tracing::error!(path = %self.path.display(), "the file is not read: its position is lost");
                    state.skipped = true;
                    return Ok(());
                }
                OnLost::LastLine => file = at_last_line(file)?,
                OnLost::Beginning => {}
            }
        } else if !state.started && !state.awaited && !file.is_packed() {
            match at.settings.start {
                Start::Beginning => {}
                Start::LastLine => file = at_last_line(file)?,
                Start::End if self.is_late => {}
                Start::End => {
                    let mark = file.end()?;
                    file = file.at(mark);
                }
            }
        }
        state.started = true;
        state.files.push_back(file);
        self.moved.store(true, Ordering::Relaxed);
        at.refolder.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A new file at the path, unless another target reads it still; it may have been read under another path,
    /// which is told.
    pub(super) fn admit(&self, mut file: Generation, at: &Surroundings<'_>) -> Option<(Generation, bool)> {
        let mut is_known = false;
        match at.registry.claim(file.id, &self.labels, &self.path) {
            Some(Claim::Wait) => return None,
            Some(Claim::From(mark)) => {
                let is_long = file.is_packed() || file.size >= mark.offset;
                let handle = file.handle.as_mut().expect("it was just opened");
                if is_long && handle.has_seam(mark.offset, mark.seam).unwrap_or(false) {
                    (file, is_known) = (file.at(mark), true);
                }
            }
            None => {}
        }
        if !is_known {
            let handle = file.handle.as_mut().expect("it was just opened");
            if let Some(Known::At(mark)) = at.registry.known(&file.path, file.id, handle, &self.key) {
                (file, is_known) = (file.at(mark), true);
            }
        }
        at.registry.current(file.id, &self.labels, &self.path);
        Some((file, is_known))
    }

    /// Goes on where another process, or this one before the target left, has been.
    pub(super) fn resume(&self, state: &mut State, at: &Surroundings<'_>) -> io::Result<()> {
        let Some(record) = state.record.clone() else { return Ok(()) };
        let offset = record.offset();
        let place = record.file.filter(|place| Some(place.mark.offset) == offset);
        let mut paths = vec![self.path.clone()];
        paths.extend(std::fs::canonicalize(&self.path).ok());
        paths.extend(record.rest.iter().chain(&place).map(|place| place.path.clone()));
        let siblings = self.siblings(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());

        let current = match self.open(at) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut files = VecDeque::new();
        let mut ids: Vec<FileId> = current.iter().map(|f| f.id).collect();
        for place in &record.rest {
            match self.find(&siblings, place, &ids, at) {
                Some((Some(file), _)) => {
                    ids.push(file.id);
                    files.push_back(file);
                }
                Some((None, _)) => {}
                None => self.not_found(place),
            }
        }
        let current = match (current, &place) {
            (Some(file), Some(place)) => {
                let (file, same) = self.continued(file, place, &siblings);
                if same {
                    at.registry.current(file.id, &self.labels, &self.path);
                    Some(file)
                } else {
                    self.add_rotated(&siblings, place, &mut ids, &mut files, at);
                    self.admit(file, at).map(|(file, _)| file)
                }
            }
            (None, Some(place)) => {
                self.add_rotated(&siblings, place, &mut ids, &mut files, at);
                None
            }
            (Some(file), None) => {
                at.registry.current(file.id, &self.labels, &self.path);
                match self.at_offset(file, offset, at)? {
                    Some(file) => Some(file),
                    None => {
                        state.skipped = true;
                        return Ok(());
                    }
                }
            }
            (None, None) => None,
        };
        // Without any file the record is kept: the path may come back.
        if let Some(current) = current {
            files.push_back(current);
        }
        if !files.is_empty() {
            state.record = None;
            state.started = true;
        }
        let known = record.rest.iter().chain(&place).map(|place| place.id);
        for id in known.filter(|id| !files.iter().any(|f| f.id == *id)) {
            at.registry.forget(id, &self.labels, &self.path);
        }
        self.register(&files, at);
        state.files = files;
        at.refolder.store(true, Ordering::Relaxed);
        self.moved.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the file at the path is that of a place; then it goes on there.
    pub(super) fn continued(
        &self,
        mut file: Generation,
        place: &Place,
        siblings: &Siblings,
    ) -> (Generation, bool) {
        let handle = file.handle.as_mut().expect("it was just opened");
        let head = handle.head(place.head.len as usize).unwrap_or_default();
        let fits = place.head.heads(&head)
            && handle.has_seam(place.mark.offset, place.mark.seam).unwrap_or(false)
            && (handle.is_packed() || file.size >= place.mark.offset);
        // Another inode with the same content is the file restored or written anew, unless the old one is
        // there as well.
        let known = place.head.len + place.mark.seam.len;
        let same = file.id.ino == place.id.ino && (file.id.dev == place.id.dev || place.head.len > 0)
            || known >= 64 && siblings.by_id(place).is_none();
        if fits && same { (file.at(place.mark), true) } else { (file, false) }
    }

    /// A position that says nothing but an offset; `None` where the file is not to be read.
    fn at_offset(
        &self,
        file: Generation,
        offset: Option<u64>,
        at: &Surroundings<'_>,
    ) -> io::Result<Option<Generation>> {
        let file = match (offset, at.settings.on_lost) {
            (Some(offset), _) if offset <= file.size || file.is_packed() => {
                file.at(Mark { offset, ..Mark::default() })
            }
            // Truncated since. As Alloy: from the start.
            (Some(_), _) | (None, OnLost::Beginning) => file,
            (None, OnLost::LastLine) => at_last_line(file)?,
            (None, OnLost::Skip) => {
                tracing::error!(path = %self.path.display(), "the file is not read: its position is no number");
                return Ok(None);
            }
        };
        Ok(Some(file))
    }
}

fn at_last_line(mut file: Generation) -> io::Result<Generation> {
    let mark = file.last_line()?;
    Ok(file.at(mark))
}

/// Whether a file was there at a time; where the file system does not know it is taken to have been.
fn existed_at(file: &Generation, time: Option<SystemTime>) -> bool {
    let metadata = file.handle.as_ref().and_then(|handle| handle.metadata().ok());
    time.is_some_and(|time| metadata.and_then(|m| m.created().ok()).is_none_or(|created| created < time))
}

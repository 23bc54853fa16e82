//! Where a target's first file is begun with: at its start, at its last line, or where it was left, perhaps
//! under another name.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::time::Instant;

use super::super::OnPositionsFileError;
use super::super::generation::Generation;
use super::super::identity::{FileId, HEAD, Mark, Place};
use super::super::registry::Claim;
use super::super::siblings::Siblings;
use super::{State, Surroundings, Tail};

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
        if is_known {
            // Another target has read it before it was renamed.
        } else if !state.started && existed_at(&file, at.damaged) {
            match at.settings.on_positions_file_error {
                OnPositionsFileError::Skip => {
                    tracing::error!(path = %self.path.display(), "the file is not read: its position is lost");
                    state.skipped = true;
                    return Ok(());
                }
                OnPositionsFileError::RestartFromEnd => file = at_last_line(file)?,
                OnPositionsFileError::RestartFromBeginning => {}
            }
        } else if at.settings.tail_from_end && !state.started && !state.awaited && !file.is_packed() {
            file = at_last_line(file)?;
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
                let handle = file.handle.as_mut().expect("it was just opened");
                let has =
                    file.size >= mark.offset && handle.has_seam(mark.offset, mark.seam).unwrap_or(false);
                if has {
                    (file, is_known) = (file.at(mark), true);
                }
            }
            None => {}
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
        let siblings = Siblings::of(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());

        let current = match self.open(at) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut files = VecDeque::new();
        let mut ids: Vec<FileId> = current.iter().map(|f| f.id).collect();
        for place in &record.rest {
            if let Some((file, _)) = self.find(&siblings, place, &ids, at) {
                ids.push(file.id);
                files.push_back(file);
            } else {
                self.not_found(place);
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
        let head = handle.head(HEAD).unwrap_or_default();
        let fits = place.head.heads(&head)
            && handle.has_seam(place.mark.offset, place.mark.seam).unwrap_or(false)
            && (handle.is_packed() || file.size >= place.mark.offset);
        // Another inode with the same content is the file restored or written anew, unless the old one is
        // there as well.
        let known = usize::from(place.head.len) + usize::from(place.mark.seam.len);
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
        let file = match (offset, at.settings.on_positions_file_error) {
            (Some(offset), _) if offset <= file.size || file.is_packed() => {
                file.at(Mark { offset, ..Mark::default() })
            }
            // Truncated since. As Alloy: from the start.
            (Some(_), _) | (None, OnPositionsFileError::RestartFromBeginning) => file,
            (None, OnPositionsFileError::RestartFromEnd) => at_last_line(file)?,
            (None, OnPositionsFileError::Skip) => {
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

//! Which rotated files are read under another target's path.
//!
//! A pattern may match rotated files too: then a renamed file becomes a target of its own while the one that it
//! was before still reads it. Here the new one sees that, waits, and goes on where the other has stopped.

use hashbrown::HashMap;
use parking_lot::Mutex;
use signal::Labels;

use super::identity::{FileId, Mark};

/// So many are remembered.
const REMEMBERED: usize = 8192;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is read under the path that it had.
    Followed,
    /// It was read up to here.
    Done(Mark),
}

/// The rotated files of all targets of a component.
#[derive(Debug, Default)]
pub struct Registry(Mutex<HashMap<FileId, Vec<(Labels, Known)>>>);

impl Registry {
    /// A target reads a file that has left its path.
    pub fn follow(&self, id: FileId, labels: &Labels) {
        self.set(id, labels, Known::Followed);
    }

    /// A target is done with a file that has left its path.
    pub fn done(&self, id: FileId, labels: &Labels, mark: Mark) {
        self.set(id, labels, Known::Done(mark));
    }

    fn set(&self, id: FileId, labels: &Labels, state: Known) {
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, entries| {
                entries.retain(|(_, state)| *state == Known::Followed);
                !entries.is_empty()
            });
        }
        let entries = known.entry(id).or_default();
        match entries.iter_mut().find(|(of, _)| of == labels) {
            Some((_, known)) => *known = state,
            None => entries.push((labels.clone(), state)),
        }
    }

    /// What targets with the same labels know of a file.
    pub fn get(&self, id: FileId, labels: &Labels) -> Option<Known> {
        let known = self.0.lock();
        known.get(&id)?.iter().find(|(of, _)| of == labels).map(|(_, state)| *state)
    }
}

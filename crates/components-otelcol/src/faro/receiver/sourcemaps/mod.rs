//! From a place in minified code to the place in its source.
//!
//! Data path: frame → the map of its file (remembered, on disk, downloaded) → the source's file, line, column and
//! name. What is not found leaves the frame as it is.
//! Invariants: what is remembered is bounded in maps and bytes; what one payload may ask for is bounded; a map is
//! fetched once, however many ask for it at one time; nothing is downloaded from where it is not allowed.

mod fetch;
mod map;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::join_all;
use hashbrown::HashMap;
use wire::faro::{Exception, Frame};

pub(super) use fetch::PathTemplate;
use map::Map;
pub(super) use store::Store;

/// Files that the frames of a payload may be in; those of further ones stay as they are.
const MOST_FILES: usize = 32;
/// A longer name is no URL of code.
const MOST_URL: usize = 2048;

type Maps = HashMap<String, Option<Arc<Map>>, foldhash::fast::RandomState>;

impl Store {
    /// Puts the places in the source into the frames of exceptions.
    pub(in crate::faro::receiver) async fn resolve(&self, exceptions: &mut [Exception<'_>], release: &str) {
        let mut files: Vec<String> = Vec::new();
        for exception in exceptions.iter_mut() {
            for frame in exception.frames() {
                let file = &*frame.filename;
                if is_useful(frame) && files.len() < MOST_FILES && !files.iter().any(|known| known == file) {
                    files.push(file.to_owned());
                }
            }
        }
        let found = join_all(files.iter().map(|file| self.map(file, release))).await;
        let maps: Maps = files.into_iter().zip(found).collect();
        for frame in exceptions.iter_mut().flat_map(|exception| exception.frames()) {
            if let Some(Some(map)) = maps.get(&*frame.filename)
                && let Some(place) = map.place(frame.lineno, frame.colno)
            {
                translate(frame, place);
            }
        }
    }
}

fn is_useful(frame: &Frame<'_>) -> bool {
    let length = frame.filename.len();
    frame.lineno > 0 && (1..=MOST_URL).contains(&length) && !frame.filename.ends_with('/')
}

/// Where something is in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    file: String,
    function: Option<String>,
    /// From 1.
    line: u32,
    /// From 0, as source maps count.
    column: u32,
}

fn translate(frame: &mut Frame<'_>, place: Place) {
    frame.filename = place.file.into();
    (frame.lineno, frame.colno) = (place.line, place.column);
    frame.module = "".into();
    match place.function {
        Some(function) => frame.function = function.into(),
        // What the browser says is more than nothing.
        None if frame.function.is_empty() => frame.function = "?".into(),
        None => {}
    }
}

/// Reads any bytes as a source map; for `tests/fuzz` only.
pub(super) fn read_arbitrary(content: &[u8], line: u32, column: u32) {
    map::read_arbitrary(content, line, column);
}

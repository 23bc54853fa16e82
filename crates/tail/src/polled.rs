//! Where there is no inotify: there are no watches, and files are only polled.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use crate::told::Told;

/// The kernel's watches of one component: never any.
pub struct Inotify(Infallible);

impl Inotify {
    /// Always `Err`.
    pub fn new() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "inotify is Linux'"))
    }

    pub fn watch_folders(&self, _wanted: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
        match self.0 {}
    }

    pub fn arm(&self, _file: &std::fs::File, _number: u64) -> bool {
        match self.0 {}
    }

    pub async fn told(&self) -> Vec<Told> {
        match self.0 {}
    }
}

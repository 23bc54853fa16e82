//! Where sources stand that do not read files but go by a cursor: containers and the journal.
//!
//! They are kept in Alloy's `positions.yml`, under keys that begin with `cursor-`, so that either program can go
//! on where the other was. What is put here is settled: the sinks have everything up to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use component::Error;
use parking_lot::Mutex;
use tail::positions::{self, Key, Record};

/// How often positions are written while they change. As Alloy: `positions.Config.SyncPeriod`.
pub const SAVE_EVERY: Duration = Duration::from_secs(10);

/// The positions file of one component.
#[derive(Debug)]
pub struct Cursors {
    path: PathBuf,
    state: Mutex<State>,
    /// One write at a time, in the order of the states.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    changed: bool,
}

impl Cursors {
    /// Reads what is stored in a component's folder; what is damaged is set aside and told.
    pub async fn open(folder: &Path) -> Self {
        let path = folder.join("positions.yml");
        let from = path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let loaded = positions::load(&from);
            if let Some(damage) = &loaded.damage {
                let kept = loaded.records.len();
                tracing::error!(path = %from.display(), %damage, kept, "the positions file is damaged; what is intact is used");
                positions::set_aside(&from);
            }
            loaded.records
        });
        let records = read.await.unwrap_or_default();
        let state = Mutex::new(State { records, changed: false });
        Self { path, state, writing: tokio::sync::Mutex::default() }
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.state.lock().records.is_empty()
    }

    /// The values under a key, with the labels that they are stored for.
    pub fn get(&self, path: &str) -> Vec<(String, String)> {
        let state = self.state.lock();
        let of_path = state.records.range(Key { path: path.into(), labels: String::new() }..);
        of_path
            .take_while(|(key, _)| key.path == path)
            .map(|(key, record)| (key.labels.clone(), record.value.clone()))
            .collect()
    }

    /// The keys, sorted.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.state.lock().records.keys().map(|k| k.path.clone()).collect();
        paths.dedup();
        paths
    }

    /// Stores values under a key, in place of all that are there.
    pub fn put(&self, path: &str, values: &[(&str, String)]) {
        let mut state = self.state.lock();
        state.records.retain(|key, _| key.path != path);
        for (labels, value) in values {
            let key = Key { path: path.into(), labels: (*labels).into() };
            state.records.insert(key, Record { value: value.clone(), ..Record::default() });
        }
        state.changed = true;
    }

    /// As [`Cursors::save`], but leaves it to the next time where the one before has not ended: a file system that
    /// hangs must not gather writers.
    ///
    /// # Errors
    /// As [`Cursors::save`].
    pub async fn save_unless_busy(&self) -> Result<(), Error> {
        match self.writing.try_lock() {
            Ok(_one) => self.write().await,
            Err(_) => Ok(()),
        }
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// If the file cannot be written; what has changed is written the next time.
    pub async fn save(&self) -> Result<(), Error> {
        let _one = self.writing.lock().await;
        self.write().await
    }

    async fn write(&self) -> Result<(), Error> {
        let text = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            positions::render(&state.records)
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || positions::save(&path, &text)).await;
        let result = match written {
            Ok(result) => result,
            Err(error) => Err(std::io::Error::other(error)),
        };
        result.map_err(|error| {
            self.state.lock().changed = true;
            Error::io(format!("positions cannot be written to {}", self.path.display()), error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_there_after_a_restart_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let cursors = Cursors::open(folder.path()).await;
        assert!(cursors.is_empty());
        cursors.put("cursor-a", &[("{x=\"1\"}", "5".into())]);
        cursors.put("cursor-a", &[("{x=\"2\"}", "7".into()), ("more", "8".into())]);
        cursors.put("cursor-b", &[("{}", "9".into())]);
        cursors.put("cursor-gone", &[("{}", "9".into())]);
        cursors.put("cursor-gone", &[]);
        cursors.save().await.unwrap();

        let again = Cursors::open(folder.path()).await;
        let two = [("more".to_owned(), "8".to_owned()), ("{x=\"2\"}".to_owned(), "7".to_owned())];
        assert_eq!(again.get("cursor-a"), two);
        assert_eq!(again.paths(), ["cursor-a", "cursor-b"]);

        std::fs::write(folder.path().join("positions.yml"), "garbage").unwrap();
        assert!(Cursors::open(folder.path()).await.is_empty());
        let aside = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(aside, 2, "the damaged file is kept");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("data");
        std::fs::write(&blocked, "a file where the folder should be").unwrap();
        let cursors = Cursors::open(&blocked).await;
        cursors.put("cursor-a", &[("{}", "5".into())]);
        assert!(cursors.save().await.is_err());
        std::fs::remove_file(&blocked).unwrap();
        cursors.save().await.unwrap();
        assert_eq!(Cursors::open(&blocked).await.get("cursor-a"), [("{}".to_owned(), "5".to_owned())]);
    }
}

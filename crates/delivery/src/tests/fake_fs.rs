//! A file system in memory that can tear a write, lose unsynced pages, run out of space, fail any operation, and
//! stop the process at any system call.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use parking_lot::Mutex;

use crate::fs::{Append, Fs};

/// A handle on one folder; clones are the same folder.
#[derive(Clone)]
pub(crate) struct FakeFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    /// What the folder would hold after a power cut.
    durable_names: BTreeMap<String, u64>,
    next_inode: u64,
    capacity: Option<usize>,
    /// As what a write that finds no room is told of: the device, or the user's part of it.
    by_quota: bool,
    /// Mutating calls until the process is gone.
    calls_left: Option<u64>,
    /// Chance of failing, in percent, for mutating calls.
    failing: u8,
    generation: u64,
    locked: Option<u64>,
    rng: fastrand::Rng,
}

#[derive(Default, Clone)]
struct File {
    data: Vec<u8>,
    /// Contents at the last sync.
    durable: Vec<u8>,
}

impl FakeFs {
    pub(crate) fn new(seed: u64) -> FakeFs {
        let disk = Disk { rng: fastrand::Rng::with_seed(seed), ..Disk::default() };
        FakeFs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Bytes that all files together may hold.
    pub(crate) fn set_capacity(&self, capacity: Option<usize>) {
        self.disk.lock().capacity = capacity;
    }

    /// As [`FakeFs::set_capacity`], of what this user may have.
    pub(crate) fn set_quota(&self, bytes: usize) {
        let mut disk = self.disk.lock();
        (disk.capacity, disk.by_quota) = (Some(bytes), true);
    }

    /// Makes so many percent of the mutating calls fail.
    pub(crate) fn set_failing(&self, percent: u8) {
        self.disk.lock().failing = percent;
    }

    /// Lets the process live for so many mutating calls; the last one is done by half.
    pub(crate) fn crash_after(&self, calls: u64) {
        self.disk.lock().calls_left = Some(calls);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.disk.lock().calls_left == Some(0)
    }

    /// Another process begins. What the old one still holds is dead to it.
    pub(crate) fn restart(&self) {
        let mut disk = self.disk.lock();
        disk.calls_left = None;
        disk.failing = 0;
        disk.generation += 1;
        disk.locked = None;
    }

    /// The power goes: of what was not synced, any prefix or any pages may be lost.
    pub(crate) fn power_cut(&self) {
        self.restart();
        let mut guard = self.disk.lock();
        let disk = &mut *guard;
        if disk.rng.bool() {
            disk.names = disk.durable_names.clone();
        }
        let live: BTreeSet<u64> = disk.names.values().copied().collect();
        disk.files.retain(|inode, _| live.contains(inode));
        for file in disk.files.values_mut() {
            let unsynced = file.data.len().saturating_sub(file.durable.len());
            let mut kept = file.data.clone();
            match disk.rng.u8(0..4) {
                0 => {}
                1 => kept.truncate(file.durable.len() + disk.rng.usize(0..=unsynced)),
                2 => kept = file.durable.clone(),
                // The size reached the device but some of the contents did not.
                _ => kept[file.durable.len().min(file.data.len())..]
                    .chunks_mut(64)
                    .filter(|_| disk.rng.bool())
                    .for_each(|page| page.fill(0)),
            }
            *file = File { data: kept.clone(), durable: kept };
        }
        disk.durable_names = disk.names.clone();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.disk.lock().names.keys().cloned().collect()
    }

    /// Changes a file's bytes behind everybody's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk.lock();
        let inode = disk.names[name];
        let file = disk.files.get_mut(&inode).expect("the file exists");
        change(&mut file.data);
        file.durable = file.data.clone();
    }
}

/// What becomes of a mutating call.
enum Fate {
    Done,
    /// This call is the last: do it by half (or wholly), then fail.
    Half,
    Failed(io::Error),
}

impl Disk {
    fn fate(&mut self, generation: u64) -> Fate {
        if generation != self.generation || self.calls_left == Some(0) {
            return Fate::Failed(io::Error::other("this process is gone"));
        }
        if let Some(calls) = &mut self.calls_left {
            *calls -= 1;
            if *calls == 0 {
                return Fate::Half;
            }
        }
        if self.failing > 0 && self.rng.u8(0..100) < self.failing {
            return Fate::Failed(io::Error::other("injected failure"));
        }
        Fate::Done
    }

    fn used(&self) -> usize {
        self.files.values().map(|file| file.data.len()).sum()
    }

    /// Runs an operation that happens wholly or not at all.
    fn whole<T>(&mut self, generation: u64, op: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        match self.fate(generation) {
            Fate::Done => op(self),
            Fate::Failed(error) => Err(error),
            Fate::Half => {
                if self.rng.bool() {
                    let _ = op(self);
                }
                Err(io::Error::other("killed"))
            }
        }
    }

    fn inode(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Each opened folder belongs to the process of its time.
pub(crate) struct Process {
    fs: FakeFs,
    generation: u64,
    syncs: AtomicU64,
}

impl FakeFs {
    pub(crate) fn process(&self) -> Arc<Process> {
        let generation = self.disk.lock().generation;
        Arc::new(Process { fs: self.clone(), generation, syncs: AtomicU64::new(0) })
    }
}

impl Process {
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

struct Lock {
    fs: FakeFs,
    generation: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut disk = self.fs.disk.lock();
        if disk.locked == Some(self.generation) {
            disk.locked = None;
        }
    }
}

impl Fs for Process {
    fn create_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut disk = self.fs.disk.lock();
        if disk.locked.is_some() {
            return Ok(None);
        }
        disk.locked = Some(self.generation);
        Ok(Some(Box::new(Lock { fs: self.fs.clone(), generation: self.generation })))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let disk = self.fs.disk.lock();
        let size = |inode: &u64| disk.files[inode].data.len() as u64;
        Ok(disk.names.iter().map(|(name, inode)| (name.clone(), size(inode))).collect())
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            if disk.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.next_inode += 1;
            disk.files.insert(disk.next_inode, File::default());
            disk.names.insert(name.to_owned(), disk.next_inode);
            let file: Arc<dyn Append> =
                Arc::new(Open { fs: self.fs.clone(), generation: self.generation, inode: disk.next_inode });
            Ok(file)
        })
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.fs.disk.lock();
        Ok(disk.files[&disk.inode(name)?].data.clone())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(name)?;
        let found = bytes.get(offset as usize..offset as usize + len);
        found.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            let inode = disk.inode(from)?;
            disk.names.remove(from);
            if let Some(replaced) = disk.names.insert(to.to_owned(), inode)
                && !disk.durable_names.values().any(|known| *known == replaced)
            {
                disk.files.remove(&replaced);
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            let inode = disk.inode(name)?;
            disk.names.remove(name);
            if !disk.durable_names.values().any(|known| *known == inode) {
                disk.files.remove(&inode);
            }
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            disk.durable_names = disk.names.clone();
            let live: BTreeSet<u64> = disk.names.values().copied().collect();
            disk.files.retain(|inode, _| live.contains(inode));
            Ok(())
        })?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync_is_slow(&self) -> bool {
        false
    }
}

struct Open {
    fs: FakeFs,
    generation: u64,
    inode: u64,
}

impl Append for Open {
    fn append(&self, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut disk = self.fs.disk.lock();
        let bytes = parts.concat();
        let room = disk.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(disk.used()));
        let full = if disk.by_quota { io::ErrorKind::QuotaExceeded } else { io::ErrorKind::StorageFull };
        let (len, result) = match disk.fate(self.generation) {
            Fate::Done if room >= bytes.len() => (bytes.len(), Ok(())),
            Fate::Done => (disk.rng.usize(0..=room), Err(full.into())),
            Fate::Half => (disk.rng.usize(0..=bytes.len()), Err(io::Error::other("killed"))),
            Fate::Failed(error) if self.generation == disk.generation && disk.calls_left != Some(0) => {
                (disk.rng.usize(0..=bytes.len().min(room)), Err(error))
            }
            Fate::Failed(error) => (0, Err(error)),
        };
        if let Some(file) = disk.files.get_mut(&self.inode) {
            file.data.extend_from_slice(&bytes[..len]);
        }
        result
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            if let Some(file) = disk.files.get_mut(&self.inode) {
                file.data.truncate(len as usize);
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.disk.lock().whole(self.generation, |disk| {
            if let Some(file) = disk.files.get_mut(&self.inode) {
                file.durable = file.data.clone();
            }
            Ok(())
        })
    }
}

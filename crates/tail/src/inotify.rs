//! The kernel's word that a file or a folder has changed.
//!
//! A folder is watched for names that come and go. A file is watched only while nothing is left to read in it,
//! and for its next change only: a busy file costs no events, however small its writer's writes are.
//! Invariant: what is lost here (no watches left, an overflow, a file system that tells nothing) costs time,
//! not lines: files are looked at periodically as well.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::told::Told;

/// The kernel's watches of one component.
pub struct Inotify {
    fd: AsyncFd<OwnedFd>,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    folders: HashMap<i32, PathBuf>,
    files: HashMap<i32, Vec<u64>>,
}

impl Inotify {
    /// New and empty; `Err` where the system has none left or none at all.
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: the descriptor is owned, and it is neither replaced nor closed before `AsyncFd` is dropped.
        #[expect(unsafe_code, reason = "registering a descriptor that is no type of tokio's")]
        let fd =
            unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)?;
        Ok(Self { fd, watches: Mutex::default() })
    }

    /// Watches these folders and no others. Answers those whose changes will be told: not those that cannot be
    /// watched, nor those whose writers may be on other machines.
    pub fn watch_folders(&self, wanted: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
        let mask = WatchFlags::CREATE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let mut watches = self.watches.lock();
        let mut old: HashMap<PathBuf, i32> = watches.folders.drain().map(|(wd, path)| (path, wd)).collect();
        let mut told = Vec::new();
        for folder in wanted {
            if !is_local(&folder) {
                continue;
            }
            // A folder that was replaced has another watch under the same name, hence the call each time.
            if let Ok(wd) = inotify::add_watch(&self.fd, &folder, mask) {
                if old.get(&folder) == Some(&wd) {
                    old.remove(&folder);
                }
                watches.folders.insert(wd, folder.clone());
                told.push(folder);
            }
        }
        for (_, wd) in old.into_iter().filter(|(_, wd)| !watches.folders.contains_key(wd)) {
            let _ = inotify::remove_watch(&self.fd, wd);
        }
        told
    }

    /// Asks for a file's next change, once. `number` is what is told then. `false`: it will not be told.
    pub fn arm(&self, file: &std::fs::File, number: u64) -> bool {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // The lock is held over the call, so that no event is read before its number is there.
        let mut watches = self.watches.lock();
        match inotify::add_watch(&self.fd, path, WatchFlags::MODIFY | WatchFlags::ONESHOT) {
            Ok(wd) => {
                let numbers = watches.files.entry(wd).or_default();
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Waits for something to happen. Safe to drop and call again.
    pub async fn told(&self) -> Vec<Told> {
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return std::future::pending().await };
            let told = self.read();
            ready.clear_ready();
            if !told.is_empty() {
                return told;
            }
        }
    }

    fn read(&self) -> Vec<Told> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut watches = self.watches.lock();
        let mut told = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                // AGAIN: that was all.
                Err(_) => return told,
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                told.push(Told::Everything);
            } else if let Some(numbers) = watches.files.get_mut(&event.wd()) {
                // The watch ends with its event, and says so once more with IGNORED.
                told.extend(numbers.drain(..).map(Told::File));
                if event.events().contains(ReadFlags::IGNORED) {
                    watches.files.remove(&event.wd());
                }
            } else if let Some(folder) = watches.folders.get(&event.wd()) {
                if let Some(name) = event.file_name() {
                    told.push(Told::Name(folder.join(OsString::from_vec(name.to_bytes().to_vec()))));
                } else if event.events().contains(ReadFlags::IGNORED) {
                    watches.folders.remove(&event.wd());
                }
            }
        }
    }
}

/// Whether all writers of a file system are on this machine. FUSE and others may or may not be: they count as
/// remote.
fn is_local(folder: &Path) -> bool {
    // As linux/magic.h and statfs(2).
    const REMOTE: [u32; 11] = [
        0x6969,      // nfs
        0xFF53_4D42, // cifs
        0xFE53_4D42, // smb2
        0x517B,      // smb
        0x6573_5546, // fuse
        0x0102_1997, // 9p
        0x00C3_6400, // ceph
        0x5346_414F, // afs
        0x0BD0_0BD0, // lustre
        0x0116_1970, // gfs2
        0x7461_636F, // ocfs2
    ];
    rustix::fs::statfs(folder).is_ok_and(|fs| !REMOTE.contains(&(fs.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn names_in_a_folder_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        assert_eq!(inotify.watch_folders([folder.path().to_path_buf()]), [folder.path()]);
        assert!(inotify.watch_folders([folder.path().join("none")]).is_empty());
        assert_eq!(inotify.watch_folders([folder.path().to_path_buf()]), [folder.path()]);
        std::fs::write(folder.path().join("a"), "x").unwrap();
        assert_eq!(inotify.told().await, [Told::Name(folder.path().join("a"))]);
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        let told = inotify.told().await;
        assert_eq!(told, [Told::Name(folder.path().join("a")), Told::Name(folder.path().join("b"))]);
    }

    #[tokio::test]
    async fn a_file_is_told_once_however_often_it_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inotify = Inotify::new().unwrap();
        for number in [7, 8] {
            assert!(inotify.arm(file.as_file(), number));
            for _ in 0..100 {
                file.as_file().write_all(b"x").unwrap();
            }
            assert_eq!(inotify.told().await, [Told::File(number)]);
        }
        assert!(inotify.arm(file.as_file(), 1) && inotify.arm(file.as_file(), 2));
        file.as_file().write_all(b"x").unwrap();
        assert_eq!(inotify.told().await, [Told::File(1), Told::File(2)], "two targets may be one file");
    }
}

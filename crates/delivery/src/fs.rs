//! The few file operations that a queue needs, behind a trait so that tests can make each of them fail.
//!
//! Names are relative to the queue's folder: a queue never touches anything outside it.

use std::{
    fs::{self, OpenOptions, TryLockError},
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One queue folder.
pub(crate) trait Fs: Send + Sync + 'static {
    /// Makes the folder if it is missing.
    fn create_folder(&self) -> io::Result<()>;
    /// Takes the folder's lock; `None` when someone else holds it. Dropping the guard releases it.
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// File names and sizes.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Creates a file that must not exist yet, for appending.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn Append>>;
    /// Reads a whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Reads exactly `len` bytes at `offset`; `UnexpectedEof` if there are fewer.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Replaces `to` by `from` in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and deletions durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// Whether `sync` may take long enough to need a thread of its own.
    fn sync_is_slow(&self) -> bool {
        true
    }
}

/// A file that only grows, or is cut back after a failed write.
pub(crate) trait Append: Send + Sync {
    /// Writes all parts at the end. After an error any prefix of them may have been written.
    fn append(&self, parts: [&[u8]; 2]) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Forces the contents to the device.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
pub(crate) struct RealFs {
    folder: PathBuf,
}

impl RealFs {
    pub(crate) fn new(folder: &Path) -> RealFs {
        RealFs { folder: folder.to_owned() }
    }
}

impl Fs for RealFs {
    fn create_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let path = self.folder.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                files.push((name, meta.len()));
            }
        }
        Ok(files)
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn Append>> {
        let path = self.folder.join(name);
        Ok(Arc::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        fs::File::open(self.folder.join(name))?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.folder)?.sync_all()
    }
}

impl Append for fs::File {
    fn append(&self, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut file = self;
        let total = parts[0].len() + parts[1].len();
        let mut written = file.write_vectored(&parts.map(IoSlice::new))?;
        while written < total {
            let rest = if written < parts[0].len() {
                [&parts[0][written..], parts[1]]
            } else {
                [&parts[1][written - parts[0].len()..], &[]]
            };
            match file.write_vectored(&rest.map(IoSlice::new)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

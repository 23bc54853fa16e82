//! What makes a file the file that was read before, whatever it is called now.
//!
//! Device and inode are not enough: inodes are given again at once, devices change with a reboot, and a
//! compressed copy has others. So a file is also known by its head, and a place in it by the bytes before it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

/// So many bytes of a file's head are its fingerprint unless another number is asked for, or as many as there are.
pub const HEAD: usize = 1024;

/// So many bytes before a place are its seam, or as many as were read at once.
pub const SEAM: usize = 64;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct FileId {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl FileId {
    /// Of a file.
    pub fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// The hash of some bytes, with their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Print {
    /// How many bytes.
    pub len: u32,
    /// Their hash.
    pub hash: u64,
}

impl Print {
    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self { len: bytes.len() as u32, hash: xxh3_64(bytes) }
    }

    /// Whether these bytes start with what the print was taken of.
    pub fn heads(self, bytes: &[u8]) -> bool {
        bytes.get(..self.len as usize).is_some_and(|b| Self::of(b) == self)
    }
}

/// A place in a file: everything before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// Bytes before it; of what a compressed file holds, where it is one.
    pub offset: u64,
    /// The bytes right before it.
    pub seam: Print,
    /// Entries before it, where they are counted.
    pub records: u64,
}

/// A file with a place in it, as it is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Which file.
    pub id: FileId,
    /// Its head.
    pub head: Print,
    /// The place.
    pub mark: Mark,
    /// Where it was last seen, links resolved.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_knows_longer_bytes_with_the_same_head_and_no_others() {
        let print = Print::of(b"head");
        assert!(print.heads(b"head") && print.heads(b"header"));
        assert!(!print.heads(b"hea") && !print.heads(b"heat and light"));
        assert!(Print::default().heads(b"anything"), "an empty head says nothing");
    }
}

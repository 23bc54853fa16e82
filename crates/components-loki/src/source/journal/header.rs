//! The head of a journal file: which file it is and how far it has grown.
//!
//! It tells in one small read whether there is anything new, so that a journal that is quiet costs next to
//! nothing, and with which entry a file ends, whatever the clock did.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// As `struct Header` of systemd's journal-def.h, in its first version; what came later is behind it.
const LENGTH: usize = 208;

/// An ID of systemd.
pub type Id = [u8; 16];

/// What matters of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The file, also after it was renamed.
    pub file: Id,
    /// Whose sequence numbers these are.
    pub sequence: Id,
    /// The last entry's number.
    pub last: u64,
    /// Times of the first and the last entry, in microseconds.
    pub times: (u64, u64),
}

impl Head {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is none of a whole journal file: [`ErrorKind::InvalidData`].
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, 0).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => invalid("it is shorter than the head of a journal"),
            _ => e,
        })?;
        Self::of(&bytes, file.metadata()?.len())
    }

    /// The head of a file of so many bytes.
    fn of(bytes: &[u8; LENGTH], length: u64) -> io::Result<Self> {
        if bytes[..8] != *b"LPKSHHRH" {
            return Err(invalid("it does not begin as a journal does"));
        }
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let id = |at: usize| -> Id { bytes[at..at + 16].try_into().expect("sixteen bytes") };
        let used = number(88).saturating_add(number(96));
        if used > length {
            return Err(invalid("it is shorter than its head says"));
        }
        Ok(Self { file: id(24), sequence: id(72), last: number(160), times: (number(184), number(192)) })
    }
}

/// Reads any bytes as the head of a file; for `tests/fuzz/fuzz_targets/log_places.rs` only.
pub(super) fn read_arbitrary(head: &[u8], length: u64) {
    let mut bytes = [0; LENGTH];
    let given = head.len().min(LENGTH);
    bytes[..given].copy_from_slice(&head[..given]);
    let _ = Head::of(&bytes, length);
    bytes[..8].copy_from_slice(b"LPKSHHRH");
    let _ = Head::of(&bytes, length);
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// The journal files of folders, and of the machines' folders in them, sorted. Folders that are not there have none.
///
/// # Errors
/// If a folder cannot be read.
pub fn files(roots: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for root in roots {
        for path in listed(root)? {
            let machine = path.file_name().and_then(|n| n.to_str()).is_some_and(is_machine_id);
            if machine && path.is_dir() {
                files.extend(listed(&path)?.into_iter().filter(|p| is_journal(p)));
            } else if is_journal(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|e| e.map(|e| e.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_machine_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "journal") && path.symlink_metadata().is_ok_and(|m| m.is_file())
}

//! The files: opened, written whole records at a time, rotated, closed again when there are too many.
//!
//! Invariants: what could not be written whole is taken back; a file that was emptied once in the life of the program
//! is never emptied again; rotating never writes over another file.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use xxhash_rust::xxh64::xxh64;

/// The time in names of rotated files, as upstream.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// Paths that are remembered as emptied; beyond that none is emptied any more.
const MOST_REMEMBERED: usize = 1_000_000;

/// How files are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filing {
    /// The file, where there is only one: opened at the start.
    pub first: Option<PathBuf>,
    pub append: bool,
    pub rolling: Option<Rolling>,
    pub most_open: usize,
}

/// When a new file is begun, and which old ones are kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rolling {
    pub most_bytes: u64,
    /// 0 for any.
    pub most_days: i64,
    /// 0 for any.
    pub most_files: usize,
    pub local: bool,
}

struct Out {
    file: File,
    size: u64,
    dirty: bool,
}

/// Open files, the one written last at the end.
pub(super) struct Files {
    filing: Filing,
    open: IndexMap<PathBuf, Out>,
    emptied: HashSet<u64>,
}

impl Files {
    pub(super) fn new(filing: Filing) -> Self {
        Self { filing, open: IndexMap::new(), emptied: HashSet::new() }
    }

    /// Opens the file, where there is only one.
    pub(super) fn open_first(&mut self) -> Result<(), String> {
        match self.filing.first.clone() {
            Some(path) => self.out(&path).map(drop).map_err(|e| told(&path, &e)),
            None => Ok(()),
        }
    }

    /// Takes new arguments. Files that stay are not touched.
    pub(super) fn change(&mut self, filing: Filing) -> Result<(), String> {
        if let Err(error) = self.sync() {
            tracing::warn!(error, "what was written may not be on the device");
        }
        self.filing = filing;
        match self.filing.first.clone() {
            Some(path) => self.open.retain(|open, _| *open == path),
            None => self.open.clear(),
        }
        self.open_first()
    }

    /// Writes records, each to its file. What one file has taken stays there if another fails.
    pub(super) fn write_all(&mut self, records: Vec<(PathBuf, Bytes)>) -> Result<(), String> {
        for (path, record) in records {
            self.write(&path, &record).map_err(|e| told(&path, &e))?;
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, record: &[u8]) -> io::Result<()> {
        let most = self.filing.rolling.as_ref().map(|rolling| rolling.most_bytes);
        let size = self.out(path)?.size;
        if most.is_some_and(|most| size > 0 && size + record.len() as u64 > most) {
            self.rotate(path)?;
        }
        let out = self.out(path)?;
        if let Err(error) = out.file.write_all(record) {
            // Whatever of it is there is no record. If that fails as well the file is begun anew at its end.
            if out.file.set_len(out.size).is_err() {
                self.open.shift_remove(path);
            }
            return Err(error);
        }
        out.size += record.len() as u64;
        out.dirty = true;
        Ok(())
    }

    /// The file of a path, opened if it is not.
    fn out(&mut self, path: &Path) -> io::Result<&mut Out> {
        if let Some(at) = self.open.get_index_of(path) {
            self.open.move_index(at, self.open.len() - 1);
        } else {
            let out = self.opened(path)?;
            while self.open.len() >= self.filing.most_open.max(1) {
                if let Some((path, out)) = self.open.shift_remove_index(0)
                    && let Err(error) = out.file.sync_data()
                {
                    tracing::warn!(path = %path.display(), %error, "a file was closed, and may not be on the device");
                }
            }
            self.open.insert(path.to_owned(), out);
        }
        let (_, out) = self.open.last_mut().expect("it was put there");
        Ok(out)
    }

    fn opened(&mut self, path: &Path) -> io::Result<Out> {
        if self.filing.first.is_none()
            && let Some(folder) = path.parent()
        {
            fs::create_dir_all(folder)?;
        }
        // Rotated files go on where they were; others are emptied once.
        let keeps = self.filing.append || self.filing.rolling.is_some();
        let identity = xxh64(path.as_os_str().as_encoded_bytes(), 0);
        let empty = !keeps && !self.emptied.contains(&identity) && self.emptied.len() < MOST_REMEMBERED;
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if empty {
            file.set_len(0)?;
            self.emptied.insert(identity);
        }
        let size = file.metadata()?.len();
        Ok(Out { file, size, dirty: false })
    }

    /// Gives the file a name with the time in it; the next record begins a new one.
    fn rotate(&mut self, path: &Path) -> io::Result<()> {
        let Some(rolling) = self.filing.rolling.clone() else { return Ok(()) };
        if let Some(out) = self.open.shift_remove(path) {
            out.file.sync_data()?;
        }
        let mut now = Timestamp::now();
        let zone = if rolling.local { TimeZone::system() } else { TimeZone::UTC };
        let to = loop {
            let to = rotated(path, &now.to_zoned(zone.clone()));
            if !to.exists() {
                break to;
            }
            now += jiff::SignedDuration::from_millis(1);
        };
        fs::rename(path, to)?;
        if let Err(error) = tidy(path, &rolling, &zone) {
            tracing::warn!(path = %path.display(), %error, "old files cannot be removed");
        }
        Ok(())
    }

    /// Forces what was written to the device.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        for (path, out) in self.open.iter_mut().filter(|(_, out)| out.dirty) {
            out.file.sync_data().map_err(|e| told(path, &e))?;
            out.dirty = false;
        }
        Ok(())
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The parts of a file's name around the time: `data-` and `.json`.
fn around(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    (format!("{stem}-"), extension)
}

fn rotated(path: &Path, time: &Zoned) -> PathBuf {
    let (before, after) = around(path);
    path.with_file_name(format!("{before}{}{after}", time.strftime(STAMP)))
}

/// Removes old files that are too many or too old.
fn tidy(path: &Path, rolling: &Rolling, zone: &TimeZone) -> io::Result<()> {
    let (before, after) = around(path);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut old = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stamp = name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
        let time = stamp.and_then(|stamp| jiff::civil::DateTime::strptime(STAMP, stamp).ok());
        if let Some(time) = time.and_then(|time| zone.to_timestamp(time).ok()) {
            old.push((time, folder.join(name)));
        }
    }
    old.sort_unstable_by(|a, b| b.cmp(a));
    let days = i64::from(i32::MAX).min(rolling.most_days);
    let oldest = Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
    for (at, (time, path)) in old.into_iter().enumerate() {
        let too_many = rolling.most_files > 0 && at >= rolling.most_files;
        let too_old = rolling.most_days > 0 && time < oldest;
        if too_many || too_old {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The path of a group: the segment takes the place of `*`, and never leads out of the folder in front of it.
/// `None`: there is no segment that could be a path.
pub(super) fn place(pattern: &str, segment: Option<&str>) -> Option<PathBuf> {
    let segment = segment.filter(|segment| !segment.contains('\0'))?;
    let mut inside = PathBuf::new();
    for component in Path::new(segment).components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::ParentDir => drop(inside.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let inside = inside.to_str()?;
    if inside.is_empty() {
        return None;
    }
    let (before, after) = pattern.split_once('*')?;
    Some(format!("{before}{inside}{after}").into())
}

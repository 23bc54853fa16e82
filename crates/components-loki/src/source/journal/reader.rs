//! Reads what is new in a journal. All of it blocks.
//!
//! Data path: heads of the files → which have grown, and since when → a query over the files in the order of
//! time → entries that were not read before.
//! Invariants: an entry is new by its file's numbers, not by the clock; a file that cannot be read is passed
//! over and counted, as is an entry; what is read at once is bounded.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sdjournal::{EntryRef, Journal, JournalConfig, SdJournalError};

use super::header::{self, Head, Id};
use super::matches::Matches;
use super::place::{Cursor, Place, Read};

/// So much is read at once.
const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: usize = 1 << 20;
/// Entries that are looked at for it, wanted or not.
const MAX_STEPS: usize = 20_000;

type Entries = Box<dyn Iterator<Item = Result<EntryRef, SdJournalError>> + Send>;

/// An entry with its fields.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Microseconds since the Unix epoch.
    pub time: u64,
    /// Names and values, as they are in the journal.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Found {
    /// New entries.
    pub entries: Vec<Entry>,
    /// There is more to read at once.
    pub more: bool,
    /// Files that turned out not to be readable, with why.
    pub bad_files: Vec<(PathBuf, String)>,
    /// Why entries could not be read.
    pub bad_entries: Vec<String>,
    /// How far the journal was read.
    pub place: Option<Place>,
}

/// The reader of a journal.
pub struct Reader {
    roots: Vec<PathBuf>,
    matches: Matches,
    /// Entries that were there before the start and are older than this are not wanted.
    cutoff: u64,
    place: Place,
    /// Where we started.
    start: Option<Cursor>,
    /// By file: the number of its last entry at the last look that came to its end, and that entry's time.
    looked: HashMap<Id, Read>,
    /// By file: the number of its last entry at the start.
    backlog: HashMap<Id, u64>,
    heads: HashMap<Id, Head>,
    bad: HashSet<PathBuf>,
    first: bool,
    reading: Option<Entries>,
}

impl Reader {
    /// A reader that goes on at a place.
    pub fn new(roots: Vec<PathBuf>, matches: Matches, cutoff: u64, place: Place) -> Self {
        Self {
            roots,
            matches,
            cutoff,
            start: place.cursor,
            looked: place.files.iter().map(|(file, read)| (*file, *read)).collect(),
            place,
            backlog: HashMap::new(),
            heads: HashMap::new(),
            bad: HashSet::new(),
            first: true,
            reading: None,
        }
    }

    /// Reads the next entries.
    ///
    /// # Errors
    /// If no file can be read.
    pub fn look(&mut self) -> Result<Found, String> {
        let mut found = Found::default();
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match self.begin(&mut found)? {
                Some(reading) => reading,
                None => return Ok(found),
            },
        };
        let mut bytes = 0;
        for _ in 0..MAX_STEPS {
            match reading.next() {
                None => {
                    self.finish();
                    return Ok(self.told(found));
                }
                Some(Err(error)) => found.bad_entries.push(error.to_string()),
                Some(Ok(entry)) => {
                    if self.is_new(&entry) && self.matches.hold(&entry) {
                        let fields = entry.iter_fields().map(|(n, v)| (n.to_owned(), v.to_vec()));
                        let fields: Vec<_> = fields.collect();
                        bytes += fields.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
                        found.entries.push(Entry { time: entry.realtime_usec(), fields });
                    }
                }
            }
            if found.entries.len() >= MAX_ENTRIES || bytes >= MAX_BYTES {
                break;
            }
        }
        self.reading = Some(reading);
        found.more = true;
        Ok(self.told(found))
    }

    fn told(&self, found: Found) -> Found {
        Found { place: Some(self.place.clone()), ..found }
    }

    /// Looks which files have grown and asks for what is new in them.
    fn begin(&mut self, found: &mut Found) -> Result<Option<Entries>, String> {
        let shown = || self.roots.iter().map(|r| r.display().to_string()).collect::<Vec<_>>().join(", ");
        let files = header::files(&self.roots).map_err(|e| advise(&e, &shown()))?;
        if files.is_empty() {
            return Err(format!("there is no journal in {}", shown()));
        }
        let mut heads = HashMap::new();
        for path in &files {
            match Head::read(path) {
                Ok(head) => {
                    self.bad.remove(path);
                    heads.insert(head.file, head);
                }
                // It was rotated or removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    if self.bad.insert(path.clone()) {
                        found.bad_files.push((path.clone(), advise(&error, &path.display().to_string())));
                    }
                }
            }
        }
        self.bad.retain(|path| files.contains(path));
        if heads.is_empty() {
            return Err(format!("no journal in {} can be read", shown()));
        }
        self.heads = heads;
        if self.first {
            self.backlog = self.heads.values().map(|h| (h.file, h.last)).collect();
        }
        self.looked.retain(|file, _| self.heads.contains_key(file));
        self.place.files.retain(|file, _| self.heads.contains_key(file));
        let Some(since) = self.heads.values().filter_map(|head| self.since(head)).min() else {
            self.finish();
            return Ok(None);
        };
        self.query(since).map(Some)
    }

    /// The time from which a file has to be read; `None` where nothing is new in it.
    fn since(&self, head: &Head) -> Option<u64> {
        let (earliest, latest) = (head.times.0.min(head.times.1), head.times.1);
        let cutoff = if self.backlog.contains_key(&head.file) && self.first { self.cutoff } else { 0 };
        if let Some(looked) = self.looked.get(&head.file) {
            // Once the clock has gone back, only the numbers tell what is new.
            let since = if latest < looked.time { 0 } else { looked.time };
            return (head.last != looked.number).then_some(since.max(cutoff));
        }
        if head.last == 0 {
            return None;
        }
        let start = match &self.start {
            Some(cursor) if cursor.sequence == Some(head.sequence) && cursor.number.is_some() => {
                if cursor.number.is_some_and(|n| head.last <= n) {
                    return None;
                }
                cursor.time.unwrap_or(0).min(latest)
            }
            Some(cursor) => cursor.time.unwrap_or(0),
            None => 0,
        };
        Some(start.max(earliest).max(cutoff))
    }

    fn query(&self, since: u64) -> Result<Entries, String> {
        let config = JournalConfig {
            // A core dump's fields are large; a file system full of journals has many.
            max_decompressed_bytes: 16 << 20,
            max_fields_per_entry: 1024,
            max_journal_files: 1 << 16,
            max_query_terms: 256,
            ..JournalConfig::default()
        };
        let roots: Vec<PathBuf> = self.roots.iter().filter(|r| r.is_dir()).cloned().collect();
        let journal = Journal::open_dirs_with_config(&roots, config).map_err(|e| e.to_string())?;
        let mut query = journal.query();
        query.since_realtime(since);
        if self.first {
            // Later there is little to pass over, and the index has no times to begin at.
            self.matches.look_up(&mut query);
        }
        let entries = query.iter().map_err(|e| e.to_string())?;
        Ok(Box::new(entries))
    }

    /// The files were read up to where their heads said that they end.
    fn finish(&mut self) {
        self.first = false;
        for head in self.heads.values() {
            let read = Read { number: head.last, time: head.times.1 };
            self.looked.insert(head.file, read);
            // What was not wanted was read too.
            let known = self.place.files.entry(head.file).or_insert(read);
            if known.number < read.number {
                *known = read;
            }
        }
    }

    /// Whether an entry was not read before; it is from now on.
    fn is_new(&mut self, entry: &EntryRef) -> bool {
        let Some(file) = file_of(entry) else { return true };
        let (number, time) = (entry.seqnum(), entry.realtime_usec());
        let sequence = self.heads.get(&file).map(|h| h.sequence);
        let known = self.place.files.get(&file).map(|r| r.number);
        let new = match (known, &self.start) {
            (Some(known), _) => number > known,
            (None, Some(cursor)) => {
                if cursor.sequence.is_some() && cursor.sequence == sequence && cursor.number.is_some() {
                    cursor.number.is_some_and(|n| number > n)
                } else {
                    let other = cursor.sequence.is_some() || cursor.number.is_none_or(|n| number > n);
                    let start = cursor.time.unwrap_or(0);
                    time > start || (time == start && other)
                }
            }
            (None, None) => true,
        };
        if !new {
            return false;
        }
        self.place.files.insert(file, Read { number, time });
        self.place.cursor = Some(Cursor {
            sequence,
            number: Some(number),
            boot: Some(entry.boot_id()),
            monotonic: Some(entry.monotonic_usec()),
            time: Some(time),
        });
        let backlog = self.backlog.get(&file).is_some_and(|last| number <= *last);
        !(backlog && time < self.cutoff)
    }
}

/// The file of an entry. Only the text of its cursor tells: `SJ1:`, a byte, the ID.
fn file_of(entry: &EntryRef) -> Option<Id> {
    let cursor = entry.cursor().ok()?.to_string();
    const_hex::decode_to_array(cursor.strip_prefix("SJ1:")?.get(2..34)?).ok()
}

fn advise(error: &std::io::Error, place: &str) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{place}: {error}; add this program's user to the group systemd-journal")
        }
        _ => format!("{place}: {error}"),
    }
}

/// Where journals are: below `path`, or where systemd keeps them.
pub fn roots(path: &str) -> Vec<PathBuf> {
    match path {
        "" => vec![PathBuf::from("/run/log/journal"), PathBuf::from("/var/log/journal")],
        path => vec![Path::new(path).to_path_buf()],
    }
}

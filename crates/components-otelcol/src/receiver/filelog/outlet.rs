//! From lines of a file to records: bodies, and attributes of the file that they are from.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytestring::ByteString;
use component::{BoxFuture, Rejected};
use parking_lot::Mutex;
use tail::{Batch, FileFacts, Outlet};
use tokio_util::sync::CancellationToken;

use super::args::{Args, Encoding};
use crate::operators::Pipeline;
use crate::operators::deliver::{Delivery, trimmed};
use crate::operators::entry::Entry;
use crate::operators::value::{Map, Value};

/// Headers of so many files are kept; they are made again where they are needed again.
const MAX_HEADERS: usize = 4096;

/// What records of files are made of.
pub struct Make {
    encoding: Encoding,
    keep_spaces: (bool, bool),
    args: Args,
    header: Option<Pipeline>,
    headers: Mutex<HashMap<u64, Map>>,
}

impl Make {
    /// As arguments say. `header` are the operators on lines of headers.
    pub fn new(args: &Args, encoding: Encoding, header: Option<Pipeline>) -> Self {
        let keep_spaces = (args.preserve_leading_whitespaces, args.preserve_trailing_whitespaces);
        Self { encoding, keep_spaces, args: args.clone(), header, headers: Mutex::default() }
    }

    fn entries(&self, batch: &Batch, holds: bool) -> Vec<Entry> {
        let attributes = self.attributes(&batch.file);
        let numbered = self.args.include_file_record_number;
        let mut entries = Vec::with_capacity(batch.logs.len());
        for (line, number) in batch.logs.entries.iter().zip(batch.first_record..) {
            let text = trimmed(&line.line, self.keep_spaces);
            if text.is_empty() {
                continue;
            }
            let body = if self.encoding.is_raw {
                // As it was decoded: a character is a byte.
                Value::Bytes(text.chars().map(|c| c as u8).collect())
            } else {
                Value::from(text)
            };
            let mut entry = Entry::new(body, line.timestamp_ns);
            *entry.attributes_mut() = attributes.clone();
            if numbered {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                entry.attributes_mut().insert("log.file.record_number".into(), Value::Int(number));
            }
            if holds {
                entry.hold.extend(batch.logs.hold.clone());
            }
            entries.push(entry);
        }
        entries
    }

    /// What is true of all records of a file.
    fn attributes(&self, file: &FileFacts) -> Map {
        let args = &self.args;
        let mut map = self.header_of(file);
        let mut add = |wanted: bool, name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|_| wanted) {
                map.insert(name.to_string(), Value::Text(value));
            }
        };
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let path = |path: &Path| Some(path.to_string_lossy().into_owned());
        add(args.include_file_name, "log.file.name", name(&file.path));
        add(args.include_file_path, "log.file.path", path(&file.path));
        add(args.include_file_name_resolved, "log.file.name_resolved", name(&file.real));
        add(args.include_file_path_resolved, "log.file.path_resolved", path(&file.real));
        let of_owner = args.include_file_owner_name || args.include_file_owner_group_name;
        if of_owner || args.include_file_permissions {
            let metadata = std::fs::metadata(&file.real).or_else(|_| std::fs::metadata(&file.path)).ok();
            let metadata = metadata.as_ref();
            add(args.include_file_owner_name, "log.file.owner.name", metadata.map(owner));
            add(args.include_file_owner_group_name, "log.file.owner.group.name", metadata.map(group));
            let permissions = metadata.map(|m| format!("{:04o}", m.permissions().mode() & 0o7777));
            add(args.include_file_permissions, "log.file.permissions", permissions);
        }
        map
    }

    fn header_of(&self, file: &FileFacts) -> Map {
        let (Some(pipeline), Some(lines)) = (&self.header, &file.header) else { return Map::new() };
        if let Some(known) = self.headers.lock().get(&file.serial) {
            return known.clone();
        }
        let map = read_header(pipeline, lines);
        let mut headers = self.headers.lock();
        if headers.len() >= MAX_HEADERS {
            headers.clear();
        }
        headers.insert(file.serial, map.clone());
        map
    }
}

/// The attributes that operators make of the lines of a header.
fn read_header(pipeline: &Pipeline, lines: &[ByteString]) -> Map {
    let mut out = Vec::new();
    for line in lines {
        pipeline.process(Entry::new(Value::from(&**line), 0), &mut out);
    }
    pipeline.flush(None, &mut out);
    let mut map = Map::new();
    for entry in out {
        if let Value::Map(attributes) = entry.attributes {
            map.extend(attributes);
        }
    }
    map
}

fn owner(metadata: &Metadata) -> String {
    name_of("/etc/passwd", metadata.uid())
}

fn group(metadata: &Metadata) -> String {
    name_of("/etc/group", metadata.gid())
}

/// The name of an ID; the number where it has none.
fn name_of(database: &str, id: u32) -> String {
    let number = id.to_string();
    let text = std::fs::read_to_string(database).unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_string())
    });
    name.unwrap_or(number)
}

/// Where the engine's batches go.
pub struct Records {
    /// How records are made.
    pub make: Arc<ArcSwap<Make>>,
    /// The way to the consumers.
    pub delivery: Arc<Delivery>,
    /// The component stops.
    pub stop: CancellationToken,
}

impl Outlet for Records {
    fn send<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), Rejected>> {
        let entries = self.make.load().entries(batch, self.delivery.holds());
        Box::pin(self.delivery.send(entries, &self.stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_their_names_and_those_without_a_number() {
        assert_eq!(name_of("/etc/passwd", 0), "root");
        assert_eq!(name_of("/etc/group", 0), "root");
        assert_eq!(name_of("/etc/passwd", 4_000_000_000), "4000000000");
    }
}

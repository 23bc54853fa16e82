//! How far each file has been read, kept across restarts.
//!
//! The file is Alloy's `positions.yml`; what Alloy does not know (which file it was, which rotated files are not
//! done) stands in comments, so that either program can go on where the other was. Each entry is read by
//! itself: damage costs the entries that it hits and no others. Invariant: the file on disk is whole at any
//! time: a new one is written beside it, synchronised, and renamed over it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use signal::Labels;

use crate::identity::{FileId, Mark, Place, Print};

/// What a position belongs to. The labels are written as Go writes a label set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Key {
    /// Path of the target.
    pub path: String,
    /// Its labels.
    pub labels: String,
}

/// The labels of positions that came from a legacy file, where there were none.
pub const NO_LABELS: &str = "{}";

/// What is known of a target's files.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// The position as it is written: an offset, or the cursor of something that is no file.
    pub value: String,
    /// The file that it is in, as far as known.
    pub file: Option<Place>,
    /// Rotated files that are not done, oldest first.
    pub rest: Vec<Place>,
    /// Rotated files that were done not long ago, oldest first: they are not to be read again under new names.
    pub done: Vec<Place>,
}

impl Record {
    /// The offset, if it is one.
    pub fn offset(&self) -> Option<u64> {
        self.value.trim().parse().ok()
    }
}

/// What a positions file said.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its intact entries.
    pub records: BTreeMap<Key, Record>,
    /// What was wrong with it, if something was.
    pub damage: Option<String>,
}

/// The set of labels that names a position, as Go's `model.LabelSet` prints it.
pub fn label_text(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(out, "{comma}{name}=");
        quote(value, &mut out);
    }
    out.push('}');
    out
}

/// As Go's `strconv.Quote`.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            // What Rust would escape is what cannot be printed, in Go as well, but for what is plain above.
            c if c != '\'' && c.escape_debug().len() > 1 => {
                let (code, width) = (c as u32, if c as u32 > 0xFFFF { 8 } else { 4 });
                let _ = write!(out, "\\{}{code:0width$x}", if width == 8 { 'U' } else { 'u' });
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads a positions file; one that is not there is empty, and one that cannot be read is damaged.
pub fn load(path: &Path) -> Loaded {
    match std::fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Loaded::default(),
        Err(error) => Loaded { damage: Some(error.to_string()), ..Loaded::default() },
    }
}

/// Reads the text of a positions file.
pub fn parse(text: &str) -> Loaded {
    let mut loaded = Loaded::default();
    let mut damage = |what: &str| {
        loaded.damage.get_or_insert_with(|| what.to_string());
    };
    // A last line without its end may have lost digits, unless a quote says that it has not.
    let whole_lines = text.rfind('\n').map_or(0, |end| end + 1);
    let last = text[whole_lines..].trim();
    let is_whole =
        last == END || last.starts_with(": ") && scalar(&last[2..]).is_some() && last.ends_with(['"', '\'']);
    let text = if last.is_empty() || is_whole || last.starts_with("positions:") {
        text
    } else {
        damage("it ends in the middle of a line");
        &text[..whole_lines]
    };
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.by_ref().find(|line| !is_blank(line)) else {
        // Nothing at all, or nothing but what was written before the first entry.
        if text.contains(OURS) {
            damage("it ends before its first entry");
        }
        return loaded;
    };
    match first.trim_end() {
        "positions: {}" | "positions:" | "positions: null" => {}
        "---" => {}
        _ => damage("it does not start with `positions:`"),
    }
    let mut whole = !text.starts_with(OURS) || first.ends_with("{}\n");
    for entry in entries(lines) {
        whole |= entry.trim_end() == END;
        match parse_entry(&entry) {
            Ok(None) => {}
            Ok(Some((key, record))) => {
                loaded.records.insert(key, record);
            }
            Err(message) => damage(&message),
        }
    }
    if !whole {
        damage("it ends too early");
    }
    loaded
}

/// The first line of what we write, and the last.
const OURS: &str = "# Written by Ferroalloy; comments are part of it.";
const END: &str = "# end";

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Puts the lines of each entry together: an entry starts at the least indentation, with anything but `:`.
fn entries<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut indent = None;
    for line in lines {
        let text = line.trim_start();
        if line.trim_end() == END {
            out.push(line.to_string());
            continue;
        }
        let here = line.len() - text.len();
        let starts = !is_blank(line) && !text.starts_with(':') && here <= *indent.get_or_insert(here);
        if starts || out.is_empty() {
            out.push(String::new());
        }
        out.last_mut().expect("one was pushed").push_str(line);
    }
    out
}

fn parse_entry(entry: &str) -> Result<Option<(Key, Record)>, String> {
    if entry.lines().all(is_blank) {
        return Ok(None);
    }
    let broken = || format!("an entry cannot be read: {:?}", entry.chars().take(200).collect::<String>());
    let (key, value) = plain_entry(entry).or_else(|| yaml_entry(entry)).ok_or_else(broken)?;
    let mut record = Record { value, ..Record::default() };
    for line in entry.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("# file ") {
            record.file = Some(parse_place(place).ok_or_else(broken)?);
        } else if let Some(place) = line.strip_prefix("# rest ") {
            record.rest.push(parse_place(place).ok_or_else(broken)?);
        } else if let Some(place) = line.strip_prefix("# done ") {
            record.done.push(parse_place(place).ok_or_else(broken)?);
        }
    }
    Ok(Some((key, record)))
}

/// An entry as we write it and as Go mostly does; anything else is left to the parser of YAML.
fn plain_entry(entry: &str) -> Option<(Key, String)> {
    let mut lines = entry.lines().map(str::trim).filter(|line| !is_blank(line));
    let path = scalar(lines.next()?.strip_prefix("? path: ")?)?;
    let labels = scalar(lines.next()?.strip_prefix("labels: ")?)?;
    let value = scalar(lines.next()?.strip_prefix(": ")?)?;
    lines.next().is_none().then_some((Key { path, labels }, value))
}

fn scalar(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        return (!inner.replace("''", "").contains('\'')).then(|| inner.replace("''", "'"));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let inner = inner.strip_suffix('"')?;
        return (!inner.contains(['"', '\\'])).then(|| inner.to_string());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then(|| text.to_string())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum YamlKey {
    Full(Key),
    Path(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum YamlValue {
    Number(u64),
    Text(String),
}

/// One entry as a document of its own.
fn yaml_entry(entry: &str) -> Option<(Key, String)> {
    let read: Vec<(YamlKey, YamlValue)> = pairs(entry)?;
    let [(key, value)] = <[_; 1]>::try_from(read).ok()?;
    let key = match key {
        YamlKey::Full(key) => key,
        YamlKey::Path(path) => Key { path, labels: NO_LABELS.into() },
    };
    let value = match value {
        YamlValue::Number(number) => number.to_string(),
        YamlValue::Text(text) => text,
    };
    Some((key, value))
}

fn pairs(entry: &str) -> Option<Vec<(YamlKey, YamlValue)>> {
    struct Pairs(Vec<(YamlKey, YamlValue)>);
    impl<'de> Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Pairs;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("positions")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut out = Vec::new();
                    while let Some(pair) = map.next_entry()? {
                        out.push(pair);
                    }
                    Ok(Pairs(out))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_saphyr::from_str::<Pairs>(entry).ok().map(|pairs| pairs.0)
}

/// `dev ino head-length head-hash offset seam-length seam-hash [records] path`, numbers but the hashes decimal.
fn render_place(place: &Place) -> String {
    let Place { id, head, mark, path } = place;
    let records = if mark.records > 0 { format!("{} ", mark.records) } else { String::new() };
    format!(
        "{} {} {} {:016x} {} {} {:016x} {records}{:?}",
        id.dev, id.ino, head.len, head.hash, mark.offset, mark.seam.len, mark.seam.hash, path
    )
}

fn parse_place(text: &str) -> Option<Place> {
    let mut words = text.splitn(8, ' ');
    let id = FileId { dev: number(words.next())?, ino: number(words.next())? };
    let head = print(words.next(), words.next())?;
    let offset = number(words.next())?;
    let seam = print(words.next(), words.next())?;
    let last = words.next()?;
    let (records, path) = match last.split_once(' ') {
        Some((records, path)) if !last.starts_with('"') => (records.parse().ok()?, path),
        _ => (0, last),
    };
    let mark = Mark { offset, seam, records };
    let path = path.strip_prefix('"')?.strip_suffix('"')?;
    Some(Place { id, head, mark, path: unescape(path)?.into() })
}

fn number(word: Option<&str>) -> Option<u64> {
    word?.parse().ok()
}

fn print(len: Option<&str>, hash: Option<&str>) -> Option<Print> {
    Some(Print { len: len?.parse().ok()?, hash: u64::from_str_radix(hash?, 16).ok()? })
}

/// Of what `{:?}` of a path writes; one that is not UTF-8 is looked for by its identity only.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '0' => out.push('\0'),
            'u' => {
                let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
            }
            'x' => {
                chars.next();
                chars.next();
                out.push('\u{FFFD}');
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// The text of a positions file.
pub fn render(records: &BTreeMap<Key, Record>) -> String {
    let mut out = String::with_capacity(64 + records.len() * 300);
    let _ = writeln!(out, "{OURS}\npositions:{}", if records.is_empty() { " {}" } else { "" });
    for (key, record) in records {
        // The value comes last: an entry that was cut off has none and is none.
        let _ = writeln!(out, "  ? path: {}\n    labels: {}", yaml_text(&key.path), yaml_text(&key.labels));
        if let Some(place) = &record.file {
            let _ = writeln!(out, "    # file {}", render_place(place));
        }
        for place in &record.rest {
            let _ = writeln!(out, "    # rest {}", render_place(place));
        }
        for place in &record.done {
            let _ = writeln!(out, "    # done {}", render_place(place));
        }
        let _ = writeln!(out, "  : {}", yaml_text(&record.value));
    }
    out.push_str(END);
    out.push('\n');
    out
}

fn yaml_text(text: &str) -> String {
    if text.chars().any(char::is_control) || text.contains(['\u{2028}', '\u{2029}', '\u{FEFF}', '\u{85}']) {
        // A string of JSON is one of YAML.
        return serde_json::Value::from(text).to_string();
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Puts a positions file in place: whole, or not at all.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let next: PathBuf = path.with_extension("yml.next");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    File::open(folder)?.sync_all()
}

/// Sets a damaged file aside, so that what is written over it can be looked at.
pub fn set_aside(path: &Path) {
    let aside = path.with_extension("yml.damaged");
    if let Err(error) = std::fs::copy(path, &aside) {
        tracing::warn!(%error, path = %path.display(), "the damaged positions file could not be set aside");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record {
        fn at(offset: u64) -> Self {
            Self { value: offset.to_string(), ..Self::default() }
        }
    }

    fn key(path: &str, labels: &str) -> Key {
        Key { path: path.into(), labels: labels.into() }
    }

    fn place(ino: u64, path: &str) -> Place {
        Place {
            id: FileId { dev: 66, ino },
            head: Print::of(b"head"),
            mark: Mark { offset: ino * 10, seam: Print::of(b"seam"), records: ino % 2 * 3 },
            path: path.into(),
        }
    }

    fn sample() -> BTreeMap<Key, Record> {
        let file = Record {
            value: "70".into(),
            file: Some(place(7, "/log/a \"b\"\n.log")),
            rest: vec![],
            done: vec![],
        };
        let rest = vec![place(5, "/log/c.2"), place(6, "/log/c.1")];
        let rotated = Record {
            value: "0".into(),
            file: Some(place(8, "/log/c")),
            rest,
            done: vec![place(3, "/log/c.3")],
        };
        BTreeMap::from([
            (key("/log/a.log", r#"{job="x", team="it's"}"#), file),
            (key("/log/c", r#"{q="\n\\"}"#), rotated),
            (key("/log/ü\u{1}", "{}"), Record::at(12)),
            (key("cursor-journal", "{}"), Record { value: "s=1;i=2".into(), ..Record::default() }),
        ])
    }

    #[test]
    fn what_is_written_is_read_back() {
        for records in [sample(), BTreeMap::new()] {
            let loaded = parse(&render(&records));
            assert_eq!((loaded.records, loaded.damage), (records, None));
        }
    }

    #[test]
    fn what_we_write_is_yaml_that_alloy_reads() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Alloys {
            positions: std::collections::HashMap<Key, String>,
        }
        let read: Alloys = serde_saphyr::from_str(&render(&sample())).expect("YAML of Alloy's shape");
        assert_eq!(read.positions.len(), 4);
        for (key, record) in sample() {
            assert_eq!(read.positions[&key], record.value, "{key:?}");
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_its_intact_entries_and_says_that_it_is_damaged() {
        let (records, text) = (sample(), render(&sample()));
        for cut in 1..text.len() {
            let loaded = parse(&String::from_utf8_lossy(&text.as_bytes()[..cut]));
            for (key, record) in &loaded.records {
                assert_eq!(records.get(key), Some(record), "cut at {cut}");
            }
            let whole = records.iter().take_while(|(key, _)| {
                let next =
                    records.range((std::ops::Bound::Excluded(*key), std::ops::Bound::Unbounded)).next();
                let end = next.map_or(text.find(END).unwrap(), |(next, _)| {
                    text.find(&format!("  ? path: {}", yaml_text(&next.path))).unwrap()
                });
                end <= cut
            });
            assert!(loaded.records.len() >= whole.count(), "cut at {cut} lost an intact entry");
            // Cut inside the first line it is a comment; without the last line end it is whole.
            assert!(loaded.damage.is_some() || cut < OURS.len() || cut == text.len() - 1, "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_costs_only_what_it_hits() {
        let text = render(&sample()).replace("    labels: '{q=", "    labels: {{{q=");
        let loaded = parse(&text);
        assert_eq!(loaded.records.len(), 3);
        assert!(loaded.damage.unwrap().contains("{{{q="));
    }

    #[test]
    fn positions_of_alloy_are_read_however_go_writes_them() {
        let long = "a".repeat(60);
        let text = format!(
            "positions:\n  ? path: /tmp/a.log\n    labels: '{{}}'\n  : \"100\"\n  ? path: '/tmp/b c.log'\n    \
             labels: '{{app=\"{long}\",\n      job=\"it''s\"}}'\n  : \"7\"\n  ? {{path: /d, labels: '{{}}'}}\n  : \
             \"9\"\n  ? path: \"/tmp/\\u00fc\"\n    labels: '{{}}'\n  : \"8\"\n"
        );
        let loaded = parse(&text);
        assert_eq!(loaded.damage, None);
        let expected = BTreeMap::from([
            (key("/tmp/a.log", "{}"), Record::at(100)),
            (key("/tmp/b c.log", &format!("{{app=\"{long}\", job=\"it's\"}}")), Record::at(7)),
            (key("/d", "{}"), Record::at(9)),
            (key("/tmp/ü", "{}"), Record::at(8)),
        ]);
        assert_eq!(loaded.records, expected);
    }

    #[test]
    fn positions_of_promtail_are_paths_without_labels() {
        let text = "positions:\n  /var/log/a.log: \"123\"\n  /var/log/b.log: 45\n  journal-x: s=1\n";
        let loaded = parse(text);
        let cursor = Record { value: "s=1".into(), ..Record::default() };
        let expected = BTreeMap::from([
            (key("/var/log/a.log", "{}"), Record::at(123)),
            (key("/var/log/b.log", "{}"), Record::at(45)),
            (key("journal-x", "{}"), cursor),
        ]);
        assert_eq!((loaded.records, loaded.damage), (expected, None));
    }

    #[test]
    fn a_file_of_anything_else_is_damaged_and_an_empty_one_is_not() {
        for text in ["garbage", "positions: 7\n", "\0\0\0\0", "- a\n- b\n", "positions:\n  ? path: /a\n"] {
            let loaded = parse(text);
            assert!(loaded.records.is_empty() && loaded.damage.is_some(), "{text:?}: {loaded:?}");
        }
        for text in ["", "\n", "positions: {}\n", "positions:\n"] {
            assert!(parse(text).damage.is_none(), "{text:?}");
        }
    }

    #[test]
    fn labels_are_written_as_go_writes_them() {
        let labels = Labels::from_pairs([("b", "it's \"x\"\\\n\u{1}\u{7f}"), ("a", "ü\u{200b}\u{e0001}")]);
        assert_eq!(label_text(&labels), "{a=\"ü\\u200b\\U000e0001\", b=\"it's \\\"x\\\"\\\\\\n\\x01\\x7f\"}");
        assert_eq!(label_text(&Labels::empty()), NO_LABELS);
    }

    #[test]
    fn saving_replaces_the_file_and_makes_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/positions.yml");
        for text in ["one", "two"] {
            save(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path().join("x")).unwrap().count(), 1);
    }
}

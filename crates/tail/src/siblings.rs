//! Finds a file again that is not where it was: renamed, copied before it was truncated, or compressed.
//!
//! By inode first, as a rename keeps it; then by content: the head and the bytes before the place that was
//! reached. The names of rotated files say their order, so that files which came and went unseen are found
//! between the one that is known and the one that is there now.

use std::cmp::{Ordering, Reverse};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::handle::{Codec, Handle};
use crate::identity::{FileId, Place};

/// So many files are compared by content at most, the latest first.
const MOST_COMPARED: usize = 64;

/// What lies beside a file.
#[derive(Debug, Default)]
pub struct Siblings {
    all: Vec<Sibling>,
    /// Where the link leads whose files these are.
    chain: Option<(Template, Step)>,
}

/// One file beside another.
#[derive(Clone, Debug)]
pub struct Sibling {
    /// Where.
    pub path: PathBuf,
    /// How it is compressed, as its name says.
    pub codec: Option<Codec>,
    inode: u64,
    turn: Option<Turn>,
    step: Option<Step>,
    related: bool,
}

/// The place of a file among those that a link has led to one after the other: by the numbers in its name,
/// then, where it was rotated itself, before the one without a turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    numbers: Vec<u64>,
    /// `[1]` is the file itself, `[0, …]` those rotated from it.
    turn: Vec<u64>,
}

/// A name whose numbers stand for any numbers.
#[derive(Clone, Debug)]
struct Template(Vec<String>);

/// The place of a rotated file among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// Counted up at each rotation: 1 is the latest.
    Count(u64),
    /// A time, perhaps with a number: the largest is the latest.
    Time(Vec<u64>),
}

/// A file that was found.
pub struct Found {
    /// Open, at its start.
    pub handle: Handle,
    /// Which it is.
    pub id: FileId,
    /// Where.
    pub sibling: Sibling,
}

impl Siblings {
    /// Lists the folders of some paths of one file: that of the target, that behind its links, where it was
    /// last.
    pub fn of(paths: &[&Path], target: Option<&Path>) -> Self {
        let name = target.and_then(|t| t.file_name()?.to_str().map(str::to_string));
        let chain = name.and_then(|name| {
            let template = Template::of(&name)?;
            let step = template.step(&name)?;
            Some((template, step))
        });
        let mut folders: Vec<&Path> = paths.iter().filter_map(|p| p.parent()).collect();
        folders.sort();
        folders.dedup();
        let names: Vec<String> =
            paths.iter().filter_map(|p| Some(p.file_name()?.to_str()?.to_string())).collect();
        let mut out = Vec::new();
        for folder in folders {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            out.extend(entries.flatten().filter_map(|entry| {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    return None;
                }
                let inode = std::os::unix::fs::DirEntryExt::ino(&entry);
                Some(Sibling::new(folder, entry.file_name(), inode, &names, chain.as_ref().map(|c| &c.0)))
            }));
        }
        Self { all: out, chain }
    }

    /// The file of a place, renamed or not.
    pub fn by_id(&self, place: &Place) -> Option<Found> {
        self.all.iter().filter(|s| s.inode == place.id.ino).find_map(|sibling| {
            let mut handle = Handle::open(&sibling.path, None).ok()?;
            let id = handle.id().ok()?;
            // Devices get other numbers when a machine starts; the head says whether it is the same file.
            let same = id.ino == place.id.ino && (id.dev == place.id.dev || place.head.len > 0);
            (same && holds(&mut handle, place)).then(|| Found { handle, id, sibling: sibling.clone() })
        })
    }

    /// A copy of the file of a place that holds what was read of it, compressed or not.
    pub fn by_content(&self, place: &Place, not: &[FileId]) -> Option<Found> {
        if place.head.len == 0 {
            return None;
        }
        let written = |s: &Sibling| std::fs::metadata(&s.path).and_then(|m| m.modified()).ok();
        let mut related: Vec<(Option<SystemTime>, &Sibling)> =
            self.all.iter().filter(|s| s.related).map(|s| (written(s), s)).collect();
        related.sort_by_key(|(time, s)| (s.codec.is_some(), Reverse(*time)));
        related.into_iter().take(MOST_COMPARED).find_map(|(_, sibling)| {
            let mut handle = Handle::open(&sibling.path, sibling.codec).ok()?;
            let id = handle.id().ok()?;
            let wanted = !not.contains(&id) && holds(&mut handle, place);
            wanted.then(|| Found { handle, id, sibling: sibling.clone() })
        })
    }

    /// Files that a link may have led to since it led to a path where nothing of it is left, oldest first.
    pub fn since(&self, path: &Path) -> Vec<Sibling> {
        let Some((template, last)) = &self.chain else { return Vec::new() };
        let step = path.file_name().and_then(|n| template.step(n.to_str()?));
        let Some(step) = step else { return Vec::new() };
        self.steps(|s| s.numbers >= step.numbers && s <= last)
    }

    fn steps(&self, wanted: impl Fn(&Step) -> bool) -> Vec<Sibling> {
        let mut later: Vec<Sibling> =
            self.all.iter().filter(|s| s.step.as_ref().is_some_and(&wanted)).cloned().collect();
        later.sort_by(|a, b| (&a.step, a.codec.is_some()).cmp(&(&b.step, b.codec.is_some())));
        later.dedup_by(|b, a| a.step == b.step);
        later
    }

    /// Rotated files that came after another, oldest first.
    pub fn after(&self, known: &Sibling) -> Vec<Sibling> {
        if let (Some(step), Some((_, last))) = (&known.step, &self.chain) {
            return self.steps(|s| s > step && s <= last);
        }
        let mut later: Vec<Sibling> = self
            .all
            .iter()
            .filter(|s| s.path != known.path && s.order(known) == Some(Ordering::Greater))
            .cloned()
            .collect();
        later.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
        // A file and its compressed twin are there at once while it is being compressed.
        later.dedup_by(|b, a| {
            let twins = a.turn == b.turn;
            if twins && b.codec.is_none() {
                std::mem::swap(a, b);
            }
            twins
        });
        later
    }
}

/// Whether a file is that of a place, as far as content tells.
pub fn holds(handle: &mut Handle, place: &Place) -> bool {
    handle.head(place.head.len as usize).is_ok_and(|head| place.head.heads(&head))
        && handle.has_seam(place.mark.offset, place.mark.seam).unwrap_or(false)
        // Without a seam the size must do.
        && (place.mark.seam.len > 0
            || handle.is_packed()
            || handle.metadata().is_ok_and(|m| m.len() >= place.mark.offset))
}

impl Sibling {
    fn new(folder: &Path, name: OsString, inode: u64, names: &[String], template: Option<&Template>) -> Self {
        let path = folder.join(&name);
        let name = name.to_string_lossy().into_owned();
        let codec = Codec::of_name(&name);
        let plain = if codec.is_some() { name.rsplit_once('.').map_or(&*name, |(n, _)| n) } else { &name };
        let turn = names.iter().find_map(|base| turn_of(base, plain));
        let related = names.iter().any(|base| name != *base && name.starts_with(stem(base)));
        let step = template.and_then(|template| template.step(plain));
        Self { path, codec, inode, turn, step, related }
    }

    /// Which of two rotated files is the later one; `None` where their names do not tell.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self.turn.as_ref()?, other.turn.as_ref()?) {
            (Turn::Count(a), Turn::Count(b)) => Some(b.cmp(a)),
            (Turn::Time(a), Turn::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl Template {
    /// `None` for a name without numbers, whose order nothing tells.
    fn of(name: &str) -> Option<Self> {
        let has_numbers = name.contains(|c: char| c.is_ascii_digit());
        let mut pieces = vec![String::new()];
        let mut in_number = false;
        for c in name.chars() {
            match (c.is_ascii_digit(), in_number) {
                (true, false) => pieces.push(String::new()),
                (false, _) => pieces.last_mut().expect("there is one").push(c),
                (true, true) => {}
            }
            in_number = c.is_ascii_digit();
        }
        has_numbers.then_some(Self(pieces))
    }

    /// The step of a name that is this one with other numbers, or a rotation of such.
    fn step(&self, name: &str) -> Option<Step> {
        let (first, others) = self.0.split_first()?;
        let mut rest = name.strip_prefix(first.as_str())?;
        let mut numbers = Vec::new();
        for piece in others {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            numbers.push(rest[..end].parse().ok()?);
            rest = rest[end..].strip_prefix(piece.as_str())?;
        }
        if rest.is_empty() {
            return Some(Step { numbers, turn: vec![1] });
        }
        let base = &name[..name.len() - rest.len()];
        let turn = match turn_of(base, name)? {
            Turn::Count(count) => vec![0, u64::MAX - count],
            Turn::Time(times) => [vec![0], times].concat(),
        };
        Some(Step { numbers, turn })
    }
}

pub fn stem(name: &str) -> &str {
    name.rsplit_once('.').map(|(stem, _)| stem).filter(|s| !s.is_empty()).unwrap_or(name)
}

/// The turn of `name` as a rotation of `base`: `app.log.3`, `app.log-20260101`, `app-2026-01-01.log`,
/// `app.3.log`, `app.log.old`.
fn turn_of(base: &str, name: &str) -> Option<Turn> {
    let stem = stem(base);
    let between = |start: &str, end: &str| {
        let middle = name.strip_prefix(start)?.strip_suffix(end)?;
        middle.strip_prefix(['.', '-', '_', '@']).filter(|m| !m.is_empty())
    };
    let text = between(base, "").or_else(|| between(stem, &base[stem.len()..]))?;
    if matches!(text, "old" | "bak" | "prev" | "previous") {
        return Some(Turn::Count(1));
    }
    if !text.chars().all(|c| c.is_ascii_digit() || "-_.:+TZtz".contains(c)) {
        return None;
    }
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|n| !n.is_empty())
        .map_while(|n| n.parse().ok())
        .collect();
    match numbers.as_slice() {
        [] => None,
        // No year is this small, and no count as large as a date.
        [count] if text.len() <= 4 => Some(Turn::Count(*count)),
        _ => Some(Turn::Time(numbers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Mark, Print};

    #[test]
    fn names_of_rotated_files_say_their_turn() {
        let count = |n| Some(Turn::Count(n));
        let time = |n: &[u64]| Some(Turn::Time(n.to_vec()));
        for (base, name, expected) in [
            ("app.log", "app.log.3", count(3)),
            ("app.log", "app.3.log", count(3)),
            ("app.log", "app.log.old", count(1)),
            ("app.log", "app.log-20260102", time(&[20_260_102])),
            ("app.log", "app.log-20260102-1767312000", time(&[20_260_102, 1_767_312_000])),
            ("app.log", "app-2026-01-02.log", time(&[2026, 1, 2])),
            ("app.log", "app-2026-01-02T10-00-00.000.log", time(&[2026, 1, 2, 10, 0, 0, 0])),
            ("0.log", "0.log.20260102-101500", time(&[20_260_102, 101_500])),
            ("syslog", "syslog.1", count(1)),
            ("app.log", "app.log", None),
            ("app.log", "app.login", None),
            ("app.log", "app.log.", None),
            ("app.log", "app-web.log", None),
            ("app.log", "app2.log", None),
            ("app.log", "other.log.1", None),
        ] {
            assert_eq!(turn_of(base, name), expected, "{name} of {base}");
        }
    }

    fn names(siblings: &[Sibling]) -> Vec<&str> {
        siblings.iter().map(|s| s.path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn what_came_after_a_rotated_file_is_found_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.log", "a.log.1", "a.log.2.gz", "a.log.2", "a.log.3.gz", "a.log.10", "b.log.1"] {
            std::fs::write(at(name), name).unwrap();
        }
        let siblings = Siblings::of(&[&at("a.log")], None);
        let known = siblings.all.iter().find(|s| s.path == at("a.log.10")).unwrap();
        assert_eq!(names(&siblings.after(known)), ["a.log.3.gz", "a.log.2", "a.log.1"]);
        let latest = siblings.all.iter().find(|s| s.path == at("a.log.1")).unwrap();
        assert!(siblings.after(latest).is_empty());
    }

    #[test]
    fn files_that_a_link_has_led_to_are_known_by_the_numbers_in_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "0.log.20260101-000000.gz",
            "0.log.20260102-000000",
            "0.log",
            "1.log.20260103-000000",
            "1.log",
            "2.log",
            "10.log",
            "x.log",
        ] {
            std::fs::write(at(name), name).unwrap();
        }
        let siblings = Siblings::of(&[&at("0.log")], Some(&at("2.log")));
        let known = siblings.all.iter().find(|s| s.path == at("0.log.20260101-000000.gz")).unwrap();
        let expected = ["0.log.20260102-000000", "0.log", "1.log.20260103-000000", "1.log", "2.log"];
        assert_eq!(names(&siblings.after(known)), expected);
        assert_eq!(names(&siblings.since(&at("1.log"))), ["1.log.20260103-000000", "1.log", "2.log"]);
        assert!(Siblings::of(&[&at("x.log")], Some(&at("x.log"))).since(&at("0.log")).is_empty());
    }

    #[test]
    fn a_file_is_found_by_inode_or_by_content_and_by_neither_if_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.log"), "one\ntwo\n").unwrap();
        let id = FileId::of(&std::fs::metadata(at("a.log")).unwrap());
        let mark = Mark { offset: 4, seam: Print::of(b"one\n"), records: 0 };
        let place = Place { id, head: Print::of(b"one\n"), mark, path: at("a.log") };
        std::fs::rename(at("a.log"), at("strange")).unwrap();
        let siblings = Siblings::of(&[&at("a.log")], None);
        assert_eq!(siblings.by_id(&place).unwrap().sibling.path, at("strange"));
        let after_boot = Place { id: FileId { dev: 999, ..id }, ..place.clone() };
        assert!(siblings.by_id(&after_boot).is_some());
        assert!(siblings.by_content(&place, &[]).is_none(), "its name has nothing to do with it");

        std::fs::write(at("strange"), "one\n2\n").unwrap();
        std::fs::write(at("a.log.1"), "one\ntwo\n").unwrap();
        std::fs::write(at("a.log.2"), "1\ntwo\n").unwrap();
        let siblings = Siblings::of(&[&at("a.log")], None);
        assert_eq!(siblings.by_content(&place, &[]).unwrap().sibling.path, at("a.log.1"));
        let copy = FileId::of(&std::fs::metadata(at("a.log.1")).unwrap());
        assert!(siblings.by_content(&place, &[copy]).is_none());
        std::fs::write(at("strange"), "another file\n").unwrap();
        assert!(Siblings::of(&[&at("a.log")], None).by_id(&place).is_none(), "the inode was given again");
    }
}

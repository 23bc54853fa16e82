//! How far a journal was read: for systemd and Alloy a cursor, for us each file's last entry.
//!
//! A cursor names one entry; what is in other files comes before or after it by the clock. Clocks go back, and
//! journals of several machines in one folder have several. So beside the cursor stands how far each file was read:
//! its entries have numbers that only grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::header::Id;

/// The last entry that was read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its number.
    pub number: u64,
    /// Its time in microseconds.
    pub time: u64,
}

/// How far a journal was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The last entry.
    pub cursor: Option<Cursor>,
    /// By file.
    pub files: BTreeMap<Id, Read>,
}

/// An entry as systemd names it. Parts that are not known are left out: systemd finds it by the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// `s`: whose number it is.
    pub sequence: Option<Id>,
    /// `i`: its number.
    pub number: Option<u64>,
    /// `b`: the boot.
    pub boot: Option<Id>,
    /// `m`: microseconds since the boot.
    pub monotonic: Option<u64>,
    /// `t`: microseconds since the Unix epoch.
    pub time: Option<u64>,
}

impl Cursor {
    /// Reads `s=…;i=…;b=…;m=…;t=…;x=…`, in any order and number.
    pub fn parse(text: &str) -> Option<Self> {
        let mut cursor = Self::default();
        for part in text.trim().split(';') {
            let (name, value) = part.split_once('=')?;
            let number = || u64::from_str_radix(value, 16).ok();
            match name {
                "s" => cursor.sequence = Some(id(value)?),
                "i" => cursor.number = Some(number()?),
                "b" => cursor.boot = Some(id(value)?),
                "m" => cursor.monotonic = Some(number()?),
                "t" => cursor.time = Some(number()?),
                // The hash of the entry's fields; nothing is found by it alone.
                _ => {}
            }
        }
        cursor.time.is_some().then_some(cursor)
    }

    /// As systemd writes it, without the hash.
    pub fn render(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.sequence.map(|s| format!("s={}", const_hex::encode(s))));
        parts.extend(self.number.map(|i| format!("i={i:x}")));
        parts.extend(self.boot.map(|b| format!("b={}", const_hex::encode(b))));
        parts.extend(self.monotonic.map(|m| format!("m={m:x}")));
        parts.extend(self.time.map(|t| format!("t={t:x}")));
        parts.join(";")
    }
}

fn id(text: &str) -> Option<Id> {
    const_hex::decode_to_array(text).ok()
}

impl Place {
    /// Of a cursor alone.
    pub fn at(cursor: Cursor) -> Self {
        Self { cursor: Some(cursor), files: BTreeMap::new() }
    }

    /// `cursor file=number.time file=number.time …`
    pub fn render(&self) -> String {
        let mut out = self.cursor.map(|c| c.render()).unwrap_or_default();
        for (file, read) in &self.files {
            let _ = write!(out, " {}={:x}.{:x}", const_hex::encode(file), read.number, read.time);
        }
        out
    }

    /// Reads what [`Place::render`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let cursor = Some(Cursor::parse(words.next()?)?);
        let mut files = BTreeMap::new();
        for word in words {
            let (file, read) = word.split_once('=')?;
            let (number, time) = read.split_once('.')?;
            let read = Read {
                number: u64::from_str_radix(number, 16).ok()?,
                time: u64::from_str_radix(time, 16).ok()?,
            };
            files.insert(id(file)?, read);
        }
        Some(Self { cursor, files })
    }
}

/// Reads any text as a place, and what is written of it; for `tests/fuzz/fuzz_targets/log_places.rs` only.
pub(super) fn read_arbitrary(text: &str) {
    let _ = Cursor::parse(text);
    if let Some(place) = Place::parse(text) {
        assert_eq!(Place::parse(&place.render()), Some(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_of_systemd_are_read_and_written_but_for_the_hash() {
        let of_systemd = "s=739ad463348b4ceca5a9e69c95a3c93f;i=4ece7;b=6c7c6013a26343b29e964691ff25d04c;\
                          m=4fc72436e;t=4c508a72423d9;x=d3e5610681098c10";
        let cursor = Cursor::parse(of_systemd).unwrap();
        assert_eq!((cursor.number, cursor.time), (Some(0x4ece7), Some(0x4_c508_a724_23d9)));
        assert_eq!(format!("{};x=d3e5610681098c10", cursor.render()), of_systemd);
        assert!(Cursor::parse("t=4c508a72423d9").is_some());
        for bad in ["", "x", "s=1;t=1", "t=zz", "i=1"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_place_is_read_back() {
        let cursor = Cursor { number: Some(7), time: Some(9), ..Cursor::default() };
        let files =
            BTreeMap::from([([1; 16], Read { number: 7, time: 9 }), ([2; 16], Read { number: 3, time: 4 })]);
        let place = Place { cursor: Some(cursor), files };
        assert_eq!(Place::parse(&place.render()), Some(place));
        assert_eq!(Place::parse("t=1 xyz"), None);
    }
}

//! Which bytes of a file make which characters, and what ends a line in them.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How a file is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8: lines are borrowed, not decoded.
    Utf8,
    /// Bytes are code points.
    Latin1,
    /// Two bytes a unit.
    Utf16 {
        /// Which byte comes first.
        big_endian: bool,
    },
    /// Anything else in which a line feed is the byte 10 and nothing else is.
    Other(&'static Encoding),
}

impl Charset {
    /// The charset of a name of IANA; the empty one is UTF-8.
    ///
    /// # Errors
    /// If there is none of this name, or none that is supported.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" => return Ok(Self::Utf8),
            // What has no mark is big-endian, as RFC 2781 says and Go's ianaindex does.
            "utf-16" | "utf16" | "utf-16be" | "utf16be" | "csutf16" | "csutf16be" => {
                return Ok(Self::Utf16 { big_endian: true });
            }
            // WHATWG's labels make windows-1252 of it, IANA's do not.
            "iso-8859-1" | "iso_8859-1" | "iso_8859-1:1987" | "iso-ir-100" | "latin1" | "l1" | "ibm819"
            | "cp819" | "csisolatin1" => return Ok(Self::Latin1),
            _ => {}
        }
        match Encoding::for_label(name.as_bytes()) {
            Some(encoding) if encoding == UTF_8 => Ok(Self::Utf8),
            Some(encoding) if encoding == UTF_16LE => Ok(Self::Utf16 { big_endian: false }),
            Some(encoding) if encoding == UTF_16BE => Ok(Self::Utf16 { big_endian: true }),
            Some(encoding) if encoding.is_ascii_compatible() => Ok(Self::Other(encoding)),
            Some(encoding) => Err(format!("the encoding {} is not supported", encoding.name())),
            None => Err(format!("there is no encoding {name:?} or it is not supported")),
        }
    }

    /// What a byte-order mark at the head of a file says: the charset and the mark's length. A mark wins over
    /// what was configured.
    pub fn of_mark(self, head: &[u8]) -> (Self, usize) {
        match Encoding::for_bom(head) {
            Some((encoding, len)) if encoding == UTF_16LE => (Self::Utf16 { big_endian: false }, len),
            Some((encoding, len)) if encoding == UTF_16BE => (Self::Utf16 { big_endian: true }, len),
            Some((_, len)) => (Self::Utf8, len),
            None => (self, 0),
        }
    }

    /// Bytes of the smallest unit.
    pub fn unit(self) -> usize {
        if matches!(self, Self::Utf16 { .. }) { 2 } else { 1 }
    }

    /// The text of a line, and whether all of it could be decoded; what could not is U+FFFD.
    pub fn decode(self, line: &[u8]) -> (Cow<'_, str>, bool) {
        match self {
            Self::Utf8 => match std::str::from_utf8(line) {
                Ok(text) => (text.into(), true),
                Err(_) => (String::from_utf8_lossy(line), false),
            },
            Self::Latin1 => (encoding_rs::mem::decode_latin1(line), true),
            Self::Utf16 { big_endian } => {
                let encoding = if big_endian { UTF_16BE } else { UTF_16LE };
                let (text, failed) = encoding.decode_without_bom_handling(line);
                (text, !failed)
            }
            Self::Other(encoding) => {
                let (text, failed) = encoding.decode_without_bom_handling(line);
                (text, !failed)
            }
        }
    }

    /// The next line feed in `bytes`: where it starts and where it ends. `bytes` starts at a whole unit.
    pub fn next_feed(self, bytes: &[u8]) -> Option<(usize, usize)> {
        let Self::Utf16 { big_endian } = self else {
            return memchr::memchr(b'\n', bytes).map(|i| (i, i + 1));
        };
        memchr::memchr_iter(b'\n', bytes).find_map(|i| feed16(bytes, i, big_endian))
    }

    /// The last line feed in `bytes`, as [`Charset::next_feed`].
    pub fn last_feed(self, bytes: &[u8]) -> Option<(usize, usize)> {
        let Self::Utf16 { big_endian } = self else {
            return memchr::memrchr(b'\n', bytes).map(|i| (i, i + 1));
        };
        memchr::memrchr_iter(b'\n', bytes).find_map(|i| feed16(bytes, i, big_endian))
    }

    /// A line without the carriage return at its end.
    pub fn without_return(self, line: &[u8]) -> &[u8] {
        match self {
            Self::Utf16 { big_endian: true } => line.strip_suffix(b"\0\r").unwrap_or(line),
            Self::Utf16 { big_endian: false } => line.strip_suffix(b"\r\0").unwrap_or(line),
            _ => line.strip_suffix(b"\r").unwrap_or(line),
        }
    }

    /// Whether bytes end with a whole character that is no NUL.
    pub fn is_whole(self, bytes: &[u8]) -> bool {
        match self {
            Self::Utf8 => {
                let tail = &bytes[bytes.len().saturating_sub(3)..];
                let cut = (0..tail.len()).any(|i| {
                    std::str::from_utf8(&tail[i..])
                        .is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
                });
                !cut && bytes.last() != Some(&0)
            }
            Self::Utf16 { .. } => bytes.len().is_multiple_of(2) && !bytes.ends_with(&[0, 0]),
            Self::Latin1 | Self::Other(_) => bytes.last() != Some(&0),
        }
    }

    /// Where a line of more than `max` bytes may be cut: not inside of a character, as far as one can tell, and never
    /// where it begins.
    pub fn cut(self, line: &[u8], max: usize) -> usize {
        match self {
            Self::Utf8 => {
                let begins = |i: &usize| line[*i] & 0xC0 != 0x80;
                (max.saturating_sub(3).max(1)..=max).rev().find(begins).unwrap_or(max)
            }
            Self::Utf16 { big_endian } => {
                let max = (max & !1).max(2);
                // A low surrogate belongs to what is before it. Of a file that ends in the middle of a unit the byte that
                // tells may not be there.
                let high_byte = line.get(if big_endian { max } else { max + 1 });
                let low = high_byte.is_some_and(|byte| (0xDC..0xE0).contains(byte));
                if low && max > 2 { max - 2 } else { max }
            }
            Self::Latin1 | Self::Other(_) => max,
        }
    }
}

fn feed16(bytes: &[u8], i: usize, big_endian: bool) -> Option<(usize, usize)> {
    let start = if big_endian { i.checked_sub(1)? } else { i };
    let other = if big_endian { start } else { i + 1 };
    (start.is_multiple_of(2) && bytes.get(other) == Some(&0)).then_some((start, start + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_between_characters_and_gets_on_whatever_the_bytes_are() {
        let (little, big) = (Charset::Utf16 { big_endian: false }, Charset::Utf16 { big_endian: true });
        for (charset, line, max, expected) in [
            (Charset::Utf8, &b"ab\xC3\xA4c"[..], 3, 2),
            (Charset::Utf8, b"\xC3\xA4b", 1, 1),
            (Charset::Utf8, b"\x80\x80\x80\x80\x80\x80", 5, 5),
            (little, b"a\0b\0\x3D\xD8\x00\xDE", 6, 4),
            (big, b"\0a\0b\xD8\x3D\xDE\x00", 6, 4),
            (little, b"a\0b\0c", 4, 4),
            (little, b"a\0b", 1, 2),
            (big, b"\0a\xDE\x00", 2, 2),
            (Charset::Latin1, b"abc", 2, 2),
        ] {
            assert_eq!(charset.cut(line, max), expected, "{charset:?} {line:?}");
        }
    }

    #[test]
    fn names_of_iana_are_known_and_others_refused() {
        let utf16 = |big_endian| Charset::Utf16 { big_endian };
        for (name, expected) in [
            ("", Charset::Utf8),
            ("UTF-8", Charset::Utf8),
            ("utf-16", utf16(true)),
            ("UTF-16BE", utf16(true)),
            ("UTF-16LE", utf16(false)),
            ("ISO-8859-1", Charset::Latin1),
            ("windows-1252", Charset::Other(encoding_rs::WINDOWS_1252)),
            ("Shift_JIS", Charset::Other(encoding_rs::SHIFT_JIS)),
            ("KOI8-R", Charset::Other(encoding_rs::KOI8_R)),
            ("GB18030", Charset::Other(encoding_rs::GB18030)),
        ] {
            assert_eq!(Charset::named(name), Ok(expected), "{name}");
        }
        for name in ["klingon", "ISO-2022-JP", "UTF-7"] {
            assert!(Charset::named(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_mark_wins_over_what_was_configured() {
        for (head, expected) in [
            (&b"\xEF\xBB\xBFa"[..], (Charset::Utf8, 3)),
            (b"\xFF\xFEa\0", (Charset::Utf16 { big_endian: false }, 2)),
            (b"\xFE\xFF\0a", (Charset::Utf16 { big_endian: true }, 2)),
            (b"abc", (Charset::Latin1, 0)),
            (b"", (Charset::Latin1, 0)),
        ] {
            assert_eq!(Charset::Latin1.of_mark(head), expected, "{head:?}");
        }
    }

    #[test]
    fn a_line_feed_of_two_bytes_is_found_only_at_a_whole_unit() {
        // U+0A00 and U+000A, then U+010A.
        let little = [0x00, 0x0A, 0x0A, 0x00, 0x0A, 0x01];
        assert_eq!(Charset::Utf16 { big_endian: false }.next_feed(&little), Some((2, 4)));
        let big = [0x0A, 0x00, 0x00, 0x0A, 0x01, 0x0A];
        assert_eq!(Charset::Utf16 { big_endian: true }.next_feed(&big), Some((2, 4)));
        assert_eq!(Charset::Utf16 { big_endian: true }.last_feed(&big), Some((2, 4)));
    }

    #[test]
    fn what_ends_inside_of_a_character_or_with_a_hole_is_not_whole() {
        for (text, expected) in [
            (&b"abc"[..], true),
            (b"", true),
            ("aé€".as_bytes(), true),
            (&"aé€".as_bytes()[..5], false),
            (&"aé".as_bytes()[..2], false),
            (b"a\xFF", true),
            (b"a\0", false),
        ] {
            assert_eq!(Charset::Utf8.is_whole(text), expected, "{text:?}");
        }
        let utf16 = Charset::Utf16 { big_endian: true };
        assert!(utf16.is_whole(b"\0a") && !utf16.is_whole(b"\0a\0"));
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        assert_eq!(Charset::Utf8.cut("aaé€".as_bytes(), 3), 2);
        assert_eq!(Charset::Utf8.cut("aaé€".as_bytes(), 4), 4);
        assert_eq!(Charset::Utf8.cut(&[0xFF; 9], 4), 4);
        // U+1F600 is D83D DE00.
        let smile = [0, b'a', 0xD8, 0x3D, 0xDE, 0x00];
        assert_eq!(Charset::Utf16 { big_endian: true }.cut(&smile, 4), 2);
        assert_eq!(Charset::Utf16 { big_endian: true }.cut(&smile, 3), 2);
    }
}

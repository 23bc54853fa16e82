//! Bytes of a file → text: UTF-8 or nothing.

use crate::diagnostic::Diagnostic;
use crate::span::{Source, Span};

const HELP: &str = "save the file as UTF-8";

/// Takes the bytes of a file. A UTF-8 byte order mark at the start is dropped; UTF-16 and UTF-32 (told by
/// their byte order mark) and invalid UTF-8 are refused.
pub fn decode(bytes: &[u8], name: impl Into<String>) -> Result<Source, Diagnostic> {
    let name = name.into();
    let foreign = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ => None,
    };
    if let Some(encoding) = foreign {
        let message = format!("{name} is encoded in {encoding}");
        return Err(Diagnostic::plain("encoding", message).with_help(HELP));
    }
    if u32::try_from(bytes.len()).is_err() {
        return Err(Diagnostic::plain("encoding", format!("{name} is larger than 4 GiB")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            // The replacement text is the same up to the first bad byte, which becomes U+FFFD.
            let source = Source::new(name, String::from_utf8_lossy(bytes));
            let start = error.valid_up_to() as u32;
            let span = Span::new(start, start + char::REPLACEMENT_CHARACTER.len_utf8() as u32);
            Err(Diagnostic::error("encoding", "these bytes are not valid UTF-8", &source, span)
                .with_help(HELP))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_is_taken() {
        assert_eq!(decode(b"a = 1", "f").expect("plain").text(), "a = 1");
        assert_eq!(decode(b"\xef\xbb\xbfa = 1", "f").expect("with mark").text(), "a = 1");
        for (bytes, want) in [
            (&b"\xff\xfea\0"[..], "f is encoded in UTF-16"),
            (b"\xfe\xff\0a", "f is encoded in UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "f is encoded in UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a", "f is encoded in UTF-32"),
            (b"a = \"\xe9\"", "these bytes are not valid UTF-8"),
        ] {
            assert_eq!(decode(bytes, "f").expect_err(want).message, want);
        }
        let place = decode(b"\n\xc3\xa9 \xe9", "f").expect_err("latin-1").location.expect("a place");
        assert_eq!((place.line_column().line, place.line_column().column), (2, 3));
    }
}

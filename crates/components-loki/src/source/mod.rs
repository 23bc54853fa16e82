//! Where logs come from; the folder of each source is the last part of its name.

pub mod api;
pub mod awsfirehose;
mod cursors;
pub mod docker;
pub mod file;
pub mod heroku;
mod http_intake;
pub mod journal;
mod outlet;

use bytes::Bytes;
use bytestring::ByteString;

/// A line as text; it stays where it was read to. What is not UTF-8 is replaced, as in Loki's own clients.
pub(crate) fn text(line: Bytes) -> ByteString {
    match ByteString::try_from(line.clone()) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(&line).into_owned().into(),
    }
}

/// Without the line ends behind it.
pub(crate) fn trim_line_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &line[..end]
}

//! `loki.source.*`: where log lines come from, and what several of them share.

pub mod api;
pub mod awsfirehose;
#[cfg(test)]
mod bench;
pub mod cursors;
pub mod docker;
pub mod file;
pub mod gelf;
mod hand_over;
pub mod heroku;
mod http_intake;
pub mod journal;
pub mod outlet;
mod pauses;
pub mod syslog;

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

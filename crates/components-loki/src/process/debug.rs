//! What `loki.process` tells those who watch it live.

use std::fmt::Write as _;

use signal::Logs;

use super::pipeline::Piece;

/// How many entries are shown of what came in, and of what went out.
const SHOWN: usize = 100;

/// Entries in and out, one a line.
pub fn render(batch: &Logs, pieces: &[Piece]) -> String {
    let mut out = String::new();
    let went: usize = pieces.iter().map(|piece| piece.batch.len()).sum();
    let _ = writeln!(out, "{} entries in, {went} out", batch.len());
    entries(&mut out, "IN", std::iter::once(batch));
    entries(&mut out, "OUT", pieces.iter().map(|piece| &piece.batch));
    out
}

fn entries<'a>(out: &mut String, direction: &str, batches: impl Iterator<Item = &'a Logs>) {
    for (batch, entry) in batches.flat_map(|b| b.entries.iter().map(move |e| (b, e))).take(SHOWN) {
        let _ = write!(
            out,
            "[{direction}]: timestamp: {}, entry: {:?}, labels: {}",
            entry.timestamp_ns,
            &*entry.line,
            batch.labels(entry)
        );
        match &entry.metadata {
            Some(metadata) => {
                let _ = writeln!(out, ", structured_metadata: {metadata}");
            }
            None => out.push('\n'),
        }
    }
}

//! `_created` series of OpenMetrics text as start times of the samples that they belong to.
//!
//! They stand behind the samples of their labels, so the parser looks ahead to the next one, once for all
//! samples before it: the body is read at most twice. As prometheus/model/textparse:
//! `OpenMetricsParser.StartTimestamp`.

use signal::MetricKind;

use super::series::{metric_name, walk};
use super::text::{Dialect, TextParser};
use super::{Event, Sample};

/// Types whose samples may have a `_created` series.
pub(super) fn kind_has_start(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Counter | MetricKind::Histogram | MetricKind::Summary)
}

/// What the last look ahead has found.
#[derive(Debug, Default)]
pub(super) struct CreatedSeries {
    /// Samples that end at or before this position of the body are answered from `found`.
    valid_to: usize,
    found: Option<Found>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Found {
    identity: Vec<u8>,
    start_ms: i64,
}

impl CreatedSeries {
    /// The start of a series whose sample `parser` has just read; 0 where unknown.
    pub(super) fn start_of(&mut self, parser: &TextParser<'_>, raw: &[u8]) -> i64 {
        if !kind_has_start(parser.kind()) {
            return 0;
        }
        if parser.pos() > self.valid_to {
            self.look_ahead(parser);
        }
        let Some(found) = &self.found else { return 0 };
        let mut identity = std::mem::take(&mut self.scratch);
        identity.clear();
        write_identity(raw, parser.kind(), &mut identity);
        let start = if identity == found.identity { found.start_ms } else { 0 };
        self.scratch = identity;
        start
    }

    fn look_ahead(&mut self, parser: &TextParser<'_>) {
        let mut ahead = parser.lookahead();
        self.found = None;
        // Another family, the end or an error: there is none for what stands before.
        while let Ok(Some(Event::Sample(Sample { raw, value, .. }))) = ahead.next(|_| None) {
            if metric_name(raw).is_some_and(|n| n.ends_with(b"_created")) {
                let mut identity = Vec::new();
                write_identity(raw, parser.kind(), &mut identity);
                // Times are in seconds throughout OpenMetrics.
                self.found = Some(Found { identity, start_ms: (value * 1000.0) as i64 });
                break;
            }
        }
        self.valid_to = ahead.pos().max(parser.pos());
    }
}

/// Family name and labels without those that only some series of a metric have.
fn write_identity(raw: &[u8], kind: MetricKind, out: &mut Vec<u8>) {
    let (suffixes, except): (&[&[u8]], &[u8]) = match kind {
        MetricKind::Counter => (&[b"_total"], b""),
        MetricKind::Histogram => (&[b"_bucket", b"_count", b"_sum"], b"le"),
        _ => (&[b"_count", b"_sum"], b"quantile"),
    };
    if let Some(name) = metric_name(raw) {
        let family = std::iter::once(&b"_created"[..])
            .chain(suffixes.iter().copied())
            .find_map(|s| name.strip_suffix(s));
        out.extend_from_slice(family.unwrap_or(name));
    }
    // The parser has checked the text, or will fail on it itself.
    let _ = walk(Dialect::OpenMetrics, raw, false, |name, value| {
        if name.bytes() != except {
            out.push(0xff);
            out.extend_from_slice(name.bytes());
            out.push(0xff);
            out.extend_from_slice(value.bytes());
        }
        Ok(())
    });
}

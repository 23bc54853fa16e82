//! Writes `push.v1.PushRequest`. It is one repeated field, so that the bytes of several requests, one after the
//! other, are their union.

use signal::Labels;
use signal::profiles::Pprof;

use crate::proto::{push_bytes_field, push_varint, varint_len};

/// `PushRequest.series`.
const TAG_SERIES: u8 = 0x0a;
/// `RawProfileSeries.samples`; its labels are encoded as those of a time series are, tag included.
const TAG_SAMPLE: u8 = 0x12;
/// Fields of `RawSample`.
const RAW_PROFILE: u32 = 1;
const ID: u32 = 2;

/// Bytes that [`push_series`] appends.
pub fn series_len<'a>(labels: &Labels, samples: impl Iterator<Item = &'a Pprof>) -> usize {
    delimited(inner_len(labels, samples))
}

fn inner_len<'a>(labels: &Labels, samples: impl Iterator<Item = &'a Pprof>) -> usize {
    labels.wire_bytes().len() + samples.map(|sample| delimited(sample_len(sample))).sum::<usize>()
}

fn sample_len(sample: &Pprof) -> usize {
    let field = |len: usize| if len == 0 { 0 } else { delimited(len) };
    field(sample.raw.len()) + field(sample.id.len())
}

/// With a tag of one byte and the length.
fn delimited(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a series: the samples that have these labels.
pub fn push_series<'a>(out: &mut Vec<u8>, labels: &Labels, samples: impl Iterator<Item = &'a Pprof> + Clone) {
    let inner = inner_len(labels, samples.clone());
    out.reserve(delimited(inner));
    out.push(TAG_SERIES);
    push_varint(out, inner as u64);
    out.extend_from_slice(labels.wire_bytes());
    for sample in samples {
        out.push(TAG_SAMPLE);
        push_varint(out, sample_len(sample) as u64);
        if !sample.raw.is_empty() {
            push_bytes_field(out, RAW_PROFILE, &sample.raw);
        }
        if !sample.id.is_empty() {
            push_bytes_field(out, ID, sample.id.as_bytes());
        }
    }
}

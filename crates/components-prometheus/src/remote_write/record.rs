//! What the queue of an endpoint holds: a small head with counts, then one snappy block.
//!
//! Layout: samples, histograms, exemplars as `u32` little endian, then the compressed message. Counts stand
//! outside of the block so that metrics need no decompression; a record alone in a request is sent without
//! copying.

use bytes::Bytes;
use delivery::Record;
use wire::compress::{Encoding, SnappyEncoder, decompress};
use wire::remote_write::{Counts, Message, V1Encoder, decode, merge_v1, merge_v2};

/// Bytes before the block.
pub(super) const HEAD: usize = 12;
/// What a record may be when it is decompressed; a batch is far smaller.
const MOST_BYTES: usize = 256 << 20;

/// Tags of records.
pub(super) const KIND_V1: u8 = 1;
pub(super) const KIND_V2: u8 = 2;
pub(super) const KIND_METADATA: u8 = 3;

/// Begins a record's body.
pub(super) fn put_head(counts: Counts, out: &mut Vec<u8>) {
    for count in [counts.samples, counts.histograms, counts.exemplars] {
        out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// Reads a record's counts; metadata records count their families as items.
pub(super) fn counts(record: &Record) -> Counts {
    let word = |i: usize| {
        let bytes = record.body.get(i * 4..i * 4 + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    let metadata = if record.kind == KIND_METADATA { record.items as usize } else { 0 };
    Counts { samples: word(0), histograms: word(1), exemplars: word(2), metadata }
}

/// All counts of several records.
pub(super) fn total(records: &[Record]) -> Counts {
    let mut sum = Counts::default();
    for record in records {
        sum += counts(record);
    }
    sum
}

/// The message that a record's kind says.
pub(super) fn message(kind: u8) -> Message {
    if kind == KIND_V2 { Message::V2 } else { Message::V1 }
}

/// The uncompressed message of a record.
pub(super) fn open(record: &Record) -> Result<Vec<u8>, String> {
    let block = record.body.get(HEAD..).ok_or("the record is shorter than its head")?;
    let mut out = Vec::new();
    decompress(Encoding::Snappy, block, MOST_BYTES, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// The compressed body of one request for records of one kind. `as_v1` turns version 2 into version 1, for
/// an endpoint that has turned out not to know version 2.
pub(super) fn body(records: &[Record], as_v1: bool) -> Result<Bytes, String> {
    let convert = as_v1 && records.iter().any(|r| r.kind == KIND_V2);
    if let [only] = records
        && !convert
    {
        return only.body.get(HEAD..).map(|_| only.body.slice(HEAD..)).ok_or_else(|| "the record is empty".into());
    }
    let mut opened = Vec::with_capacity(records.len());
    for record in records {
        opened.push(if convert { to_v1(&open(record)?)? } else { open(record)? });
    }
    let bodies: Vec<&[u8]> = opened.iter().map(Vec::as_slice).collect();
    let mut merged = Vec::with_capacity(bodies.iter().map(|b| b.len()).sum());
    if message(records[0].kind) == Message::V2 && !convert {
        merge_v2(&bodies, &mut merged).map_err(|e| e.to_string())?;
    } else {
        merge_v1(&bodies, &mut merged);
    }
    let mut out = Vec::new();
    SnappyEncoder::new().compress(&merged, &mut out).map_err(|e| e.to_string())?;
    Ok(out.into())
}

fn to_v1(v2: &[u8]) -> Result<Vec<u8>, String> {
    let received = decode(Message::V2, v2, MOST_BYTES).map_err(|e| e.to_string())?;
    let mut encoder = V1Encoder::new();
    let options = wire::remote_write::Options { max_samples: usize::MAX, ..Default::default() };
    let mut requests = encoder.requests(&received.batch, options);
    let mut out = Vec::new();
    while requests.next(&mut out).is_some() {}
    Ok(out)
}

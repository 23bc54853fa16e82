//! What the queue of an endpoint holds: a small head with counts, then one snappy block.
//!
//! Layout: samples, histograms, exemplars as `u32` little endian, then the compressed message. Counts stand
//! outside of the block so that metrics need no decompression; a record alone in a request is sent without
//! copying.

use bytes::Bytes;
use delivery::Record;
use wire::compress::{Encoding, SnappyEncoder, decompress};
use wire::remote_write::{Counts, Message, V1Encoder, decode, merge_v2};

/// Bytes before the block.
pub(super) const HEAD: usize = 12;
/// What a record may be when it is decompressed; a batch is far smaller.
pub(super) const MOST_BYTES: usize = 256 << 20;

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

/// The compressed message of a record.
fn block(record: &Record) -> Result<&[u8], String> {
    record.body.get(HEAD..).ok_or_else(|| "the record is shorter than its head".into())
}

/// The uncompressed message of a record.
pub(super) fn open(record: &Record) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    decompress(Encoding::Snappy, block(record)?, MOST_BYTES, &mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// The compressed body of one request for records of one kind. `as_v1` turns version 2 into version 1, for
/// an endpoint that has turned out not to know version 2.
pub(super) fn body(records: &[Record], as_v1: bool) -> Result<Bytes, String> {
    let is_v2 = message(records[0].kind) == Message::V2;
    match records {
        [only] if !(is_v2 && as_v1) => Ok(only.body.slice(block(only).map(|_| HEAD..)?)),
        several if !is_v2 => {
            let blocks: Result<Vec<_>, _> = several.iter().map(block).collect();
            join_blocks(&blocks?)
        }
        several => {
            let opened: Result<Vec<_>, _> = several.iter().map(open).collect();
            merge_opened(&opened?, as_v1)
        }
    }
}

fn merge_opened(opened: &[Vec<u8>], as_v1: bool) -> Result<Bytes, String> {
    let mut merged = Vec::with_capacity(opened.iter().map(Vec::len).sum());
    if as_v1 {
        opened.iter().try_for_each(|body| to_v1(body, &mut merged))?;
    } else {
        let bodies: Vec<&[u8]> = opened.iter().map(Vec::as_slice).collect();
        merge_v2(&bodies, &mut merged).map_err(|e| e.to_string())?;
    }
    let mut out = Vec::new();
    SnappyEncoder::new().compress(&merged, &mut out).map_err(|e| e.to_string())?;
    Ok(out.into())
}

/// Several blocks of version 1 as one, without looking inside: the message of joined bodies is their
/// concatenation, and so is the block. A snappy block is the length of what comes out, then elements that
/// refer back only by distance (format_description.txt of google/snappy), so elements may follow others.
fn join_blocks(blocks: &[&[u8]]) -> Result<Bytes, String> {
    let mut length = 0;
    let mut elements = Vec::with_capacity(blocks.len());
    for block in blocks {
        let (len, rest) = split_length(block).ok_or("a block does not tell its length")?;
        length += len;
        elements.push(rest);
    }
    let mut length = u32::try_from(length).map_err(|_| "the request would exceed 4 GiB")?;
    let mut out = Vec::with_capacity(5 + elements.iter().map(|e| e.len()).sum::<usize>());
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    elements.iter().for_each(|e| out.extend_from_slice(e));
    Ok(out.into())
}

/// The varint that a snappy block begins with, and its elements.
fn split_length(block: &[u8]) -> Option<(u64, &[u8])> {
    let mut length = 0;
    for (i, byte) in block.iter().enumerate().take(5) {
        length |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((length, &block[i + 1..]));
        }
    }
    None
}

fn to_v1(v2: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let received = decode(Message::V2, v2, MOST_BYTES).map_err(|e| e.to_string())?;
    let mut encoder = V1Encoder::new();
    let options = wire::remote_write::Options { max_samples: usize::MAX, ..Default::default() };
    let mut requests = encoder.requests(&received.batch, options);
    while requests.next(out).is_some() {}
    Ok(())
}

/// Reads any bytes as a record of a queue; for `tests/fuzz/fuzz_targets/queue_records.rs` only.
pub(super) fn read_arbitrary(kind: u8, body: Bytes) {
    let record = Record { body, items: 1, key: 0, group: 0, created_ms: 0, newest_ms: 0, kind };
    let _ = counts(&record);
    for records in [&[record.clone()][..], &[record.clone(), record.clone()][..]] {
        let _ = (self::body(records, false), self::body(records, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, message: &[u8]) -> Record {
        let mut body = Vec::new();
        put_head(Counts { samples: 1, ..Counts::default() }, &mut body);
        SnappyEncoder::new().compress(message, &mut body).unwrap();
        Record { body: body.into(), items: 1, key: 1, group: 0, created_ms: 0, newest_ms: 0, kind }
    }

    fn decompressed(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(Encoding::Snappy, body, MOST_BYTES, &mut out).unwrap();
        out
    }

    #[test]
    fn joined_blocks_decompress_to_the_joined_messages() {
        let messages: Vec<Vec<u8>> = [0_usize, 1, 127, 128, 70_000, 200_000]
            .map(|len| (0..len).map(|i| (i % 251) as u8 ^ (i / 977) as u8).collect())
            .into();
        for count in 1..=messages.len() {
            let records: Vec<_> = messages[..count].iter().map(|m| record(KIND_V1, m)).collect();
            assert_eq!(decompressed(&body(&records, false).unwrap()), messages[..count].concat());
        }
    }

    #[test]
    fn one_record_is_sent_as_it_is_stored() {
        let stored = record(KIND_V1, b"message");
        let sent = body(std::slice::from_ref(&stored), true).unwrap();
        assert_eq!(sent.as_ptr(), stored.body[HEAD..].as_ptr());
    }

    #[test]
    fn a_record_that_is_cut_is_an_error_and_not_a_request() {
        let good = record(KIND_V1, b"message");
        let cut = Record { body: good.body.slice(..5), ..good.clone() };
        assert!(body(std::slice::from_ref(&cut), false).is_err());
        assert!(body(&[good, cut], false).is_err());
    }
}

//! The bytes of a segment file: a header, then frames. Readers here take arbitrary bytes and never panic.
//!
//! segment: magic `FALLOYQ2`, salt u64, first sequence u64, CRC32C of these (28 bytes).
//! frame: magic, body length, items, kind, order key, created, newest, sequence, group, body CRC, header CRC (64
//! bytes), then the body. Numbers are little-endian. The header CRC starts from the segment's salt, so that bytes inside
//! a body, or left over from another file, can never pass for a frame when a reader looks for the next one.

use bytes::Bytes;

use crate::Record;

/// Size of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 28;
/// Size of a frame before its body.
pub(crate) const FRAME_HEADER: usize = 64;
/// Largest body; a length beyond it is damage.
pub(crate) const MAX_BODY: usize = 256 << 20;
/// Sequence numbers stay below this, so that adding to them cannot overflow; a larger one is damage.
pub(crate) const MAX_SEQUENCE: u64 = 1 << 62;

const SEGMENT_MAGIC: [u8; 8] = *b"FALLOYQ2";
const FRAME_MAGIC: [u8; 4] = [0xFA, b'r', b'e', 0xC0];

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Differs between segments.
    pub salt: u64,
    /// The sequence number of the first frame; also the file's name.
    pub first: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&out[..24]);
        out[24..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
        let header = SegmentHeader { salt: u64_at(bytes, 8), first: u64_at(bytes, 16) };
        (header.encode() == *bytes && header.first < MAX_SEQUENCE).then_some(header)
    }
}

/// A frame before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub len: u32,
    pub items: u32,
    pub kind: u8,
    pub key: u64,
    pub group: u64,
    pub created_ms: i64,
    pub newest_ms: i64,
    pub sequence: u64,
    pub body_crc: u32,
}

impl FrameHeader {
    pub(crate) fn of(record: &Record, sequence: u64) -> FrameHeader {
        FrameHeader {
            len: record.body.len() as u32,
            items: record.items,
            kind: record.kind,
            key: record.key,
            group: record.group,
            created_ms: record.created_ms,
            newest_ms: record.newest_ms,
            sequence,
            body_crc: crc32c::crc32c(&record.body),
        }
    }

    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[..4].copy_from_slice(&FRAME_MAGIC);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..12].copy_from_slice(&self.items.to_le_bytes());
        out[12] = self.kind;
        out[16..24].copy_from_slice(&self.key.to_le_bytes());
        out[24..32].copy_from_slice(&self.created_ms.to_le_bytes());
        out[32..40].copy_from_slice(&self.newest_ms.to_le_bytes());
        out[40..48].copy_from_slice(&self.sequence.to_le_bytes());
        out[48..56].copy_from_slice(&self.group.to_le_bytes());
        out[56..60].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salted(salt), &out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<FrameHeader> {
        let bytes: &[u8; FRAME_HEADER] = bytes.first_chunk()?;
        let header = FrameHeader {
            len: u32_at(bytes, 4),
            items: u32_at(bytes, 8),
            kind: bytes[12],
            key: u64_at(bytes, 16),
            created_ms: u64_at(bytes, 24).cast_signed(),
            newest_ms: u64_at(bytes, 32).cast_signed(),
            sequence: u64_at(bytes, 40),
            group: u64_at(bytes, 48),
            body_crc: u32_at(bytes, 56),
        };
        let sane = header.len as usize <= MAX_BODY && header.sequence < MAX_SEQUENCE;
        (header.encode(salt) == *bytes && sane).then_some(header)
    }

    pub(crate) fn record(&self, body: Bytes) -> Record {
        Record {
            body,
            items: self.items,
            key: self.key,
            group: self.group,
            created_ms: self.created_ms,
            newest_ms: self.newest_ms,
            kind: self.kind,
        }
    }
}

/// Decodes one whole frame that was read back by its position; `None` if it is not intact.
pub(crate) fn decode_frame(bytes: Vec<u8>, salt: u64, sequence: u64) -> Option<Record> {
    let header = FrameHeader::decode(&bytes, salt)?;
    let body = Bytes::from(bytes).slice(FRAME_HEADER..);
    let intact = header.sequence == sequence
        && header.len as usize == body.len()
        && crc32c::crc32c(&body) == header.body_crc;
    intact.then(|| header.record(body))
}

/// What a walk through a segment meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// An intact frame at `offset`.
    Frame { offset: usize, header: FrameHeader },
    /// Bytes that are no intact frame, up to the next one or the end of the file.
    Damage { offset: usize, len: usize },
}

/// Walks through the frames of a segment after its header.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    offset: usize,
    next_sequence: u64,
}

impl<'a> Scan<'a> {
    /// `None` if the segment's own header is damaged.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<(SegmentHeader, Scan<'a>)> {
        let header = SegmentHeader::decode(bytes)?;
        let scan = Scan { bytes, salt: header.salt, offset: SEGMENT_HEADER, next_sequence: header.first };
        Some((header, scan))
    }

    /// The frame header at `offset`, if it is one and its sequence number has not been passed.
    fn header_at(&self, offset: usize) -> Option<FrameHeader> {
        let header = FrameHeader::decode(self.bytes.get(offset..)?, self.salt)?;
        (header.sequence >= self.next_sequence).then_some(header)
    }

    fn body_is_intact(&self, offset: usize, header: &FrameHeader) -> bool {
        let start = offset + FRAME_HEADER;
        let body = self.bytes.get(start..start + header.len as usize);
        body.is_some_and(|body| crc32c::crc32c(body) == header.body_crc)
    }

    /// Where the next frame header after `offset` begins, or the end.
    fn resync(&self, offset: usize) -> usize {
        let mut at = offset + 1;
        while let Some(found) = self.bytes.get(at..).and_then(|rest| find(rest, FRAME_MAGIC)) {
            if self.header_at(at + found).is_some() {
                return at + found;
            }
            at += found + 1;
        }
        self.bytes.len()
    }
}

impl Iterator for Scan<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let offset = self.offset;
        if offset >= self.bytes.len() {
            return None;
        }
        if let Some(header) = self.header_at(offset) {
            let end = offset + FRAME_HEADER + header.len as usize;
            if self.body_is_intact(offset, &header) {
                self.offset = end;
                self.next_sequence = header.sequence + 1;
                return Some(Found::Frame { offset, header });
            }
            if end <= self.bytes.len() {
                // The header vouches for the length: exactly one record is lost.
                self.offset = end;
                return Some(Found::Damage { offset, len: end - offset });
            }
        }
        self.offset = self.resync(offset);
        Some(Found::Damage { offset, len: self.offset - offset })
    }
}

/// The file name of the segment that begins with `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:016x}.seg")
}

/// The number in a segment's file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

fn salted(salt: u64) -> u32 {
    crc32c::crc32c(&salt.to_le_bytes())
}

fn find(haystack: &[u8], needle: [u8; 4]) -> Option<usize> {
    haystack.windows(4).position(|window| window == needle)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

//! What the queue holds: headers of the client, then requests in one of three forms.
//!
//! Forms: one request as bytes; several, each with its length and its items, so that they can be tried one by
//! one; one request as its client has compressed it. The kind of a record tells the form, and that headers come
//! first. How requests are written for the back end is decided when they are sent: what waits survives any change
//! of the configuration.

use bytes::Bytes;
use delivery::Record;
use http::{HeaderName, HeaderValue};
use signal::otlp::{OtlpRequest, OtlpSignal};
use smallvec::SmallVec;
use wire::compress::{Encoding, decompress};
use wire::proto::{Reader, push_varint};
use xxhash_rust::xxh64::xxh64;

const PLAIN: u8 = 0;
const SEVERAL: u8 = 1;
/// Compressed bodies have the kinds from here on.
const PACKED: u8 = 2;
/// Headers of the client stand before the requests.
const WITH_HEADERS: u8 = 0x80;
/// The encodings of compressed bodies, by their kinds; new ones come last.
const ENCODINGS: [(Encoding, &str); 5] = [
    (Encoding::Gzip, "gzip"),
    (Encoding::Zstd, "zstd"),
    (Encoding::Deflate, "deflate"),
    (Encoding::Snappy, "snappy"),
    (Encoding::Deflate, "zlib"),
];
/// A receiver has unpacked it once already, within a limit of its own.
const MOST_UNPACKED: usize = 1 << 30;

/// Headers of the client that are sent on.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// One request with what it counts for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub items: u64,
    pub bytes: Bytes,
}

/// What a record says.
#[derive(Debug, PartialEq)]
pub(crate) struct Opened {
    pub headers: Headers,
    pub parts: SmallVec<[Part; 1]>,
    /// Set where `parts` is one body that is still compressed.
    pub packed: Option<&'static str>,
}

/// Makes a record of requests. `stays`: whether a body that its client has compressed in an encoding may stay so.
pub(super) fn record<S: OtlpSignal>(
    requests: &[OtlpRequest<S>],
    headers: &[(HeaderName, HeaderValue)],
    stays: impl Fn(&str, &[u8]) -> bool,
    created_ms: i64,
) -> Record {
    let (kind, body) = match requests {
        [only] => match only.packed().and_then(|p| Some((kind_of(p.encoding)?, p))) {
            Some((kind, body)) if stays(body.encoding, &body.bytes) => (kind, body.bytes.clone()),
            _ => (PLAIN, only.wire().clone()),
        },
        _ => (SEVERAL, several(requests)),
    };
    let items = requests.iter().map(OtlpRequest::items).sum::<usize>();
    let mut record = Record {
        body,
        items: u32::try_from(items).unwrap_or(u32::MAX),
        key: 0,
        group: 0,
        created_ms,
        newest_ms: created_ms,
        kind,
    };
    if !headers.is_empty() {
        let mut head = Vec::new();
        push_varint(&mut head, headers.len() as u64);
        for text in headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]) {
            push_varint(&mut head, text.len() as u64);
            head.extend_from_slice(text);
        }
        record.group = xxh64(&head, 0);
        record.kind |= WITH_HEADERS;
        head.extend_from_slice(&record.body);
        record.body = head.into();
    }
    record
}

fn kind_of(encoding: &str) -> Option<u8> {
    let at = ENCODINGS.iter().position(|(_, name)| *name == encoding)?;
    Some(PACKED + at as u8)
}

fn several<S: OtlpSignal>(requests: &[OtlpRequest<S>]) -> Bytes {
    let bytes = requests.iter().map(|request| request.wire().len() + 10).sum();
    let mut body = Vec::with_capacity(bytes);
    for request in requests {
        push_varint(&mut body, request.items() as u64);
        push_varint(&mut body, request.wire().len() as u64);
        body.extend_from_slice(request.wire());
    }
    body.into()
}

/// Reads a record.
pub(crate) fn open(record: &Record) -> Result<Opened, String> {
    let damaged = |_| "the record is cut off".to_owned();
    let mut headers = Headers::new();
    let mut body = record.body.clone();
    if record.kind & WITH_HEADERS != 0 {
        let mut reader = Reader::new(&body);
        let count = reader.varint().map_err(damaged)?;
        for _ in 0..count {
            let (name, value) = (reader.delimited().map_err(damaged)?, reader.delimited().map_err(damaged)?);
            let name = HeaderName::from_bytes(name).map_err(|e| e.to_string())?;
            headers.push((name, HeaderValue::from_bytes(value).map_err(|e| e.to_string())?));
        }
        body = body.slice_ref(reader.rest());
    }
    let items = u64::from(record.items);
    let mut opened = Opened { headers, parts: SmallVec::new(), packed: None };
    match record.kind & !WITH_HEADERS {
        PLAIN => opened.parts.push(Part { items, bytes: body }),
        SEVERAL => {
            let mut reader = Reader::new(&body);
            while !reader.rest().is_empty() {
                let items = reader.varint().map_err(damaged)?;
                let bytes = body.slice_ref(reader.delimited().map_err(damaged)?);
                opened.parts.push(Part { items, bytes });
            }
        }
        kind => {
            let encoding = ENCODINGS.get(usize::from(kind - PACKED));
            opened.packed = Some(encoding.ok_or("the record is of a kind that is not known")?.1);
            opened.parts.push(Part { items, bytes: body });
        }
    }
    Ok(opened)
}

impl Opened {
    /// The requests, none of them compressed.
    pub(crate) fn unpack(mut self) -> Result<SmallVec<[Part; 1]>, String> {
        if let Some(packed) = self.packed {
            let (encoding, _) = ENCODINGS.iter().find(|(_, name)| *name == packed).expect("one of them");
            for part in &mut self.parts {
                let mut out = Vec::new();
                decompress(*encoding, &part.bytes, MOST_UNPACKED, &mut out).map_err(|e| e.to_string())?;
                part.bytes = out.into();
            }
        }
        Ok(self.parts)
    }
}

/// Reads any bytes as a record of a queue; for `tests/fuzz/fuzz_targets/queue_records.rs` only.
pub(super) fn read_arbitrary(kind: u8, body: Bytes) {
    let record = Record { body, items: 1, key: 0, group: 0, created_ms: 0, newest_ms: 0, kind };
    if let Ok(opened) = open(&record) {
        let _ = opened.unpack();
    }
}

#[cfg(test)]
mod tests {
    use signal::otlp::{LogsSignal, Packed};

    use super::*;

    fn request(bytes: &'static str, items: u32, packed: Option<&'static str>) -> OtlpRequest<LogsSignal> {
        let packed = packed.map(|encoding| {
            let mut out = Vec::new();
            let (format, _) = ENCODINGS.iter().find(|(_, n)| *n == encoding).expect("known");
            wire::compress::compress(*format, None, &[bytes.as_bytes()], &mut out).expect("compresses");
            Packed { encoding, bytes: out.into() }
        });
        OtlpRequest::from_wire(Bytes::from_static(bytes.as_bytes()), items, packed)
    }

    fn never(_: &str, _: &[u8]) -> bool {
        false
    }

    fn part(bytes: &'static str, items: u64) -> Part {
        Part { items, bytes: Bytes::from_static(bytes.as_bytes()) }
    }

    #[test]
    fn every_form_comes_back_with_and_without_headers() {
        let header = [(HeaderName::from_static("x-tenant"), HeaderValue::try_from("é").expect("a value"))];
        for headers in [&header[..], &[]] {
            let one = record(&[request("abc", 3, None)], headers, |word: &str, _: &[u8]| word == "gzip", 7);
            let two = record(&[request("abc", 3, None), request("", 0, None)], headers, never, 7);
            assert_eq!((one.items, two.items, one.created_ms), (3, 3, 7));
            assert_eq!(one.group == 0, headers.is_empty());
            assert_eq!(open(&one).and_then(Opened::unpack).expect("whole")[..], [part("abc", 3)]);
            assert_eq!(
                open(&two).and_then(Opened::unpack).expect("whole")[..],
                [part("abc", 3), part("", 0)]
            );
            assert_eq!(open(&two).expect("whole").headers.len(), headers.len());
            for encoding in ["gzip", "zstd", "deflate", "snappy", "zlib"] {
                let packed = record(
                    &[request("abc", 3, Some(encoding))],
                    headers,
                    |word: &str, _: &[u8]| word == encoding,
                    7,
                );
                let opened = open(&packed).expect("whole");
                assert_eq!(opened.packed, Some(encoding));
                assert_eq!(opened.unpack().expect("unpacks")[..], [part("abc", 3)]);
                let other = record(&[request("abc", 3, Some(encoding))], headers, never, 7);
                assert_eq!(open(&other).expect("whole").packed, None);
            }
        }
    }

    #[test]
    fn clients_with_other_headers_are_another_group() {
        let name = HeaderName::from_static("x-tenant");
        let group = |value: &str| {
            record(
                &[request("a", 1, None)],
                &[(name.clone(), HeaderValue::try_from(value).expect("a value"))],
                never,
                0,
            )
            .group
        };
        assert_eq!(group("a"), group("a"));
        assert_ne!(group("a"), group("b"));
    }

    #[test]
    fn a_record_that_is_cut_is_an_error() {
        let header = [(HeaderName::from_static("x-tenant"), HeaderValue::from_static("t"))];
        let whole = record(&[request("abc", 3, None), request("def", 3, None)], &header, never, 0);
        // From the end of the second request to within the first: what is left is no list of whole requests.
        for cut in 1..5 {
            let body = whole.body.slice(..whole.body.len() - cut);
            assert!(open(&Record { body, ..whole.clone() }).is_err(), "{cut}");
        }
        assert!(open(&Record { kind: 0x7f, ..whole }).is_err());
    }
}

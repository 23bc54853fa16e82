//! Requests rendered beforehand. What differs from one to the next is a number in the last item.
//!
//! A request is many items that stay the same, each with a mark by which a sink counts it, and one whose mark is
//! followed by the number of the request. The number is put in place also where the request is compressed: the last
//! item is a block of its own that deflate has stored as it is, so that only the checksum is made anew.

use clap::ValueEnum;
use flate2::{Compress, Compression, FlushCompress};

/// Of the items that stay the same.
pub const ITEM: &[u8] = b"~ITM~";
/// Of the last item, before the digits of its number.
pub const REQUEST: &[u8] = b"~REQ~";
/// Digits of the number.
pub const DIGITS: usize = 12;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    pub fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Coding {
    None,
    Gzip,
}

impl Coding {
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }
}

/// A request with a place for its number.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the digits are.
    at: usize,
    gzip: Option<Trailer>,
}

/// What the end of a compressed request is made from.
#[derive(Clone)]
struct Trailer {
    /// The state of the checksum before the last item, and where that begins.
    before: u32,
    tail: usize,
}

impl Template {
    pub fn new(signal: Signal, items: usize, coding: Coding) -> Self {
        let bulk = render(signal, items - 1);
        let tail = last(signal);
        let digits = find(&tail, REQUEST) + REQUEST.len();
        match coding {
            Coding::None => Self { at: bulk.len() + digits, bytes: [bulk, tail].concat(), gzip: None },
            Coding::Gzip => {
                // RFC 1952: no name, no time, unknown system.
                let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
                let mut deflate = Vec::with_capacity(bulk.len() + 1024);
                Compress::new(Compression::default(), false)
                    .compress_vec(&bulk, &mut deflate, FlushCompress::Sync)
                    .expect("memory");
                bytes.append(&mut deflate);
                // RFC 1951, 3.2.4: the last block, stored.
                let length = (tail.len() as u16).to_le_bytes();
                bytes.extend([1, length[0], length[1], !length[0], !length[1]]);
                let start = bytes.len();
                bytes.extend_from_slice(&tail);
                bytes.extend([0; 4]);
                bytes.extend(((bulk.len() + tail.len()) as u32).to_le_bytes());
                let gzip = Some(Trailer { before: crc(u32::MAX, &bulk), tail: start });
                Self { at: start + digits, bytes, gzip }
            }
        }
    }

    /// The request of this number.
    pub fn request(&self, number: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let digits = format!("{number:0DIGITS$}");
        bytes[self.at..self.at + DIGITS].copy_from_slice(digits.as_bytes());
        if let Some(trailer) = &self.gzip {
            let end = bytes.len() - 8;
            let sum = !crc(trailer.before, &bytes[trailer.tail..end]);
            bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }
}

fn find(text: &[u8], mark: &[u8]) -> usize {
    memchr::memmem::find(text, mark).expect("the mark is there")
}

/// CRC-32 as gzip has it, on from a state.
fn crc(mut state: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    for byte in bytes {
        state = TABLE[((state ^ u32::from(*byte)) & 0xff) as usize] ^ state >> 8;
    }
    state
}

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn fixed(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// `KeyValue` with a text.
    fn text(self, field: u64, key: &str, value: &str) -> Self {
        let value = Self::default().bytes(1, value.as_bytes());
        self.message(field, Self::default().bytes(1, key.as_bytes()).message(2, value))
    }

    /// `KeyValue` with a number.
    fn integer(self, field: u64, key: &str, value: u64) -> Self {
        let value = Self::default().number(3, value);
        self.message(field, Self::default().bytes(1, key.as_bytes()).message(2, value))
    }
}

/// `Resource`, as an SDK describes its process.
fn resource() -> Message {
    Message::default()
        .text(1, "service.name", "checkout")
        .text(1, "service.version", "1.27.3")
        .text(1, "k8s.pod.name", "checkout-6d5f7c9b8d-x2x7k")
        .text(1, "telemetry.sdk.language", "go")
        .text(1, "deployment.environment", "production")
}

const TIME: u64 = 1_767_225_600_000_000_000;

/// What all items have: five attributes, one of them the mark.
fn attributes(message: Message, field: u64, mark: &str, i: u64) -> Message {
    let (method, route) = (
        ["GET", "POST", "PUT"][(i % 3) as usize],
        ["/api/cart", "/api/items/{id}", "/api/orders"][(i % 3) as usize],
    );
    message
        .text(field, "http.method", method)
        .text(field, "http.route", route)
        .integer(field, "http.status_code", [200, 200, 204, 404][(i % 4) as usize])
        .text(
            field,
            "url.full",
            &format!("https://shop.example{route}/{}?page={}", i * 7919 % 99_991, i % 17),
        )
        .text(field, "mark", mark)
}

fn id(i: u64) -> [u8; 8] {
    (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn item(signal: Signal, mark: &str, i: u64) -> Message {
    let item = Message::default();
    match signal {
        Signal::Traces => {
            let item = item
                .bytes(1, &[id(i / 8), id(i / 8 + 1)].concat())
                .bytes(2, &id(i))
                .bytes(4, &id(i / 8))
                .bytes(5, b"HTTP request")
                .number(6, 1 + i % 5)
                .fixed(7, TIME + i * 1_000_003)
                .fixed(8, TIME + i * 1_000_003 + i * 31_337 % 5_000_000);
            attributes(item, 9, mark, i)
        }
        Signal::Metrics => {
            let item = item.fixed(2, TIME).fixed(3, TIME + 10_000_000_000).fixed(6, i * 37);
            attributes(item, 7, mark, i)
        }
        Signal::Logs => {
            let body = format!("request served from the cache of shard {} in {} ms", i % 13, i * 31 % 1973);
            let item = item
                .fixed(1, TIME + i * 1_000_003)
                .number(2, 9)
                .bytes(3, b"INFO")
                .message(5, Message::default().bytes(1, body.as_bytes()));
            attributes(item, 6, mark, i).bytes(9, &[id(i / 8), id(i / 8 + 1)].concat()).bytes(10, &id(i))
        }
    }
}

/// Items as the one resource of a request.
fn around(signal: Signal, items: impl Iterator<Item = Message>) -> Vec<u8> {
    let scope = Message::default().bytes(1, b"bench").bytes(2, b"1.0.0");
    let mut scoped = Message::default().message(1, scope);
    if signal == Signal::Metrics {
        let mut sum = Message::default();
        for point in items {
            sum = sum.message(1, point);
        }
        let sum = sum.number(2, 2).number(3, 1);
        let metric = Message::default().bytes(1, b"http.server.requests").bytes(3, b"1").message(7, sum);
        scoped = scoped.message(2, metric);
    } else {
        for item in items {
            scoped = scoped.message(2, item);
        }
    }
    Message::default().message(1, Message::default().message(1, resource()).message(2, scoped)).0
}

fn render(signal: Signal, items: usize) -> Vec<u8> {
    let mark = std::str::from_utf8(ITEM).expect("ASCII");
    around(signal, (0..items as u64).map(|i| item(signal, mark, i)))
}

fn last(signal: Signal) -> Vec<u8> {
    let mark = format!("{}{}", std::str::from_utf8(REQUEST).expect("ASCII"), "0".repeat(DIGITS));
    around(signal, std::iter::once(item(signal, &mark, 0)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_compressed_request_unfolds_to_the_same_as_one_that_is_not() {
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            let (plain, packed) =
                (Template::new(signal, 50, Coding::None), Template::new(signal, 50, Coding::Gzip));
            for number in [0, 7, 999_999_999_999] {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&*packed.request(number)).read_to_end(&mut text).expect("gzip");
                assert_eq!(text, plain.request(number));
                assert_eq!(memchr::memmem::find_iter(&text, ITEM).count(), 49);
                let digits = find(&text, REQUEST) + REQUEST.len();
                assert_eq!(&text[digits..digits + DIGITS], format!("{number:012}").as_bytes());
            }
        }
    }
}

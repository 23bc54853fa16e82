//! HTTP/2 by hand: what no client library would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Pipeline, all_arrive};
use crate::kit::otlp::{Backend, Kind, Load, Shape};
use crate::kit::{Program, eventually};

/// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A header as a literal that is not indexed (RFC 7541, section 6.2.2). Lengths up to 126.
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        assert!(text.len() < 127);
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

fn block(path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        literal(&mut block, name, value);
    }
    block
}

/// The head of a call; with `end` it has no message.
pub(super) fn headers(stream: u32, path: &str, end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(path))
}

/// A connection of which both sides' bytes are seen. It reads nothing by itself.
pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("listening");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("set");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let mut raw = Self(stream);
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    /// `false` when the server takes no more: it has closed, or reads no further.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Reads until the server closes; whether it has.
    fn is_closed(&mut self) -> bool {
        let mut some = [0; 64 << 10];
        loop {
            match self.0.read(&mut some) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Runs an attack from several connections at once, beside clients that have to be served as if nothing was.
fn attack(most_bytes: u64, attack: impl Fn(Raw, SocketAddr) + Sync) {
    let backend = Backend::start();
    let pipeline = Pipeline::new(&backend);
    let program: Program = pipeline.start();
    // What a served client costs is not the attackers' doing.
    let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
    eventually("clients are served", || match load.taken() {
        taken if taken > 600 => Ok(()),
        taken => Err(format!("{taken}\n{}", program.log())),
    });
    let before = program.peak();
    for address in [pipeline.grpc, pipeline.http] {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| attack(Raw::connect(address), address));
            }
        });
    }
    let grown = program.grown(before);
    assert!(grown < most_bytes, "memory grew by {grown} bytes\n{}", program.log());
    let taken = load.taken();
    eventually("clients are still served", || match load.taken() > taken + 100 {
        true => Ok(()),
        false => Err(program.log()),
    });
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

/// CVE-2023-44487.
#[test]
fn calls_that_are_reset_at_once_cost_other_clients_nothing() {
    attack(48 << 20, |mut raw, _| {
        let method = Kind::Traces.method();
        for n in 0..20_000u32 {
            let id = n * 2 + 1;
            let mut both = headers(id, method, false);
            both.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
            if !raw.send(&both) {
                return;
            }
        }
    });
}

/// CVE-2024-27316 and its kin: a head that never ends.
#[test]
fn a_head_without_end_ends_the_connection() {
    attack(48 << 20, |mut raw, _| {
        raw.send(&frame(HEADERS, 0, 1, &block(Kind::Traces.method())));
        let mut some = Vec::new();
        for n in 0..100 {
            literal(&mut some, &format!("x-{n}"), &"v".repeat(100));
        }
        for _ in 0..2000 {
            if !raw.send(&frame(CONTINUATION, 0, 1, &some)) {
                return;
            }
        }
        // 24 MB of headers: nobody takes that.
        assert!(raw.is_closed());
    });
}

/// Continuations of no bytes are no progress.
#[test]
fn empty_continuations_without_end_end_the_connection() {
    attack(48 << 20, |mut raw, _| {
        raw.send(&frame(HEADERS, 0, 1, &block(Kind::Traces.method())));
        let empty = frame(CONTINUATION, 0, 1, &[]).repeat(1000);
        for _ in 0..1000 {
            if !raw.send(&empty) {
                return;
            }
        }
        assert!(raw.is_closed());
    });
}

/// A few bytes that stand for a large header, again and again (CVE-2016-6581).
#[test]
fn headers_that_unfold_to_much_more_than_was_sent_are_not_kept() {
    attack(48 << 20, |mut raw, _| {
        let mut block = block(Kind::Traces.method());
        // A literal that goes into the table: 0x40, name, value of 3900 bytes (127 + 3773 as a varint).
        block.push(0x40);
        block.extend([5, b'x', b'-', b'b', b'o', b'm', 0x7f, 0xbd, 0x1d]);
        block.extend([b'v'; 3900]);
        // Indexed: the newest entry of the table, sixty bytes after the static ones.
        block.extend([0x80 | 62; 8000]);
        for n in 0..200u32 {
            if !raw.send(&frame(HEADERS, END_HEADERS, n * 2 + 1, &block)) {
                return;
            }
        }
    });
}

/// Answers that nobody reads (CVE-2019-9512, CVE-2019-9515).
#[test]
fn pings_and_settings_whose_answers_nobody_reads_are_not_kept() {
    for kind in [PING, SETTINGS] {
        attack(48 << 20, |mut raw, _| {
            let payload: &[u8] = if kind == PING { &[7; 8] } else { &[] };
            let many = frame(kind, 0, 0, payload).repeat(1000);
            for _ in 0..500 {
                if !raw.send(&many) {
                    return;
                }
            }
        });
    }
}

/// More calls at once than a connection may have, and bytes beyond the window.
#[test]
fn more_calls_and_bytes_than_were_allowed_are_refused() {
    attack(96 << 20, |mut raw, _| {
        for n in 0..3000u32 {
            if !raw.send(&headers(n * 2 + 1, Kind::Logs.method(), false)) {
                return;
            }
        }
        let chunk = vec![0; 16384];
        for _ in 0..1000 {
            if !raw.send(&frame(DATA, 0, 1, &chunk)) {
                return;
            }
        }
        assert!(raw.is_closed());
    });
}

/// The same over HTTP/1: a head that never ends.
#[test]
fn a_head_of_http_1_without_end_ends_the_connection() {
    attack(48 << 20, |_, address| {
        let mut stream = TcpStream::connect(address).expect("listening");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("set");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        stream.write_all(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n").expect("sent");
        let line = format!("X-Header: {}\r\n", "v".repeat(1000)).repeat(100);
        let mut sent = 0;
        while stream.write_all(line.as_bytes()).is_ok() {
            sent += line.len();
            assert!(sent < 64 << 20, "nobody takes that many headers");
        }
    });
}

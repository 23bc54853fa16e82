//! Targets and back end of a measurement: threads that do as little as they can.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Programs under profile, a port each.
pub struct Targets {
    pub addresses: Vec<SocketAddr>,
    served: Arc<Count>,
}

/// The back end.
pub struct Sink {
    pub address: SocketAddr,
    pushed: Arc<Count>,
}

/// Profiles and their bytes.
#[derive(Default)]
struct Count {
    profiles: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize) {
        self.profiles.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.profiles.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Targets {
    /// Each scrape of a target gets the next version, at last the last one again and again.
    pub fn start(count: usize, versions: &[Vec<u8>]) -> std::io::Result<Self> {
        let served = Arc::new(Count::default());
        let versions: Arc<Vec<Vec<u8>>> = Arc::new(versions.to_vec());
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let (versions, served, next) = (versions.clone(), served.clone(), Arc::new(AtomicUsize::new(0)));
            addresses.push(listen(move |stream| {
                let (versions, served, next) = (versions.clone(), served.clone(), next.clone());
                move || answer(stream, &versions, &next, &served)
            })?);
        }
        Ok(Self { addresses, served })
    }

    /// Profiles given out, and their bytes.
    pub fn served(&self) -> (u64, u64) {
        self.served.get()
    }
}

impl Sink {
    pub fn start() -> std::io::Result<Self> {
        let pushed = Arc::new(Count::default());
        let shared = pushed.clone();
        let address = listen(move |stream| {
            let pushed = shared.clone();
            move || take(stream, &pushed)
        })?;
        Ok(Self { address, pushed })
    }

    /// Requests so far, and the bytes of their bodies.
    pub fn pushed(&self) -> (u64, u64) {
        self.pushed.get()
    }
}

/// A thread for each connection.
fn listen<F: FnOnce() + Send + 'static>(
    handler: impl Fn(TcpStream) -> F + Send + 'static,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            std::thread::spawn(handler(stream));
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream, versions: &[Vec<u8>], next: &AtomicUsize, served: &Count) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while head(&mut reader).is_some() {
        let version = &versions[next.fetch_add(1, Ordering::Relaxed).min(versions.len() - 1)];
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            version.len()
        );
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(version)).is_err() {
            return;
        }
        served.add(version.len());
    }
}

fn take(stream: TcpStream, pushed: &Count) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    while let Some(head) = head(&mut reader) {
        let Some(length) = body(&mut reader, head) else { return };
        pushed.add(length);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 0\r\n\r\n";
        if writer.write_all(answer).is_err() {
            return;
        }
    }
}

/// What of a request's head matters here.
#[derive(Clone, Copy, Default)]
struct Head {
    length: usize,
    chunked: bool,
}

/// Reads a head; `None` at the end of the connection.
fn head(reader: &mut BufReader<TcpStream>) -> Option<Head> {
    let (mut head, mut line) = (Head::default(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            return Some(head);
        }
        if let Some(length) = lower.strip_prefix("content-length:") {
            head.length = length.trim().parse().ok()?;
        }
        head.chunked |= lower.starts_with("transfer-encoding:") && lower.contains("chunked");
    }
}

/// Reads a body and tells its length.
fn body(reader: &mut BufReader<TcpStream>, head: Head) -> Option<usize> {
    if !head.chunked {
        return skip(reader, head.length);
    }
    let (mut all, mut line) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        all += skip(reader, length)?;
        // The line's end after a chunk; trailers are not sent by anyone here.
        skip(reader, 2)?;
        if length == 0 {
            return Some(all);
        }
    }
}

fn skip(reader: &mut BufReader<TcpStream>, length: usize) -> Option<usize> {
    let read = std::io::copy(&mut reader.by_ref().take(length as u64), &mut std::io::sink()).ok()?;
    (read == length as u64).then_some(length)
}

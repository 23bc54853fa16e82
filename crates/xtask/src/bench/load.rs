//! Targets and sink of a measurement: threads that do as little as they can.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Pages rendered beforehand; every scrape of a target gets the next of a few, so that values change.
const PAGES: usize = 3;

/// Scrape targets, a port each.
pub struct Targets {
    pub addresses: Vec<SocketAddr>,
    served: Arc<AtomicU64>,
}

impl Targets {
    /// All targets show the same labels, as hosts with the same exporter do, or each its own (`distinct`). Of its
    /// series `churn` per cent an hour are replaced by others.
    pub fn start(count: usize, series: usize, distinct: bool, churn: f64) -> std::io::Result<Self> {
        let (served, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let rendered = |place: String| {
            Arc::new(match churn {
                0.0 => Pages::Rendered(
                    (0..PAGES).map(|turn| response(&page(series, turn, &place, |_| 0))).collect(),
                ),
                _ => Pages::Changing { series, place, an_hour: churn / 100.0 },
            })
        };
        let same = rendered("lib".to_owned());
        let mut addresses = Vec::with_capacity(count);
        for number in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            addresses.push(listener.local_addr()?);
            let pages = if distinct { rendered(format!("lib-{number}")) } else { same.clone() };
            let served = served.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (pages, served) = (pages.clone(), served.clone());
                    std::thread::spawn(move || answer(stream, &pages, start, &served));
                }
            });
        }
        Ok(Self { addresses, served })
    }

    /// Pages given out.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// What a target shows, scrape by scrape.
enum Pages {
    /// These by turns.
    Rendered(Vec<Vec<u8>>),
    /// Each series is followed by another after `1 / an_hour` hours, and each at another time.
    Changing { series: usize, place: String, an_hour: f64 },
}

impl Pages {
    /// `at`: how long there have been targets.
    fn get(&self, turn: usize, at: Duration) -> Cow<'_, [u8]> {
        match self {
            Self::Rendered(pages) => (&pages[turn % pages.len()]).into(),
            Self::Changing { series, place, an_hour } => {
                let turns = at.as_secs_f64() / 3600.0 * an_hour;
                let successor = |i: usize| (turns + i as f64 / *series as f64) as usize;
                response(&page(*series, turn, place, successor)).into()
            }
        }
    }
}

fn answer(stream: TcpStream, pages: &Pages, start: Instant, served: &AtomicU64) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    for next in 0.. {
        if head(&mut reader).is_none() || writer.write_all(&pages.get(next, start.elapsed())).is_err() {
            return;
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

/// A page like an exporter's: families of 19 series with three labels, one of which tells the place and the how manieth
/// successor of the first series stands there.
fn page(series: usize, turn: usize, place: &str, successor: impl Fn(usize) -> usize) -> String {
    const PER_FAMILY: usize = 19;
    let mut text = String::with_capacity(series * 120);
    for i in 0..series {
        let family = i / PER_FAMILY;
        if i % PER_FAMILY == 0 {
            text.push_str(&format!(
                "# HELP bench_family_{family}_total What family {family} of the load generator counts.\n\
                 # TYPE bench_family_{family}_total counter\n"
            ));
        }
        let value = if i % 3 == 0 { i * 7 } else { i * 1_000 + turn * 137 };
        text.push_str(&format!(
            "bench_family_{family}_total{{device=\"nvme{}n1\",mode=\"mode-{}\",path=\"/var/{place}/thing/{}\"}} {value}\n",
            i % 4,
            i % PER_FAMILY,
            i + successor(i) * series,
        ));
    }
    text
}

fn response(body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Reads a request's head; its content length.
pub fn head(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
}

/// A remote-write back end that counts samples and bytes.
pub struct Sink {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    samples: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = shared.clone();
                std::thread::spawn(move || take(stream, &counts));
            }
        });
        Ok(Self { address, counts })
    }

    pub fn samples(&self) -> u64 {
        self.counts.samples.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

fn take(stream: TcpStream, counts: &Counts) {
    const OK: &[u8] = b"HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 1\r\n\r\n";
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut body = Vec::new();
    while let Some(length) = head(&mut reader) {
        body.resize(length, 0);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        counts.samples.fetch_add(samples(&body), Ordering::Relaxed);
        if writer.write_all(OK).is_err() {
            return;
        }
    }
}

/// Samples in a request of either version, by a scan over the wire format: in both a series is a repeated
/// field (1 in version 1, 5 in version 2) whose samples are field 2.
fn samples(compressed: &[u8]) -> u64 {
    let Ok(message) = snap::raw::Decoder::new().decompress_vec(compressed) else { return 0 };
    fields(&message)
        .filter(|(number, _)| matches!(number, 1 | 5))
        .map(|(_, series)| fields(series).filter(|(number, _)| *number == 2).count() as u64)
        .sum()
}

/// Length-delimited fields of a message.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let tag = varint(&mut rest)?;
            match tag & 7 {
                0 => drop(varint(&mut rest)?),
                1 => rest = rest.get(8..)?,
                5 => rest = rest.get(4..)?,
                2 => {
                    let length = varint(&mut rest)? as usize;
                    let field = rest.get(..length)?;
                    rest = &rest[length..];
                    return Some((tag >> 3, field));
                }
                _ => return None,
            }
        }
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether a program's API says that it is ready.
pub fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) else {
        return false;
    };
    let sent = stream.write_all(b"GET /-/ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    sent.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_in_both_messages() {
        // Two series with one sample each; labels as field 1.
        let series = [0x0a, 0x00, 0x12, 0x02, 0x10, 0x01];
        for tag in [0x0a, 0x2a] {
            let mut message = Vec::new();
            for _ in 0..2 {
                message.extend([tag, series.len() as u8]);
                message.extend(series);
            }
            let compressed = snap::raw::Encoder::new().compress_vec(&message).expect("small");
            assert_eq!(samples(&compressed), 2);
        }
    }

    #[test]
    fn a_page_has_as_many_series_as_asked_for() {
        let text = page(40, 1, "lib", |_| 0);
        assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 40);
    }

    #[test]
    fn of_a_page_that_changes_as_many_series_are_others_as_the_time_that_has_passed_says() {
        let pages = Pages::Changing { series: 100, place: "lib".to_owned(), an_hour: 0.5 };
        let at = |minutes: u64| {
            let page = pages.get(0, Duration::from_secs(minutes * 60)).into_owned();
            let page = String::from_utf8(page).expect("text");
            let names = page
                .lines()
                .filter_map(|line| Some(line.split_once("path=")?.1.split_once('}')?.0.to_owned()));
            names.collect::<std::collections::HashSet<_>>()
        };
        let (first, half, all) = (at(0), at(59), at(121));
        assert_eq!((first.len(), half.len(), all.len()), (100, 100, 100));
        assert_eq!((first.difference(&half).count(), first.difference(&all).count()), (49, 100));
    }
}

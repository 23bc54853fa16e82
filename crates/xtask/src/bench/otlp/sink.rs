//! A back end of both protocols that counts what it gets by the marks in it, and can stop for a while.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;

use super::payload::{DIGITS, ITEM, REQUEST};

/// Compressed bodies are kept so far and looked into after the run: to unfold them would cost as much as some
/// programs cost.
const KEPT: usize = 1 << 30;

/// The back end.
pub struct Sink {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    stalled: AtomicBool,
    bytes: AtomicU64,
    items: AtomicU64,
    posts: AtomicU64,
    repeated: AtomicU64,
    /// One bit a request of the generator.
    seen: Mutex<Vec<u64>>,
    later: Mutex<(usize, Vec<Bytes>)>,
}

/// What has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    pub items: u64,
    /// Requests of the generator, each once; and how often one came again.
    pub requests: u64,
    pub repeated: u64,
    /// Of bodies, as they were sent.
    pub bytes: u64,
    pub posts: u64,
}

impl Sink {
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        std::thread::Builder::new().name("sink".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, shared));
        })?;
        Ok(Self { address, counts })
    }

    /// While it is stalled, connections are accepted and nothing is answered.
    pub fn stall(&self, on: bool) {
        self.counts.stalled.store(on, Ordering::Relaxed);
    }

    /// Bytes and posts so far, without looking into what is kept.
    pub fn wire(&self) -> (u64, u64) {
        (self.counts.bytes.load(Ordering::Relaxed), self.counts.posts.load(Ordering::Relaxed))
    }

    /// Everything so far.
    pub fn arrived(&self) -> Arrived {
        let later = std::mem::take(&mut *self.counts.later.lock());
        for body in later.1 {
            self.counts.note_packed(&body);
        }
        let (bytes, posts) = self.wire();
        let requests = self.counts.seen.lock().iter().map(|word| u64::from(word.count_ones())).sum();
        Arrived {
            items: self.counts.items.load(Ordering::Relaxed),
            repeated: self.counts.repeated.load(Ordering::Relaxed),
            requests,
            bytes,
            posts,
        }
    }
}

async fn serve(listener: std::net::TcpListener, counts: Arc<Counts>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("not blocking");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let counts = counts.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let counts = counts.clone();
                async move { answer(request, &counts).await }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().initial_stream_window_size(8 << 20).initial_connection_window_size(32 << 20);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    counts: &Counts,
) -> Result<Response<BoxBody<Bytes, Infallible>>, &'static str> {
    while counts.stalled.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "cut off")?.to_bytes();
    let header = |name: &str| head.headers.get(name).is_some_and(|v| v == "gzip");
    let grpc =
        head.headers.get("content-type").is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    let (packed, message) = match grpc {
        true if body.len() < 5 => return Err("no message"),
        true => (header("grpc-encoding") && body[0] == 1, body.slice(5..)),
        false => (header("content-encoding"), body),
    };
    counts.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
    counts.posts.fetch_add(1, Ordering::Relaxed);
    counts.take(packed, message);
    if !grpc {
        let mut response = Response::new(Full::new(Bytes::new()).boxed());
        let media = HeaderValue::from_static("application/x-protobuf");
        response.headers_mut().insert("content-type", media);
        return Ok(response);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5]));
    let mut response = Response::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

impl Counts {
    fn take(&self, packed: bool, message: Bytes) {
        if !packed {
            return self.note(&message);
        }
        let mut later = self.later.lock();
        if later.0 + message.len() <= KEPT {
            later.0 += message.len();
            later.1.push(message);
            return;
        }
        drop(later);
        self.note_packed(&message);
    }

    fn note_packed(&self, body: &[u8]) {
        let mut text = Vec::new();
        // What cannot be unfolded is not counted, and is missed.
        if flate2::read::MultiGzDecoder::new(body).read_to_end(&mut text).is_ok() {
            self.note(&text);
        }
    }

    fn note(&self, text: &[u8]) {
        let mut items = memchr::memmem::find_iter(text, ITEM).count() as u64;
        let mut seen = self.seen.lock();
        for at in memchr::memmem::find_iter(text, REQUEST) {
            let digits = text.get(at + REQUEST.len()..at + REQUEST.len() + DIGITS);
            let number = digits.and_then(|d| std::str::from_utf8(d).ok()?.parse::<u64>().ok());
            let Some(number) = number.filter(|n| *n < 1 << 32) else { continue };
            let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
            if word >= seen.len() {
                seen.resize((word + 1).next_power_of_two(), 0);
            }
            if seen[word] & bit != 0 {
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
            seen[word] |= bit;
            items += 1;
        }
        self.items.fetch_add(items, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::{Coding, Signal, Template};
    use super::*;

    #[test]
    fn items_and_requests_are_counted_whatever_their_form() {
        let counts = Arc::new(Counts::default());
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            for (packed, coding) in [(false, Coding::None), (true, Coding::Gzip)] {
                let template = Template::new(signal, 20, coding);
                for number in 0..3 {
                    counts.take(packed, template.request(number).into());
                }
            }
        }
        let sink = Sink { address: "127.0.0.1:1".parse().expect("an address"), counts };
        let arrived = sink.arrived();
        assert_eq!((arrived.items, arrived.requests, arrived.repeated), (6 * 3 * 20, 3, 15));
    }
}

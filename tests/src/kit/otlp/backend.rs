//! An OTLP back end, HTTP and gRPC on one port, that keeps what it gets and can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use prost::Message;
use signal::otlp::proto::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wire::compress::{Encoding, decompress};

use super::items::{Content, Kind};
use super::{framed, runtime};

/// How it answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    Accept,
    /// Any other status, with `Retry-After` in seconds. Over gRPC that is what a proxy in between says.
    Status(u16, Option<u64>),
    /// A gRPC status, with a delay as `google.rpc.RetryInfo`.
    Grpc(u32, Option<Duration>),
    /// Says nothing, and keeps the connection.
    Hang,
    /// Ends the connection with a reset when a request has come.
    Reset,
    /// Bytes that are no HTTP, then the end of the connection.
    Garbage,
    /// A success but for so many items, with a text about it.
    Partial(i64, &'static str),
    /// Accepts after a while.
    Slow(Duration),
    /// Refuses requests for good in which this client has an item, accepts others.
    Without(&'static str),
}

/// The back end.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Ends with all its connections.
    serving: Option<tokio::task::JoinHandle<()>>,
}

type Numbers = BTreeMap<u64, usize>;

struct State {
    behaviour: Behaviour,
    /// When each request came.
    asked: Vec<Instant>,
    /// How often each number came, by signal and client.
    numbers: BTreeMap<(Kind, String), Numbers>,
    received: Vec<Content>,
    /// What cannot be: a test that looks for numbers fails with it.
    broken: Vec<String>,
}

impl Backend {
    pub fn start() -> Self {
        let state = State {
            behaviour: Behaviour::Accept,
            asked: Vec::new(),
            numbers: BTreeMap::new(),
            received: Vec::new(),
            broken: Vec::new(),
        };
        let address = "127.0.0.1:0".parse().expect("an address");
        let mut backend = Self { address, state: Arc::new(Mutex::new(state)), serving: None };
        backend.come_back();
        backend
    }

    pub fn behaving(behaviour: Behaviour) -> Self {
        let backend = Self::start();
        backend.set(behaviour);
        backend
    }

    pub fn set(&self, behaviour: Behaviour) {
        self.state.lock().behaviour = behaviour;
    }

    /// Requests so far, whatever they were answered.
    pub fn requests(&self) -> usize {
        self.state.lock().asked.len()
    }

    /// When each request came, before it was answered.
    pub fn asked(&self) -> Vec<Instant> {
        self.state.lock().asked.clone()
    }

    /// Stops listening: connections end and are refused.
    pub fn go_down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // The listener is closed when the task has been dropped.
            let _ = runtime().block_on(serving);
        }
    }

    /// Listens, again at the same address if it did before.
    pub fn come_back(&mut self) {
        let listener = runtime().block_on(TcpListener::bind(self.address)).expect("a free port");
        self.address = listener.local_addr().expect("bound");
        self.serving = Some(runtime().spawn(serve(listener, self.state.clone())));
    }

    /// The numbers of a client, each with how often it came.
    ///
    /// # Panics
    /// If something has arrived that is no request.
    pub fn numbers(&self, kind: Kind, client: &str) -> BTreeMap<u64, usize> {
        let state = self.state.lock();
        assert!(state.broken.is_empty(), "{:?}", state.broken);
        state.numbers.get(&(kind, client.to_owned())).cloned().unwrap_or_default()
    }

    /// The clients that have sent something.
    pub fn clients(&self) -> BTreeSet<String> {
        self.state.lock().numbers.keys().map(|(_, client)| client.clone()).collect()
    }

    /// All that has been accepted.
    pub fn received(&self) -> Vec<Content> {
        let state = self.state.lock();
        assert!(state.broken.is_empty(), "{:?}", state.broken);
        state.received.clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let state = state.clone();
        connections.spawn(async move {
            let behaviour = state.lock().behaviour.clone();
            match behaviour {
                Behaviour::Reset | Behaviour::Garbage => misbehave(stream, &behaviour, &state).await,
                _ => connection(stream, state).await,
            }
        });
    }
}

/// Waits for the beginning of a request and answers with what is none.
async fn misbehave(stream: TcpStream, behaviour: &Behaviour, state: &Mutex<State>) {
    let mut some = [0; 1024];
    let read = loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut some) {
            Ok(read) => break read,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    };
    if read == 0 {
        return;
    }
    state.lock().asked.push(Instant::now());
    if *behaviour == Behaviour::Garbage {
        let _ = stream.try_write(b"\x00\x01 no protocol at all\r\n\r\n");
    } else {
        // A close that throws away what has not been read is a reset.
        let _ = stream.set_zero_linger();
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { answer(request, &state).await }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

/// The error ends the connection.
async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Result<Reply, &'static str> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await.map(|b| b.to_bytes()) else { return Err("no body") };
    let behaviour = {
        let mut state = state.lock();
        state.asked.push(Instant::now());
        state.behaviour.clone()
    };
    let grpc =
        head.headers.get("content-type").is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    match behaviour {
        Behaviour::Accept | Behaviour::Partial(..) | Behaviour::Without(_) => {}
        Behaviour::Status(status, after) => return Ok(plain(status, after)),
        Behaviour::Grpc(code, delay) => return Ok(trailers_only(code, delay)),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Reset | Behaviour::Garbage => return Err("told to end"),
        Behaviour::Slow(time) => tokio::time::sleep(time).await,
    }
    let content = Kind::of_path(head.uri.path())
        .ok_or_else(|| format!("nothing is served at {}", head.uri.path()))
        .and_then(|kind| Ok((kind, read(kind, grpc, &head.headers, &body)?)));
    let (kind, content) = match content {
        Ok(found) => found,
        Err(error) => {
            state.lock().broken.push(error);
            return Ok(plain(400, None));
        }
    };
    let numbers = content.numbers();
    if let Behaviour::Without(client) = behaviour
        && numbers.iter().any(|(c, _)| c == client)
    {
        return Ok(if grpc { trailers_only(3, None) } else { plain(400, None) });
    }
    let mut state = state.lock();
    for (client, number) in numbers {
        let of_client = state.numbers.entry((kind, client)).or_default();
        if let Some(number) = number {
            *of_client.entry(number).or_default() += 1;
        }
    }
    state.received.push(content);
    Ok(success(grpc, &behaviour))
}

fn read(kind: Kind, grpc: bool, headers: &HeaderMap, body: &[u8]) -> Result<Content, String> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (word, body) = if grpc {
        let (prefix, message) = body.split_at_checked(5).ok_or("no message")?;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length != message.len() {
            return Err(format!("a message of {length} bytes has {}", message.len()));
        }
        (if prefix[0] == 1 { header("grpc-encoding") } else { "" }, message)
    } else {
        (header("content-encoding"), body)
    };
    let encoding = match word {
        "zlib" => Encoding::Deflate,
        word => Encoding::from_content_encoding(word).ok_or(format!("encoding {word:?}"))?,
    };
    let mut out = Vec::new();
    decompress(encoding, body, 256 << 20, &mut out).map_err(|e| e.to_string())?;
    if !grpc && header("content-type").starts_with("application/json") {
        let read = match kind {
            Kind::Traces => wire::otlp::from_json::<signal::otlp::TracesSignal>(&out),
            Kind::Metrics => wire::otlp::from_json::<signal::otlp::MetricsSignal>(&out),
            Kind::Logs => wire::otlp::from_json::<signal::otlp::LogsSignal>(&out),
        };
        out = read.map_err(|e| e.to_string())?;
    }
    Content::read(kind, &out)
}

fn plain(status: u16, after: Option<u64>) -> Reply {
    let mut response = Response::new(Full::new(Bytes::from_static(b"told to\n")).boxed());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    if let Some(after) = after {
        response.headers_mut().insert("retry-after", after.into());
    }
    if (300..400).contains(&status) {
        response.headers_mut().insert("location", HeaderValue::from_static("http://127.0.0.1:1/"));
    }
    response
}

/// An answer of a success, whose messages are the same for all signals.
fn success(grpc: bool, behaviour: &Behaviour) -> Reply {
    let partial_success = match behaviour {
        Behaviour::Partial(rejected, text) => {
            Some(ExportTracePartialSuccess { rejected_spans: *rejected, error_message: (*text).into() })
        }
        _ => None,
    };
    let message = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    if !grpc {
        let mut response = Response::new(Full::new(Bytes::from(message)).boxed());
        let media = HeaderValue::from_static("application/x-protobuf");
        response.headers_mut().insert("content-type", media);
        return response;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed(false, &message)));
    let mut response = Response::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// `google.rpc.Status` with a `RetryInfo`, as `grpc-status-details-bin` has it.
fn trailers_only(code: u32, delay: Option<Duration>) -> Reply {
    #[derive(Clone, PartialEq, Message)]
    struct Seconds {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    #[derive(Clone, PartialEq, Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Seconds>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", code.into());
    headers.insert("grpc-message", HeaderValue::from_static("told to"));
    if let Some(delay) = delay {
        let retry_delay =
            Some(Seconds { seconds: delay.as_secs() as i64, nanos: delay.subsec_nanos() as i32 });
        let info = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: RetryInfo { retry_delay }.encode_to_vec(),
        };
        let status = Status { code: code as i32, message: "told to".into(), details: vec![info] };
        let text = base64(&status.encode_to_vec());
        headers.insert("grpc-status-details-bin", HeaderValue::try_from(text).expect("base64"));
    }
    response
}

/// Without padding, as gRPC writes it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(DIGITS[(word >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}

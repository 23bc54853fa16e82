//! An engine in this process, for tests: containers with logs, networks, and everything that goes wrong.
//!
//! It answers what Docker 24 answers (shapes as recorded there) on a Unix socket or on TCP. Its log is what
//! tests write into it; followers get it as it grows.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A container of the fake.
#[derive(Clone, Debug)]
pub struct FakeContainer {
    /// Its entry in `/containers/json`.
    pub listed: Value,
    /// Its output is a terminal's.
    pub tty: bool,
    /// It runs.
    pub running: bool,
    /// When it was started last, RFC 3339.
    pub started: String,
    /// When it ended last, RFC 3339.
    pub finished: String,
    log: Vec<Record>,
}

/// A record of its log: a line, or a piece of one.
#[derive(Clone, Debug)]
struct Record {
    kind: u8,
    time_ns: i64,
    text: Vec<u8>,
}

/// What goes wrong with a log request; one each, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after as many bytes of the body.
    CutAfter(usize),
    /// Bytes that are no frames.
    Garbage,
    /// No answer at all.
    Hang,
    /// A refusal.
    Status(u16),
}

/// The engine. It ends with this value.
pub struct FakeEngine {
    shared: Arc<Shared>,
    host: Address,
    life: Mutex<CancellationToken>,
}

enum Address {
    Unix(PathBuf),
    Tcp(std::net::SocketAddr),
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    open: AtomicUsize,
    questions: AtomicUsize,
    most_questions: AtomicUsize,
}

struct State {
    containers: BTreeMap<String, FakeContainer>,
    networks: Value,
    faults: VecDeque<Fault>,
    asked: Vec<String>,
    authorization: Option<String>,
    versions: (f32, f32),
    whole_seconds: bool,
    chunk: usize,
    broken: bool,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl FakeEngine {
    /// On a socket in a folder of its own.
    pub async fn unix() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("engine-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let engine = Self::new(Address::Unix(std::env::temp_dir().join(name)));
        engine.start().await;
        engine
    }

    /// On a port of the loopback.
    pub async fn tcp() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let engine = Self::new(Address::Tcp(free.local_addr().expect("a bound listener")));
        drop(free);
        engine.start().await;
        engine
    }

    fn new(host: Address) -> Self {
        let state = State {
            containers: BTreeMap::new(),
            networks: json!([]),
            faults: VecDeque::new(),
            asked: Vec::new(),
            authorization: None,
            versions: (1.12, 1.43),
            whole_seconds: false,
            chunk: usize::MAX,
            broken: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            open: AtomicUsize::default(),
            questions: AtomicUsize::default(),
            most_questions: AtomicUsize::default(),
        };
        Self { shared: Arc::new(shared), host, life: Mutex::default() }
    }

    /// For `host`.
    pub fn host(&self) -> String {
        match &self.host {
            Address::Unix(path) => format!("unix://{}", path.display()),
            Address::Tcp(address) => format!("tcp://{address}"),
        }
    }

    /// The daemon stops: all connections break, new ones are refused.
    pub fn stop(&self) {
        self.life.lock().cancel();
        if let Address::Unix(path) = &self.host {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The daemon starts, with the containers and logs that it had.
    pub async fn start(&self) {
        let life = CancellationToken::new();
        *self.life.lock() = life.clone();
        let shared = self.shared.clone();
        match &self.host {
            Address::Unix(path) => {
                let listener = UnixListener::bind(path).expect("the socket's folder can be written to");
                tokio::spawn(life.clone().run_until_cancelled_owned(async move {
                    while let Ok((socket, _)) = listener.accept().await {
                        serve(shared.clone(), socket, life.clone());
                    }
                }));
            }
            Address::Tcp(address) => {
                let listener = loop {
                    // The port of before may still be closing.
                    match TcpListener::bind(address).await {
                        Ok(listener) => break listener,
                        Err(_) => tokio::task::yield_now().await,
                    }
                };
                tokio::spawn(life.clone().run_until_cancelled_owned(async move {
                    while let Ok((socket, _)) = listener.accept().await {
                        serve(shared.clone(), socket, life.clone());
                    }
                }));
            }
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.shared.state.lock());
        self.shared.changed.send_modify(|n| *n += 1);
        result
    }

    /// Adds a container that runs; `listed` is its entry in `/containers/json`, with its `Id`.
    pub fn add(&self, listed: Value, tty: bool) {
        let id = listed["Id"].as_str().expect("a container has an Id").to_owned();
        let (started, finished) = ("2026-01-01T00:00:00.5Z".into(), "0001-01-01T00:00:00Z".into());
        let container = FakeContainer { listed, tty, running: true, started, finished, log: Vec::new() };
        self.change(|s| s.containers.insert(id, container));
    }

    /// Changes a container.
    pub fn with(&self, id: &str, change: impl FnOnce(&mut FakeContainer)) {
        self.change(|s| change(s.containers.get_mut(id).expect("a container of that Id")));
    }

    /// Removes a container with its log.
    pub fn remove(&self, id: &str) {
        self.change(|s| s.containers.remove(id));
    }

    /// A container writes a line: `kind` 1 is standard output, 2 standard error.
    pub fn write(&self, id: &str, kind: u8, time_ns: i64, line: &str) {
        self.write_piece(id, kind, time_ns, &format!("{line}\n"));
    }

    /// As [`FakeEngine::write`]; without a line end it is a piece of a longer line.
    pub fn write_piece(&self, id: &str, kind: u8, time_ns: i64, text: &str) {
        let record = Record { kind, time_ns, text: text.as_bytes().to_vec() };
        self.with(id, |c| c.log.push(record));
    }

    /// The oldest records of a container's log are rotated away.
    pub fn rotate(&self, id: &str, gone: usize) {
        self.with(id, |c| drop(c.log.drain(..gone)));
    }

    /// What `/networks` answers.
    pub fn networks(&self, networks: Value) {
        self.change(|s| s.networks = networks);
    }

    /// What goes wrong with the next log requests.
    pub fn faults(&self, faults: &[Fault]) {
        self.change(|s| s.faults.extend(faults));
    }

    /// The oldest API version that it understands, and the one that it offers.
    pub fn versions(&self, oldest: f32, offered: f32) {
        self.change(|s| s.versions = (oldest, offered));
    }

    /// `since` is understood to the second only, and bodies come in chunks of a size.
    pub fn coarse(&self, whole_seconds: bool, chunk: usize) {
        self.change(|s| (s.whole_seconds, s.chunk) = (whole_seconds, chunk));
    }

    /// Every question is answered with 500 from now on, or no longer.
    pub fn broken(&self, broken: bool) {
        self.change(|s| s.broken = broken);
    }

    /// Paths and queries so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.state.lock().asked.clone()
    }

    /// The credentials of the last question.
    pub fn authorization(&self) -> Option<String> {
        self.shared.state.lock().authorization.clone()
    }

    /// Log streams that are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The most questions that were under way at once.
    pub fn most_questions(&self) -> usize {
        self.shared.most_questions.load(Ordering::SeqCst)
    }

    /// Waits until so many log streams are open.
    pub async fn until_open(&self, count: usize) {
        let mut changed = self.shared.changed.subscribe();
        while self.open() != count {
            changed.changed().await.expect("the engine is there");
        }
    }

    /// Waits until a question satisfies a condition.
    pub async fn until_asked(&self, condition: impl Fn(&str) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !self.asked().iter().any(|a| condition(a)) {
            changed.changed().await.expect("the engine is there");
        }
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve<S>(shared: Arc<Shared>, socket: S, life: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        async move {
            let under_way = shared.questions.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_questions.fetch_max(under_way, Ordering::SeqCst);
            // So that questions that come together are under way together.
            tokio::task::yield_now().await;
            let answer = answer(shared.clone(), request).await;
            shared.questions.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    tokio::spawn(life.run_until_cancelled_owned(async move {
        // A client that goes away is no failure of the engine.
        let _ = connection.await;
    }));
}

fn whole(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|e| match e {}).boxed_unsync();
    let response = Response::builder()
        .status(StatusCode::from_u16(status).expect("a status of this file"))
        .header("content-type", "application/json");
    response.body(body).expect("constant headers")
}

fn refusal(status: u16, message: &str) -> Response<Body> {
    whole(status, &json!({ "message": message }))
}

async fn answer(shared: Arc<Shared>, request: Request<hyper::body::Incoming>) -> Response<Body> {
    let asked = request.uri().to_string();
    let authorization = request.headers().get("authorization").and_then(|v| v.to_str().ok());
    let (broken, (oldest, offered)) = {
        let mut state = shared.state.lock();
        state.asked.push(asked);
        state.authorization = authorization.map(str::to_owned);
        (state.broken, state.versions)
    };
    shared.changed.send_modify(|n| *n += 1);
    if broken {
        return refusal(500, "the engine is broken");
    }
    let mut path = request.uri().path();
    if let Some((version, rest)) = path.strip_prefix("/v").and_then(|p| p.split_once('/')) {
        let version: f32 = version.parse().unwrap_or(0.0);
        path = &path[path.len() - rest.len() - 1..];
        if version > offered {
            let text =
                format!("client version {version} is too new. Maximum supported API version is {offered}");
            return refusal(400, &text);
        }
        if version < oldest {
            let text =
                format!("client version {version} is too old. Minimum supported API version is {oldest}");
            return refusal(400, &text);
        }
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["_ping"] => {
            let mut response = whole(200, &json!("OK"));
            let version = format!("{offered:.2}").parse().expect("a number is a header value");
            response.headers_mut().insert("api-version", version);
            response
        }
        ["containers", "json"] => {
            let listed: Vec<Value> = {
                let state = shared.state.lock();
                state.containers.values().filter(|c| c.running).map(|c| c.listed.clone()).collect()
            };
            whole(200, &Value::Array(listed))
        }
        ["networks"] => whole(200, &shared.state.lock().networks.clone()),
        ["containers", id, "json"] => match shared.state.lock().containers.get(id) {
            Some(c) => whole(200, &inspected(id, c)),
            None => refusal(404, &format!("No such container: {id}")),
        },
        ["containers", id, "logs"] => logs(&shared, id, request.uri().query().unwrap_or_default()).await,
        _ => refusal(404, "page not found"),
    }
}

fn inspected(id: &str, container: &FakeContainer) -> Value {
    json!({
        "Id": id,
        "Name": container.listed["Names"][0],
        "State": {
            "Status": if container.running { "running" } else { "exited" },
            "Running": container.running,
            "Paused": false,
            "ExitCode": 0,
            "StartedAt": container.started,
            "FinishedAt": container.finished,
        },
        "HostConfig": { "LogConfig": { "Type": "json-file", "Config": {} } },
        "Config": { "Tty": container.tty, "Labels": container.listed["Labels"] },
    })
}

async fn logs(shared: &Arc<Shared>, id: &str, query: &str) -> Response<Body> {
    let pairs: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    let fault = shared.state.lock().faults.pop_front();
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status)) => return refusal(status, "not now"),
        _ => {}
    }
    let tty = match shared.state.lock().containers.get(id) {
        Some(c) => c.tty,
        None => return refusal(404, &format!("No such container: {id}")),
    };
    let whole_seconds = shared.state.lock().whole_seconds;
    let since = since(pairs.get("since").map_or("0", String::as_str), whole_seconds);
    let follow = pairs.get("follow").is_some_and(|f| f == "1" || f == "true");
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(feed(shared.clone(), id.to_owned(), since, follow, fault, sender));
    let frames = futures_util::stream::unfold(receiver, |mut r| async move {
        let next: Option<Result<Bytes, std::io::Error>> = r.recv().await;
        next.map(|n| (n, r))
    });
    let body = StreamBody::new(frames.map(|b| b.map(hyper::body::Frame::data))).boxed_unsync();
    let kind = if tty { "raw-stream" } else { "multiplexed-stream" };
    let response = Response::builder().header("content-type", format!("application/vnd.docker.{kind}"));
    response.body(body).expect("constant headers")
}

/// `seconds[.nanoseconds]`, as the engine reads it.
fn since(text: &str, whole_seconds: bool) -> i64 {
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().unwrap_or(0);
    let nanos: i64 = format!("{nanos:0<9}").parse().unwrap_or(0);
    seconds * 1_000_000_000 + if whole_seconds { 0 } else { nanos }
}

async fn feed(
    shared: Arc<Shared>,
    id: String,
    since: i64,
    follow: bool,
    fault: Option<Fault>,
    to: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let _open = Open::new(&shared);
    let mut changed = shared.changed.subscribe();
    let (mut next, mut sent) = (0, 0);
    if fault == Some(Fault::Garbage) {
        let _ = to.send(Ok(Bytes::from_static(b"\x07garbage that is no frame\n"))).await;
    }
    loop {
        changed.mark_unchanged();
        let (bytes, chunk, over) = {
            let state = shared.state.lock();
            // A log ends when its container does, and when it is removed.
            let Some(container) = state.containers.get(&id) else { return };
            let records = container.log.get(next..).unwrap_or_default();
            next = container.log.len();
            let bytes: Vec<u8> = records
                .iter()
                .filter(|r| r.time_ns >= since)
                .flat_map(|r| encode(r, container.tty))
                .collect();
            (Bytes::from(bytes), state.chunk, !container.running || !follow)
        };
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let mut part = bytes.split_to(bytes.len().min(chunk));
            if let Some(Fault::CutAfter(limit)) = fault
                && sent + part.len() >= limit
            {
                part.truncate(limit - sent);
                let _ = to.send(Ok(part)).await;
                // What was sent before gets out first.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let _ = to.send(Err(std::io::Error::other("cut"))).await;
                return;
            }
            sent += part.len();
            if to.send(Ok(part)).await.is_err() {
                return;
            }
        }
        if over {
            return;
        }
        tokio::select! {
            result = changed.changed() => if result.is_err() { return },
            () = to.closed() => return,
        }
    }
}

/// Counts open log streams.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        shared.changed.send_modify(|n| *n += 1);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.send_modify(|n| *n += 1);
    }
}

/// As moby's `httputils.WriteLogStream`: a time of fixed width before each record, a frame around it.
fn encode(record: &Record, tty: bool) -> Vec<u8> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(record.time_ns)).expect("a time of a test");
    let mut payload = format!("{time:.9} ").into_bytes();
    payload.extend_from_slice(&record.text);
    if tty {
        return payload;
    }
    let mut out = vec![record.kind, 0, 0, 0];
    out.extend_from_slice(&u32::try_from(payload.len()).expect("a record of a test").to_be_bytes());
    out.extend(payload);
    out
}

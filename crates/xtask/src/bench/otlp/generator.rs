//! Sends prepared requests at a fixed rate, each again until it is taken.
//!
//! One thread. A request is due by the clock, not by the answer to the one before; so many are under way at once as
//! that takes, up to a bound beyond which the program under test is too slow and requests are left out.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::payload::{Coding, Signal, Template};

/// By which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Grpc,
    Http,
}

/// What is sent.
#[derive(Clone, Copy)]
pub struct Work {
    pub signal: Signal,
    pub protocol: Protocol,
    pub coding: Coding,
    /// Items of a request.
    pub items: usize,
    /// Items a second.
    pub rate: u64,
}

/// Requests under way at once.
const MOST: usize = 400;
/// gRPC connections; those of HTTP/1 are as many as requests are under way.
const CHANNELS: usize = 4;
const TICK: Duration = Duration::from_millis(2);
/// Before a request is sent again, as SDKs begin.
const PAUSE: Duration = Duration::from_secs(1);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it has done so far.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    give_up: AtomicBool,
    /// Requests that were taken, and answers that were anything else.
    taken: AtomicU64,
    retried: AtomicU64,
    left_out: AtomicU64,
}

/// The thread.
pub struct Generator {
    counts: Arc<Counts>,
    items: u64,
    thread: std::thread::JoinHandle<()>,
}

/// What a generator has done.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Items of requests that were taken.
    pub taken: u64,
    pub retried: u64,
    /// Items that were due while too much was under way.
    pub left_out: u64,
}

impl Generator {
    pub fn start(address: SocketAddr, work: Work) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        let thread = std::thread::Builder::new().name("generator".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.expect("a runtime"), generate(address, work, shared));
        })?;
        Ok(Self { counts, items: work.items as u64, thread })
    }

    pub fn sent(&self) -> Sent {
        let items = |count: &AtomicU64| count.load(Ordering::Relaxed) * self.items;
        Sent {
            taken: items(&self.counts.taken),
            retried: self.counts.retried.load(Ordering::Relaxed),
            left_out: items(&self.counts.left_out),
        }
    }

    /// Begins no more; returns when what is under way is taken, at the latest after `patience`.
    pub fn finish(self, patience: Duration) -> Sent {
        self.counts.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.counts.give_up.store(true, Ordering::Relaxed);
        while !self.thread.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.sent()
    }
}

struct Sender {
    address: SocketAddr,
    work: Work,
    template: Template,
    counts: Arc<Counts>,
    idle: RefCell<Vec<http1::SendRequest<Full<Bytes>>>>,
    channels: RefCell<Vec<Option<http2::SendRequest<Full<Bytes>>>>>,
    under_way: Cell<usize>,
}

async fn generate(address: SocketAddr, work: Work, counts: Arc<Counts>) {
    let sender = Rc::new(Sender {
        address,
        work,
        template: Template::new(work.signal, work.items, work.coding),
        counts: counts.clone(),
        idle: RefCell::default(),
        channels: RefCell::new(vec![None; CHANNELS]),
        under_way: Cell::new(0),
    });
    let per_second = work.rate as f64 / work.items as f64;
    let began = Instant::now();
    let (mut due_before, mut number) = (0, 0);
    while !counts.stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * per_second) as u64;
        for _ in due_before..due {
            if sender.under_way.get() >= MOST {
                counts.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            sender.under_way.set(sender.under_way.get() + 1);
            tokio::task::spawn_local(sender.clone().until_taken(number));
            number += 1;
        }
        due_before = due;
        tokio::time::sleep(TICK).await;
    }
    while sender.under_way.get() > 0 && !counts.give_up.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
}

impl Sender {
    async fn until_taken(self: Rc<Self>, number: u64) {
        let body = Bytes::from(self.template.request(number));
        while !self.counts.give_up.load(Ordering::Relaxed) {
            let taken = tokio::time::timeout(PATIENCE, self.once(number, body.clone())).await;
            if matches!(taken, Ok(Ok(true))) {
                self.counts.taken.fetch_add(1, Ordering::Relaxed);
                break;
            }
            self.counts.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        self.under_way.set(self.under_way.get() - 1);
    }

    async fn once(&self, number: u64, body: Bytes) -> anyhow::Result<bool> {
        match self.work.protocol {
            Protocol::Http => self.post(body).await,
            Protocol::Grpc => self.call(number as usize % CHANNELS, &body).await,
        }
    }

    async fn connect(&self) -> anyhow::Result<TokioIo<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    async fn post(&self, body: Bytes) -> anyhow::Result<bool> {
        let pooled = self.idle.borrow_mut().pop().filter(|c| c.is_ready());
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                let (sender, connection) = http1::handshake(self.connect().await?).await?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        let mut request = Request::post(self.work.signal.path())
            .header("host", "bench")
            .header("content-type", "application/x-protobuf");
        if self.work.coding == Coding::Gzip {
            request = request.header("content-encoding", "gzip");
        }
        let response: Response<Incoming> = connection.send_request(request.body(Full::new(body))?).await?;
        let taken = response.status() == 200;
        response.into_body().collect().await?;
        if connection.ready().await.is_ok() {
            self.idle.borrow_mut().push(connection);
        }
        Ok(taken)
    }

    async fn call(&self, channel: usize, body: &[u8]) -> anyhow::Result<bool> {
        let open = self.channels.borrow()[channel].clone().filter(|c| !c.is_closed());
        let mut connection = match open {
            Some(connection) => connection,
            None => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), self.connect().await?).await?;
                tokio::spawn(connection);
                self.channels.borrow_mut()[channel] = Some(sender.clone());
                sender
            }
        };
        connection.ready().await?;
        let coding = if self.work.coding == Coding::Gzip { "gzip" } else { "identity" };
        let mut frame = BytesMut::with_capacity(body.len() + 5);
        frame.put_u8(u8::from(self.work.coding == Coding::Gzip));
        frame.put_u32(body.len() as u32);
        frame.extend_from_slice(body);
        let request = Request::post(format!("http://bench{}", self.work.signal.method()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", coding)
            .body(Full::new(frame.freeze()))?;
        let response: Response<Incoming> = connection.send_request(request).await?;
        let headers = response.headers().get("grpc-status").cloned();
        let collected = response.into_body().collect().await?;
        let status = collected.trailers().and_then(|t| t.get("grpc-status").cloned()).or(headers);
        Ok(status.is_some_and(|s| s == "0"))
    }
}

//! For tests of writers: a back end in this process that records what is posted and answers as it is told, well or
//! badly.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Nothing that a test waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request.
#[derive(Clone, Debug)]
pub struct Posted {
    /// As it came.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: Vec<u8>,
    /// The answer's status, 0 where there was none.
    pub status: u16,
}

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An answer as it should be.
    Answer {
        /// Three digits.
        status: u16,
        /// Beside the length.
        headers: Vec<(&'static str, String)>,
        /// The text.
        body: String,
    },
    /// Writes this and closes.
    Raw(&'static str),
    /// Writes these bytes and closes.
    Bytes(Vec<u8>),
    /// Never answers.
    Hang,
    /// Closes with a reset.
    Reset,
}

/// An answer without anything else.
pub fn status(status: u16) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: String::new() }
}

type Script = Box<dyn FnMut(&Posted) -> Reply + Send>;

/// The back end; it lives for as long as the test's runtime.
#[derive(Clone)]
pub struct Backend(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    script: Mutex<Script>,
    posted: Mutex<Vec<Posted>>,
    arrived: Notify,
    /// So many of the next requests are cut off before their body was read.
    cut: AtomicUsize,
    connections: AtomicUsize,
}

impl Backend {
    /// Answers as the script says.
    pub async fn start(script: impl FnMut(&Posted) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let shared = Arc::new(Shared {
            address: listener.local_addr().expect("bound"),
            script: Mutex::new(Box::new(script)),
            posted: Mutex::default(),
            arrived: Notify::new(),
            cut: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self(shared)
    }

    /// Takes everything.
    pub async fn good() -> Self {
        Self::start(|_| status(204)).await
    }

    /// Answers the first requests with these, then takes everything.
    pub async fn first(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        Self::start(move |_| replies.pop_front().unwrap_or_else(|| status(204))).await
    }

    /// Answers otherwise from now on.
    pub fn script(&self, script: impl FnMut(&Posted) -> Reply + Send + 'static) {
        *self.0.script.lock() = Box::new(script);
    }

    /// Cuts off so many of the next requests before their body was read.
    pub fn cut_next(&self, requests: usize) {
        self.0.cut.store(requests, Ordering::Relaxed);
    }

    /// Its address.
    pub fn base(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// How often it was connected to.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<Posted> {
        self.0.posted.lock().clone()
    }

    /// Waits for as many requests in all.
    pub async fn wait(&self, count: usize) -> Vec<Posted> {
        self.until(|all| all.len() >= count).await
    }

    /// Waits until the requests so far satisfy a condition.
    pub async fn until(&self, condition: impl Fn(&[Posted]) -> bool) -> Vec<Posted> {
        let wait = async {
            loop {
                let arrived = self.0.arrived.notified();
                let all = self.all();
                if condition(&all) {
                    return all;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(all) => all,
            Err(_) => panic!("what was waited for did not come; {} requests did", self.all().len()),
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(mut posted) = head(&mut stream).await {
        if shared.cut.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return reset(&stream);
        }
        let length = posted.headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        posted.body = vec![0; length];
        if stream.read_exact(&mut posted.body).await.is_err() {
            return;
        }
        let reply = (shared.script.lock())(&posted);
        if let Reply::Answer { status, .. } = &reply {
            posted.status = *status;
        }
        shared.posted.lock().push(posted);
        shared.arrived.notify_waiters();
        match reply {
            Reply::Answer { status, headers, body } => {
                let mut text = format!("HTTP/1.1 {status} x\r\n");
                if status != 204 {
                    text += &format!("content-length: {}\r\n", body.len());
                }
                headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
                let text = format!("{text}\r\n{body}");
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Raw(text) => {
                // The peer may have gone already.
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Hang => std::future::pending().await,
            Reply::Reset => return reset(&stream),
        }
    }
}

/// With a linger time of zero a close is a reset.
fn reset(stream: &BufReader<TcpStream>) {
    stream.get_ref().set_zero_linger().expect("a socket");
}

async fn head(stream: &mut BufReader<TcpStream>) -> Option<Posted> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_string()),
            None => return Some(Posted { method, path, headers, body: Vec::new(), status: 0 }),
        };
    }
}

/// A port of loopback that is free for TCP and UDP, each call another. It lies below the ports that systems give to
/// outgoing connections, so that none of those takes it before it is listened at.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(97).wrapping_add(next) % 20_000) as u16;
        let address = ("127.0.0.1", port);
        if std::net::TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

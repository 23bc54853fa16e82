//! A back end in this process: records what is posted and answers as it is told, well or badly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use wire::compress::{Encoding, decompress};

use super::schema::{v1, v2};

/// Nothing that a test waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: Vec<u8>,
    /// The answer's status, 0 where there was none.
    pub status: u16,
}

/// A sample as a test compares it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Got {
    /// As `name{label="value", …}`.
    pub series: String,
    pub timestamp: i64,
    pub value: u64,
}

impl Posted {
    pub(super) fn is_v2(&self) -> bool {
        self.headers.get("content-type").is_some_and(|t| t.contains("write.v2"))
    }

    fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(Encoding::Snappy, &self.body, 1 << 28, &mut out).expect("a snappy block");
        out
    }

    pub(super) fn v1(&self) -> v1::WriteRequest {
        assert!(!self.is_v2(), "version 1 was expected");
        v1::WriteRequest::decode(&self.message()[..]).expect("a write request")
    }

    pub(super) fn v2(&self) -> v2::Request {
        assert!(self.is_v2(), "version 2 was expected");
        v2::Request::decode(&self.message()[..]).expect("a write request")
    }

    /// All samples in the order of the request.
    pub(super) fn samples(&self) -> Vec<Got> {
        let mut all = Vec::new();
        let mut add = |labels: Vec<(String, String)>, samples: &[super::schema::Sample]| {
            let series = signal::Labels::from_pairs(labels).to_string();
            all.extend(samples.iter().map(|s| Got {
                series: series.clone(),
                timestamp: s.timestamp,
                value: s.value.to_bits(),
            }));
        };
        if self.is_v2() {
            let request = self.v2();
            for series in &request.timeseries {
                add(super::labels(&request.symbols, &series.labels_refs), &series.samples);
            }
        } else {
            for series in self.v1().timeseries {
                let pairs = series.labels.iter().map(|l| (l.name.clone(), l.value.clone()));
                add(pairs.collect(), &series.samples);
            }
        }
        all
    }

    /// Values of all samples in the order of the request.
    pub(super) fn values(&self) -> Vec<f64> {
        self.samples().iter().map(|s| f64::from_bits(s.value)).collect()
    }
}

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// An answer as it should be.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Writes this and closes.
    Raw(&'static str),
    /// Never answers.
    Hang,
    /// Closes with a reset.
    Reset,
}

/// An answer without anything else.
pub(super) fn status(status: u16) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: String::new() }
}

/// What a receiver that knows both versions answers.
pub(super) fn written(posted: &Posted) -> Reply {
    let mut headers = Vec::new();
    if posted.is_v2() {
        headers.push(("X-Prometheus-Remote-Write-Samples-Written", posted.samples().len().to_string()));
    }
    Reply::Answer { status: 204, headers, body: String::new() }
}

type Script = Box<dyn FnMut(&Posted) -> Reply + Send>;

/// The back end.
#[derive(Clone)]
pub(super) struct Receiver(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    script: Mutex<Script>,
    posted: Mutex<Vec<Posted>>,
    arrived: Notify,
    /// So many of the next requests are cut off before their body was read.
    cut: AtomicUsize,
    connections: AtomicUsize,
}

impl Receiver {
    pub(super) async fn start(script: impl FnMut(&Posted) -> Reply + Send + 'static) -> Self {
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
    pub(super) async fn good() -> Self {
        Self::start(written).await
    }

    /// Answers the first requests with these, then takes everything.
    pub(super) async fn first(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: std::collections::VecDeque<_> = replies.into_iter().collect();
        Self::start(move |posted| replies.pop_front().unwrap_or_else(|| written(posted))).await
    }

    /// Answers otherwise from now on.
    pub(super) fn script(&self, script: impl FnMut(&Posted) -> Reply + Send + 'static) {
        *self.0.script.lock() = Box::new(script);
    }

    pub(super) fn cut_next(&self, requests: usize) {
        self.0.cut.store(requests, Ordering::Relaxed);
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/write", self.0.address)
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// All requests so far.
    pub(super) fn all(&self) -> Vec<Posted> {
        self.0.posted.lock().clone()
    }

    /// Waits for as many requests in all.
    pub(super) async fn wait(&self, count: usize) -> Vec<Posted> {
        self.until(|all| all.len() >= count).await
    }

    /// Waits until the requests so far satisfy a condition.
    pub(super) async fn until(&self, condition: impl Fn(&[Posted]) -> bool) -> Vec<Posted> {
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

    /// The values of all samples in requests that were taken, in the order of arrival.
    pub(super) fn taken(&self) -> Vec<f64> {
        taken(&self.all())
    }
}

/// The values of all samples in requests that were taken, in the order of arrival.
pub(super) fn taken(posted: &[Posted]) -> Vec<f64> {
    posted.iter().filter(|p| p.status / 100 == 2).flat_map(Posted::values).collect()
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

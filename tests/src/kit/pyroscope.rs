//! A Pyroscope that keeps what it gets and can be told to fail, and clients that send it numbered profiles.
//!
//! The oracle: a profile's bytes begin with a number that its client mints, and its `service_name` is the client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use signal::Labels;
use signal::profiles::{Pprof, ProfileBody, SERVICE_NAME};
use wire::compress::{Encoding, compress};
use wire::pyroscope::{INGEST_PATH, PUSH_PATH, decode, parse_query, push_series};

use super::http::{Answer, Reply, Request, Server};
use super::sink::Mode;
use super::{eventually, post_body};

/// The back end.
pub struct Pyroscope {
    server: Option<Server>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    /// How often each number came, by client.
    numbers: BTreeMap<String, BTreeMap<u64, usize>>,
    /// When requests came, whatever they were answered.
    requests: Vec<Instant>,
}

impl Pyroscope {
    pub fn start() -> Self {
        let state = State { mode: Mode::Accept, numbers: BTreeMap::new(), requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let server = serve(None, &state);
        Self { address: server.address, server: Some(server), state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.state.lock().expect("not poisoned").mode = mode;
    }

    /// When requests came so far.
    pub fn requests(&self) -> Vec<Instant> {
        self.state.lock().expect("not poisoned").requests.clone()
    }

    /// Stops listening: connections are refused.
    pub fn go_down(&mut self) {
        self.server = None;
    }

    /// Listens again at the same address.
    pub fn come_back(&mut self) {
        self.server = Some(serve(Some(self.address), &self.state));
    }

    /// The numbers of a client, each with how often it came.
    pub fn numbers(&self, client: &str) -> BTreeMap<u64, usize> {
        self.state.lock().expect("not poisoned").numbers.get(client).cloned().unwrap_or_default()
    }
}

fn serve(address: Option<SocketAddr>, state: &Arc<Mutex<State>>) -> Server {
    let state = state.clone();
    Server::start(address, move |request| handle(&request, &state))
}

fn handle(request: &Request, state: &Mutex<State>) -> Reply {
    let mut state = state.lock().expect("not poisoned");
    state.requests.push(Instant::now());
    match &state.mode {
        Mode::Accept => {}
        Mode::Answer(answer) => return Reply::Answer(answer.clone()),
        Mode::Hang => return Reply::Hang,
        Mode::Garbage(bytes) => return Reply::Raw(bytes.to_vec()),
    }
    let (labels, raw) = profile(request);
    let client = labels.get(SERVICE_NAME).expect("every profile has one").to_owned();
    let text = String::from_utf8(raw).expect("what clients send is text");
    let number = text.split(' ').next().and_then(|n| n.parse().ok()).expect("begins with a number");
    *state.numbers.entry(client).or_default().entry(number).or_default() += 1;
    Reply::Answer(Answer::status(200))
}

/// Labels and bytes of the one profile that a request holds.
fn profile(request: &Request) -> (Labels, Vec<u8>) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match path {
        INGEST_PATH => {
            assert_eq!(request.header("content-type"), Some("text/plain"), "as the client sent it");
            (parse_query(query).expect("a query").labels, request.body.clone())
        }
        PUSH_PATH => {
            assert_eq!(request.header("content-type"), Some("application/proto"));
            assert_eq!(request.header("connect-protocol-version"), Some("1"));
            let read = decode(&request.body.clone().into(), 64 << 20).expect("a push request");
            let [one] = &read[..] else { panic!("one profile a request: {read:?}") };
            assert!(matches!(&one.body, ProfileBody::Pprof(pprof) if !pprof.id.is_empty()), "with its ID");
            (one.labels.clone(), one.raw().to_vec())
        }
        other => panic!("Pyroscope has no {other}"),
    }
}

/// How a client talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Push,
    PushGzip,
    Ingest,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Push, Self::PushGzip, Self::Ingest];

    /// The client's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::PushGzip => "push_gzip",
            Self::Ingest => "ingest",
        }
    }

    /// Sends one profile; the error is the answer, or what went wrong.
    pub fn send(self, address: SocketAddr, number: u64, padding: usize) -> Result<(), String> {
        let raw = format!("{number} {}", "x".repeat(padding));
        let name = self.name();
        let answer = match self {
            Self::Ingest => {
                let target =
                    format!("{INGEST_PATH}?name={name}%7Bregion%3Deu%7D&from=1&until=2&format=groups");
                post_body(address, &target, "Content-Type: text/plain\r\n", raw.as_bytes())
            }
            Self::Push | Self::PushGzip => {
                let labels = Labels::from_pairs([("__name__", "process_cpu"), (SERVICE_NAME, name)]);
                let sample = Pprof { id: number.to_string().into(), raw: raw.into() };
                let mut body = Vec::new();
                push_series(&mut body, &labels, std::iter::once(&sample));
                let mut headers = "Content-Type: application/proto\r\n".to_owned();
                if self == Self::PushGzip {
                    let mut packed = Vec::new();
                    compress(Encoding::Gzip, None, &[&body], &mut packed).expect("compressed");
                    body = packed;
                    headers += "Content-Encoding: gzip\r\n";
                }
                post_body(address, PUSH_PATH, &headers, &body)
            }
        }?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("{status} {}", answer.body)),
        }
    }
}

/// Clients of every way that send numbered profiles until they are told to stop, each again until it is taken.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Sent>>,
    taken: Arc<AtomicU64>,
    troubles: Arc<Mutex<Vec<String>>>,
}

/// What a client has done.
#[derive(Debug)]
pub struct Sent {
    pub way: Way,
    /// The last number that it was told is taken.
    pub taken: u64,
    /// The last that it has sent at all.
    pub offered: u64,
}

impl Load {
    /// `address` says where to send now.
    pub fn start(address: SocketAddr, padding: usize, pause: Duration) -> Self {
        Self::go_on(address, padding, pause, [0; 3])
    }

    /// As [`Load::start`], after what was taken before.
    pub fn go_on(address: SocketAddr, padding: usize, pause: Duration, after: [u64; 3]) -> Self {
        let (stop, taken, troubles) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let client = |(way, before): (Way, u64)| {
            let (stop, taken, troubles) = (stop.clone(), Arc::clone(&taken), Arc::clone(&troubles));
            std::thread::spawn(move || client(way, before, address, padding, pause, &stop, &taken, &troubles))
        };
        let clients = Way::ALL.into_iter().zip(after).map(client).collect();
        Self { stop, clients, taken, troubles }
    }

    /// How many profiles were taken so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until so many more are taken.
    pub fn wait_taken(&self, more: u64) {
        let wanted = self.taken() + more;
        eventually("profiles are taken", || match self.taken() {
            taken if taken >= wanted => Ok(()),
            taken => Err(format!("{taken} of {wanted}; {:?}", self.troubles().last())),
        });
    }

    /// Answers that were no success.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().expect("not poisoned").clone()
    }

    /// No new profiles; returns when each client has been answered or has given up.
    pub fn finish(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    }
}

#[expect(clippy::too_many_arguments, reason = "the captures of a thread")]
fn client(
    way: Way,
    before: u64,
    address: SocketAddr,
    padding: usize,
    pause: Duration,
    stop: &AtomicBool,
    taken: &AtomicU64,
    troubles: &Mutex<Vec<String>>,
) -> Sent {
    let mut sent = Sent { way, taken: before, offered: before };
    while !stop.load(Ordering::Relaxed) {
        sent.offered = sent.taken + 1;
        match way.send(address, sent.offered, padding) {
            Ok(()) => {
                sent.taken = sent.offered;
                taken.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            Err(trouble) => {
                let mut troubles = troubles.lock().expect("not poisoned");
                if troubles.len() < 1000 {
                    troubles.push(trouble);
                }
                drop(troubles);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    sent
}

//! A remote-write back end that keeps what it gets and can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wire::compress::{Encoding, decompress};
use wire::remote_write::{Message, decode};

use super::http::{Answer, Reply, Request, Server};

/// How it answers.
#[derive(Clone, Debug)]
pub enum Mode {
    Accept,
    /// Any other answer; nothing is kept.
    Answer(Answer),
    Hang,
    /// Bytes that are no HTTP, then the end of the connection.
    Garbage(&'static [u8]),
}

/// The back end.
pub struct Sink {
    server: Option<Server>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    /// Values by series text, in order of arrival, with their times.
    samples: BTreeMap<String, Vec<(i64, f64)>>,
    /// When the first request came that was accepted.
    first: Option<Instant>,
}

impl Sink {
    pub fn start() -> Self {
        let state = State { mode: Mode::Accept, samples: BTreeMap::new(), first: None };
        let state = Arc::new(Mutex::new(state));
        let server = serve(None, &state);
        Self { address: server.address, server: Some(server), state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.state.lock().expect("not poisoned").mode = mode;
    }

    /// Stops listening: connections are refused.
    pub fn go_down(&mut self) {
        self.server = None;
    }

    /// Listens again at the same address.
    pub fn come_back(&mut self) {
        self.server = Some(serve(Some(self.address), &self.state));
    }

    /// Whole values that have arrived of series whose text contains `part`.
    pub fn numbers(&self, part: &str) -> BTreeSet<u64> {
        let state = self.state.lock().expect("not poisoned");
        let series = state.samples.iter().filter(|(text, _)| text.contains(part));
        series.flat_map(|(_, values)| values.iter().map(|(_, v)| *v as u64)).collect()
    }

    /// When the first request came that was accepted: looking late makes it no later.
    pub fn first(&self) -> Option<Instant> {
        self.state.lock().expect("not poisoned").first
    }

    /// Times and values of each series whose text contains `part`.
    pub fn series(&self, part: &str) -> BTreeMap<String, Vec<(i64, f64)>> {
        let state = self.state.lock().expect("not poisoned");
        let matching = state.samples.iter().filter(|(text, _)| text.contains(part));
        matching.map(|(text, values)| (text.clone(), values.clone())).collect()
    }
}

fn serve(address: Option<SocketAddr>, state: &Arc<Mutex<State>>) -> Server {
    let state = state.clone();
    Server::start(address, move |request| handle(&request, &state))
}

fn handle(request: &Request, state: &Mutex<State>) -> Reply {
    let now = Instant::now();
    let mut state = state.lock().expect("not poisoned");
    match &state.mode {
        Mode::Accept => {}
        Mode::Answer(answer) => return Reply::Answer(answer.clone()),
        Mode::Hang => return Reply::Hang,
        Mode::Garbage(bytes) => return Reply::Raw(bytes.to_vec()),
    }
    let message =
        Message::from_content_type(request.header("content-type").unwrap_or_default()).expect("a known type");
    let mut body = Vec::new();
    decompress(Encoding::Snappy, &request.body, 64 << 20, &mut body).expect("snappy");
    let received = decode(message, &body, 64 << 20).expect("a request");
    state.first.get_or_insert(now);
    for point in received.batch.points.iter() {
        let values = state.samples.entry(point.series.to_string()).or_default();
        values.push((point.timestamp_ms, point.value));
    }
    let written = received.batch.points.len().to_string();
    Reply::Answer(Answer::status(204).with_header("X-Prometheus-Remote-Write-Samples-Written", &written))
}

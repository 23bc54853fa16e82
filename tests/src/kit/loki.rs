//! A Loki that keeps what it gets and can be told to fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wire::compress::{Encoding, decompress};
use wire::loki::decode;

use super::http::{Answer, Reply, Request, Server};
use super::sink::Mode;

/// One entry as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The stream's labels as text.
    pub stream: Arc<str>,
    /// The beginning of the line.
    pub line: String,
    pub timestamp_ns: i64,
}

/// How much of a line is kept.
const KEPT: usize = 512;

/// The back end.
pub struct Loki {
    server: Option<Server>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mode: Mode,
    entries: Vec<Arrived>,
    /// How often each number came, by stream.
    numbers: BTreeMap<Arc<str>, BTreeMap<u64, usize>>,
    requests: usize,
}

impl Loki {
    pub fn start() -> Self {
        let state = State { mode: Mode::Accept, entries: Vec::new(), numbers: BTreeMap::new(), requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let server = serve(None, &state);
        Self { address: server.address, server: Some(server), state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.state.lock().expect("not poisoned").mode = mode;
    }

    /// Requests so far, whatever they were answered.
    pub fn requests(&self) -> usize {
        self.state.lock().expect("not poisoned").requests
    }

    /// Stops listening: connections are refused.
    pub fn go_down(&mut self) {
        self.server = None;
    }

    /// Listens again at the same address.
    pub fn come_back(&mut self) {
        self.server = Some(serve(Some(self.address), &self.state));
    }

    /// Entries of streams whose text contains `part`, in order of arrival.
    pub fn entries(&self, part: &str) -> Vec<Arrived> {
        let state = self.state.lock().expect("not poisoned");
        state.entries.iter().filter(|e| e.stream.contains(part)).cloned().collect()
    }

    /// The numbers of the lines of such streams (see [`super::Journal`]), each with how often it came.
    pub fn numbers(&self, part: &str) -> BTreeMap<u64, usize> {
        let state = self.state.lock().expect("not poisoned");
        let mut numbers = BTreeMap::new();
        for (_, of_stream) in state.numbers.iter().filter(|(stream, _)| stream.contains(part)) {
            of_stream.iter().for_each(|(number, times)| *numbers.entry(*number).or_default() += times);
        }
        numbers
    }
}

fn serve(address: Option<SocketAddr>, state: &Arc<Mutex<State>>) -> Server {
    let state = state.clone();
    Server::start(address, move |request| handle(&request, &state))
}

fn handle(request: &Request, state: &Mutex<State>) -> Reply {
    let mut state = state.lock().expect("not poisoned");
    state.requests += 1;
    match &state.mode {
        Mode::Accept => {}
        Mode::Answer(answer) => return Reply::Answer(answer.clone()),
        Mode::Hang => return Reply::Hang,
        Mode::Garbage(bytes) => return Reply::Raw(bytes.to_vec()),
    }
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    let mut body = Vec::new();
    decompress(Encoding::Snappy, &request.body, 64 << 20, &mut body).expect("snappy");
    let received = decode(&Bytes::from(body), 0, 256 << 20).expect("a push request");
    assert!(received.refused.is_empty(), "{}", received.refused);
    let batch = &received.batch;
    let streams: Vec<Arc<str>> = batch.streams.iter().map(|labels| labels.to_string().into()).collect();
    for entry in &batch.entries {
        let stream = &streams[entry.stream as usize];
        if let Some(number) = super::number_of(&entry.line) {
            *state.numbers.entry(stream.clone()).or_default().entry(number).or_default() += 1;
        }
        let line = entry.line.chars().take(KEPT).collect();
        state.entries.push(Arrived { stream: stream.clone(), line, timestamp_ns: entry.timestamp_ns });
    }
    Reply::Answer(Answer::status(204))
}

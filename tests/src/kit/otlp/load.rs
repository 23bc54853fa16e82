//! Clients that send numbered items until they are told to stop, each request again until it is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::client::{Client, Outcome, Trust};
use super::items::{Kind, request};
use super::runtime;

/// What is sent.
#[derive(Clone)]
pub struct Shape {
    /// Items of a request.
    pub items: u64,
    /// Bytes more in each item.
    pub padding: usize,
    /// Between two requests of a client.
    pub pause: Duration,
    /// Clients of each signal and protocol.
    pub clients: usize,
    /// Whether every other client compresses.
    pub gzip: bool,
    pub trust: Option<Trust>,
    /// Requests over which a connection is used; 0 for all.
    pub requests_a_connection: u64,
    /// Before the name of each client, so that several loads can be told apart.
    pub prefix: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            items: 10,
            padding: 0,
            pause: Duration::from_millis(5),
            clients: 1,
            gzip: true,
            trust: None,
            requests_a_connection: 0,
            prefix: "",
        }
    }
}

/// The clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Option<JoinSet<OfClient>>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the servers for gRPC and HTTP are now.
    addresses: Mutex<(SocketAddr, SocketAddr)>,
    /// Items that were taken.
    taken: AtomicU64,
    /// What was answered but success, at most so many.
    troubles: Mutex<Vec<(String, Outcome)>>,
}

const MOST_TROUBLES: usize = 1000;

/// What a client has done.
#[derive(Clone, Debug)]
pub struct OfClient {
    pub kind: Kind,
    pub name: String,
    /// Numbers from 1 to this one were taken.
    pub taken: u64,
    /// Numbers up to this one were offered.
    pub offered: u64,
}

/// What all have done.
#[derive(Clone, Debug)]
pub struct Sent {
    pub clients: Vec<OfClient>,
    /// Client and answer, where that was not success.
    pub troubles: Vec<(String, Outcome)>,
}

impl Sent {
    pub fn items(&self) -> u64 {
        self.clients.iter().map(|c| c.taken).sum()
    }

    /// # Panics
    /// If a client was answered what it does not retry.
    pub fn nobody_was_refused(&self) {
        let refused: Vec<_> =
            self.troubles.iter().filter(|(_, o)| matches!(o, Outcome::Refused(_))).take(5).collect();
        assert!(refused.is_empty(), "clients have lost data: {refused:?}");
    }

    /// # Panics
    /// If a client was not answered with success at once.
    pub fn nobody_had_to_retry(&self) {
        assert!(self.troubles.is_empty(), "{:?}", self.troubles.iter().take(5).collect::<Vec<_>>());
    }
}

impl Load {
    /// Clients of both protocols and all signals at the receiver's addresses.
    pub fn start(grpc: SocketAddr, http: SocketAddr, shape: &Shape) -> Self {
        let shared = Arc::new(Shared {
            addresses: Mutex::new((grpc, http)),
            taken: AtomicU64::new(0),
            troubles: Mutex::default(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            for is_grpc in [true, false] {
                for n in 0..shape.clients {
                    let protocol = if is_grpc { "grpc" } else { "http" };
                    let name = format!("{}{protocol}-{}-{n}", shape.prefix, kind.name());
                    let mut client = if is_grpc { Client::grpc(grpc) } else { Client::http(http) };
                    client.gzip = shape.gzip && n % 2 == usize::from(is_grpc);
                    client.trust.clone_from(&shape.trust);
                    let task =
                        go_on(client, is_grpc, kind, name, shape.clone(), stop.clone(), shared.clone());
                    tasks.spawn_on(task, runtime().handle());
                }
            }
        }
        Self { stop, tasks: Some(tasks), shared }
    }

    /// The servers are elsewhere now; clients learn it when they get no answer.
    pub fn moved(&self, grpc: SocketAddr, http: SocketAddr) {
        *self.shared.addresses.lock() = (grpc, http);
    }

    /// Items that were taken so far.
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// How many answers were no success so far.
    pub fn troubles(&self) -> usize {
        self.shared.troubles.lock().len()
    }

    /// No new requests; returns when each client has been answered or has given up.
    pub fn finish(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let tasks = self.tasks.take().expect("finished once");
        let mut clients = runtime().block_on(tasks.join_all());
        clients.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Sent { clients, troubles: self.shared.troubles.lock().clone() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(mut tasks) = self.tasks.take() {
            tasks.abort_all();
        }
    }
}

async fn go_on(
    mut client: Client,
    is_grpc: bool,
    kind: Kind,
    name: String,
    shape: Shape,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
) -> OfClient {
    let mut done = OfClient { kind, name, taken: 0, offered: 0 };
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let numbers = done.taken + 1..done.taken + 1 + shape.items;
        done.offered = numbers.end - 1;
        let body = request(kind, &done.name, numbers, shape.padding);
        loop {
            let outcome = client.send(kind, &body).await;
            if outcome == Outcome::Taken {
                done.taken = done.offered;
                shared.taken.fetch_add(shape.items, Ordering::Relaxed);
                break;
            }
            {
                let mut troubles = shared.troubles.lock();
                if troubles.len() < MOST_TROUBLES {
                    troubles.push((done.name.clone(), outcome));
                }
            }
            if stop.load(Ordering::Relaxed) {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let (grpc, http) = *shared.addresses.lock();
            let address = if is_grpc { grpc } else { http };
            if client.address != address {
                client.address = address;
                client.disconnect();
            }
        }
        if shape.requests_a_connection > 0 && round % shape.requests_a_connection == 0 {
            client.disconnect();
        }
        tokio::time::sleep(shape.pause).await;
    }
    done
}

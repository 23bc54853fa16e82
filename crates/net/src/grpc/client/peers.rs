//! The addresses of an endpoint and the connection to each: found, opened, used in turn, opened again.
//!
//! A state machine behind one lock that is never held across an await; tasks of its own resolve and connect, and
//! wake the calls that wait. Invariants: an address whose connection fails is left alone for a back-off that
//! grows; a call waits only while somebody is at work for it; tasks end with the channel.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::super::status::Code;
use super::Failure;
use super::connect::{Address, Connection, Connector};
use crate::error::Error;

/// First wait after a failure, and the longest: an exporter has waits of its own, and should find out soon after
/// its back end is back.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
const GROWTH: f64 = 1.6;
/// How long addresses are believed: while all is well, and when a connection has failed.
const RESOLVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1));
/// Most addresses that are used.
const MOST_PEERS: usize = 256;

pub(super) struct Peers {
    connector: Arc<Connector>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    peers: Vec<Peer>,
    next_id: u64,
    turn: usize,
    names: Names,
    /// A connection has failed or ended since the addresses were found.
    doubted: bool,
    tasks: JoinSet<()>,
}

/// What is known of the endpoint's name.
#[derive(Default)]
struct Names {
    running: bool,
    found_at: Option<Instant>,
    failures: u32,
    failed: Option<(Instant, String)>,
}

struct Peer {
    id: u64,
    address: Address,
    link: Link,
    failures: u32,
}

enum Link {
    Idle,
    Connecting,
    Ready(Arc<Connection>),
    Waiting { until: Instant, error: String },
}

/// What a call is to do.
enum Pick {
    Ready(Arc<Connection>),
    /// Somebody is at work.
    Wait,
    WaitUntil(Instant),
    Failed(String),
}

impl Peers {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        let changed = watch::Sender::new(());
        Arc::new(Self { connector: Arc::new(connector), state: Mutex::default(), changed })
    }

    /// A connection to make a call on.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<Arc<Connection>, Failure> {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let now = Instant::now();
            // The sender lives as long as `self`.
            match self.pick(now) {
                Pick::Ready(connection) => return Ok(connection),
                Pick::Wait => drop(changes.changed().await),
                Pick::WaitUntil(at) => tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep_until(at) => {}
                },
                Pick::Failed(error) => return Err(Failure::on_the_way(Code::Unavailable, error)),
            }
        }
    }

    /// Why there is no connection, where that is known.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.lock();
        let ready = state.peers.iter().any(|peer| matches!(peer.link, Link::Ready(_)));
        (!ready).then(|| state.error()).flatten()
    }

    fn pick(self: &Arc<Self>, now: Instant) -> Pick {
        let mut state = self.state.lock();
        while state.tasks.try_join_next().is_some() {}
        for peer in &mut state.peers {
            if matches!(&peer.link, Link::Ready(connection) if connection.sender.is_closed()) {
                peer.link = Link::Idle;
            }
        }
        if state.must_resolve(now) {
            state.names.running = true;
            state.tasks.spawn(resolve(Arc::downgrade(self), self.connector.clone()));
        }
        self.connect_due(&mut state, now);
        if let Some(connection) = state.take_turn(self.connector.uses_all()) {
            return Pick::Ready(connection);
        }
        if state.names.running || state.peers.iter().any(|peer| matches!(peer.link, Link::Connecting)) {
            return Pick::Wait;
        }
        let error = state.error().unwrap_or_else(|| "there is no address to connect to".into());
        match state.next_attempt().filter(|_| self.connector.options.wait_for_ready) {
            Some(at) => Pick::WaitUntil(at),
            None => Pick::Failed(error),
        }
    }

    /// Begins with the connections that are to be opened now: all, or the first that works.
    fn connect_due(self: &Arc<Self>, state: &mut State, now: Instant) {
        let State { peers, tasks, .. } = state;
        for peer in peers {
            match &peer.link {
                Link::Ready(_) | Link::Connecting if !self.connector.uses_all() => break,
                Link::Waiting { until, .. } if *until > now => {}
                Link::Idle | Link::Waiting { .. } => {
                    peer.link = Link::Connecting;
                    let address = peer.address.clone();
                    tasks.spawn(run(Arc::downgrade(self), self.connector.clone(), peer.id, address));
                    if !self.connector.uses_all() {
                        break;
                    }
                }
                Link::Ready(_) | Link::Connecting => {}
            }
        }
    }

    fn resolved(&self, result: Result<Vec<Address>, Error>) {
        let mut state = self.state.lock();
        state.names.running = false;
        match result {
            Ok(addresses) => {
                state.names = Names { found_at: Some(Instant::now()), ..Names::default() };
                state.doubted = false;
                state.adopt(addresses);
            }
            Err(error) => {
                state.names.failures += 1;
                let until = Instant::now() + backoff(state.names.failures);
                state.names.failed = Some((until, error.to_string()));
            }
        }
        self.changed.send_replace(());
    }

    fn connected(&self, id: u64, result: Result<Connection, Error>) {
        let mut state = self.state.lock();
        // `None`: the address is gone meanwhile.
        if let Some(peer) = state.peers.iter_mut().find(|peer| peer.id == id) {
            match result {
                Ok(connection) => {
                    peer.failures = 0;
                    peer.link = Link::Ready(Arc::new(connection));
                }
                Err(error) => {
                    peer.failures += 1;
                    let until = Instant::now() + backoff(peer.failures);
                    peer.link = Link::Waiting { until, error: error.to_string() };
                    state.doubted = true;
                }
            }
        }
        self.changed.send_replace(());
    }

    /// A connection has ended by itself. One that ended at once counts as a failure, so that a peer that closes
    /// every connection is not asked all the time.
    fn ended(&self, id: u64, lasted: Duration, error: Option<&hyper::Error>) {
        self.connector.ended(error);
        let mut state = self.state.lock();
        state.doubted = true;
        if let Some(peer) = state.peers.iter_mut().find(|peer| peer.id == id) {
            peer.link = Link::Idle;
            if lasted < BACKOFF.0 {
                peer.failures += 1;
                let error = error.map_or("it was closed".into(), |e| crate::error::causes(e));
                let error = format!("the connection ended as soon as it was there: {error}");
                peer.link = Link::Waiting { until: Instant::now() + backoff(peer.failures), error };
            }
        }
        self.changed.send_replace(());
    }
}

impl State {
    fn must_resolve(&self, now: Instant) -> bool {
        let names = &self.names;
        if names.running || names.failed.as_ref().is_some_and(|(until, _)| *until > now) {
            return false;
        }
        let age = if self.doubted { RESOLVE.1 } else { RESOLVE.0 };
        names.found_at.is_none_or(|at| now.duration_since(at) >= age)
    }

    /// Takes new addresses; connections to those that stay are kept.
    fn adopt(&mut self, mut addresses: Vec<Address>) {
        addresses.truncate(MOST_PEERS);
        let mut old = std::mem::take(&mut self.peers);
        for address in addresses {
            let known = old.iter().position(|peer| peer.address == address);
            self.peers.push(match known {
                Some(at) => old.swap_remove(at),
                None => {
                    self.next_id += 1;
                    Peer { id: self.next_id, address, link: Link::Idle, failures: 0 }
                }
            });
        }
    }

    fn take_turn(&mut self, all: bool) -> Option<Arc<Connection>> {
        let ready = |peer: &Peer| match &peer.link {
            Link::Ready(connection) => Some(connection.clone()),
            _ => None,
        };
        if !all {
            return self.peers.iter().find_map(ready);
        }
        let count = self.peers.len();
        let (at, connection) =
            (0..count).map(|n| (self.turn + n) % count).find_map(|at| Some((at, ready(&self.peers[at])?)))?;
        self.turn = at + 1;
        Some(connection)
    }

    fn error(&self) -> Option<String> {
        let waiting = |peer: &Peer| match &peer.link {
            Link::Waiting { error, .. } => Some(error.clone()),
            _ => None,
        };
        let of_peers = self.peers.iter().find_map(waiting);
        of_peers.or_else(|| self.names.failed.as_ref().map(|(_, error)| error.clone()))
    }

    fn next_attempt(&self) -> Option<Instant> {
        let of_peer = |peer: &Peer| match &peer.link {
            Link::Waiting { until, .. } => Some(*until),
            _ => None,
        };
        let names = self.names.failed.as_ref().map(|(until, _)| *until);
        self.peers.iter().filter_map(of_peer).chain(names).min()
    }
}

async fn resolve(peers: Weak<Peers>, connector: Arc<Connector>) {
    let limit = connector.options.connect_timeout;
    let result = tokio::time::timeout(limit, connector.resolve()).await.unwrap_or_else(|_| {
        let shown = connector.options.endpoint.shown();
        Err(Error::new(crate::error::Kind::Dns, format!("{shown} was not resolved within {limit:?}")))
    });
    if let Some(peers) = peers.upgrade() {
        peers.resolved(result);
    }
}

/// Opens a connection and runs it until its end.
async fn run(peers: Weak<Peers>, connector: Arc<Connector>, id: u64, address: Address) {
    let result = connector.connect(&address).await;
    let driving = {
        let Some(peers) = peers.upgrade() else { return };
        match result {
            Ok((connection, driving)) => {
                peers.connected(id, Ok(connection));
                driving
            }
            Err(error) => return peers.connected(id, Err(error)),
        }
    };
    let began = Instant::now();
    let result = driving.await;
    if let Some(peers) = peers.upgrade() {
        peers.ended(id, began.elapsed(), result.as_ref().err());
    }
}

/// The wait after so many failures in a row, with a fifth of it more or less.
fn backoff(failures: u32) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX).min(100);
    let due = (BACKOFF.0.as_secs_f64() * GROWTH.powi(exponent)).min(BACKOFF.1.as_secs_f64());
    Duration::from_secs_f64(due * (0.8 + 0.4 * fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest() {
        for (failures, low, high) in [(1, 0.8, 1.2), (3, 2.0, 3.1), (100, 8.0, 12.0), (u32::MAX, 8.0, 12.0)] {
            let wait = backoff(failures).as_secs_f64();
            assert!((low..=high).contains(&wait), "{failures}: {wait}");
        }
    }
}

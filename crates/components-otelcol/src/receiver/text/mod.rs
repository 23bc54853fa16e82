//! Text that arrives over TCP and UDP: what `otelcol.receiver.tcplog` and `otelcol.receiver.syslog` share.
//!
//! Data path: socket → frames → entries → operators → consumers. Invariants: a change of arguments drops no
//! connection whose address and TLS stay; TCP senders wait while consumers do, and what UDP's cannot wait with is
//! counted; everything that a client can make grow has a bound.

mod tcp;
#[cfg(test)]
pub mod testkit;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::metrics::IntCounterVec;
use component::{Component, Error, RunCx};
use jiff::Timestamp;
use net::ServerTls;
use net::datagrams::KERNEL_BUFFER;
use net::names::{Names, PATIENCE};
use net::socket::{Claim, listen_tcp, listen_udp};
use tail::{Charset, Framing};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::filelog::Encoding;
use crate::operators::deliver::{Delivery, trimmed};
use crate::operators::entry::Entry;
use crate::operators::value::{Map, Value};
use crate::server::TlsServerArgs;

/// Machines whose names are remembered.
const NAMES: usize = 1024;

/// How bytes become entries.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where one entry ends.
    pub frames: Frames,
    /// Their characters.
    pub encoding: Encoding,
    /// Spaces before and behind entries stay.
    pub keep_spaces: (bool, bool),
    /// Add `net.…`.
    pub add_attributes: bool,
}

/// Where one entry ends.
#[derive(Clone, Debug)]
pub enum Frames {
    /// As in files.
    Split(Framing),
    /// With its length in front, as RFC 6587 has it; at most so many bytes.
    Counted(usize),
    /// With this byte behind it; at most so many bytes.
    Trailer(u8, usize),
    /// All that a connection sends, or all of a datagram.
    Whole(usize),
}

/// What a listener is known by: under new arguments it goes on if this stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// Connections.
    Tcp {
        /// `host:port`
        address: String,
        /// TLS.
        tls: Option<Box<TlsServerArgs>>,
    },
    /// Datagrams.
    Udp {
        /// `host:port`
        address: String,
        /// Batches of datagrams that may wait.
        queue: usize,
        /// Tasks that make entries of them.
        processors: usize,
    },
}

impl Address {
    fn place(&self) -> (bool, &str) {
        match self {
            Self::Tcp { address, .. } => (true, address),
            Self::Udp { address, .. } => (false, address),
        }
    }
}

/// What the tasks of a listener share.
pub struct Shared {
    current: ArcSwap<Reading>,
    delivery: Arc<Delivery>,
    names: Names,
    /// No more from the network; what is there is handed over.
    retire: CancellationToken,
    /// The component stops: consumers are not waited for much longer.
    stop: CancellationToken,
}

struct Listener {
    address: Address,
    shared: Arc<Shared>,
    /// Closed when all that it has taken in is handed over.
    done: watch::Receiver<()>,
}

/// The listeners of a component.
pub struct Listeners {
    all: Vec<Listener>,
    delivery: Arc<Delivery>,
    dropped: IntCounterVec,
    stop: CancellationToken,
}

enum Bound {
    Tcp(Claim<TcpListener>, Option<Arc<ServerTls>>),
    Udp(Claim<UdpSocket>),
}

async fn bind(address: &Address, owner: &str) -> Result<Bound, Error> {
    Ok(match address {
        Address::Tcp { address, tls } => {
            let tls = tls.as_ref().map(|tls| tls.server()).transpose()?;
            if let Some(tls) = &tls {
                tls.config()?;
            }
            Bound::Tcp(listen_tcp(owner, address).await?, tls)
        }
        Address::Udp { address, .. } => Bound::Udp(listen_udp(owner, address, KERNEL_BUFFER).await?),
    })
}

impl Listeners {
    /// None yet. `dropped` counts datagrams that there was no room for.
    pub fn new(delivery: Arc<Delivery>, dropped: IntCounterVec) -> Self {
        Self { all: Vec::new(), delivery, dropped, stop: CancellationToken::new() }
    }

    /// Cancelled when the component stops.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Listens at these addresses and no others: all of them, or, where one cannot be had, as before.
    ///
    /// # Errors
    /// If an address or a certificate cannot be had.
    pub async fn change<C: Component>(
        &mut self,
        wanted: Vec<(Address, Reading)>,
        cx: &RunCx<C>,
    ) -> Result<(), Error> {
        let stays = |listener: &Listener, address: &Address| {
            listener.address == *address && listener.done.has_changed().is_ok()
        };
        let mut plan: Vec<(Address, Reading, bool)> = Vec::new();
        for (address, reading) in wanted {
            let held = self.all.iter().any(|l| l.address.place() == address.place());
            plan.push((address, reading, held));
        }
        // A listener loses its socket to whoever claims the address: that comes last, when nothing can fail.
        plan.sort_by_key(|(_, _, held)| *held);
        let mut bound = Vec::new();
        for (address, _, _) in &plan {
            bound.push(match self.all.iter().any(|l| stays(l, address)) {
                true => None,
                false => Some(bind(address, cx.id()).await?),
            });
        }
        let mut old = std::mem::take(&mut self.all);
        for ((address, reading, _), bound) in plan.into_iter().zip(bound) {
            match bound {
                Some(bound) => self.all.push(self.start(address, reading, bound, cx)),
                None => {
                    if let Some(i) = old.iter().position(|l| stays(l, &address)) {
                        old[i].shared.current.store(Arc::new(reading));
                        self.all.push(old.swap_remove(i));
                    }
                }
            }
        }
        old.iter().for_each(|listener| listener.shared.retire.cancel());
        Ok(())
    }

    fn start<C: Component>(
        &self,
        address: Address,
        reading: Reading,
        bound: Bound,
        cx: &RunCx<C>,
    ) -> Listener {
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(reading),
            delivery: self.delivery.clone(),
            names: Names::new(NAMES),
            retire: CancellationToken::new(),
            stop: self.stop.clone(),
        });
        let (ended, done) = watch::channel(());
        let task = shared.clone();
        match bound {
            Bound::Tcp(claim, tls) => {
                tracing::info!(address = %claim.address(), tls = tls.is_some(), "listening for text over TCP");
                cx.spawn(async move {
                    let _ended = ended;
                    tcp::accept(claim, tls, task).await;
                });
            }
            Bound::Udp(claim) => {
                tracing::info!(address = %claim.address(), "listening for text over UDP");
                let (queue, processors) = match &address {
                    Address::Udp { queue, processors, .. } => (*queue, *processors),
                    Address::Tcp { .. } => (1, 1),
                };
                let dropped = self.dropped.clone();
                cx.spawn(async move {
                    let _ended = ended;
                    udp::receive(claim, (queue, processors), dropped, task).await;
                });
            }
        }
        Listener { address, shared, done }
    }

    /// Ends everything; returns when what was taken in is handed over, or nobody has taken it in time.
    pub async fn stop(self) {
        self.all.iter().for_each(|listener| listener.shared.retire.cancel());
        self.stop.cancel();
        for mut listener in self.all {
            while listener.done.changed().await.is_ok() {}
        }
        tokio::select! {
            () = self.delivery.empty_once(&self.stop) => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(6)) => {}
        }
    }
}

impl Shared {
    /// What is known of the two ends, where it is asked for.
    async fn attributes(&self, reading: &Reading, kind: &str, peer: SocketAddr, local: SocketAddr) -> Map {
        let mut map = Map::new();
        if !reading.add_attributes {
            return map;
        }
        map.insert("net.transport".into(), kind.into());
        for (end, address) in [("peer", peer), ("host", local)] {
            let ip = address.ip().to_canonical();
            let found = self.names.of(ip, Instant::now() + PATIENCE).await;
            let name = found.split(',').next().unwrap_or_default().trim_end_matches('.');
            let name = if name.is_empty() { ip.to_string() } else { name.to_string() };
            map.insert(format!("net.{end}.ip"), Value::Text(ip.to_string()));
            map.insert(format!("net.{end}.port"), Value::Text(address.port().to_string()));
            map.insert(format!("net.{end}.name"), Value::Text(name));
        }
        map
    }

    /// Hands entries over; what nobody takes before the end is counted.
    async fn hand_over(&self, entries: Vec<Entry>) {
        let count = entries.len() as u64;
        if count > 0 && self.delivery.send(entries, &self.stop).await.is_err() {
            self.delivery.count_dropped("stopped", count);
        }
    }
}

/// Entries of one sender that arrived together.
struct Entries<'a> {
    reading: &'a Reading,
    attributes: &'a Map,
    now_ns: i64,
    all: Vec<Entry>,
    undecodable: u64,
    cut: u64,
}

impl<'a> Entries<'a> {
    fn new(reading: &'a Reading, attributes: &'a Map) -> Self {
        let now_ns = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        Self { reading, attributes, now_ns, all: Vec::new(), undecodable: 0, cut: 0 }
    }

    fn add_text(&mut self, text: &str) {
        let text = trimmed(text, self.reading.keep_spaces);
        if text.is_empty() {
            return;
        }
        let body = if self.reading.encoding.is_raw {
            // As it was decoded: a character is a byte.
            Value::Bytes(text.chars().map(|c| c as u8).collect())
        } else {
            Value::from(text)
        };
        let mut entry = Entry::new(body, self.now_ns);
        *entry.attributes_mut() = self.attributes.clone();
        self.all.push(entry);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        let (text, whole) = self.reading.encoding.charset.decode(bytes);
        self.undecodable += u64::from(!whole);
        self.add_text(&text);
    }

    /// As files are split; answers how many bytes are done.
    fn split(&mut self, piece: &Bytes, framing: &Framing, charset: Charset, last: bool) -> usize {
        let (mut lines, mut next_ns) = (Vec::new(), self.now_ns);
        let mut sheet = tail::lines::Sheet { entries: &mut lines, next_ns: &mut next_ns };
        let split = tail::lines::split(piece, framing, charset, last, &mut sheet);
        self.undecodable += split.undecodable;
        self.cut += split.cut;
        lines.iter().for_each(|line| self.add_text(&line.line));
        split.consumed
    }

    /// All of something, in parts where it is too long.
    fn whole(&mut self, bytes: &[u8], most: usize) {
        let charset = self.reading.encoding.charset;
        let mut rest = bytes;
        while rest.len() > most {
            let part = charset.cut(rest, most).max(1);
            self.add_bytes(&rest[..part]);
            self.cut += 1;
            rest = &rest[part..];
        }
        self.add_bytes(rest);
    }

    fn finish(self, delivery: &Delivery) -> Vec<Entry> {
        delivery.counters().alter("undecodable", self.undecodable);
        delivery.counters().alter("cut", self.cut);
        self.all
    }
}

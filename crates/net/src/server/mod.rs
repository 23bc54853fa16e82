//! HTTP servers: one listener an address, whoever serves it.
//!
//! A listener and its connections outlive the component that serves them: a [`Server`] that binds an address
//! which another one of this process holds takes it over, connections included, between two requests.
//! Invariants: nothing is unbounded: connections, requests, bodies, headers, and the time each may take; a
//! handler's panic is one answer with status 500; changed certificates are in force with the next handshake.

mod admission;
pub(crate) mod body;
mod connection;
mod filter;
mod handler;
mod listener;
pub mod serving;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::args::{GrpcServerArgs, HttpServerArgs, ServerTlsArgs};
use crate::error::{Error, Kind, bind_error};
use crate::tls::ServerTls;

pub use admission::{Budget, Inflight, PATIENCE, Refusal, RequestMetrics, Room, taken};
pub use body::{BodyError, RequestBody};
pub use filter::BasicFilter;
pub use handler::{Handler, Peer, ResponseBody, StreamHandler, empty, full, text, whole};
use listener::{Claimed, Generation, Slot};

/// Connections at one time where the user sets no limit.
pub const DEFAULT_CONNECTIONS: usize = 16_384;
/// Bytes of a request's body where the component sets no limit.
pub const DEFAULT_BODY: usize = 64 << 20;

/// Limits and TLS of a server. Every limit is finite.
#[derive(Clone)]
pub struct ServerOptions {
    /// TLS; plain otherwise.
    pub tls: Option<Arc<ServerTls>>,
    /// Connections at one time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Bytes of a request's body, as it is sent.
    pub max_body: usize,
    /// Bytes of an answer's body; a larger one is broken off.
    pub max_response: Option<usize>,
    /// Requests handled at one time; more wait.
    pub max_requests: usize,
    /// How long a request may take to arrive, its body included; also the first one's headers.
    pub read_timeout: Duration,
    /// How long the handshake and the first request's head may take; `read_timeout` where it is not given.
    pub head_timeout: Option<Duration>,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// After how long a connection is told to go.
    pub max_age: Option<Duration>,
    /// How long its requests may go on then.
    pub max_age_grace: Option<Duration>,
    /// Requests at one time on one HTTP/2 connection.
    pub max_streams: u32,
    /// Largest HTTP/2 frame accepted.
    pub max_frame: Option<u32>,
    /// HTTP/2 flow control window of a connection.
    pub connection_window: Option<u32>,
    /// HTTP/2 flow control window of a request.
    pub stream_window: Option<u32>,
    /// Bytes of answers that may wait for a client of HTTP/2 to take them, a request.
    pub send_buffer: Option<usize>,
    /// After how long without a frame an HTTP/2 peer is asked whether it is there, and how long it may take
    /// to answer.
    pub ping: Option<(Duration, Duration)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            tls: None,
            max_connections: DEFAULT_CONNECTIONS,
            max_body: DEFAULT_BODY,
            max_response: None,
            max_requests: DEFAULT_CONNECTIONS,
            read_timeout: Duration::from_secs(30),
            head_timeout: None,
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            max_age: None,
            max_age_grace: None,
            max_streams: 100,
            max_frame: None,
            connection_window: None,
            stream_window: None,
            send_buffer: None,
            ping: None,
        }
    }
}

impl ServerOptions {
    /// From the `http` block of a receiver. Reads no file.
    pub fn from_http(args: &HttpServerArgs) -> Result<Self, Error> {
        let mut options = Self {
            tls: server_tls(args.tls.as_ref())?,
            max_connections: limit(args.conn_limit),
            read_timeout: args.server_read_timeout,
            write_timeout: args.server_write_timeout,
            idle_timeout: args.server_idle_timeout,
            ..Self::default()
        };
        if let Some(h2) = args.http2.as_ref().filter(|h2| h2.enabled) {
            let set = |value: u64| u32::try_from(value).ok().filter(|v| *v > 0);
            let window = |value: i64| u32::try_from(value).ok().filter(|v| *v > 0);
            let some = |value: Duration| (!value.is_zero()).then_some(value);
            options.max_requests = limit(h2.max_handlers);
            options.max_streams = set(h2.max_concurrent_streams).unwrap_or(options.max_streams);
            options.max_frame = set(h2.max_read_frame_size);
            options.connection_window = window(h2.max_upload_buffer_per_connection);
            options.stream_window = window(h2.max_upload_buffer_per_stream);
            options.idle_timeout = some(h2.idle_timeout).unwrap_or(options.idle_timeout);
            options.write_timeout = some(h2.write_byte_timeout).unwrap_or(options.write_timeout);
            options.ping = some(h2.read_idle_timeout).map(|after| (after, h2.ping_timeout));
        }
        Ok(options)
    }

    /// From the `grpc` block of a receiver. Reads no file.
    pub fn from_grpc(args: &GrpcServerArgs) -> Result<Self, Error> {
        let some = |value: Duration| (!value.is_zero()).then_some(value);
        Ok(Self {
            tls: server_tls(args.tls.as_ref())?,
            max_connections: limit(args.conn_limit),
            // A gRPC message travels with five bytes in front of it.
            max_body: usize::try_from(args.server_max_recv_msg_size).unwrap_or(usize::MAX).saturating_add(5),
            max_response: usize::try_from(args.server_max_send_msg_size).ok().map(|m| m.saturating_add(5)),
            // Without a limit of its own an idle client costs a connection; two hours are gRPC's keepalive.
            idle_timeout: some(args.max_connection_idle).unwrap_or(Duration::from_secs(7200)),
            max_age: some(args.max_connection_age),
            max_age_grace: some(args.max_connection_age_grace),
            max_streams: u32::try_from(args.server_max_concurrent_streams).unwrap_or(u32::MAX).max(1),
            ..Self::default()
        })
    }

    /// How long the handshake and the first request's head may take.
    fn head_limit(&self) -> Duration {
        self.head_timeout.unwrap_or(self.read_timeout)
    }

    /// Sets the limit of a request's body.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}

fn server_tls(args: Option<&ServerTlsArgs>) -> Result<Option<Arc<ServerTls>>, Error> {
    Ok(args.map(ServerTls::new).transpose()?.map(Arc::new))
}

/// 0 and what no machine can do stand for the default.
fn limit(given: i64) -> usize {
    match usize::try_from(given).unwrap_or(DEFAULT_CONNECTIONS) {
        0 => DEFAULT_CONNECTIONS,
        given => given,
    }
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All its requests were answered, or the address has another server now.
    Clean,
    /// Some were cut off at the deadline.
    CutOff,
}

/// The right to serve an address, until it is shut down or another server takes the address over.
pub struct Server {
    slot: Arc<Slot>,
    generation: Arc<Generation>,
}

impl Server {
    /// Serves `host:port`. An empty host stands for all addresses, port 0 for any free one. If this process
    /// serves that address already, listener and connections are taken over; `owner` names the server in
    /// the log then. Certificates are read here, so that bad ones are told at once.
    pub async fn bind(
        owner: &str,
        host: &str,
        port: u16,
        options: ServerOptions,
        handler: Arc<dyn StreamHandler>,
    ) -> Result<Self, Error> {
        if let Some(tls) = &options.tls {
            tls.config()?;
        }
        let generation = Arc::new(Generation::new(owner, options, handler));
        let mut last = None;
        for address in addresses(host, port).await? {
            loop {
                match Slot::claim(address, generation.clone()) {
                    Ok(Claimed::Slot(slot)) => return Ok(Self { slot, generation }),
                    Ok(Claimed::Closing(closed)) => closed.cancelled().await,
                    Err(error) => {
                        last = Some((address, error));
                        break;
                    }
                }
            }
        }
        let (address, error) =
            last.ok_or_else(|| Error::new(Kind::Bind, format!("{host:?} has no address")))?;
        Err(bind_error(address, error))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.slot.address()
    }

    /// Connections open now, whoever opened them.
    pub fn connections(&self) -> usize {
        self.slot.connections()
    }

    /// Returns when another server has taken the address over, with that one's name.
    pub async fn taken_over(&self) -> String {
        self.slot.taken_from(&self.generation).await
    }

    /// Takes no more requests and waits for those under way, at most until the deadline. The address is
    /// given up, unless another server has it already.
    pub async fn shutdown(self, deadline: Duration) -> Drained {
        if self.slot.release(&self.generation) {
            self.slot.drain(deadline).await
        } else {
            wait(&self.generation.requests, deadline).await
        }
    }
}

async fn wait(requests: &TaskTracker, deadline: Duration) -> Drained {
    requests.close();
    match tokio::time::timeout(deadline, requests.wait()).await {
        Ok(()) => Drained::Clean,
        Err(_) => Drained::CutOff,
    }
}

/// The addresses to try in order.
pub(crate) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if host.is_empty() {
        // Both families with one socket; machines without IPv6 fail the first.
        return Ok(vec![SocketAddr::from(([0u16; 8], port)), SocketAddr::from(([0u8; 4], port))]);
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    found
        .map(Iterator::collect)
        .map_err(|e| Error::new(Kind::Bind, format!("{host:?} cannot be resolved: {e}")))
}

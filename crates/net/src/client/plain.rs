//! Requests over plain HTTP/1.1 without a proxy: most scrapes, and back ends behind a sidecar.
//!
//! Data path: socket that waits, or a new one → `hyper`'s state of a connection → answer → socket, which waits again.
//! Invariants: between two requests a connection is its socket and nothing else, for with its buffers and channels it
//! has 40 KiB, for each of hundreds of targets; a request is sent a second time only if the first cannot have counted.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tower::Service;
use url::{Position, Url};

use super::ClientOptions;
use super::dns::{SystemDns, Unresolved};

/// Largest read buffer of a connection while it is in use, and with it the largest head of an answer.
const READ_BUFFER: usize = 64 << 10;

type Body = Full<Bytes>;
type Stream = TokioIo<TcpStream>;

/// The connections of a client.
#[derive(Clone)]
pub(super) struct Plain(Arc<Shared>);

struct Shared {
    connector: HttpConnector<SystemDns>,
    idle_timeout: Duration,
    max_idle_per_host: usize,
    idle: Mutex<Idle>,
}

/// Sockets between requests.
#[derive(Default)]
struct Idle {
    /// By host and port, those that were used last at the end.
    sockets: HashMap<Box<str>, Vec<(Instant, TcpStream)>>,
    /// Closes them when they have waited for long; there is one while there are any.
    sweeper: Option<AbortOnDropHandle<()>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The URL cannot stand in a request.
    #[error("the URL cannot be asked for")]
    Url,
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] Box<dyn StdError + Send + Sync>),
    /// There was one.
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
}

impl Plain {
    pub(super) fn new(options: &ClientOptions, dns: SystemDns) -> Self {
        let mut connector = HttpConnector::new_with_resolver(dns);
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        Self(Arc::new(Shared {
            connector,
            idle_timeout: options.idle_timeout,
            max_idle_per_host: options.max_idle_per_host,
            idle: Mutex::default(),
        }))
    }

    /// Sends a request to where the URL, whose scheme has to be `http`, says.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, Failure> {
        let place = &url[Position::BeforeHost..Position::AfterPort];
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        let path = &url[Position::BeforePath..Position::AfterQuery];
        *request.uri_mut() = Uri::try_from(path).map_err(|_| Failure::Url)?;
        *request.headers_mut() = headers;
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::try_from(place).map_err(|_| Failure::Url)?;
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        // A server may close a connection that waits while a request is on its way: it has not looked at it then, as a
        // rule. What only asks may be asked again (RFC 9110, 9.2.2); of the rest that alone which was not sent at all.
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        while let Some(socket) = self.0.take(place) {
            let again = asks.then(|| request.clone());
            let mut failed = match self.exchange(place, socket, request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // What is not HTTP is an answer too.
            let again = again.filter(|_| !failed.error().is_parse());
            request = match failed.take_message().or(again) {
                Some(request) => request,
                None => return Err(Failure::Exchange(failed.into_error())),
            };
        }
        let to = format!("http://{place}/");
        let to = Uri::try_from(to).map_err(|_| Failure::Url)?;
        // The connector is ready when its resolver is, and this one always is.
        let socket = self.0.connector.clone().call(to).await.map_err(|e| Failure::Connect(e.into()))?;
        let answer = self.exchange(place, socket.into_inner(), request).await;
        answer.map_err(|failed| Failure::Exchange(failed.into_error()))
    }

    /// One request on a socket, which waits for the next one when the answer has been read.
    async fn exchange(
        &self,
        place: &str,
        socket: TcpStream,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, TrySendError<http::Request<Body>>> {
        let made = Builder::new().max_buf_size(READ_BUFFER).handshake(TokioIo::new(socket)).await;
        let (mut sender, connection) = made.expect("a handshake of HTTP/1 does nothing that can fail");
        let answer = sender.try_send_request(request);
        let (shared, place) = (Arc::downgrade(&self.0), Box::from(place));
        tokio::spawn(async move {
            if let Some(socket) = until_free(connection, sender).await
                && let Some(shared) = shared.upgrade()
            {
                shared.put(place, socket);
            }
        });
        answer.await
    }
}

/// Drives a connection through its one exchange and gives back the socket if it is good for another.
async fn until_free(
    mut connection: Connection<Stream, Body>,
    mut sender: SendRequest<Body>,
) -> Option<TcpStream> {
    let reusable = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => sender.poll_ready(cx).map(|ready| ready.is_ok()),
    });
    if !reusable.await {
        return None;
    }
    // Nobody can ask for anything any more, so it ends, and leaves the socket open.
    drop(sender);
    poll_fn(|cx| connection.poll_without_shutdown(cx)).await.ok()?;
    let parts = connection.into_parts();
    parts.read_buf.is_empty().then(|| parts.io.into_inner())
}

impl Shared {
    /// The socket that was used last.
    fn take(&self, place: &str) -> Option<TcpStream> {
        let mut idle = self.idle.lock();
        let sockets = idle.sockets.get_mut(place)?;
        let (_, socket) = sockets.pop()?;
        if sockets.is_empty() {
            idle.sockets.remove(place);
        }
        Some(socket)
    }

    fn put(self: &Arc<Self>, place: Box<str>, socket: TcpStream) {
        if self.max_idle_per_host == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let sockets = idle.sockets.entry(place).or_default();
        if sockets.len() < self.max_idle_per_host {
            sockets.push((Instant::now(), socket));
        }
        if idle.sweeper.is_none() {
            let sweep = sweep(Arc::downgrade(self), self.idle_timeout);
            idle.sweeper = Some(AbortOnDropHandle::new(tokio::spawn(sweep)));
        }
    }
}

/// Closes sockets that have waited for longer than `patience`, until there are none.
async fn sweep(shared: Weak<Shared>, patience: Duration) {
    let mut wait = patience;
    loop {
        tokio::time::sleep(wait).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut idle = shared.idle.lock();
        let now = Instant::now();
        idle.sockets.retain(|_, sockets| {
            sockets.retain(|(since, _)| now.duration_since(*since) < patience);
            !sockets.is_empty()
        });
        let oldest =
            idle.sockets.values().filter_map(|sockets| sockets.first()).map(|(since, _)| *since).min();
        let Some(oldest) = oldest else {
            idle.sweeper = None;
            return;
        };
        wait = patience.saturating_sub(now.duration_since(oldest));
    }
}

impl Service<Name> for SystemDns {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.addresses(name.as_str());
        Box::pin(async move { Ok(found.await?.into_iter()) })
    }
}

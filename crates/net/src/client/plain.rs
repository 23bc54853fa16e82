//! Requests over plain HTTP/1.1 without a proxy: most scrapes, and back ends behind a sidecar.
//!
//! Data path: socket that waits, or a new one → `hyper`'s state of a connection → answer → socket, which waits again.
//! Invariants: between two requests a connection is its socket and nothing else, for with its buffers and channels it
//! has 40 KiB, for each of hundreds of targets; what may have had an effect is not sent a second time.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tower::Service;
use url::{Position, Url};

use super::ClientOptions;
use super::dns::{SystemDns, Unresolved};

/// Largest read buffer of a connection while it is in use, and with it the largest head of an answer. More would save few
/// system calls, and what is read a little at a time is still in the processor's cache when it is copied.
const READ_BUFFER: usize = 16 << 10;

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
    ) -> Result<http::Response<Answer>, Failure> {
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

    /// One request on a socket.
    async fn exchange(
        &self,
        place: &str,
        socket: TcpStream,
        request: http::Request<Body>,
    ) -> Result<http::Response<Answer>, TrySendError<http::Request<Body>>> {
        let made = Builder::new().max_buf_size(READ_BUFFER).handshake(TokioIo::new(socket)).await;
        let (mut sender, connection) = made.expect("a handshake of HTTP/1 does nothing that can fail");
        let mut answer = pin!(sender.try_send_request(request));
        let home = (Arc::downgrade(&self.0), Box::from(place));
        let (connection, sender) = (Some(connection), Some(sender));
        let mut drive = Drive { connection, sender, reusable: false, home };
        let answer = poll_fn(|cx| {
            // Its end is seen by whoever waits for the answer.
            let _ = drive.poll(cx);
            answer.as_mut().poll(cx)
        });
        let answer = answer.await?;
        let drive = drive.connection.is_some().then(|| Box::new(drive));
        Ok(answer.map(|body| Answer { body: Some(body), drive }))
    }
}

/// A connection with one exchange, whose socket waits for the next one when the answer has been read.
struct Drive {
    /// Until it has ended.
    connection: Option<Connection<Stream, Body>>,
    /// Until the exchange is over: it tells when the connection is good for another.
    sender: Option<SendRequest<Body>>,
    reusable: bool,
    home: (Weak<Shared>, Box<str>),
}

impl Drive {
    /// Ready when there is nothing left to do.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
            if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                let connection = self.connection.take().filter(|_| ended.is_ok() && self.reusable);
                if let Some(parts) = connection.map(Connection::into_parts)
                    && let (Some(shared), place) = (self.home.0.upgrade(), &mut self.home.1)
                    && parts.read_buf.is_empty()
                {
                    shared.put(std::mem::take(place), parts.io.into_inner());
                }
                return Poll::Ready(());
            }
            let Some(sender) = &mut self.sender else { return Poll::Pending };
            self.reusable = ready!(sender.poll_ready(cx)).is_ok();
            // Nobody can ask for anything any more: it ends, and leaves the socket open.
            self.sender = None;
        }
    }
}

/// The body of an answer. Reading it is what drives its connection: no other task, and no waking of one, for each part.
pub(super) struct Answer {
    /// Until it is dropped.
    body: Option<Incoming>,
    drive: Option<Box<Drive>>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body: Some(body), drive } = &mut *self else { return Poll::Ready(None) };
        // First what has been read already: the connection has room for one part, and reads the next one into the memory
        // of those that are gone.
        let frame = Pin::new(&mut *body).poll_frame(cx);
        let Some(driven) = drive.as_mut().filter(|_| frame.is_pending()) else { return frame };
        if driven.poll(cx).is_ready() {
            *drive = None;
        }
        Pin::new(body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

impl Drop for Answer {
    /// What is left of a short answer is read away, so that the socket can be used again.
    fn drop(&mut self) {
        self.body = None;
        // Where nothing runs, nothing can be read, and nobody will ask again.
        let (Some(mut drive), Ok(runtime)) = (self.drive.take(), Handle::try_current()) else { return };
        if drive.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            runtime.spawn(poll_fn(move |cx| drive.poll(cx)));
        }
    }
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

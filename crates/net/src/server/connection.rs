//! One connection: handshake, requests, and the watch over how long everything takes.
//!
//! Time limits: the handshake and the first request's head share `head_timeout`; a connection without a
//! request is idle, whatever bytes it sends; an answer must make progress within `write_timeout`; a handler
//! may take as long as it needs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::ServerOptions;
use super::body::RequestBody;
use super::handler::{Peer, ResponseBody, text};
use super::listener::Shared;

/// Bytes that the headers of a request may have.
const MAX_HEADERS: usize = 64 << 10;

pub(super) async fn serve(stream: TcpStream, remote: SocketAddr, shared: &Arc<Shared>) {
    let options = shared.current().options.clone();
    // Both fail only for connections that are gone.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or_else(|_| SocketAddr::from(([0u8; 4], 0)));
    let peer = Peer { remote, local, tls: options.tls.is_some() };
    let watch = Arc::new(Watch::new());
    let Some(tls) = &options.tls else {
        return requests(Watched { io: stream, watch: watch.clone() }, peer, &options, watch, shared).await;
    };
    let config = match tls.config() {
        Ok(config) => config,
        Err(error) => return tracing::warn!(%error, %local, "no TLS for a connection"),
    };
    let handshake =
        tokio_rustls::TlsAcceptor::from(config).accept(Watched { io: stream, watch: watch.clone() });
    match tokio::time::timeout(options.head_limit(), handshake).await {
        Ok(Ok(stream)) => requests(stream, peer, &options, watch, shared).await,
        Ok(Err(error)) => tracing::debug!(%error, %remote, "TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "TLS handshake took too long"),
    }
}

async fn requests<S>(stream: S, peer: Peer, options: &ServerOptions, watch: Arc<Watch>, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request, peer.clone(), watch.clone(), shared.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = protocols(options);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let age = async {
        match options.max_age {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = &mut connection => result,
        () = watch.too_long(options) => return tracing::debug!(remote = %peer.remote, "connection was idle too long"),
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => result,
                () = watch.too_long(options) => return,
            }
        }
        () = age => {
            connection.as_mut().graceful_shutdown();
            let grace = async {
                match options.max_age_grace {
                    Some(grace) => tokio::time::sleep(grace).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = connection => result,
                () = grace => return,
                () = watch.too_long(options) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, remote = %peer.remote, "connection ended with an error");
    }
}

fn protocols(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Its clock would run while a connection is idle; the watch here knows better.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADERS);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(MAX_HEADERS as u32);
    if let Some(size) = options.max_frame {
        http2.max_frame_size(size);
    }
    if let Some(size) = options.connection_window {
        http2.initial_connection_window_size(size);
    }
    if let Some(size) = options.stream_window {
        http2.initial_stream_window_size(size);
    }
    if let Some(size) = options.send_buffer {
        http2.max_send_buf_size(size);
    }
    if let Some((interval, timeout)) = options.ping {
        http2.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    builder
}

/// Answers one request with whoever serves the address now.
async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    watch: Arc<Watch>,
    shared: Arc<Shared>,
) -> Response<Tracked> {
    let generation = shared.current();
    let open = Open::new(watch, generation.requests.token());
    let options = &generation.options;
    let deadline = Instant::now() + options.read_timeout;
    let mut request = request.map(|body| RequestBody::new(body, options.max_body, deadline));
    let span = component::span!(
        "HTTP answer",
        "server",
        otel.name = format!("{} {}", request.method(), request.uri().path()),
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        client.address = %peer.remote.ip(),
        traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok()),
        http.response.status_code = Empty,
    );
    request.extensions_mut().insert(peer);
    let handled = async {
        let Ok(_place) = generation.handlers.acquire().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n");
        };
        generation.handler.handle(request).await
    };
    let response = match AssertUnwindSafe(handled.instrument(span.clone())).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a handler panicked; the request is answered with status 500");
            text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    };
    span.record("http.response.status_code", response.status().as_u16());
    let left = options.max_response.unwrap_or(usize::MAX);
    response.map(|body| Tracked { body, left, _open: open.answered() })
}

/// What is going on on a connection, for its time limits. Times are milliseconds since its start.
///
/// Requests of HTTP/2 run on other threads than the watch does. A count goes down with `Release` and is read with
/// `Acquire`: who sees that a request is no longer handled sees that its answer is being sent, and who sees that it has
/// ended sees when. Else a connection could seem idle in between on machines that reorder writes.
struct Watch {
    start: Instant,
    /// Requests that are being read or handled.
    handling: AtomicUsize,
    /// Answers that are being sent.
    sending: AtomicUsize,
    seen_request: AtomicUsize,
    /// When the last request came or went.
    request: AtomicU64,
    /// When the client last took bytes.
    wrote: AtomicU64,
}

impl Watch {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            handling: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            seen_request: AtomicUsize::new(0),
            request: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Returns when the connection is to be closed. Wakes up once a limit, not per event.
    async fn too_long(&self, options: &ServerOptions) {
        loop {
            let (since, limit) = if self.handling.load(Ordering::Acquire) > 0 {
                (self.now(), options.idle_timeout)
            } else if self.sending.load(Ordering::Acquire) > 0 {
                let since = self.wrote.load(Ordering::Relaxed).max(self.request.load(Ordering::Relaxed));
                (since, options.write_timeout)
            } else if self.seen_request.load(Ordering::Relaxed) == 0 {
                (0, options.head_limit())
            } else {
                (self.request.load(Ordering::Relaxed), options.idle_timeout)
            };
            let due = self.start + Duration::from_millis(since) + limit;
            if due <= Instant::now() {
                return;
            }
            // A shorter limit may come into force meanwhile; a second is exact enough.
            let next = Instant::now()
                + options.write_timeout.min(options.idle_timeout).max(Duration::from_millis(10));
            tokio::time::sleep_until(due.min(next)).await;
        }
    }
}

/// A request from its head to the last byte of its answer.
struct Open {
    watch: Arc<Watch>,
    sending: bool,
    _token: TaskTrackerToken,
}

impl Open {
    fn new(watch: Arc<Watch>, token: TaskTrackerToken) -> Self {
        watch.handling.fetch_add(1, Ordering::Relaxed);
        watch.seen_request.store(1, Ordering::Relaxed);
        Self { watch, sending: false, _token: token }
    }

    fn answered(mut self) -> Self {
        self.watch.request.store(self.watch.now(), Ordering::Relaxed);
        self.watch.sending.fetch_add(1, Ordering::Relaxed);
        self.watch.handling.fetch_sub(1, Ordering::Release);
        self.sending = true;
        self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watch.request.store(self.watch.now(), Ordering::Relaxed);
        let count = if self.sending { &self.watch.sending } else { &self.watch.handling };
        count.fetch_sub(1, Ordering::Release);
    }
}

/// An answer's body that says when it has been sent.
pub(super) struct Tracked {
    body: ResponseBody,
    left: usize,
    _open: Open,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let size = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(size) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err("the answer is larger than the server's limit".into()))),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when the client takes bytes.
struct Watched<S> {
    io: S,
    watch: Arc<Watch>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if written.is_ready() {
            self.watch.wrote.store(self.watch.now(), Ordering::Relaxed);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.watch.wrote.store(self.watch.now(), Ordering::Relaxed);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

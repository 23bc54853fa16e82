//! Connections: accepted, decrypted, split into messages, handed over.
//!
//! What arrives together travels together. While a batch waits to be taken nothing is read, so that the sender
//! has to wait too: that is the back-pressure. Nothing is acknowledged in this protocol; so a connection that
//! is to end is read until it is empty.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use component::BuildCx;
use net::ServerTls;
use net::names::PATIENCE;
use net::socket::Claim;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::syslog::Framer;

use super::read::{Current, Entries, Metrics};

/// How long a line that may go on is waited with.
const QUIET: Duration = Duration::from_millis(5);
/// How long a connection that is to end may be silent until it is taken for empty, and what that may take.
const EMPTY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(3)];
/// Bytes that are read at once: at first, and where there is always more.
const CHUNK: [usize; 2] = [8 << 10, 128 << 10];

/// What the connections of a listener share.
pub(super) struct Listening {
    pub(super) current: Current,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) metrics: Arc<Metrics>,
    /// No more connections; those that are there end when they are empty.
    pub(super) retire: CancellationToken,
    pub(super) cx: BuildCx,
}

/// Accepts until the listener is retired or claimed by another; returns when its connections have ended.
pub(super) async fn accept(claim: Claim<TcpListener>, shared: Arc<Listening>) {
    let (tls, retire) = (shared.tls.clone(), shared.retire.clone());
    net::connections::accept(claim, tls, retire, move |connected| {
        let shared = shared.clone();
        async move { serve(connected.stream, connected.peer, &shared).await }
    })
    .await;
}

/// Why nothing more is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come.
    No,
    /// The client has closed, or the connection is to end and empty.
    Closed,
    /// Nothing came for too long.
    Idle,
}

/// What a connection has sent.
struct Input<S> {
    stream: S,
    buffer: BytesMut,
    chunk: usize,
    /// Since when the connection is to end.
    retiring: Option<Instant>,
    /// Nothing has come for a moment: a line that might have gone on is whole.
    quiet: bool,
}

impl<S: AsyncRead + Unpin> Input<S> {
    /// Waits for more.
    async fn read(&mut self, framer: &Framer, idle: Duration, retire: &CancellationToken) -> End {
        self.quiet = false;
        if self.buffer.capacity() - self.buffer.len() < self.chunk / 4 {
            self.buffer.reserve(self.chunk);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let pending = framer.is_pending(&self.buffer);
        if retire.is_cancelled() {
            let since = *self.retiring.get_or_insert_with(Instant::now);
            if since.elapsed() > EMPTY[1] {
                return End::Closed;
            }
        }
        let wait = match self.retiring {
            _ if pending => QUIET,
            Some(_) => EMPTY[0],
            None => idle,
        };
        let read = tokio::select! {
            read = tokio::time::timeout(wait, self.stream.read_buf(&mut self.buffer)) => read,
            () = retire.cancelled(), if self.retiring.is_none() => return End::No,
        };
        match read {
            Ok(Ok(0) | Err(_)) => End::Closed,
            Ok(Ok(length)) => {
                let next = if length == room { self.chunk * 2 } else { self.chunk / 2 };
                self.chunk = next.clamp(CHUNK[0], CHUNK[1]);
                End::No
            }
            Err(_) if pending => {
                self.quiet = true;
                End::No
            }
            Err(_) if self.retiring.is_some() => End::Closed,
            Err(_) => End::Idle,
        }
    }
}

/// Reads a connection to its end and tells the client that it is well.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, shared: &Listening) {
    let mut input = Input { stream, buffer: BytesMut::new(), chunk: CHUNK[0], retiring: None, quiet: false };
    read(&mut input, peer, shared).await;
    let _ = tokio::time::timeout(EMPTY[1], input.stream.shutdown()).await;
}

async fn read(input: &mut Input<impl AsyncRead + Unpin>, peer: SocketAddr, shared: &Listening) {
    let mut reading = shared.current.load_full();
    let mut sender = reading.sender(peer.ip().to_canonical(), Instant::now() + PATIENCE).await;
    let mut framer = Framer::new(reading.args.framing(), reading.args.limit());
    loop {
        let end = input.read(&framer, reading.args.idle(), &shared.retire).await;
        let now = shared.current.load_full();
        if !Arc::ptr_eq(&now, &reading) {
            reading = now;
            framer.change(reading.args.framing(), reading.args.limit());
            sender = reading.sender(peer.ip().to_canonical(), Instant::now() + PATIENCE).await;
        }
        let mut more = true;
        while more {
            let mut entries = Entries::new(&reading, &shared.metrics);
            more = false;
            loop {
                let frame = match end {
                    End::No if input.quiet => framer.quiet(&mut input.buffer),
                    End::No => framer.next(&mut input.buffer),
                    End::Closed | End::Idle => framer.finish(&mut input.buffer),
                };
                match frame {
                    Ok(Some(frame)) => entries.add(&sender, frame),
                    Ok(None) => break,
                    Err(error) => {
                        entries.error(&error);
                        hand_over(entries, shared).await;
                        return;
                    }
                }
                if entries.is_full() {
                    more = true;
                    break;
                }
            }
            hand_over(entries, shared).await;
        }
        if end != End::No {
            if end == End::Idle {
                tracing::debug!(%peer, "a connection was idle too long");
            }
            return;
        }
    }
}

async fn hand_over(entries: Entries<'_>, shared: &Listening) {
    let batch = entries.finish();
    if batch.is_empty() {
        return;
    }
    let count = batch.len();
    shared.cx.live_debug(|| format!("{count} entries received"));
    let forward_to = || shared.current.load().forward_to();
    let taken = shared.metrics.hand_over.send(forward_to, batch, &shared.retire).await;
    shared.metrics.entries.inc_by(taken);
}

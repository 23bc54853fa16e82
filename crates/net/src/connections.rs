//! Connections of a listener that speaks no HTTP: accepted, decrypted, bounded in number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::socket::Claim;
use crate::tls::ServerTls;

/// Connections of a listener at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 2048;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// What a connection is read from and written to.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A client that has connected.
pub struct Connected {
    /// Decrypted where there is TLS.
    pub stream: Box<dyn Stream>,
    /// The client.
    pub peer: SocketAddr,
    /// Where it has connected to.
    pub local: SocketAddr,
}

/// Accepts until the listener is retired or claimed by another, and serves each connection in a task; returns when
/// all have ended. `retire` is cancelled when another has claimed the socket: whoever has it now serves new
/// connections, those that are there are finished first.
pub async fn accept<F>(
    claim: Claim<TcpListener>,
    tls: Option<Arc<ServerTls>>,
    retire: CancellationToken,
    serve: impl Fn(Connected) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    let mut pause = Duration::ZERO;
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (claim.socket().accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = retire.cancelled() => break,
            () = claim.lost().cancelled() => break,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
                continue;
            }
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = Duration::ZERO;
                let local = stream.local_addr().unwrap_or_else(|_| claim.address());
                let (tls, serve) = (tls.clone(), serve.clone());
                tasks.spawn(async move {
                    let _place = place;
                    if let Some(stream) = decrypted(stream, peer, tls.as_deref()).await {
                        serve(Connected { stream, peer, local }).await;
                    }
                });
            }
            // The client was faster than the accept.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                tracing::warn!(%error, address = %claim.address(), ?pause, "no connection can be accepted");
                tokio::time::sleep(pause).await;
            }
        }
    }
    retire.cancel();
    drop(claim);
    while tasks.join_next().await.is_some() {}
}

async fn decrypted(stream: TcpStream, peer: SocketAddr, tls: Option<&ServerTls>) -> Option<Box<dyn Stream>> {
    let Some(tls) = tls else { return Some(Box::new(stream)) };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            if WARNED.now() {
                tracing::warn!(%error, %peer, "no TLS with a client");
            }
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake took too long");
            None
        }
    }
}

/// Who cannot speak TLS may try often.
static WARNED: std::sync::LazyLock<component::OnceAMinute> = std::sync::LazyLock::new(Default::default);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn connections_are_served_and_finished_when_the_listener_retires() {
        let claim = crate::socket::listen_tcp("test", "127.0.0.1:0").await.expect("a free port");
        let (address, retire) = (claim.address(), CancellationToken::new());
        let serve = |mut connected: Connected| async move {
            let mut text = String::new();
            let _ = connected.stream.read_to_string(&mut text).await;
            let answer = format!("{text} from {}", connected.peer.ip());
            let _ = connected.stream.write_all(answer.as_bytes()).await;
            let _ = connected.stream.shutdown().await;
        };
        let accepting = tokio::spawn(accept(claim, None, retire.clone(), serve));
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"hello").await.expect("sent");
        let mut other = TcpStream::connect(address).await.expect("it listens");
        other.shutdown().await.expect("closed");
        let mut answer = String::new();
        other.read_to_string(&mut answer).await.expect("an answer");
        retire.cancel();
        client.shutdown().await.expect("closed");
        answer.clear();
        client.read_to_string(&mut answer).await.expect("an answer");
        assert_eq!(answer, "hello from 127.0.0.1");
        accepting.await.expect("no panic");
    }
}

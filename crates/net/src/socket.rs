//! Listening sockets other than those of HTTP servers, by address, and who reads from each.
//!
//! A socket outlives the component that reads from it: whoever claims an address that this process listens on
//! already gets the same socket, and the one before is told that it has lost it. Nothing that is on its way is
//! refused or dropped. Invariant: an address is bound once in a process; a claim waits until a socket that is
//! being closed is closed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, Kind};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

static TCP: LazyLock<Mutex<Entries<TcpListener>>> = LazyLock::new(Mutex::default);
static UDP: LazyLock<Mutex<Entries<UdpSocket>>> = LazyLock::new(Mutex::default);

type Entries<S> = HashMap<SocketAddr, Entry<S>>;

struct Entry<S> {
    held: Weak<Held<S>>,
    owner: String,
    /// Cancelled when the present owner loses the socket.
    lost: CancellationToken,
    /// Cancelled when the socket is closed.
    closed: CancellationToken,
}

struct Held<S> {
    // Dropped first, so that the guard tells of a closed socket.
    socket: S,
    _closed: DropGuard,
}

/// The right to read from a socket, until another one claims its address.
pub struct Claim<S> {
    held: Arc<Held<S>>,
    address: SocketAddr,
    lost: CancellationToken,
}

impl<S> Claim<S> {
    /// The socket.
    pub fn socket(&self) -> &S {
        &self.held.socket
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cancelled when another one has claimed the address.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

/// Listens for connections at `host:port`; an empty host stands for all addresses. `owner` is named in the
/// log when the socket changes hands.
///
/// # Errors
/// If the address is not one, or cannot be had.
pub async fn listen_tcp(owner: &str, address: &str) -> Result<Claim<TcpListener>, Error> {
    let bind = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of a listener before this one may still be in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    claim(&TCP, owner, address, bind).await
}

/// Receives datagrams at `host:port`. The kernel keeps up to `buffer` bytes until they are read; it may give
/// less.
///
/// # Errors
/// If the address is not one, or cannot be had.
pub async fn listen_udp(owner: &str, address: &str, buffer: usize) -> Result<Claim<UdpSocket>, Error> {
    let bind = |address: SocketAddr| {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((UdpSocket::from_std(socket)?, address))
    };
    let claim = claim(&UDP, owner, address, bind).await?;
    // A socket that changes hands is given what the new owner wants.
    if let Err(error) = rustix::net::sockopt::set_socket_recv_buffer_size(claim.socket(), buffer) {
        tracing::debug!(%error, %address, "the receive buffer keeps its size");
    }
    Ok(claim)
}

async fn claim<S: Send + Sync>(
    entries: &Mutex<Entries<S>>,
    owner: &str,
    address: &str,
    bind: impl Fn(SocketAddr) -> std::io::Result<(S, SocketAddr)>,
) -> Result<Claim<S>, Error> {
    let mut last = None;
    for candidate in addresses(address).await? {
        loop {
            let claimed = claim_one(&mut entries.lock(), owner, candidate, &bind);
            match claimed {
                Ok(Ok(claim)) => return Ok(claim),
                Ok(Err(closing)) => closing.cancelled().await,
                Err(error) => {
                    last = Some((candidate, error));
                    break;
                }
            }
        }
    }
    match last {
        Some((address, error)) => Err(crate::error::bind_error(address, error)),
        None => Err(Error::new(Kind::Bind, format!("{address:?} has no address"))),
    }
}

/// The socket of one address, or when to ask again because the one there is being closed.
fn claim_one<S>(
    entries: &mut Entries<S>,
    owner: &str,
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> std::io::Result<(S, SocketAddr)>,
) -> std::io::Result<Result<Claim<S>, CancellationToken>> {
    entries.retain(|_, entry| !entry.closed.is_cancelled());
    let lost = CancellationToken::new();
    if let Some(entry) = entries.get_mut(&address) {
        let Some(held) = entry.held.upgrade() else { return Ok(Err(entry.closed.clone())) };
        if entry.owner != owner {
            tracing::info!(%address, from = %entry.owner, to = %owner, "a listener changes hands");
        }
        owner.clone_into(&mut entry.owner);
        std::mem::replace(&mut entry.lost, lost.clone()).cancel();
        return Ok(Ok(Claim { held, address, lost }));
    }
    let (socket, address) = bind(address)?;
    let closed = CancellationToken::new();
    let held = Arc::new(Held { socket, _closed: closed.clone().drop_guard() });
    let entry = Entry { held: Arc::downgrade(&held), owner: owner.to_owned(), lost: lost.clone(), closed };
    entries.insert(address, entry);
    Ok(Ok(Claim { held, address, lost }))
}

/// The addresses to try in order.
async fn addresses(address: &str) -> Result<Vec<SocketAddr>, Error> {
    let bad = || {
        let message =
            format!("{address:?} is not an address to listen on: write host:port, as in 0.0.0.0:514");
        Error::new(Kind::Bind, message)
    };
    let (host, port) = split(address).ok_or_else(bad)?;
    crate::server::addresses(host, port).await
}

/// The host and the port of `host:port`; the host may be empty or in brackets.
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_claim_gets_the_same_socket_and_the_first_is_told() {
        let first = listen_tcp("a", "127.0.0.1:0").await.expect("free");
        let address = first.address();
        let second = listen_tcp("b", &address.to_string()).await.expect("handed over");
        assert!(first.lost().is_cancelled() && !second.lost().is_cancelled());
        assert!(Arc::ptr_eq(&first.held, &second.held));
        drop(first);
        // Connections that came before anybody accepts are not lost with the first owner.
        let client = tokio::net::TcpStream::connect(address).await.expect("listening");
        let (_, peer) = second.socket().accept().await.expect("accepted");
        assert_eq!(peer, client.local_addr().expect("connected"));
        drop(second);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        listen_tcp("c", &address.to_string()).await.expect("free again");
    }

    #[tokio::test]
    async fn datagrams_wait_in_the_socket_while_it_changes_hands() {
        let first = listen_udp("a", "127.0.0.1:0", 1 << 20).await.expect("free");
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
        client.send_to(b"x", first.address()).await.expect("sent");
        let second = listen_udp("b", &first.address().to_string(), 1 << 14).await.expect("handed over");
        drop(first);
        let mut buffer = [0; 8];
        let size = rustix::net::sockopt::socket_recv_buffer_size(second.socket()).expect("a socket");
        assert!(size < 1 << 20, "the second owner wants less: {size}");
        let (n, _) = second.socket().recv_from(&mut buffer).await.expect("received");
        assert_eq!(&buffer[..n], b"x");
    }

    #[tokio::test]
    async fn an_address_of_another_program_is_an_error_that_says_so() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
        let address = taken.local_addr().expect("bound").to_string();
        let Err(error) = listen_tcp("a", &address).await else { panic!("bound twice") };
        assert!(error.to_string().contains("another program"), "{error}");
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, expected) in [
            (":514", Some(("", 514))),
            ("0.0.0.0:6514", Some(("0.0.0.0", 6514))),
            ("[::1]:514", Some(("[::1]", 514))),
            ("localhost:514", Some(("localhost", 514))),
            ("::1", None),
            ("localhost", None),
            ("x:", None),
            ("x:70000", None),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }
}

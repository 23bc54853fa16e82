//! The listeners of the process, by address, and who serves each.
//!
//! A slot is a listening socket with its accept loop and connections; its *generation* is who serves it now.
//! Connections ask for the generation at every request, so that a change of generation is a swap of a
//! pointer and no connection notices.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::connection;
use super::handler::StreamHandler;
use super::{Drained, ServerOptions};

static ENTRIES: LazyLock<Mutex<HashMap<SocketAddr, Entry>>> = LazyLock::new(Mutex::default);

/// An address that is listened on, or was a moment ago.
struct Entry {
    slot: Weak<Slot>,
    /// Cancelled when the socket is closed.
    closed: CancellationToken,
}

/// What became of a claim.
pub(super) enum Claimed {
    /// The address is served.
    Slot(Arc<Slot>),
    /// The one who gave it up has not closed it yet: wait, then claim again.
    Closing(CancellationToken),
}

/// Who serves a slot, with its limits.
pub(super) struct Generation {
    owner: String,
    pub(super) options: ServerOptions,
    pub(super) handler: Arc<dyn StreamHandler>,
    /// Requests under way.
    pub(super) requests: TaskTracker,
    pub(super) handlers: Semaphore,
}

impl Generation {
    pub(super) fn new(owner: &str, options: ServerOptions, handler: Arc<dyn StreamHandler>) -> Self {
        let handlers = Semaphore::new(options.max_requests.min(Semaphore::MAX_PERMITS));
        Self { owner: owner.to_owned(), options, handler, requests: TaskTracker::new(), handlers }
    }
}

/// A listening socket and all that hangs on it. Dropping the last reference ends it at once.
pub(super) struct Slot {
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// What accept loop and connections share.
pub(super) struct Shared {
    address: SocketAddr,
    current: ArcSwap<Generation>,
    swapped: Notify,
    open: AtomicUsize,
    closed_one: Notify,
    /// No more requests; what is under way goes on.
    pub(super) stop: CancellationToken,
    /// Everything ends now.
    pub(super) kill: CancellationToken,
    tracker: TaskTracker,
}

impl Shared {
    pub(super) fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }
}

impl Slot {
    /// Takes an address over, or listens on it.
    pub(super) fn claim(address: SocketAddr, generation: Arc<Generation>) -> std::io::Result<Claimed> {
        let mut entries = ENTRIES.lock();
        entries.retain(|_, entry| !entry.closed.is_cancelled());
        if let Some(entry) = entries.get(&address) {
            let slot = entry.slot.upgrade().filter(|slot| !slot.shared.stop.is_cancelled());
            let Some(slot) = slot else { return Ok(Claimed::Closing(entry.closed.clone())) };
            let before = slot.shared.current.swap(generation.clone());
            if before.owner != generation.owner {
                tracing::info!(%address, from = %before.owner, to = %generation.owner, "a listener changes hands");
            }
            slot.shared.swapped.notify_waiters();
            return Ok(Claimed::Slot(slot));
        }
        let listener = listen(address)?;
        let (kill, closed) = (CancellationToken::new(), CancellationToken::new());
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            current: ArcSwap::new(generation),
            swapped: Notify::new(),
            open: AtomicUsize::new(0),
            closed_one: Notify::new(),
            stop: CancellationToken::new(),
            kill: kill.clone(),
            tracker: TaskTracker::new(),
        });
        let slot = Arc::new(Self { shared: shared.clone(), _end: kill.clone().drop_guard() });
        entries.insert(shared.address, Entry { slot: Arc::downgrade(&slot), closed: closed.clone() });
        let tracker = shared.tracker.clone();
        // Whatever ends the task, the listener is dropped before this guard tells.
        let closed = closed.drop_guard();
        tracker.spawn(async move {
            let _closed = closed;
            kill.run_until_cancelled(accept(listener, shared)).await;
        });
        Ok(Claimed::Slot(slot))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Waits until the slot is no longer served by `generation`.
    pub(super) async fn taken_from(&self, generation: &Arc<Generation>) -> String {
        loop {
            let swapped = self.shared.swapped.notified();
            let current = self.shared.current();
            if !Arc::ptr_eq(&current, generation) {
                return current.owner.clone();
            }
            swapped.await;
        }
    }

    /// Gives the address up; `false` if it is another's by now.
    pub(super) fn release(&self, generation: &Arc<Generation>) -> bool {
        // Under the lock, so that nobody claims the slot in between.
        let _entries = ENTRIES.lock();
        let mine = Arc::ptr_eq(&self.shared.current.load(), generation);
        if mine {
            self.shared.stop.cancel();
        }
        mine
    }

    /// Waits for all connections to end; ends them at the deadline.
    pub(super) async fn drain(&self, deadline: Duration) -> Drained {
        self.shared.tracker.close();
        if tokio::time::timeout(deadline, self.shared.tracker.wait()).await.is_ok() {
            return Drained::Clean;
        }
        self.shared.kill.cancel();
        self.shared.tracker.wait().await;
        Drained::CutOff
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of a listener before this one may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Accepts until the slot is released. The listener is closed with the return.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = next(&listener, &shared) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = Duration::ZERO;
                shared.open.fetch_add(1, Ordering::Relaxed);
                let place = Place(shared.clone());
                let kill = shared.kill.clone();
                shared.tracker.spawn(async move {
                    kill.run_until_cancelled(connection::serve(stream, peer, &place.0)).await;
                });
            }
            // The client was faster than the accept.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of file descriptors or memory: connections that end will free some.
                pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                tracing::warn!(%error, address = %shared.address, ?pause, "no connection can be accepted");
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// The next connection, once there is a place for it.
async fn next(listener: &TcpListener, shared: &Shared) -> std::io::Result<(TcpStream, SocketAddr)> {
    loop {
        let closed = shared.closed_one.notified();
        let swapped = shared.swapped.notified();
        if shared.open.load(Ordering::Relaxed) < shared.current.load().options.max_connections {
            return listener.accept().await;
        }
        tokio::select! {
            () = closed => {}
            () = swapped => {}
        }
    }
}

/// A connection's place among those allowed.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.closed_one.notify_waiters();
    }
}

//! Datagrams of a socket, in batches.
//!
//! Data path: socket → batch → bounded queue → whoever makes entries of them. UDP cannot be told to wait: what
//! comes while the queue and the batch before it are full is counted and dropped here, where it can be counted,
//! and not silently in the kernel.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use bytes::{Bytes, BytesMut};
use component::metrics::IntCounterVec;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::socket::Claim;

/// Bytes that the kernel is asked to keep until they are read.
pub const KERNEL_BUFFER: usize = 1 << 20;
/// The largest datagram there is.
const LARGEST: usize = 65_535;
/// Datagrams are put into blocks of memory of this size.
const BLOCK: usize = 256 << 10;

/// Where a datagram came from, and what was in it.
pub type Datagram = (SocketAddr, Bytes);

/// Where a batch ends, and what is taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams of a batch.
    pub datagrams: usize,
    /// Bytes of a batch.
    pub bytes: usize,
    /// Bytes of a datagram; longer ones are dropped.
    pub largest: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { datagrams: 1024, bytes: 1 << 20, largest: LARGEST }
    }
}

/// Receives until it is told to stop or the socket is claimed by another one; dropping the queue's end is how
/// the other side learns of it.
pub struct Receiving {
    /// The socket.
    pub claim: Claim<UdpSocket>,
    /// To whoever makes entries of datagrams.
    pub queue: mpsc::Sender<Vec<Datagram>>,
    /// Counts what was not taken, by reason: `queue_full`, `too_large`.
    pub dropped: IntCounterVec,
    /// Of batches and datagrams.
    pub limits: Limits,
}

impl Receiving {
    /// Returns when all that was there has been handed over.
    pub async fn run(self, stop: CancellationToken) {
        let mut batch = Batch::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.claim.lost().cancelled() => break,
                ready = self.claim.socket().readable() => {
                    if ready.is_ok() {
                        self.drain(&mut batch, |scratch| self.claim.socket().try_recv_from(scratch));
                    }
                }
                room = self.queue.reserve(), if !batch.datagrams.is_empty() => match room {
                    Ok(room) => room.send(batch.take()),
                    Err(_) => return,
                },
            }
        }
        if !self.claim.lost().is_cancelled() {
            // What is in the kernel would be lost with the socket. The runtime may not have been told of it
            // yet and would not even ask, hence the other handle.
            match self.claim.socket().as_fd().try_clone_to_owned().map(std::net::UdpSocket::from) {
                Ok(socket) => self.drain(&mut batch, |scratch| socket.recv_from(scratch)),
                Err(error) => tracing::warn!(%error, "the last datagrams could not be read"),
            }
        }
        if !batch.datagrams.is_empty() {
            let _ = self.queue.send(batch.take()).await;
        }
    }

    /// Takes what is there, at most a batch of it.
    fn drain(
        &self,
        batch: &mut Batch,
        mut receive: impl FnMut(&mut [u8]) -> std::io::Result<(usize, SocketAddr)>,
    ) {
        for _ in 0..self.limits.datagrams {
            if batch.is_full(&self.limits)
                && let Ok(room) = self.queue.try_reserve()
            {
                room.send(batch.take());
            }
            match receive(&mut batch.scratch) {
                Ok((length, _)) if length > self.limits.largest => {
                    self.dropped.with_label_values(&["too_large"]).inc();
                }
                Ok(_) if batch.is_full(&self.limits) => {
                    self.dropped.with_label_values(&["queue_full"]).inc();
                }
                Ok((length, from)) => batch.push(from, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Errors of a datagram that was sent from here, which never happens, and the like.
                Err(error) => {
                    tracing::debug!(%error, "a datagram could not be received");
                    return;
                }
            }
        }
    }
}

struct Batch {
    datagrams: Vec<Datagram>,
    bytes: usize,
    block: BytesMut,
    scratch: Box<[u8]>,
}

impl Default for Batch {
    fn default() -> Self {
        let scratch = vec![0; LARGEST].into_boxed_slice();
        Self { datagrams: Vec::new(), bytes: 0, block: BytesMut::new(), scratch }
    }
}

impl Batch {
    fn is_full(&self, limits: &Limits) -> bool {
        self.datagrams.len() >= limits.datagrams || self.bytes >= limits.bytes
    }

    fn push(&mut self, from: SocketAddr, length: usize) {
        if self.block.capacity() < length {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(&self.scratch[..length]);
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        self.datagrams.push((from, self.block.split().freeze()));
        self.bytes += length;
    }

    fn take(&mut self) -> Vec<Datagram> {
        self.bytes = 0;
        std::mem::take(&mut self.datagrams)
    }
}

#[cfg(test)]
mod tests {
    use component::metrics::Metrics;

    use super::*;

    #[tokio::test]
    async fn what_there_is_no_room_for_is_counted_and_the_rest_keeps_its_order() {
        let claim = crate::socket::listen_udp("test", "127.0.0.1:0", KERNEL_BUFFER).await.expect("free");
        let address = claim.address();
        let metrics = Metrics::default();
        let dropped = metrics.node("x").counter_vec("dropped", "Dropped.", &["reason"]);
        let (queue, mut batches) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let receiving = Receiving { claim, queue, dropped: dropped.clone(), limits: Limits::default() };
        let task = tokio::spawn(receiving.run(stop.clone()));
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("free");
        let lost = dropped.with_label_values(&["queue_full"]);
        let mut sent = 0u32;
        while lost.get() == 0 {
            assert!(sent < 100_000, "nothing is bounded");
            for _ in 0..64 {
                client.send_to(&sent.to_be_bytes(), address).await.expect("sent");
                sent += 1;
            }
            tokio::task::yield_now().await;
        }
        stop.cancel();
        let mut got = Vec::new();
        while let Some(batch) = batches.recv().await {
            assert!(batch.len() <= Limits::default().datagrams);
            got.extend(batch.iter().map(|(_, d)| u32::from_be_bytes(d[..].try_into().expect("four bytes"))));
        }
        task.await.expect("no panic");
        assert!(got.is_sorted(), "out of order");
        assert_eq!(got.len() as u64 + lost.get(), u64::from(sent));
    }
}

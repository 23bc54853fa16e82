//! Datagrams: each has one message, or several.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use component::BuildCx;
use component::metrics::IntCounterVec;
use net::datagrams::{Datagram, Limits, Receiving};
use net::names::PATIENCE;
use net::socket::Claim;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::syslog::{Frame, Framer};

use super::read::{Current, Entries, Metrics, Reading};

/// What the two halves of a listener share.
pub(super) struct Listening {
    pub(super) current: Current,
    pub(super) metrics: Arc<Metrics>,
    pub(super) dropped: IntCounterVec,
    /// No more datagrams; those that are there are handed over.
    pub(super) retire: CancellationToken,
    pub(super) cx: BuildCx,
}

/// Receives until the listener is retired or its socket claimed by another; returns when all is handed over.
pub(super) async fn receive(claim: Claim<UdpSocket>, shared: Arc<Listening>) {
    let size = usize::try_from(shared.current.load().args.udp_queue_size).unwrap_or(1).max(1);
    let (queue, batches) = mpsc::channel(size);
    let receiving = Receiving { claim, queue, dropped: shared.dropped.clone(), limits: Limits::default() };
    let mut tasks = JoinSet::new();
    tasks.spawn(receiving.run(shared.retire.clone()));
    tasks.spawn(forward(batches, shared));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A panic of one half; the other ends with it. It is the node's health.
            std::panic::resume_unwind(Box::new(format!("a listener failed: {error}")));
        }
    }
}

async fn forward(mut batches: mpsc::Receiver<Vec<Datagram>>, shared: Arc<Listening>) {
    while let Some(batch) = batches.recv().await {
        let reading = shared.current.load_full();
        let mut entries = Entries::new(&reading, &shared.metrics);
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        for (from, datagram) in batch {
            let sender = match last {
                Some((address, sender)) if address == from.ip() => sender,
                _ => reading.sender(from.ip(), deadline).await,
            };
            each_frame(&reading, datagram, &mut entries, |entries, frame| entries.add(&sender, frame));
            last = Some((from.ip(), sender));
            if entries.is_full() {
                hand_over(std::mem::replace(&mut entries, Entries::new(&reading, &shared.metrics)), &shared)
                    .await;
            }
        }
        hand_over(entries, &shared).await;
    }
}

async fn hand_over(entries: Entries<'_>, shared: &Listening) {
    let batch = entries.finish();
    let count = batch.len();
    if count == 0 {
        return;
    }
    shared.cx.live_debug(|| format!("{count} entries received"));
    let forward_to = || shared.current.load().forward_to();
    let taken = shared.metrics.hand_over.send(forward_to, batch, &shared.retire).await;
    shared.metrics.entries.inc_by(taken);
}

/// The messages of a datagram. Most have one, which is not copied.
fn each_frame<'a>(
    reading: &Reading,
    datagram: Bytes,
    entries: &mut Entries<'a>,
    mut add: impl FnMut(&mut Entries<'a>, Frame),
) {
    let limit = reading.args.limit();
    let bare = crate::source::trim_line_end(&datagram);
    let bare = bare.strip_suffix(b"\0").unwrap_or(bare);
    if bare.first() == Some(&b'<') && memchr::memchr2(b'\n', 0, bare).is_none() {
        let cut = bare.len() > limit;
        let bytes = datagram.slice_ref(&bare[..bare.len().min(limit)]);
        return add(entries, Frame { bytes, cut });
    }
    let mut buffer = BytesMut::from(&datagram[..]);
    let mut framer = Framer::new(reading.args.framing(), limit);
    loop {
        match framer.finish(&mut buffer) {
            Ok(Some(frame)) => add(entries, frame),
            Ok(None) => return,
            Err(error) => return entries.error(&error),
        }
    }
}

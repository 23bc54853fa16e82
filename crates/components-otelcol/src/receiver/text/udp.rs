//! Datagrams: each is an entry, or has several lines.

use std::net::SocketAddr;
use std::sync::Arc;

use component::metrics::IntCounterVec;
use net::datagrams::{Datagram, Limits, Receiving};
use net::socket::Claim;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Entries, Frames, Shared};

/// Receives until the listener is retired or its socket claimed by another; returns when all is handed over.
pub(super) async fn receive(
    claim: Claim<UdpSocket>,
    (queue, processors): (usize, usize),
    dropped: IntCounterVec,
    shared: Arc<Shared>,
) {
    let local = claim.address();
    let (queue, batches) = mpsc::channel(queue.max(1));
    let batches = Arc::new(Mutex::new(batches));
    let mut tasks = JoinSet::new();
    for _ in 0..processors.max(1) {
        tasks.spawn(forward(batches.clone(), local, shared.clone()));
    }
    let receiving = Receiving { claim, queue, dropped, limits: Limits::default() };
    tasks.spawn({
        let retire = shared.retire.clone();
        receiving.run(retire)
    });
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            // A panic of one half; the other ends with it. It is the node's health.
            std::panic::resume_unwind(Box::new(format!("a listener failed: {error}")));
        }
    }
}

async fn forward(batches: Arc<Mutex<mpsc::Receiver<Vec<Datagram>>>>, local: SocketAddr, shared: Arc<Shared>) {
    loop {
        let batch = batches.lock().await.recv().await;
        let Some(batch) = batch else { return };
        let reading = shared.current.load_full();
        let mut all = Vec::new();
        let mut last = None;
        for (from, datagram) in batch {
            let attributes = match last.take() {
                Some((address, attributes)) if address == from => attributes,
                _ => shared.attributes(&reading, "IP.UDP", from, local).await,
            };
            let mut entries = Entries::new(&reading, &attributes);
            match &reading.frames {
                Frames::Split(framing) => {
                    entries.split(&datagram, framing, reading.encoding.charset, true);
                }
                Frames::Whole(most) | Frames::Counted(most) | Frames::Trailer(_, most) => {
                    let end = datagram.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
                    entries.whole(&datagram[..end], *most);
                }
            }
            all.extend(entries.finish(&shared.delivery));
            last = Some((from, attributes));
        }
        shared.hand_over(all).await;
    }
}

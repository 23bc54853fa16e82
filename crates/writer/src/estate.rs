//! Endpoints on their way out: drained, unless a successor asks for their queues.
//!
//! What takes an endpoint's place is the same writer after another change, or the next node of its ID after the writer
//! itself was taken out. Invariants: an endpoint is drained by one of them at a time; before it changes hands nothing
//! is on its way into its queue; one that nobody asks for is drained for as long as its plan says.

use std::time::Duration;

use component::{BuildCx, Draining, Legacy};
use delivery::Plan as _;
use futures_util::future::OptionFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::life::{Backend, settle};

type SharedOf<E> = <E as delivery::Endpoint>::Shared;

/// Asks for the endpoints of some keys. They come when all of them are free: what does not come, of those, has
/// been drained by then.
struct Claim<E> {
    keys: Vec<String>,
    answer: oneshot::Sender<Vec<E>>,
}

/// Where claims are sent to; what nodes leave behind.
type Claims<E> = mpsc::Sender<Claim<E>>;

/// Endpoints that are nobody's.
pub(crate) struct Estate<E: Backend> {
    endpoints: Vec<E>,
    claims: mpsc::Receiver<Claim<E>>,
    _legacy: Legacy,
}

/// Takes over the endpoints of some keys from those of this node's ID that have them no more.
pub(crate) async fn inherit<E: Backend>(cx: &BuildCx, keys: &[String]) -> Vec<E> {
    let mut inherited: Vec<E> = Vec::new();
    for claims in cx.left::<Claims<E>>() {
        let (answer, endpoints) = oneshot::channel();
        // Of one that has ended meanwhile there is nothing left to take.
        if claims.send(Claim { keys: keys.to_vec(), answer }).await.is_ok() {
            inherited.extend(endpoints.await.unwrap_or_default());
        }
    }
    inherited
}

impl<E: Backend> Estate<E> {
    /// Endpoints that can be claimed from now on.
    pub(crate) fn new(endpoints: Vec<E>, cx: &BuildCx) -> Self {
        let (sender, claims) = mpsc::channel(1);
        Self { endpoints, claims, _legacy: cx.leave::<Claims<E>>(sender) }
    }

    /// Sends what is queued. `before`: who may still put something in.
    pub(crate) async fn wind_up(mut self, before: Vec<Draining>, shared: &SharedOf<E>) {
        let mut claim = tokio::select! {
            () = settle(before) => None,
            // Closing the queues sends back what waits for them.
            claim = self.claims.recv() => claim,
        };
        let mut drains = FuturesUnordered::new();
        let mut open: Vec<(String, CancellationToken)> = Vec::new();
        for endpoint in self.endpoints {
            let claimed = CancellationToken::new();
            open.push((endpoint.plan().key().to_string(), claimed.clone()));
            drains.push(drain(endpoint, claimed, shared));
        }
        while !drains.is_empty() {
            if let Some(Claim { keys, answer }) = claim.take() {
                open.iter().filter(|(key, _)| keys.contains(key)).for_each(|(_, claimed)| claimed.cancel());
                let mut free = Vec::new();
                while open.iter().any(|(_, claimed)| claimed.is_cancelled()) {
                    let Some((key, endpoint)) = drains.next().await else { break };
                    open.retain(|(of, _)| *of != key);
                    free.extend(endpoint);
                }
                if let Err(unwanted) = answer.send(free) {
                    // Who asked is gone: as if nobody had.
                    for endpoint in unwanted {
                        let claimed = CancellationToken::new();
                        open.push((endpoint.plan().key().to_string(), claimed.clone()));
                        drains.push(drain(endpoint, claimed, shared));
                    }
                }
                continue;
            }
            tokio::select! {
                Some((key, _)) = drains.next() => open.retain(|(of, _)| *of != key),
                Some(next) = self.claims.recv() => claim = Some(next),
                else => break,
            }
        }
    }
}

/// Drains an endpoint; gives it back, open again, if it is claimed in time.
async fn drain<E: Backend>(
    endpoint: E,
    claimed: CancellationToken,
    shared: &SharedOf<E>,
) -> (String, Option<E>) {
    let key = endpoint.plan().key().to_string();
    let over = tokio::select! {
        // First, so that the queue is closed in any case.
        biased;
        () = endpoint.drain(shared, Duration::ZERO) => true,
        () = claimed.cancelled() => false,
    };
    if over {
        return (key, None);
    }
    let reopened = OptionFuture::from(endpoint.queue().map(|queue| queue.reopen())).await;
    if reopened.unwrap_or(false) {
        return (key, Some(endpoint));
    }
    // Too late: it is free when that is over.
    endpoint.drain(shared, Duration::ZERO).await;
    (key, None)
}

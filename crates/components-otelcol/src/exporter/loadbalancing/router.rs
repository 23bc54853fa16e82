//! Shares requests out among the queues of the back ends there are now.
//!
//! It is the `Carrier` of the queue in front, and of the queues of back ends that are gone: what waits for one that
//! is no more is shared out anew. Invariant: what is left of a request that not every back end's queue has taken is
//! told, so that only that is offered again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use component::{BoxFuture, Rejected};
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, OtlpRequest, TracesSignal};
use tokio::time::{Instant, timeout};
use wire::compress::Encoding;
use wire::otlp::Schematic;

use super::keys::{Part, RoutingKey, share};
use super::metrics::Balance;
use super::ring::Ring;
use crate::auth::Handler;
use crate::exporter::sending::{Carrier, Headers, Inlet, Verdict, Writing};
use crate::signals::Kind;

/// The back ends of a moment.
#[derive(Default)]
pub(super) struct Table {
    pub ring: Ring,
    /// The ways in, by back end and signal.
    pub inlets: HashMap<(Arc<str>, Kind), Inlet>,
}

/// The back ends of now; what has been decided by an older table is decided again where it no longer holds.
pub(super) type Tables = Arc<ArcSwap<Table>>;

/// Shares out requests of one signal.
pub(super) struct Router {
    pub kind: Kind,
    pub key: RoutingKey,
    pub tables: Tables,
    /// How long handing over may take.
    pub limit: Option<Duration>,
    pub auth: Option<Handler>,
    pub metrics: Arc<Balance>,
}

const WRITING: Writing = Writing { json: false, encoding: Encoding::Identity, word: None, level: None };

impl Carrier for Router {
    fn writing(&self) -> &Writing {
        &WRITING
    }

    fn auth(&self) -> Option<&Handler> {
        self.auth.as_ref()
    }

    fn shown(&self) -> &str {
        "the back ends"
    }

    fn carry<'a>(&'a self, headers: &'a Headers, body: Bytes) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let table = self.tables.load_full();
            let parts = match share(self.kind, self.key, &table.ring, &body) {
                Ok(Some(parts)) => parts,
                Ok(None) => return later(body, 0, "there is no back end".into()),
                Err(message) => return Verdict::Refused { message, in_parts: false },
            };
            let mut left = parts;
            let handing = self.hand_over(&table, headers, &mut left);
            let result = match self.limit {
                None => handing.await,
                Some(limit) => match timeout(limit, handing).await {
                    Ok(result) => result,
                    Err(_) => Err(format!("not handed over within {limit:?}")),
                },
            };
            match result {
                Ok(()) => Verdict::Passed,
                Err(message) => {
                    let items = left.iter().map(|part| u64::from(part.items)).sum();
                    let mut rest = BytesMut::new();
                    // Requests one after the other are their union.
                    left.iter().for_each(|part| rest.extend_from_slice(&part.bytes));
                    later(rest.freeze(), items, message)
                }
            }
        })
    }
}

fn later(rest: Bytes, items: u64, message: String) -> Verdict {
    Verdict::Rest { rest, items, reason: "not_routed", message }
}

impl Router {
    /// Gives each part to its back end's queue, all at once: one that is full does not hold up the others. What has
    /// been taken, or refused for good, leaves `left`.
    async fn hand_over(&self, table: &Table, headers: &Headers, left: &mut Vec<Part>) -> Result<(), String> {
        let putting = left.iter().map(|part| async move {
            let Some(inlet) = table.inlets.get(&(part.backend.clone(), self.kind)) else {
                return Err(Rejected::Retryable(format!("{} is not ready", part.backend)));
            };
            let began = Instant::now();
            let put = match self.kind {
                Kind::Traces => put::<TracesSignal>(inlet, part, headers).await,
                Kind::Metrics => put::<MetricsSignal>(inlet, part, headers).await,
                Kind::Logs => put::<LogsSignal>(inlet, part, headers).await,
            };
            self.metrics.handed_over(&part.backend, began.elapsed(), put.is_ok());
            put
        });
        let answers = futures_util::future::join_all(putting).await;
        let mut why = None;
        let mut answers = answers.into_iter();
        left.retain(|_| match answers.next() {
            // What is refused for good the queue itself has counted.
            Some(Ok(()) | Err(Rejected::Permanent(_))) => false,
            Some(Err(rejected)) => {
                why = Some(rejected.to_string());
                true
            }
            None => true,
        });
        why.map_or(Ok(()), Err)
    }
}

async fn put<S: Schematic>(inlet: &Inlet, part: &Part, headers: &Headers) -> Result<(), Rejected> {
    let request = OtlpRequest::<S>::from_wire(part.bytes.clone(), part.items, None);
    inlet.put_with(&Otlp::of(request), headers).await
}

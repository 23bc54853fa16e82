//! Requests: which path, whether it may come in, its body, its entries, the answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use component::BoxFuture;
use http::header::ALLOW;
use http::{HeaderValue, Request, Response, StatusCode, request};
use net::server::{Refusal, RequestBody, ResponseBody, Room, StreamHandler, full, taken};
use parking_lot::Mutex;
use signal::Logs;
use signal::logs::LogBatch;

use super::{Action, BUDGET, Config, Found, MIN_MEMORY, Protocol, Route, Shared, Taken};
use crate::intake::Intake;

/// Work from this size on, in bytes, is done by a thread that may take its time.
const LARGE: usize = 256 << 10;

/// Answers requests of a server.
pub(super) struct Requests<P: Protocol>(pub(super) Arc<Shared<P>>);

impl<P: Protocol> StreamHandler for Requests<P> {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let shared = &self.0;
            let mut room = shared.bodies.room();
            let body = async |room: &mut Room| body.within(room).await;
            shared.clone().serve(head, &mut room, body).await.map(full)
        })
    }
}

impl<P: Protocol> Shared<P> {
    /// Answers one request; its body is asked for only where it is wanted.
    pub(super) async fn serve(
        self: Arc<Self>,
        head: request::Parts,
        room: &mut Room,
        body: impl AsyncFnOnce(&mut Room) -> Result<Bytes, Refusal>,
    ) -> Response<Bytes> {
        let started = Instant::now();
        let route = match route::<P>(&head) {
            Ok(route) => route,
            Err(response) => return *response,
        };
        let _inflight = self.requests.begun(&head.method, route.name);
        let mut size = 0;
        let response = match route.action {
            Action::Tell(text) => component::http::text_response(StatusCode::OK, text),
            Action::Take(path) => {
                let result = async {
                    let config = self.config.load_full();
                    self.protocol.admit(&head, &config.args)?;
                    let body = body(room).await?;
                    size = body.len();
                    self.clone().take(&head, path, body, config).await
                }
                .await;
                self.protocol.answer(&head, result.as_ref().copied())
            }
        };
        self.requests.answered(&head.method, route.name, size, &response, started.elapsed());
        response
    }

    async fn take(
        self: Arc<Self>,
        head: &request::Parts,
        path: u8,
        body: Bytes,
        config: Arc<Config<P>>,
    ) -> Result<(), Refusal> {
        let [packed, limit] = config.max_body;
        if body.len() > packed {
            // A server of before a change may still have let it in.
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        }
        // Room is found before it is needed, for the worst that the client may have sent.
        let mut room = self.unpacked.room();
        let most = self.protocol.most(head, &body, limit);
        room.at_least(most).await?;
        let unpacked = {
            let (this, head) = (self.clone(), head.clone());
            heavy(most, move || this.protocol.unpack(&head, body, limit)).await??
        };
        room.at_most(unpacked.len());
        let mut entries_room = self.entries_room.room();
        entries_room.at_least(unpacked.len().saturating_mul(P::GROWTH).min(config.memory())).await?;
        let (found, dropped) = {
            let (this, head, config, size) = (self.clone(), head.clone(), config.clone(), unpacked.len());
            heavy(size, move || this.read(&head, path, unpacked, &config)).await??
        };
        if dropped > 0 {
            self.dropped.with_label_values(&["relabel_rules"]).inc_by(dropped);
        }
        let count = found.batch.entries.len();
        if count > 0 {
            entries_room.at_most(found.batch.bytes() + size_of_val(&*found.batch.entries));
            self.cx.live_debug(|| format!("{count} entries received"));
            let answer = taken(config.forward_to.send(Logs::new(found.batch))).await;
            if let Err(refusal) = &answer
                && refusal.status == StatusCode::BAD_REQUEST
            {
                self.dropped.with_label_values(&["refused"]).inc_by(count as u64);
                if self.warned.now() {
                    tracing::warn!(error = refusal.why, entries = count, "entries of a request were refused");
                }
            }
            answer?;
            self.entries.inc_by(count as u64);
        }
        match found.refused {
            None => Ok(()),
            Some(refusal) => {
                if self.warned.now() {
                    tracing::warn!(error = refusal.why, "a part of a request was refused");
                }
                Err(refusal)
            }
        }
    }

    /// The entries of a request with the labels of their streams, and how many the rules dropped.
    fn read(
        &self,
        head: &request::Parts,
        path: u8,
        body: Bytes,
        config: &Config<P>,
    ) -> Result<(Found, u64), Refusal> {
        let now_ns = crate::intake::now_ns();
        let taken = Taken { head, path, body, now_ns, memory: config.memory() };
        let mut found = self.protocol.read(&taken, &config.args)?;
        found.batch.received_ms = taken.now_ms();
        let intake = if found.unruled { &config.unruled } else { &config.intake };
        let dropped = into_streams(&mut found.batch, intake);
        Ok((found, dropped))
    }
}

impl<P: Protocol> Config<P> {
    /// Bytes that the entries of a request may take.
    fn memory(&self) -> usize {
        self.max_body[1].saturating_mul(4).clamp(MIN_MEMORY, BUDGET)
    }
}

/// Where a request goes, or the answer to one that goes nowhere.
fn route<P: Protocol>(head: &request::Parts) -> Result<&'static Route, Box<Response<Bytes>>> {
    let path = head.uri.path();
    let Some(route) = P::ROUTES.iter().find(|r| r.path == path) else {
        let paths: Vec<_> = P::ROUTES.iter().map(|r| r.path).collect();
        let why = format!("nothing is here; try {}\n", paths.join(", "));
        return Err(Box::new(component::http::text_response(StatusCode::NOT_FOUND, why)));
    };
    let method = route.action.method();
    if head.method != method {
        let why = format!("only {method} is answered here\n");
        let mut response = component::http::text_response(StatusCode::METHOD_NOT_ALLOWED, why);
        let allow = HeaderValue::from_str(method.as_str()).expect("a method is a valid header value");
        response.headers_mut().insert(ALLOW, allow);
        return Err(Box::new(response));
    }
    Ok(route)
}

/// Runs what costs time in proportion to `size`; elsewhere where that is long.
async fn heavy<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if size < LARGE {
        return Ok(work());
    }
    let failed = |error| {
        tracing::error!(%error, "reading a request panicked");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// Replaces found labels by those of streams; equal streams become one. Answers how many entries the rules
/// dropped.
fn into_streams(batch: &mut LogBatch, intake: &Mutex<Intake>) -> u64 {
    let found = std::mem::take(&mut batch.streams);
    let mut places = hashbrown::HashMap::with_hasher(foldhash::fast::FixedState::default());
    let mut place = |labels: Option<signal::Labels>| {
        let labels = labels?;
        let next = places.len() as u32;
        Some(*places.entry(labels).or_insert(next))
    };
    let to: Vec<Option<u32>> = {
        let mut intake = intake.lock();
        found.iter().map(|labels| place(intake.stream(labels))).collect()
    };
    let mut streams: Vec<_> = places.into_iter().collect();
    streams.sort_unstable_by_key(|(_, place)| *place);
    batch.streams = streams.into_iter().map(|(labels, _)| labels).collect();
    if to.iter().enumerate().all(|(i, to)| *to == Some(i as u32)) {
        return 0;
    }
    let before = batch.entries.len();
    batch.entries.retain_mut(|entry| match to[entry.stream as usize] {
        Some(place) => {
            entry.stream = place;
            true
        }
        None => false,
    });
    (before - batch.entries.len()) as u64
}

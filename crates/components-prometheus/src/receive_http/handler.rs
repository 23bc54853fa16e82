//! Answers `POST /api/v1/metrics/write`.
//!
//! Data path: body → snappy → message → one batch → `forward_to` → answer. Nothing is acknowledged before
//! all of `forward_to` has it. Status codes are those of prometheus/storage/remote (`writeHandler`), and 503
//! where Prometheus would wait.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::metrics::{Histogram, IntCounter, NodeMetrics};
use component::{BoxFuture, BuildCx, Fanout};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use net::server::{Budget, Refusal, RequestBody, RequestMetrics, ResponseBody, StreamHandler, full, taken};
use signal::samples::NO_FAMILY;
use signal::{FamilyList, LabelsBuilder, SampleBatch, Samples, Series};
use wire::compress::{self, Encoding, decompress};
use wire::remote_write::{
    Counts, EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, Message, Received, SAMPLES_WRITTEN_HEADER,
    decode,
};

use super::args::Args;
use crate::scrape::kind_word;

/// The one path that is answered.
pub(super) const PATH: &str = "/api/v1/metrics/write";
/// Its name in metrics, as Alloy's.
const ROUTE: &str = "api_v1_metrics_write";
/// Bytes of a body as it comes.
pub(super) const MAX_PACKED: usize = 64 << 20;
/// Bytes of a body after decompression, and of the labels that it expands to.
const MAX_UNPACKED: usize = 256 << 20;
/// Bytes of bodies, as they come, that all requests together may hold; more wait.
pub(super) const BODIES: usize = 128 << 20;
/// The same of decompressed bodies. A request waits for this one while it holds the other, so that none waits for
/// itself.
pub(super) const BUDGET: usize = 512 << 20;
/// Own metrics of the component.
pub(super) struct Metrics {
    pub(super) requests: RequestMetrics,
    forwarded: IntCounter,
    latency: Histogram,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self {
            requests: RequestMetrics::new(metrics, "prometheus_receive_http"),
            forwarded: metrics.counter(
                "prometheus_forwarded_samples_total",
                "Samples that were taken by all of forward_to.",
            ),
            latency: metrics.histogram(
                "prometheus_fanout_latency",
                "Seconds that handing a batch to all of forward_to took.",
                &SECONDS,
            ),
        }
    }
}

/// What of the arguments can change while requests are under way.
pub struct Config {
    pub(super) args: Args,
    pub(super) forward_to: Fanout<Samples>,
}

impl Config {
    pub(super) fn new(args: &Args) -> Self {
        Self { forward_to: Fanout::new(args.forward_to.iter().cloned()), args: args.clone() }
    }
}

/// The length that a snappy block says it has: a varint in front.
fn claimed(body: &[u8]) -> usize {
    let digits = body.iter().take(5).scan(true, |more, byte| {
        let read = *more;
        *more = byte & 0x80 != 0;
        read.then_some(u64::from(byte & 0x7f))
    });
    digits.enumerate().map(|(i, digit)| (digit << (7 * i)) as usize).sum()
}

/// What lives as long as the component.
pub(super) struct Shared {
    pub(super) config: ArcSwap<Config>,
    pub(super) bodies: Budget,
    pub(super) budget: Budget,
    pub(super) metrics: Metrics,
    pub(super) cx: BuildCx,
}

/// The handler of one server; all of them share the state.
pub(super) struct Write(pub(super) Arc<Shared>);

impl StreamHandler for Write {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let started = Instant::now();
            let (head, body) = request.into_parts();
            if head.uri.path() != PATH {
                return text(StatusCode::NOT_FOUND, format!("nothing is here; post to {PATH}\n")).map(full);
            }
            let metrics = &self.0.metrics.requests;
            let _inflight = metrics.begun(&head.method, ROUTE);
            let mut size = 0;
            let response = self.0.write(&head, body, &mut size).await;
            metrics.answered(&head.method, ROUTE, size, &response, started.elapsed());
            response.map(full)
        })
    }
}

impl Shared {
    async fn write(&self, head: &request::Parts, body: RequestBody, size: &mut usize) -> Response<Bytes> {
        if head.method != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only POST writes\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let config = self.config.load_full();
        let message = match message(&head.headers, &config.args) {
            Ok(message) => message,
            Err(refusal) => return refusal.response(),
        };
        let mut packed_room = self.bodies.room();
        let body = match body.within(&mut packed_room).await {
            Ok(body) => body,
            Err(refusal) => return refusal.response(),
        };
        *size = body.len();
        self.take(message, &body, &config).await
    }

    /// Answers what a body says.
    pub(super) async fn take(&self, message: Message, body: &[u8], config: &Config) -> Response<Bytes> {
        // What the body takes is told by the snappy header, which is checked later.
        let mut room = self.budget.room();
        if let Err(refusal) = room.at_least(claimed(body)).await {
            return refusal.response();
        }
        let written = match receive(message, body) {
            Ok(received) => self.forward(message, received, config).await,
            Err(refusal) => Err((Counts::default(), refusal)),
        };
        let (counts, mut response) = match written {
            Ok(counts) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                (counts, response)
            }
            Err((counts, refusal)) => (counts, refusal.response()),
        };
        if message == Message::V2 {
            for (name, count) in [
                (SAMPLES_WRITTEN_HEADER, counts.samples),
                (HISTOGRAMS_WRITTEN_HEADER, counts.histograms),
                (EXEMPLARS_WRITTEN_HEADER, counts.exemplars),
            ] {
                if let Ok(name) = HeaderName::try_from(name) {
                    response.headers_mut().insert(name, HeaderValue::from(count));
                }
            }
        }
        response
    }

    /// Hands over what is good of a request; says how much that was.
    async fn forward(
        &self,
        message: Message,
        received: Received,
        config: &Config,
    ) -> Result<Counts, (Counts, Refusal)> {
        let Received { mut batch, counts, refused } = received;
        if config.args.enable_type_and_unit_labels {
            add_type_and_unit(&mut batch);
        }
        if !config.args.append_metadata {
            forget_families(&mut batch);
        }
        let batch = Samples::from(batch);
        if !batch.is_empty() {
            let size = batch.len();
            self.cx.live_debug(|| format!("{size} samples received"));
            let started = Instant::now();
            let answer = taken(config.forward_to.send(batch)).await;
            self.metrics.latency.observe(started.elapsed().as_secs_f64());
            if let Err(refusal) = answer {
                if refusal.status == StatusCode::BAD_REQUEST {
                    tracing::warn!(error = refusal.why, samples = size, "samples of a request were refused");
                }
                return Err((Counts::default(), refusal));
            }
            self.metrics.forwarded.inc_by(size as u64);
        }
        if refused.is_empty() {
            return Ok(counts);
        }
        tracing::warn!(%refused, samples = refused.samples, "a part of a request was refused");
        if message == Message::V1 {
            // As Prometheus, which tells only clients of version 2: those of version 1 do not expect it.
            return Ok(counts);
        }
        Err((counts, Refusal::bad(refused.to_string())))
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    component::http::text_response(status, body)
}

/// Which message the headers promise.
fn message(headers: &HeaderMap, args: &Args) -> Result<Message, Refusal> {
    let refuse = |why: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    let header = |name| {
        headers
            .get(name)
            .map_or(Ok(""), |v: &HeaderValue| v.to_str())
            .map_err(|_| refuse("a header is not text".into()))
    };
    let message = Message::from_content_type(header(CONTENT_TYPE)?).map_err(refuse)?;
    if !args.accepts(message) {
        let why = format!("{} is not among the accepted_remote_write_protobuf_messages", message.name());
        return Err(refuse(why));
    }
    match header(CONTENT_ENCODING)? {
        // Old clients of version 1 do not say what they do.
        "" | "snappy" => Ok(message),
        other => Err(refuse(format!("expected the Content-Encoding snappy, got {other:?}"))),
    }
}

fn receive(message: Message, body: &[u8]) -> Result<Received, Refusal> {
    let mut unpacked = Vec::new();
    decompress(Encoding::Snappy, body, MAX_UNPACKED, &mut unpacked).map_err(|error| {
        let status = match error {
            compress::Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            compress::Error::Corrupt { .. } => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error.to_string())
    })?;
    decode(message, &unpacked, MAX_UNPACKED).map_err(|e| Refusal::bad(e.to_string()))
}

fn forget_families(batch: &mut SampleBatch) {
    batch.families = FamilyList::default();
    batch.points.listed().iter_mut().for_each(|p| p.family = NO_FAMILY);
    batch.histograms.iter_mut().for_each(|p| p.family = NO_FAMILY);
}

fn add_type_and_unit(batch: &mut SampleBatch) {
    let mut builder = LabelsBuilder::new();
    let families = &batch.families;
    let mut label = |series: &mut Series, family: u32| {
        let Some(family) = families.get(family as usize) else { return };
        builder.reset_series(series);
        builder.set("__type__", kind_word(family.kind));
        builder.set("__unit__", &family.unit);
        *series = builder.build_series();
    };
    batch.points.listed().iter_mut().for_each(|p| label(&mut p.series, p.family));
    batch.histograms.iter_mut().for_each(|p| label(&mut p.series, p.family));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_snappy_block_is_known_from_its_first_bytes() {
        for (head, length) in
            [(&[][..], 0), (&[5, 0xff], 5), (&[0x80, 0x01], 128), (&[0xff, 0xff, 0x03, 9], 65535)]
        {
            assert_eq!(claimed(head), length, "{head:?}");
        }
    }
}

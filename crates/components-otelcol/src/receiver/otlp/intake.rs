//! What requests of both protocols come to: checked bytes, one batch, all consumers.
//!
//! Invariant: a client hears of success only when every consumer of the signal has its request; what is not a
//! request never gets behind this point.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::otel::{MetricsLevel, OtelFanout};
use component::{BuildCx, Error, Fanout, OnceAMinute, Signal};
use http::StatusCode;
use net::server::{Budget, Refusal, taken};
use signal::otlp::{
    ClientMetadata, LogsSignal, MetricsSignal, Otlp, OtlpBatch, OtlpRequest, OtlpSignal, Packed, TracesSignal,
};
use wire::otlp::{Readable, Schematic, check};

use super::args::Args;
use super::http::HttpConfig;
use crate::auth::Handler;
use crate::ports::hand_over;
use crate::receiver::metrics::Metrics;

/// Bytes that the requests of one receiver may hold together; more wait.
pub(super) const BUDGET: usize = 512 << 20;

/// A signal that this receiver takes.
pub(super) trait Taken: Schematic + Readable + OtlpSignal {
    /// Its consumers.
    fn fanout(config: &Config) -> &Fanout<Otlp<Self>>
    where
        Otlp<Self>: Signal;
}

impl Taken for TracesSignal {
    fn fanout(config: &Config) -> &Fanout<Otlp<Self>> {
        &config.fanout.traces
    }
}

impl Taken for MetricsSignal {
    fn fanout(config: &Config) -> &Fanout<Otlp<Self>> {
        &config.fanout.metrics
    }
}

impl Taken for LogsSignal {
    fn fanout(config: &Config) -> &Fanout<Otlp<Self>> {
        &config.fanout.logs
    }
}

/// What of the arguments can change while requests are under way.
pub(super) struct Config {
    pub(super) fanout: OtelFanout,
    pub(super) level: MetricsLevel,
    /// Whether the metadata of calls is noted.
    pub(super) grpc_metadata: bool,
    /// Who may call; everybody where it is absent.
    pub(super) grpc_auth: Option<Handler>,
    pub(super) http: Option<HttpConfig>,
}

impl Config {
    pub(super) fn new(args: &Args) -> Result<Self, Error> {
        Ok(Self {
            fanout: args.output.fanout()?,
            level: args.debug_metrics.level,
            grpc_metadata: args.grpc.as_ref().is_some_and(|grpc| grpc.include_metadata),
            grpc_auth: args.grpc.as_ref().and_then(|grpc| grpc.auth.clone()),
            http: args.http.as_ref().map(HttpConfig::new),
        })
    }
}

/// What lives as long as the component.
pub(super) struct Shared {
    pub(super) config: ArcSwap<Config>,
    pub(super) budget: Budget,
    pub(super) metrics: Metrics,
    pub(super) cx: BuildCx,
    /// Of refusals in the log.
    pub(super) warned: OnceAMinute,
}

/// A request as it came out of its protocol.
pub(super) struct Incoming {
    /// `grpc` or `http`.
    pub(super) transport: &'static str,
    /// The serialised request.
    pub(super) body: Bytes,
    /// The body that it was unpacked from.
    pub(super) packed: Option<Packed>,
    pub(super) client: Option<Arc<ClientMetadata>>,
}

impl Shared {
    /// Hands a request over; returns when it is taken.
    pub(super) async fn take<S: Taken>(&self, config: &Config, incoming: Incoming) -> Result<(), Refusal>
    where
        Otlp<S>: Signal,
    {
        let Incoming { transport, body, packed, client } = incoming;
        let items = check::<S>(&body)
            .map_err(|e| Refusal::bad(format!("the body is not an OTLP {} request: {e}", S::NAME)))?;
        let consumers = S::fanout(config);
        if consumers.is_empty() {
            // Taken out by a reload since the request was let in.
            return Err(Refusal::busy(format!("{} are not taken any more", S::NAME)));
        }
        if items == 0 {
            return Ok(());
        }
        let mut batch = OtlpBatch {
            client,
            received_ms: jiff::Timestamp::now().as_millisecond(),
            ..OtlpBatch::default()
        };
        batch.requests.push(OtlpRequest::from_wire(body, items, packed));
        self.cx.live_debug(|| format!("{items} {} received over {transport}", S::ITEMS));
        let now = || S::fanout(&self.config.load()).clone();
        let answer = taken(hand_over(Otlp::new(batch), consumers, now)).await;
        self.metrics.received::<S>(config.level, transport, items.into(), answer.is_ok());
        if let Err(refusal) = &answer
            && refusal.status == StatusCode::BAD_REQUEST
            && self.warned.now()
        {
            tracing::warn!(error = refusal.why, items, signal = S::NAME, "a request was refused for good");
        }
        answer
    }
}

/// A body that is worth keeping as it came: one that an exporter may send on under the same name. The other
/// names stand for more than one format.
pub(super) fn keep(encoding: &'static str, bytes: Bytes) -> Option<Packed> {
    matches!(encoding, "gzip" | "zstd").then_some(Packed { encoding, bytes })
}

//! `otelcol.connector.servicegraph` makes a graph of services out of spans, as metrics of its edges.
//!
//! Data path: batch of spans → those that call and those that are called wait in the store for each other → a pair is an
//! edge, counted for the series of its two services → once a flush interval all series go to `output` as metrics.
//! Invariants: at most `store > max_items` spans wait; what is counted stays until it has not changed for
//! [`series::IDLE`], whatever becomes of a flush.

mod series;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::eval::Invalid;
use component::metrics::{IntCounter, IntGauge};
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx,
    Stability,
};
use parking_lot::Mutex;
use signal::clock::now_unix_nano;
use signal::otlp::{Otlp, OtlpMetrics, OtlpRequest, Traces};
use tokio::time::Instant;

use crate::connector::generation::{Counts, Generation};
use crate::connector::spanmetrics::BUCKETS;
use crate::flush::{Gathers, every};
use crate::own_metrics::Switch;
use series::Graph;
use store::Store;

/// `otelcol.connector.servicegraph`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Upper bounds of the buckets of latencies.
    #[arg(default = BUCKETS.to_vec())]
    pub latency_histogram_buckets: Vec<Duration>,
    /// Attributes of resources or spans that tell edges apart, as `client_<name>` and `server_<name>`.
    #[arg(default)]
    pub dimensions: Vec<String>,
    /// How often series are looked for that have not changed for 15 minutes, to be forgotten.
    #[arg(default = Duration::from_secs(60))]
    pub cache_loop: Duration,
    /// How often spans are looked for that have waited for too long.
    #[arg(default = Duration::from_secs(2))]
    pub store_expiration_loop: Duration,
    /// Attributes of a span that name the called service where that sends no spans; an empty list makes no edges to such services.
    #[arg(default = vec!["peer.service".into(), "db.name".into(), "db.system".into()])]
    pub virtual_node_peer_attributes: Vec<String>,
    /// Says in the label `virtual_node` which of the two services sends no spans.
    #[arg(default)]
    pub virtual_node_extra_label: bool,
    /// How often metrics are sent; 0 sends them after each batch of spans.
    #[arg(default = Duration::from_secs(60))]
    pub metrics_flush_interval: Duration,
    /// Attributes that name a database, of which no span is waited for.
    #[arg(default = vec!["db.name".into()])]
    pub database_name_attributes: Vec<String>,
    /// Makes latencies exponential histograms with at most so many buckets; 0 uses `latency_histogram_buckets`.
    #[arg(default)]
    pub exponential_histogram_max_size: i64,
    /// Spans that wait for their other half.
    #[arg(block)]
    pub store: StoreArgs,
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Spans that wait for their other half.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct StoreArgs {
    /// How many wait at most; further ones are dropped.
    #[arg(default = 1000)]
    pub max_items: i64,
    /// How long they wait.
    #[arg(default = Duration::from_secs(2))]
    pub ttl: Duration,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.store.max_items < 0 {
            return Err(Invalid::field("store", "max_items must not be negative"));
        }
        if !(0..=1 << 20).contains(&self.exponential_histogram_max_size) {
            let message = "must be between 0 and 1048576";
            return Err(Invalid::field("exponential_histogram_max_size", message));
        }
        if !self.latency_histogram_buckets.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Invalid::field("latency_histogram_buckets", "must be ascending"));
        }
        Ok(())
    }

    /// A period that can be waited for: as in the collector, none stands for the default.
    fn period(period: Duration, default: Duration) -> Duration {
        if period.is_zero() { default } else { period }
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct ServiceGraphExports {
    /// Takes spans.
    pub input: OtelInput,
}

/// The component.
pub struct ServiceGraph {
    args: Args,
    port: Port<Traces>,
    counters: Arc<Counters>,
    shown: Switch,
}

/// The component's own metrics.
struct Counters {
    dropped: IntCounter,
    edges: IntCounter,
    expired: IntCounter,
    overflown: IntCounter,
    waiting: IntGauge,
}

impl Counters {
    fn new() -> Arc<Self> {
        const CONSTANT: &str = "metric names are constants of this program";
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect(CONSTANT);
        let waiting = IntGauge::new(
            "otelcol_connector_servicegraph_waiting_spans",
            "Spans that wait for their other half.",
        );
        Arc::new(Self {
            dropped: counter(
                "otelcol_connector_servicegraph_dropped_spans_total",
                "Number of spans dropped when trying to add edges",
            ),
            edges: counter(
                "otelcol_connector_servicegraph_total_edges_total",
                "Total number of unique edges",
            ),
            expired: counter(
                "otelcol_connector_servicegraph_expired_edges_total",
                "Number of edges that expired before finding its matching span",
            ),
            overflown: counter(
                "otelcol_connector_servicegraph_overflow_edges_total",
                "Edges that were counted without their services because there were too many series.",
            ),
            waiting: waiting.expect(CONSTANT),
        })
    }
}

impl Component for ServiceGraph {
    const NAME: &'static str = "otelcol.connector.servicegraph";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ServiceGraphExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ServiceGraphExports), Error> {
        args.output.fanout()?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let counters = Counters::new();
        let shown = Switch::new(
            &cx.metrics(),
            "otelcol_connector_servicegraph",
            args.debug_metrics.level,
            vec![
                Box::new(counters.dropped.clone()),
                Box::new(counters.edges.clone()),
                Box::new(counters.expired.clone()),
                Box::new(counters.overflown.clone()),
                Box::new(counters.waiting.clone()),
            ],
        );
        Ok((Self { args, port, counters, shown }, ServiceGraphExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let connector = |args: &Args| {
            let next = args.output.fanout()?.metrics;
            Ok::<_, Error>(Connector::new(args, next, self.counters.clone()))
        };
        let mut args = self.args.clone();
        let mut counting = Generation::start(&self.port, connector(&args)?, cx.spawner());
        let mut times = Times::new(&args);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                () = times.tick(&counting) => continue,
            };
            match event {
                Event::Stop => {
                    counting.stop().await;
                    return Ok(());
                }
                Event::Update(update) => {
                    update.apply(|new| {
                        match series_are_equal(&args, &new) {
                            true => counting.redirect(new.output.fanout()?.metrics),
                            false => counting.replace(connector(&new)?),
                        }
                        times = Times::new(&new);
                        self.shown.show(new.debug_metrics.level);
                        args = new;
                        Ok(())
                    });
                }
            }
        }
    }
}

/// Whether what was counted with one can be counted on with the other.
fn series_are_equal(a: &Args, b: &Args) -> bool {
    let strip = |args: &Args| Args {
        output: Output::default(),
        debug_metrics: DebugMetrics::default(),
        cache_loop: Duration::ZERO,
        store_expiration_loop: Duration::ZERO,
        ..args.clone()
    };
    strip(a) == strip(b)
}

/// What is done from time to time.
struct Times {
    flushes: Option<tokio::time::Interval>,
    expiries: tokio::time::Interval,
    sweeps: tokio::time::Interval,
}

impl Times {
    fn new(args: &Args) -> Self {
        let (flush, expiry, sweep) =
            (args.metrics_flush_interval, args.store_expiration_loop, args.cache_loop);
        Self {
            flushes: (!flush.is_zero()).then(|| every(flush)),
            expiries: every(Args::period(expiry, Duration::from_secs(2))),
            sweeps: every(Args::period(sweep, Duration::from_secs(60))),
        }
    }

    /// Waits for the next thing to do, and does it.
    async fn tick(&mut self, counting: &Generation<'_, Connector>) {
        let flush = async {
            match &mut self.flushes {
                Some(flushes) => flushes.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.expiries.tick() => counting.connector().expire(),
            _ = self.sweeps.tick() => counting.connector().state.lock().graph.forget(Instant::now()),
            _ = flush => counting.flush(),
        }
    }
}

/// One generation of the arguments that make series.
struct Connector {
    flush_at_once: bool,
    state: Mutex<State>,
    next: ArcSwap<Fanout<OtlpMetrics>>,
    counters: Arc<Counters>,
}

struct State {
    store: Store,
    graph: Graph,
}

impl Connector {
    fn new(args: &Args, next: Fanout<OtlpMetrics>, counters: Arc<Counters>) -> Self {
        let state = State { store: Store::new(args), graph: Graph::new(args) };
        Self {
            flush_at_once: args.metrics_flush_interval.is_zero(),
            state: Mutex::new(state),
            next: ArcSwap::from_pointee(next),
            counters,
        }
    }

    /// Spans that have waited for too long.
    fn expire(&self) {
        let mut state = self.state.lock();
        let State { store, graph } = &mut *state;
        let expired = store.expire(Instant::now(), |edge| {
            self.counters.overflown.inc_by(u64::from(!graph.count(edge, now_unix_nano())));
        });
        self.counters.expired.inc_by(expired);
        self.counters.waiting.set(i64::try_from(store.len()).unwrap_or(i64::MAX));
    }

    async fn take(&self, batch: Traces) -> Result<(), Rejected> {
        let mut result = Ok(());
        {
            let mut state = self.state.lock();
            let State { store, graph } = &mut *state;
            let nanos = now_unix_nano();
            for request in &batch.requests {
                result = store.take(request.wire(), Instant::now(), |edge| {
                    self.counters.overflown.inc_by(u64::from(!graph.count(edge, nanos)));
                });
                if result.is_err() {
                    break;
                }
            }
            let counts = std::mem::take(&mut store.counts);
            self.counters.dropped.inc_by(counts.dropped);
            self.counters.edges.inc_by(counts.new);
            self.counters.expired.inc_by(counts.expired);
            self.counters.waiting.set(i64::try_from(store.len()).unwrap_or(i64::MAX));
        }
        result.map_err(|error| Rejected::Permanent(error.to_string()))?;
        if self.flush_at_once
            && let Err(error) = self.export().await
        {
            // The spans are counted, and the counts go again with the next.
            tracing::debug!(%error, "metrics were not taken");
        }
        Ok(())
    }

    async fn export(&self) -> Result<(), Rejected> {
        let message = self.state.lock().graph.metrics(now_unix_nano());
        if message.resource_metrics.is_empty() {
            return Ok(());
        }
        let next = self.next.load_full();
        next.send(Otlp::of(OtlpRequest::from_message(message))).await
    }
}

impl Gathers for Connector {
    fn flush(&self) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.export())
    }
}

impl Counts for Connector {
    fn next(&self) -> &ArcSwap<Fanout<OtlpMetrics>> {
        &self.next
    }

    fn close(&self) {
        self.expire();
    }
}

impl Consumer<Traces> for Connector {
    fn consume(&self, batch: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.take(batch))
    }
}

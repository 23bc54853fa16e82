//! `otelcol.connector.host_info` tells which hosts send traces: a gauge with a point a host.
//!
//! Data path: batch → the resources' attributes, spans left undecoded → a set of hosts → every
//! `metrics_flush_interval` one request → `output`.
//! Invariant: a host leaves the set only when the consumers have answered for it, or have refused it for good.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx,
    Stability,
};
use hashbrown::HashSet;
use parking_lot::Mutex;
use prost::Message;
use signal::otlp::proto::collector::metrics::v1::ExportMetricsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::metrics::v1::metric::Data;
use signal::otlp::proto::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{OtlpRequest, TracesSignal};
use signal::{OtlpMetrics, Traces};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::dropped::Dropped;
use crate::value::attribute;

const METRIC: &str = "traces_host_info";
const HOST: &str = "grafana.host.id";

/// Hosts that are remembered between two flushes.
const MOST_HOSTS: usize = 100_000;

/// `otelcol.connector.host_info`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Resource attributes that name a host; the first that is there counts.
    #[arg(default = vec!["host.id".to_string()])]
    pub host_identifiers: Vec<String>,
    /// How often hosts are told of.
    #[arg(default = Duration::from_secs(60))]
    pub metrics_flush_interval: Duration,
    /// Where metrics go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block, no_effect = "the component has no metrics that could be left out")]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.host_identifiers.is_empty() {
            return Err(Invalid::field("host_identifiers", "must name at least one attribute"));
        }
        let allowed = Duration::from_secs(15)..=Duration::from_secs(300);
        if !allowed.contains(&self.metrics_flush_interval) {
            return Err(Invalid::field("metrics_flush_interval", "must be between 15s and 5m"));
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct HostInfoExports {
    /// Takes traces in.
    pub input: OtelInput,
}

/// The component.
pub struct HostInfo {
    args: Args,
    port: Port<Traces>,
    hosts: Arc<Hosts>,
}

impl Component for HostInfo {
    const NAME: &'static str = "otelcol.connector.host_info";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = HostInfoExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, HostInfoExports), Error> {
        args.output.fanout()?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let hosts = Arc::new(Hosts {
            seen: Mutex::default(),
            dropped: Dropped::new(cx, "otelcol_connector_host_info"),
        });
        Ok((Self { args, port, hosts }, HostInfoExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut next = self.attach(&self.args)?;
        let mut ticks = ticks(self.args.metrics_flush_interval);
        let mut interval = self.args.metrics_flush_interval;
        let mut flushing: Option<BoxFuture<'static, ()>> = None;
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                () = async { flushing.as_mut().expect("there is one").await }, if flushing.is_some() => {
                    flushing = None;
                    continue;
                }
                _ = ticks.tick(), if flushing.is_none() => {
                    flushing = Some(Box::pin(flush(self.hosts.clone(), next.clone())));
                    continue;
                }
            };
            match event {
                Event::Stop => {
                    self.port.stop().finished().await;
                    if let Some(flushing) = flushing {
                        flushing.await;
                    }
                    flush(self.hosts.clone(), next).await;
                    return Ok(());
                }
                Event::Update(update) => {
                    update.apply(|args| {
                        next = self.attach(&args)?;
                        if args.metrics_flush_interval != interval {
                            interval = args.metrics_flush_interval;
                            ticks = self::ticks(interval);
                        }
                        Ok(())
                    });
                }
            }
        }
    }
}

impl HostInfo {
    /// Puts the arguments into force; what was seen before stays.
    fn attach(&self, args: &Args) -> Result<Fanout<OtlpMetrics>, Error> {
        let next = args.output.fanout()?.metrics;
        let has_next = !next.is_empty();
        let (hosts, identifiers) = (self.hosts.clone(), args.host_identifiers.clone());
        let owner = self.port.receiver().owner().to_string();
        let _ = self.port.attach(Input { hosts, identifiers, has_next, owner });
        Ok(next)
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tells of the hosts that were seen. Those whom nobody could take for now are told of with the next.
async fn flush(hosts: Arc<Hosts>, next: Fanout<OtlpMetrics>) {
    let seen = std::mem::take(&mut *hosts.seen.lock());
    if seen.is_empty() {
        return;
    }
    match next.send(metrics(&seen)).await {
        Ok(()) => {}
        Err(error @ Rejected::Permanent(_)) => {
            // At most once in a flush interval, which is 15 seconds or more.
            tracing::warn!(%error, hosts = seen.len(), "the metrics of hosts were refused");
            hosts.dropped.add("host", "refused", seen.len());
        }
        Err(Rejected::Retryable(_) | Rejected::Stopped) => hosts.add(seen),
    }
}

/// The hosts that were seen since the last flush.
struct Hosts {
    seen: Mutex<HashSet<String, foldhash::fast::RandomState>>,
    dropped: Dropped,
}

impl Hosts {
    fn add(&self, hosts: impl IntoIterator<Item = String>) {
        let mut seen = self.seen.lock();
        for host in hosts {
            if seen.len() < MOST_HOSTS || seen.contains(&host) {
                seen.insert(host);
            } else {
                self.dropped.add("host", "too many", 1);
            }
        }
    }
}

/// A trace request of which only the resources are read.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<Spans>,
}

/// The resource of spans.
#[derive(Clone, PartialEq, Message)]
struct Spans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
}

/// Stands behind the port.
struct Input {
    hosts: Arc<Hosts>,
    identifiers: Vec<String>,
    has_next: bool,
    owner: String,
}

impl Input {
    fn take(&self, request: &OtlpRequest<TracesSignal>) -> Result<(), Rejected> {
        if request.is_decoded() {
            let message = request.message().map_err(|error| Rejected::Permanent(error.to_string()))?;
            self.resources(message.resource_spans.iter().filter_map(|spans| spans.resource.as_ref()));
        } else {
            let message = Request::decode(request.wire().clone())
                .map_err(|error| Rejected::Permanent(format!("not an OTLP traces request: {error}")))?;
            self.resources(message.spans.iter().filter_map(|spans| spans.resource.as_ref()));
        }
        Ok(())
    }

    fn resources<'r>(&self, resources: impl Iterator<Item = &'r Resource>) {
        self.hosts.add(resources.filter_map(|resource| self.host(resource)));
    }

    /// The first of the identifiers that is there; nothing if it is no text.
    fn host(&self, resource: &Resource) -> Option<String> {
        let find = |name: &String| resource.attributes.iter().find(|a| a.key == *name);
        let found = self.identifiers.iter().find_map(find)?;
        match found.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(host)) => Some(host.clone()),
            _ => {
                self.hosts.dropped.add("host", "not a text", 1);
                None
            }
        }
    }
}

impl Consumer<Traces> for Input {
    fn consume(&self, batch: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        let answer = if self.has_next {
            batch.requests.iter().try_for_each(|request| self.take(request))
        } else {
            Err(Rejected::Permanent(format!("{} has no consumer for metrics in its output", self.owner)))
        };
        Box::pin(std::future::ready(answer))
    }
}

fn metrics(hosts: &HashSet<String, foldhash::fast::RandomState>) -> OtlpMetrics {
    let now = signal::clock::now_unix_nano();
    let point = |host: &String| NumberDataPoint {
        attributes: vec![attribute(HOST, host)],
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let data = Some(Data::Gauge(Gauge { data_points: hosts.iter().map(point).collect() }));
    let metrics = vec![Metric { name: METRIC.to_string(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    OtlpMetrics::of(OtlpRequest::from_message(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }))
}

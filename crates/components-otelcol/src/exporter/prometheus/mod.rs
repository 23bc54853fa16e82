//! `otelcol.exporter.prometheus` turns OTLP metrics into samples for `prometheus.*` components.
//!
//! Data path: batch → each request decoded → each data point's series found by a hash of its origin
//! (`cache`), made from labels (`labels`) only the first time → one batch of samples (`points`) →
//! `forward_to`, all in the sender's task.
//! Invariant: what is not carried over is counted, with a reason.

mod cache;
mod convert;
mod labels;
mod points;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::OtelInput;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::otlp_names::Translation;
use signal::{OtlpMetrics, Samples};
use tokio::time::MissedTickBehavior;

use crate::dropped::Dropped;
pub use convert::Converter;

/// Series without points for so long are forgotten when the cache is cleaned up.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// `otelcol.exporter.prometheus`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where samples go.
    pub forward_to: Vec<Receiver<Samples>>,
    /// Send `target_info`, with the resource's attributes as labels.
    #[arg(default = true)]
    pub include_target_info: bool,
    /// Send `otel_scope_info`, with the scope's attributes as labels.
    #[arg(default = false)]
    pub include_scope_info: bool,
    /// Put `otel_scope_name` and `otel_scope_version` on every series.
    #[arg(default = true)]
    pub include_scope_labels: bool,
    /// How often series that have had no points for five minutes are forgotten.
    #[arg(default = Duration::from_secs(300))]
    pub gc_frequency: Duration,
    /// Add unit and type to metric names.
    #[arg(default = true)]
    pub add_metric_suffixes: bool,
    /// Put all resource attributes on every series.
    #[arg(default = false)]
    pub resource_to_telemetry_conversion: bool,
    /// Send type, help and unit of metrics along.
    #[arg(default = false)]
    pub honor_metadata: bool,
    /// Turn histograms with explicit bounds into native histograms with custom buckets.
    #[arg(default = false)]
    pub convert_classic_histograms_to_nhcb: bool,
    /// Keep `service.name`, `service.namespace` and `service.instance.id` on `target_info`.
    #[arg(default = false)]
    pub keep_identifying_resource_attributes: bool,
    /// Send a zero at the time at which a counter or histogram has started.
    #[arg(default = false)]
    pub start_timestamp_zero_ingestion: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.gc_frequency.is_zero() {
            return Err(Invalid::field("gc_frequency", "must be greater than 0"));
        }
        Ok(())
    }

    fn options(&self) -> Options {
        let names = match self.add_metric_suffixes {
            true => Translation::UnderscoreEscapingWithSuffixes,
            false => Translation::UnderscoreEscapingWithoutSuffixes,
        };
        Options {
            target_info: self.include_target_info,
            scope_info: self.include_scope_info,
            scope_labels: self.include_scope_labels,
            names,
            resource_labels: self.resource_to_telemetry_conversion,
            metadata: self.honor_metadata,
            custom_buckets: self.convert_classic_histograms_to_nhcb,
            keep_identifying: self.keep_identifying_resource_attributes,
            start_zero: self.start_timestamp_zero_ingestion,
        }
    }
}

/// What makes a difference to how points become samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Send `target_info`.
    pub target_info: bool,
    /// Send `otel_scope_info`.
    pub scope_info: bool,
    /// Put the scope on every series.
    pub scope_labels: bool,
    /// How names are carried over.
    pub names: Translation,
    /// Put resource attributes on every series.
    pub resource_labels: bool,
    /// Send families along.
    pub metadata: bool,
    /// Explicit bounds become custom buckets.
    pub custom_buckets: bool,
    /// Keep what `job` and `instance` are made of.
    pub keep_identifying: bool,
    /// Write zeros at start times.
    pub start_zero: bool,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct PrometheusExports {
    /// Takes metrics in.
    pub input: OtelInput,
}

/// The component.
pub struct Prometheus {
    args: Args,
    port: Port<OtlpMetrics>,
    dropped: Dropped,
}

impl Component for Prometheus {
    const NAME: &'static str = "otelcol.exporter.prometheus";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = PrometheusExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, PrometheusExports), Error> {
        let port = cx.port::<OtlpMetrics>("metrics");
        let input = OtelInput { metrics: Some(port.receiver()), ..OtelInput::default() };
        let dropped = Dropped::new(cx, "otelcol_exporter_prometheus");
        Ok((Self { args, port, dropped }, PrometheusExports { input }))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut converter = Arc::new(Converter::new(self.args.options(), self.dropped.clone()));
        self.attach(&converter);
        let mut ticks = ticks(self.args.gc_frequency);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = ticks.tick() => {
                    converter.forget(IDLE.as_secs() as u32);
                    continue;
                }
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        // Series stay known as long as they would be made the same.
                        if args.options() != self.args.options() {
                            converter = Arc::new(Converter::new(args.options(), self.dropped.clone()));
                        }
                        if args.gc_frequency != self.args.gc_frequency {
                            ticks = self::ticks(args.gc_frequency);
                        }
                        self.args = args;
                        self.attach(&converter);
                        Ok(())
                    });
                }
            }
        }
    }
}

impl Prometheus {
    fn attach(&self, converter: &Arc<Converter>) {
        let next = Fanout::new(self.args.forward_to.iter().cloned());
        let _ = self.port.attach(Input { converter: converter.clone(), next });
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Stands behind the port.
struct Input {
    converter: Arc<Converter>,
    next: Fanout<Samples>,
}

impl Consumer<OtlpMetrics> for Input {
    fn consume(&self, batch: OtlpMetrics) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let samples =
                self.converter.convert(&batch).map_err(|error| Rejected::Permanent(error.to_string()))?;
            if samples.is_empty() {
                return Ok(());
            }
            self.next.send(samples).await
        })
    }
}

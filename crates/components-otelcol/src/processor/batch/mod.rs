//! `otelcol.processor.batch` gathers small requests into larger ones.
//!
//! Data path: sender → the gathering of its metadata → one batch, sent in a task of its own → `output`. The
//! sender's answer is the answer to the batches that its data went into.
//! Invariant: nothing is acknowledged that is only held here.

mod batcher;
mod metrics;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, RunCx, Spawner, Stability};
use signal::otlp::{LogsSignal, MetricsSignal, TracesSignal};

use crate::ports::{Consumers, Ports};
use batcher::Batcher;
use metrics::Counters;

/// `otelcol.processor.batch`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How long data waits at most for more; 0 waits for nothing.
    #[arg(default = Duration::from_millis(200))]
    pub timeout: Duration,
    /// Spans, data points or log records after which a batch goes out without waiting any longer.
    #[arg(default = 2000)]
    pub send_batch_size: u64,
    /// Spans, data points or log records in a batch at most; larger requests are cut. 0 sets no limit.
    #[arg(default = 3000)]
    pub send_batch_max_size: u64,
    /// Metadata of clients whose values are kept apart: a batch for each combination.
    #[arg(default)]
    pub metadata_keys: Vec<String>,
    /// Combinations that may be gathered at the same time; 0 sets no limit.
    #[arg(default = 1000)]
    pub metadata_cardinality_limit: u64,
    /// Where batches go.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            let message = "must be 0 or at least send_batch_size";
            return Err(Invalid::field("send_batch_max_size", message));
        }
        let mut keys: Vec<_> = self.metadata_keys.iter().map(|key| key.to_lowercase()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let message = format!("lists {:?} twice; upper and lower case are the same", pair[0]);
                Err(Invalid::field("metadata_keys", message))
            }
            None => Ok(()),
        }
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct BatchExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Batch {
    args: Args,
    ports: Ports,
    counters: Arc<Counters>,
}

impl Component for Batch {
    const NAME: &'static str = "otelcol.processor.batch";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = BatchExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, BatchExports), Error> {
        args.output.fanout()?;
        let ports = Ports::new(cx);
        let exports = BatchExports { input: ports.input() };
        let counters = Counters::new(&cx.metrics(), args.debug_metrics.level);
        Ok((Self { args, ports, counters }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let next = self.args.output.fanout()?;
        let mut batchers = Batchers::new(&self.args, &next, &self.counters, &cx);
        let _ = self.ports.attach_for(&next, batchers.consumers());
        loop {
            match cx.event().await {
                Event::Stop => {
                    let draining = self.ports.stop();
                    batchers.flush();
                    for drained in draining {
                        drained.finished().await;
                    }
                    return Ok(());
                }
                Event::Update(update) => {
                    update.apply(|args| {
                        let next = args.output.fanout()?;
                        let old = std::mem::replace(
                            &mut batchers,
                            Batchers::new(&args, &next, &self.counters, &cx),
                        );
                        let _ = self.ports.attach_for(&next, batchers.consumers());
                        self.counters.show(args.debug_metrics.level);
                        // What waits goes where it was to go, at once; its senders are answered as ever.
                        old.flush();
                        Ok(())
                    });
                }
            }
        }
    }
}

/// One generation: a batcher a signal.
struct Batchers {
    traces: Batcher<TracesSignal>,
    metrics: Batcher<MetricsSignal>,
    logs: Batcher<LogsSignal>,
}

impl Batchers {
    fn new(
        args: &Args,
        next: &component::otel::OtelFanout,
        counters: &Arc<Counters>,
        cx: &RunCx<Batch>,
    ) -> Self {
        let (spawner, build): (Spawner, &BuildCx) = (cx.spawner(), cx);
        Self {
            traces: Batcher::new(args, next.traces.clone(), counters.clone(), spawner.clone(), build.clone()),
            metrics: Batcher::new(
                args,
                next.metrics.clone(),
                counters.clone(),
                spawner.clone(),
                build.clone(),
            ),
            logs: Batcher::new(args, next.logs.clone(), counters.clone(), spawner, build.clone()),
        }
    }

    fn consumers(&self) -> Consumers {
        Consumers {
            traces: Arc::new(self.traces.clone()),
            metrics: Arc::new(self.metrics.clone()),
            logs: Arc::new(self.logs.clone()),
        }
    }

    fn flush(&self) {
        self.traces.flush();
        self.metrics.flush();
        self.logs.flush();
    }
}

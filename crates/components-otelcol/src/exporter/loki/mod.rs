//! `otelcol.exporter.loki` turns OTLP log records into entries for `loki.*` components.
//!
//! Data path: batch → each request decoded → each record's labels and line as its hints say (`record`) → one
//! batch of entries → `forward_to`, all in the sender's task.

mod json;
mod record;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use component::metrics::IntCounter;
use component::otel::OtelInput;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::logs::{Entry, LogBuilder};
use signal::otlp::{LogsSignal, Malformed, OtlpBatch, OtlpRequest};
use signal::{Logs, OtlpLogs};

use crate::dropped::Dropped;

/// `otelcol.exporter.loki`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct LokiExports {
    /// Takes logs in.
    pub input: OtelInput,
}

/// The component.
pub struct Loki {
    args: Args,
    port: Port<OtlpLogs>,
    counters: Arc<Counters>,
}

struct Counters {
    total: IntCounter,
    failed: IntCounter,
    processed: IntCounter,
    dropped: Dropped,
}

impl Counters {
    fn new(cx: &BuildCx) -> Self {
        let metrics = cx.metrics();
        Self {
            total: metrics.counter("otelcol_exporter_loki_entries_total", "Log records taken in."),
            failed: metrics
                .counter("otelcol_exporter_loki_entries_failed", "Log records that became no entry."),
            processed: metrics.counter("otelcol_exporter_loki_entries_processed", "Entries made."),
            dropped: Dropped::new(cx, "otelcol_exporter_loki"),
        }
    }
}

impl Component for Loki {
    const NAME: &'static str = "otelcol.exporter.loki";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = LokiExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, LokiExports), Error> {
        let port = cx.port::<OtlpLogs>("logs");
        let input = OtelInput { logs: Some(port.receiver()), ..OtelInput::default() };
        let counters = Arc::new(Counters::new(cx));
        Ok((Self { args, port, counters }, LokiExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        self.attach(&self.args);
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        self.attach(&args);
                        Ok(())
                    });
                }
            }
        }
    }
}

impl Loki {
    fn attach(&self, args: &Args) {
        let next = Fanout::new(args.forward_to.iter().cloned());
        let _ = self.port.attach(Input { counters: self.counters.clone(), next });
    }
}

/// Stands behind the port.
struct Input {
    counters: Arc<Counters>,
    next: Fanout<Logs>,
}

impl Consumer<OtlpLogs> for Input {
    fn consume(&self, batch: OtlpLogs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let logs =
                entries(&batch, &self.counters).map_err(|error| Rejected::Permanent(error.to_string()))?;
            if logs.is_empty() {
                return Ok(());
            }
            self.next.send(logs).await
        })
    }
}

/// The entries of a batch, in the order of its records.
fn entries(batch: &OtlpBatch<LogsSignal>, counters: &Counters) -> Result<Logs, Malformed> {
    let mut decoded = Vec::with_capacity(batch.requests.len());
    for request in &batch.requests {
        decoded.push(match request.is_decoded() {
            true => Cow::Borrowed(request.message()?),
            false => {
                let own = OtlpRequest::<LogsSignal>::from_wire(request.wire().clone(), 0, None);
                Cow::Owned(own.into_message()?)
            }
        });
    }
    let now = signal::clock::now_ns();
    let mut builder = LogBuilder::new(batch.received_ms, None);
    for resource in decoded.iter().flat_map(|message| &message.resource_logs) {
        let attributes = resource.resource.as_ref().map(|r| &*r.attributes).unwrap_or_default();
        for scope in &resource.scope_logs {
            for log in &scope.log_records {
                counters.total.inc();
                let (labels, line) = match record::convert(log, attributes, scope.scope.as_ref()) {
                    Ok(converted) => converted,
                    Err(record::UnknownFormat(format)) => {
                        tracing::debug!(format, "loki.format is none of json, logfmt, raw");
                        counters.failed.inc();
                        counters.dropped.add("log record", "unknown format", 1);
                        continue;
                    }
                };
                let times = [log.time_unix_nano, log.observed_time_unix_nano];
                let time = times.into_iter().find(|time| *time != 0).map_or(now, |time| {
                    // Beyond the year 2262 there is no time for Loki.
                    i64::try_from(time).unwrap_or(now)
                });
                let stream = builder.stream(&labels);
                builder.push(Entry { stream, timestamp_ns: time, line: line.into(), metadata: None });
                counters.processed.inc();
            }
        }
    }
    Ok(builder.finish())
}

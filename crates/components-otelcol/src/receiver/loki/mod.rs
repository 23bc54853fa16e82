//! `otelcol.receiver.loki` turns the entries of `loki.*` components into OTLP log records.
//!
//! Data path: batch → a record an entry, in their order → one request → `output`, all in the sender's task.
//! Invariant: what holds a batch's receipt is kept until the consumers have answered.

#[cfg(test)]
mod tests;

use component::otel::Output;
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Receiver,
    Rejected, RunCx, Stability,
};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::{OtlpBatch, OtlpRequest};
use signal::{Labels, LogBatch, Logs, OtlpLogs};

use crate::value::attribute;

/// Names the attributes that `otelcol.exporter.loki` is to make labels of again.
const HINT: &str = "loki.attribute.labels";

/// `otelcol.receiver.loki`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Where logs go.
    #[arg(block, required)]
    pub output: Output,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct LokiExports {
    /// Takes entries in.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Loki {
    next: Fanout<OtlpLogs>,
    port: Port<Logs>,
}

impl Component for Loki {
    const NAME: &'static str = "otelcol.receiver.loki";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = LokiExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, LokiExports), Error> {
        let next = args.output.fanout()?.logs;
        let port = cx.port::<Logs>("receiver");
        let exports = LokiExports { receiver: port.receiver() };
        Ok((Self { next, port }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        self.attach(self.next.clone());
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        self.attach(args.output.fanout()?.logs);
                        Ok(())
                    });
                }
            }
        }
    }
}

impl Loki {
    fn attach(&self, next: Fanout<OtlpLogs>) {
        let owner = self.port.receiver().owner().to_string();
        let _ = self.port.attach(Input { next, owner });
    }
}

/// Stands behind the port.
struct Input {
    next: Fanout<OtlpLogs>,
    owner: String,
}

impl Consumer<Logs> for Input {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if self.next.is_empty() {
                let message = format!("{} has no consumer for logs in its output", self.owner);
                return Err(Rejected::Permanent(message));
            }
            if batch.is_empty() {
                return Ok(());
            }
            let answer = self.next.send(records(&batch)).await;
            // Only now: a source that waits for the batch's receipt must not go on before the answer.
            drop(batch);
            answer
        })
    }
}

/// A request with a record for each entry.
fn records(batch: &LogBatch) -> OtlpLogs {
    let now = signal::clock::now_unix_nano();
    let received = u64::try_from(batch.received_ms).unwrap_or_default().saturating_mul(1_000_000);
    let observed = if received == 0 { now } else { received };
    // What all entries of a stream have in common is made once.
    let streams: Vec<Vec<KeyValue>> = batch.streams.iter().map(attributes).collect();
    let record = |entry: &signal::logs::Entry| {
        let mut attributes = streams[entry.stream as usize].clone();
        for (name, value) in entry.metadata.iter().flat_map(Labels::iter) {
            if !attributes.iter().any(|known| known.key == name) {
                attributes.push(attribute(name, value));
            }
        }
        LogRecord {
            time_unix_nano: u64::try_from(entry.timestamp_ns).unwrap_or_default(),
            observed_time_unix_nano: observed,
            body: Some(AnyValue { value: Some(Value::StringValue(entry.line.to_string())) }),
            attributes,
            ..LogRecord::default()
        }
    };
    let log_records = batch.entries.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let request = OtlpRequest::from_message(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    });
    OtlpBatch { requests: [request].into(), received_ms: batch.received_ms, ..OtlpBatch::default() }.into()
}

/// The attributes of every record of a stream.
fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(labels.len() + 3);
    if let Some(path) = labels.get("filename") {
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        out.push(attribute("log.file.path", path));
        out.push(attribute("log.file.name", if name.is_empty() { "/" } else { name }));
    }
    if !labels.is_empty() {
        let names: Vec<&str> = labels.iter().map(|(name, _)| name).collect();
        out.push(attribute(HINT, &names.join(",")));
    }
    out.extend(labels.iter().map(|(name, value)| attribute(name, value)));
    out
}

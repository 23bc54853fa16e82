//! `otelcol.exporter.file` writes spans, metrics and logs into files.
//!
//! Data path: batch → one record (JSON or protobuf, compressed) → the file, or that of each resource's group. `Ok`: the
//! operating system has the record, so that it survives `kill -9`; the device has it within `flush_interval`.
//! Invariant: a file never holds a part of a record: what could not be written whole is taken back.

mod args;
mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use component::otel::MetricsLevel;
use component::{
    BoxFuture, BuildCx, Component, Consumer, Error, Event, Health, Rejected, RunCx, Signal, Stability,
};
use parking_lot::Mutex;
use prost::Message;
use signal::otlp::Otlp;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use wire::otlp::Schematic;

pub use args::Args;
use files::Files;

use super::sending::{ExporterExports, Metrics, Part, Writing};
use crate::ports::{Consumers, Ports};
use crate::signals::{Grouped, Kind};

/// The component.
pub struct FileExporter {
    args: Args,
    ports: Ports,
    metrics: Arc<Metrics>,
}

impl Component for FileExporter {
    const NAME: &'static str = "otelcol.exporter.file";
    const STABILITY: Stability = Stability::PublicPreview;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ExporterExports), Error> {
        let ports = Ports::new(cx);
        let metrics = Metrics::new(&cx.metrics(), format!("file/{}", cx.id()));
        let exports = ExporterExports { input: ports.input() };
        Ok((Self { args, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, ports, metrics } = self;
        let files = Arc::new(Mutex::new(Files::new(args.filing())));
        let mut trouble = Arc::<Trouble>::default();
        let attach = |args: &Args, trouble: &Arc<Trouble>| {
            metrics.show(args.debug_metrics.level != MetricsLevel::None);
            ports.attach(Consumers::of(Writer {
                files: files.clone(),
                writing: args.writing(),
                group_by: args.grouping(),
                path: args.path.clone(),
                metrics: metrics.clone(),
                trouble: trouble.clone(),
            }))
        };
        trouble.tell(blocking(&files, Files::open_first).await);
        let _ = attach(&args, &trouble);
        let mut ticks = ticks(&args);
        loop {
            trouble.report(&cx);
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => break,
                    Event::Update(update) => {
                        args = update.args().clone();
                        trouble = Arc::default();
                        let filing = args.filing();
                        trouble.tell(blocking(&files, move |files| files.change(filing)).await);
                        let _ = attach(&args, &trouble);
                        ticks = self::ticks(&args);
                        update.answer(Ok(()));
                    }
                },
                _ = ticks.tick() => {
                    if let Err(error) = blocking(&files, Files::sync).await {
                        trouble.tell(Err(error));
                    }
                }
            }
        }
        for draining in ports.stop() {
            draining.finished().await;
        }
        if let Err(error) = blocking(&files, Files::sync).await {
            tracing::error!(error, "what was written may not be on the device");
        }
        Ok(())
    }
}

/// When files are forced to the device.
fn ticks(args: &Args) -> tokio::time::Interval {
    let period = args.flush_interval;
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Works with the files on a thread that may block.
async fn blocking<T: Send + 'static>(
    files: &Arc<Mutex<Files>>,
    work: impl FnOnce(&mut Files) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let files = files.clone();
    let done = tokio::task::spawn_blocking(move || work(&mut files.lock())).await;
    done.map_err(|error| error.to_string())?
}

/// Why files cannot be written, if they cannot.
#[derive(Default)]
struct Trouble(Mutex<Option<String>>);

impl Trouble {
    fn tell(&self, result: Result<(), String>) {
        *self.0.lock() = result.err();
    }

    fn report(&self, cx: &BuildCx) {
        let trouble = self.0.lock().clone();
        cx.report(trouble.map_or_else(|| Health::healthy("files are written"), Health::unhealthy));
    }
}

/// One generation of the component.
struct Writer {
    files: Arc<Mutex<Files>>,
    writing: Writing,
    /// The attribute whose value takes the place of `*`.
    group_by: Option<String>,
    path: String,
    metrics: Arc<Metrics>,
    trouble: Arc<Trouble>,
}

impl<S: Schematic + Grouped> Consumer<Otlp<S>> for Writer
where
    Otlp<S>: Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(());
            }
            let kind = Kind::of::<S>();
            let (records, items) = self.records(&batch)?;
            let written = blocking(&self.files, move |files| files.write_all(records)).await;
            self.trouble.tell(written.clone());
            match written {
                Ok(()) => {
                    self.metrics.sent(kind, items);
                    Ok(())
                }
                // Disks get room again, folders come back.
                Err(error) => Err(Rejected::Retryable(error)),
            }
        })
    }
}

impl Writer {
    /// What is written where, and how many items that are.
    fn records<S: Schematic + Grouped>(
        &self,
        batch: &Otlp<S>,
    ) -> Result<(Vec<(PathBuf, Bytes)>, u64), Rejected> {
        let kind = Kind::of::<S>();
        let record = |path: PathBuf, parts: &[Part]| {
            let body = self.writing.body(kind, parts).map_err(Rejected::Permanent)?;
            Ok((path, framed(&self.writing, body)?))
        };
        let part = |bytes: Bytes, items: usize| Part { items: items as u64, bytes };
        let Some(attribute) = &self.group_by else {
            let filled = batch.requests.iter().filter(|request| request.items() > 0);
            let parts: Vec<Part> = filled.map(|r| part(r.wire().clone(), r.items())).collect();
            return Ok((vec![record(self.path.clone().into(), &parts)?], batch.items() as u64));
        };
        let mut groups: indexmap::IndexMap<PathBuf, S::Request> = indexmap::IndexMap::new();
        let mut homeless = S::Request::default();
        for request in &batch.requests {
            let mut message = request.message().map_err(|e| Rejected::Permanent(e.to_string()))?.clone();
            for group in std::mem::take(S::groups(&mut message)) {
                let place = files::place(&self.path, segment::<S>(&group, attribute));
                S::groups(place.map_or(&mut homeless, |path| groups.entry(path).or_default())).push(group);
            }
        }
        // As upstream, but not in silence.
        self.metrics.failed(kind, "no_path_segment", S::count(&homeless) as u64);
        let items = groups.values().map(|group| S::count(group) as u64).sum();
        let records = groups
            .into_iter()
            .map(|(path, message)| record(path, &[part(message.encode_to_vec().into(), S::count(&message))]));
        Ok((records.collect::<Result<_, Rejected>>()?, items))
    }
}

/// The text of a resource's attribute.
fn segment<'a, S: Grouped>(group: &'a S::Group, attribute: &str) -> Option<&'a str> {
    use signal::otlp::proto::common::v1::any_value::Value;
    let found = S::resource(group)?.attributes.iter().find(|a| a.key == attribute)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A record as it stands in a file: a line of JSON, or its length in four bytes and itself.
fn framed(writing: &Writing, body: Bytes) -> Result<Bytes, Rejected> {
    let is_line = writing.json && writing.encoding == wire::compress::Encoding::Identity;
    let mut out = Vec::with_capacity(body.len() + 4);
    if is_line {
        out.extend_from_slice(&body);
        out.push(b'\n');
        return Ok(out.into());
    }
    let length = u32::try_from(body.len())
        .map_err(|_| Rejected::Permanent("a record of 4 GiB or more has no length that fits".into()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&body);
    Ok(out.into())
}

//! Our own log: logfmt or JSON on standard error or standard output, with Alloy's keys, and to the log
//! receivers of `write_to`.
//!
//! Lines are held back until the `logging` block is known, so that its level, format and receivers apply to
//! all of them; a refused configuration releases them as they are.
//! Invariants: writing a line waits for no receiver; a line that carrying lines has caused is never carried,
//! so that nothing can feed on itself: see [`Origin`].

mod forward;
#[cfg(test)]
mod tests;
mod text;

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use component::metrics::{IntCounterVec, Metrics};
use component::{ArgEnum, Arguments, Receiver};
use parking_lot::Mutex;
use signal::Logs;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use forward::Lane;

/// How many lines are held back before the oldest are let go.
const HELD_BACK: usize = 4096;

/// `logging { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LoggingArgs {
    /// Least level that is written.
    #[arg(default = Level::Info, code_type = "string(Level)")]
    pub level: Level,
    /// How lines are written.
    #[arg(default, code_type = "string(Format)")]
    pub format: Format,
    /// Where lines go.
    #[arg(default, code_type = "string(LogDestination)")]
    pub destination: Destination,
    /// Log receivers that get every line too, but for those of the components that lines pass through on
    /// this way.
    #[arg(default)]
    pub write_to: Vec<Receiver<Logs>>,
}

/// Levels, from silent to chatty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, ArgEnum)]
pub enum Level {
    /// Failures.
    Error,
    /// Things to look at.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// Details of each batch.
    Debug,
}

/// Line formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Format {
    /// `key=value`
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Destination {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// A line before it is text.
struct Line {
    level: Level,
    time: jiff::Timestamp,
    fields: Vec<(&'static str, String)>,
    origin: Origin,
}

/// Where a line comes from, as far as that decides whether it may go to the receivers.
#[derive(Default)]
struct Origin {
    /// Global ID of the component that it is about.
    node: Option<String>,
    /// It was written while lines were handed over, by whoever took them.
    forwarding: bool,
    /// A library wrote it, and no component is known that it did so for.
    stranger: bool,
}

impl Origin {
    /// `carriers`: the components, and modules, that lines pass through.
    fn may_go(&self, carriers: &[String]) -> bool {
        if self.forwarding || self.stranger {
            return false;
        }
        let Some(node) = &self.node else { return true };
        let inside = |carrier: &String| {
            node.strip_prefix(carrier.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !carriers.iter().any(inside)
    }
}

enum State {
    HoldingBack(VecDeque<Line>),
    Writing(Writing),
}

struct Writing {
    format: Format,
    destination: Destination,
    lanes: Vec<Lane>,
}

/// The log; clones share it.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    level: AtomicU8,
    state: Mutex<State>,
    carriers: ArcSwap<Vec<String>>,
    dropped: IntCounterVec,
}

impl Log {
    /// A log that holds its lines back until it is configured.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            level: AtomicU8::new(Level::Debug as u8),
            state: Mutex::new(State::HoldingBack(VecDeque::new())),
            carriers: ArcSwap::default(),
            dropped: forward::counter(),
        }))
    }

    /// Shows what is lost on its way to receivers.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(self.0.dropped.clone());
    }

    /// Applies a `logging` block and releases what was held back.
    pub fn configure(&self, args: &LoggingArgs) -> Result<(), component::Error> {
        let runtime = tokio::runtime::Handle::try_current();
        let mut state = self.0.state.lock();
        let mut lanes = match &mut *state {
            State::Writing(writing) => std::mem::take(&mut writing.lanes),
            State::HoldingBack(_) => Vec::new(),
        };
        // A receiver that stays keeps its lane, and what waits in it.
        lanes.retain(|lane| args.write_to.contains(lane.receiver()));
        for receiver in &args.write_to {
            // `null` in the list: nothing stands behind it.
            if receiver.is_null() || lanes.iter().any(|lane| lane.receiver() == receiver) {
                continue;
            }
            let runtime = runtime.as_ref().map_err(|e| component::Error::other(e.to_string()))?;
            lanes.push(Lane::open(receiver.clone(), self.0.dropped.clone(), runtime));
        }
        let before = self.0.level.swap(args.level as u8, Ordering::Relaxed);
        let writing = Writing { format: args.format, destination: args.destination, lanes };
        let held = std::mem::replace(&mut *state, State::Writing(writing));
        if let (State::HoldingBack(lines), State::Writing(writing)) = (held, &*state) {
            let carriers = self.0.carriers.load();
            lines.iter().filter(|l| l.level <= args.level).for_each(|l| writing.write(l, &carriers));
        }
        drop(state);
        if before != args.level as u8 {
            // Whether a place in the code speaks is remembered with that place.
            tracing::callsite::rebuild_interest_cache();
        }
        Ok(())
    }

    /// Writes what is still held back, as an empty `logging` block would: there will be none.
    pub fn release(&self) {
        if matches!(*self.0.state.lock(), State::Writing(_)) {
            return;
        }
        let args = LoggingArgs {
            level: Level::default(),
            format: Format::default(),
            destination: Destination::default(),
            write_to: Vec::new(),
        };
        // Fails only with receivers.
        let _ = self.configure(&args);
    }

    /// The global IDs of the components and modules that lines pass through on their way from `write_to`.
    pub fn set_carriers(&self, ids: Vec<String>) {
        self.0.carriers.store(Arc::new(ids));
    }

    /// Waits until the receivers have taken every line, but not longer than `patience`.
    pub async fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let idle: Vec<_> = match &*self.0.state.lock() {
            State::Writing(writing) => writing.lanes.iter().map(|l| l.idle(deadline)).collect(),
            State::HoldingBack(_) => return,
        };
        if futures_util::future::join_all(idle).await.contains(&false) {
            tracing::warn!("own log lines are left that receivers have not taken in time");
        }
    }

    fn take(&self, line: Line) {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::HoldingBack(lines) => {
                if lines.len() >= HELD_BACK {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            State::Writing(writing) => writing.write(&line, &self.0.carriers.load()),
        }
    }
}

impl Writing {
    fn write(&self, line: &Line, carriers: &[String]) {
        let mut text = text::text(line, self.format);
        text.push('\n');
        // A closed stream is no reason to stop.
        let _ = match self.destination {
            Destination::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            Destination::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
        };
        text.pop();
        self.hand_over(line, text, carriers);
    }

    /// To the receivers, if it may go there.
    fn hand_over(&self, line: &Line, text: String, carriers: &[String]) {
        if self.lanes.is_empty() || !line.origin.may_go(carriers) {
            return;
        }
        let text = bytestring::ByteString::from(text);
        let time = i64::try_from(line.time.as_nanosecond()).unwrap_or(i64::MAX);
        self.lanes.iter().for_each(|lane| lane.push(time, text.clone()));
    }
}

/// Gathers fields; `msg` comes first.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.0.insert(0, ("msg", value)),
            "error" => self.0.push(("err", value)),
            name => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_string());
    }
}

/// The fields of a span, kept with it.
struct SpanFields(Vec<(&'static str, String)>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _cx: Context<'_, S>) -> bool {
        if metadata.is_span() {
            // Spans say which component a line is about, at every level.
            return !is_library(metadata);
        }
        let level = from_tracing(*metadata.level());
        // Libraries speak only when something is wrong.
        (level as u8) <= self.0.level.load(Ordering::Relaxed)
            && (level <= Level::Warn || !is_library(metadata))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        // Those say nothing about lines.
        if attributes.metadata().target() == component::trace::TARGET {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        let level = from_tracing(*event.metadata().level());
        // The answer of `enabled` may be an older one, remembered with the place in the code.
        if (level as u8) > self.0.level.load(Ordering::Relaxed) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut origin = Origin::default();
        for span in cx.event_scope(event).into_iter().flatten() {
            if span.name() == forward::SPAN {
                origin.forwarding = true;
            }
            if let Some(SpanFields(of_span)) = span.extensions().get::<SpanFields>() {
                for (key, value) in of_span {
                    if *key == NODE {
                        origin.node = Some(value.clone());
                    }
                    add_span_field(&mut fields.0, key, value);
                }
            }
        }
        origin.stranger = origin.node.is_none() && is_library(event.metadata());
        self.take(Line { level, time: jiff::Timestamp::now(), fields: fields.0, origin });
    }
}

/// The field of a node's span that holds its global ID.
const NODE: &str = "component_id";

/// Libraries that log by themselves.
const LIBRARIES: [&str; 8] = ["hyper", "h2", "reqwest", "rustls", "notify", "hickory", "tower", "mio"];

fn is_library(metadata: &tracing::Metadata<'_>) -> bool {
    LIBRARIES.iter().any(|library| metadata.target().starts_with(library))
}

/// A node's span holds its global ID; lines carry it in Alloy's two keys.
fn add_span_field(fields: &mut Vec<(&'static str, String)>, key: &'static str, value: &str) {
    if key == NODE {
        let (path, id) = component::metrics::split_global_id(value);
        fields.push(("component_path", path));
        fields.push(("component_id", id.to_string()));
    } else {
        fields.push((key, value.to_string()));
    }
}

fn from_tracing(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

//! Our own log: logfmt or JSON on standard error or standard output, with Alloy's keys.
//!
//! Lines are held back until the `logging` block is known, so that its level and format apply to all of
//! them; a refused configuration releases them as they are.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use component::{ArgEnum, Arguments};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

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
    /// Log receivers that get every line too.
    #[arg(default, type_name = "list(LogsReceiver)", code_type = "list(capsule(LogsReceiver))")]
    pub write_to: Vec<eval::Value>,
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

struct Line {
    level: Level,
    time: jiff::Timestamp,
    fields: Vec<(&'static str, String)>,
}

enum State {
    HoldingBack(Vec<Line>),
    Writing(Format, Destination),
}

/// The log; clones share it.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    level: AtomicU8,
    state: Mutex<State>,
}

impl Log {
    /// A log that holds its lines back until it is configured.
    pub fn new() -> Self {
        let state = Mutex::new(State::HoldingBack(Vec::new()));
        Self(Arc::new(Shared { level: AtomicU8::new(Level::Debug as u8), state }))
    }

    /// Applies a `logging` block and releases what was held back.
    pub fn configure(&self, args: &LoggingArgs) -> Result<(), component::Error> {
        if !args.write_to.iter().all(|v| matches!(v, eval::Value::Null)) {
            let message = "log receivers are not available in this program yet: remove write_to";
            return Err(component::Error::argument("write_to", message));
        }
        let mut state = self.0.state.lock();
        self.0.level.store(args.level as u8, Ordering::Relaxed);
        let held = std::mem::replace(&mut *state, State::Writing(args.format, args.destination));
        if let State::HoldingBack(lines) = held {
            lines
                .iter()
                .filter(|l| l.level <= args.level)
                .for_each(|l| write(l, args.format, args.destination));
        }
        Ok(())
    }

    fn take(&self, line: Line) {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::HoldingBack(lines) => {
                if lines.len() >= HELD_BACK {
                    lines.remove(0);
                }
                lines.push(line);
            }
            State::Writing(format, destination) => write(&line, *format, *destination),
        }
    }
}

fn write(line: &Line, format: Format, destination: Destination) {
    let mut text = match format {
        Format::Logfmt => logfmt(line),
        Format::Json => json(line),
    };
    text.push('\n');
    // A closed stream is no reason to stop.
    let _ = match destination {
        Destination::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
        Destination::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
    };
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

fn logfmt(line: &Line) -> String {
    let mut out = format!("ts={:.9} level={}", line.time, level_name(line.level));
    for (key, value) in &line.fields {
        let quote =
            value.is_empty() || value.chars().any(|c| c <= ' ' || matches!(c, '"' | '=' | '\\' | '\u{7f}'));
        let _ = if quote {
            write!(out, " {key}={}", syntax::quote(value))
        } else {
            write!(out, " {key}={value}")
        };
    }
    out
}

fn json(line: &Line) -> String {
    let mut object = serde_json::Map::new();
    object.insert("ts".into(), format!("{:.9}", line.time).into());
    object.insert("level".into(), level_name(line.level).into());
    for (key, value) in &line.fields {
        object.insert((*key).into(), value.as_str().into());
    }
    serde_json::Value::Object(object).to_string()
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
        let level = from_tracing(*metadata.level());
        // Libraries speak only when something is wrong.
        let ours = !["hyper", "h2", "reqwest", "rustls", "notify", "hickory", "tower", "mio"]
            .iter()
            .any(|library| metadata.target().starts_with(library));
        (level as u8) <= self.0.level.load(Ordering::Relaxed) && (ours || level <= Level::Warn)
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = cx.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in cx.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(of_span)) = span.extensions().get::<SpanFields>() {
                for (key, value) in of_span {
                    add_span_field(&mut fields.0, key, value);
                }
            }
        }
        let level = from_tracing(*event.metadata().level());
        self.take(Line { level, time: jiff::Timestamp::now(), fields: fields.0 });
    }
}

/// A node's span holds its global ID; lines carry it in Alloy's two keys.
fn add_span_field(fields: &mut Vec<(&'static str, String)>, key: &'static str, value: &str) {
    if key == "component_id" {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let fields = vec![("msg", "two words".to_string()), ("a", "b".to_string()), ("empty", String::new())];
        Line { level: Level::Warn, time: jiff::Timestamp::UNIX_EPOCH, fields }
    }

    #[test]
    fn lines_carry_alloys_keys_in_both_formats() {
        assert_eq!(
            logfmt(&line()),
            r#"ts=1970-01-01T00:00:00.000000000Z level=warn msg="two words" a=b empty="""#
        );
        let parsed: serde_json::Value = serde_json::from_str(&json(&line())).expect("JSON");
        assert_eq!(parsed["msg"], "two words");
        assert_eq!(parsed["level"], "warn");
    }

    #[test]
    fn a_nodes_id_is_split_into_path_and_id() {
        let mut fields = Vec::new();
        add_span_field(&mut fields, "component_id", "mod.a/local.file.b");
        assert_eq!(
            fields,
            [("component_path", "/mod.a".to_string()), ("component_id", "local.file.b".to_string())]
        );
    }
}

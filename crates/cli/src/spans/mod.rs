//! Our own spans: `tracing { write_to }`.
//!
//! Data path: code makes a span of the target [`TARGET`] → when it ends, it becomes an OTLP span in the queue →
//! batches go to the receivers (`export`). Whether a trace is kept is decided at its root (`sampler`); a request
//! that comes with a `traceparent` has been decided by its sender.
//! Invariants: while nobody wants spans none is made; ending a span waits for no receiver; what carrying spans
//! causes is never a span itself, so that nothing can feed on itself.

mod export;
mod remote;
mod sampler;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use component::metrics::Metrics;
use component::otel::OtelInput;
use component::trace::{Propagator, TARGET, set_propagator};
use component::{Arguments, Error, Fanout, Receiver, Services};
use parking_lot::Mutex;
use signal::otlp::Traces;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::trace::v1::span::SpanKind;
use signal::otlp::proto::trace::v1::status::StatusCode;
use signal::otlp::proto::trace::v1::{Span, Status};
use tokio_util::task::AbortOnDropHandle;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use tracing_subscriber::{Layer, Registry};

use export::Queue;
use sampler::Sampler;

/// `tracing { … }`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = TracingArgs::validate)]
pub struct TracingArgs {
    /// Which part of traces is kept.
    #[arg(default = 0.1)]
    pub sampling_fraction: f64,
    /// Send trace headers with requests.
    #[arg(default)]
    pub send_traceparent: bool,
    /// Who gets the program's own traces.
    #[arg(default)]
    pub write_to: Vec<OtelInput>,
    /// Another way to choose which traces are kept.
    #[arg(block, default = SamplerArgs { jaeger_remote: None })]
    pub sampler: SamplerArgs,
}

/// `tracing > sampler`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SamplerArgs {
    /// Ask a Jaeger remote sampling server.
    #[arg(block)]
    pub jaeger_remote: Option<JaegerRemote>,
}

/// `tracing > sampler > jaeger_remote`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = JaegerRemote::validate)]
pub struct JaegerRemote {
    /// The server.
    #[arg(default = "http://127.0.0.1:5778/sampling".to_string())]
    pub url: String,
    /// Operations remembered.
    #[arg(default = 256)]
    pub max_operations: i64,
    /// How often it is asked.
    #[arg(default = Duration::from_secs(60))]
    pub refresh_interval: Duration,
}

impl TracingArgs {
    fn validate(&self) -> Result<(), component::eval::Invalid> {
        if !(0.0..=1.0).contains(&self.sampling_fraction) {
            let message = "must be between 0 and 1";
            return Err(component::eval::Invalid::field("sampling_fraction", message));
        }
        Ok(())
    }
}

impl JaegerRemote {
    fn validate(&self) -> Result<(), component::eval::Invalid> {
        use component::eval::Invalid;
        if !(1..=100_000).contains(&self.max_operations) {
            return Err(Invalid::field("max_operations", "must be between 1 and 100000"));
        }
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "must be above 0"));
        }
        net::post_url(&self.url).map(drop).map_err(|message| Invalid::field("url", message))
    }
}

/// Gathers spans; clones share it.
#[derive(Clone)]
pub struct Spans(Arc<Shared>);

struct Shared {
    wanted: AtomicBool,
    sampler: ArcSwap<Sampler>,
    queue: Arc<Queue>,
    /// Global IDs of the components and modules that spans pass through.
    carriers: ArcSwap<Vec<String>>,
    /// The task that asks a sampling server.
    asking: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Spans {
    /// Nobody wants any.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            wanted: AtomicBool::new(false),
            sampler: ArcSwap::from_pointee(Sampler::fraction(0.0)),
            queue: Arc::default(),
            carriers: ArcSwap::default(),
            asking: Mutex::default(),
        }))
    }

    /// Shows what is lost on its way to receivers.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(self.0.queue.dropped());
    }

    /// The global IDs of the components and modules that spans pass through on their way from `write_to`.
    pub fn set_carriers(&self, ids: Vec<String>) {
        self.0.carriers.store(Arc::new(ids));
    }

    /// Applies a `tracing` block.
    ///
    /// # Errors
    /// If a consumer does not take spans; what was in force stays.
    pub fn configure(&self, args: &TracingArgs, services: &Arc<Services>) -> Result<(), Error> {
        let receivers = receivers(&args.write_to)?;
        let wanted = !receivers.is_empty();
        let runtime = tokio::runtime::Handle::try_current().map_err(|e| Error::other(e.to_string()))?;
        if wanted {
            self.0.queue.start(&runtime, export::resource(services));
        }
        self.0.queue.send_to(Fanout::new(receivers));
        self.0.sampler.store(Arc::new(Sampler::fraction(args.sampling_fraction)));
        let asking = args.sampler.jaeger_remote.as_ref().filter(|_| wanted).map(|args| {
            let ask = remote::ask(args, &services.user_agent(), Arc::downgrade(&self.0))?;
            Ok::<_, Error>(AbortOnDropHandle::new(runtime.spawn(ask)))
        });
        *self.0.asking.lock() = asking.transpose()?;
        let propagator = (wanted && args.send_traceparent).then(|| Arc::new(Current) as Arc<dyn Propagator>);
        set_propagator(propagator);
        if self.0.wanted.swap(wanted, Ordering::Relaxed) != wanted {
            // Whether a place in the code makes spans is remembered with that place.
            tracing::callsite::rebuild_interest_cache();
        }
        Ok(())
    }

    /// Waits until the receivers have taken every span that has ended, but not longer than `patience`.
    pub async fn flush(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.0.queue.flush()).await.is_err() {
            tracing::warn!("own spans are left that receivers have not taken in time");
        }
    }
}

fn receivers(inputs: &[OtelInput]) -> Result<Vec<Receiver<Traces>>, Error> {
    let written = inputs.iter().filter(|input| **input != OtelInput::default());
    let receiver = |input: &OtelInput| {
        input.traces.clone().ok_or_else(|| {
            let message = format!("{} does not take traces: take it out of write_to", input.owner());
            Error::argument("write_to", message)
        })
    };
    written.map(receiver).collect()
}

/// What is known of a span that has begun; kept with it. `None` in place of it: the trace is not kept.
struct Begun {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    /// The name where it is not the place's own.
    name: Option<String>,
    kind: SpanKind,
    start: SystemTime,
    attributes: Vec<KeyValue>,
    error: Option<String>,
    sampled: bool,
}

/// The global ID of the node whose span this is.
struct OfNode(String);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _cx: Context<'_, S>) -> bool {
        metadata.target() != TARGET || self.0.wanted.load(Ordering::Relaxed)
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if attributes.metadata().target() != TARGET {
            if let Some(node) = fields.node {
                span.extensions_mut().insert(OfNode(node));
            }
            return;
        }
        if let Some(begun) = self.begin(&span, fields) {
            span.extensions_mut().insert(begun);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        if let Some(begun) = span.extensions_mut().get_mut::<Begun>() {
            let mut fields = Fields::default();
            values.record(&mut fields);
            begun.attributes.append(&mut fields.attributes);
            begun.error = fields.error.or(begun.error.take());
        }
    }

    fn on_close(&self, id: span::Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(&id) else { return };
        let begun = span.extensions_mut().remove::<Begun>();
        if let Some(begun) = begun.filter(|begun| begun.sampled) {
            self.0.queue.push(begun.end(span.name(), SystemTime::now()));
        }
    }
}

impl Spans {
    /// What a new span belongs to; `None` where it is none of those that are kept.
    fn begin<'a, R: LookupSpan<'a>>(&self, span: &SpanRef<'a, R>, fields: Fields) -> Option<Begun> {
        let mut parent = None;
        let mut node = None;
        for above in span.scope().skip(1) {
            if above.name() == export::SPAN {
                return None;
            }
            let extensions = above.extensions();
            if parent.is_none() {
                parent = extensions.get::<Begun>().map(|b| (b.trace, b.id, b.sampled));
            }
            if node.is_none() {
                node = extensions.get::<OfNode>().map(|n| n.0.clone());
            }
        }
        if node.as_ref().is_some_and(|node| self.carries(node)) {
            return None;
        }
        let name = fields.name.as_deref().unwrap_or(span.name());
        let parent = parent.or_else(|| fields.remote.as_deref().and_then(parse));
        let (trace, sampled) = match parent {
            Some((trace, _, sampled)) => (trace, sampled),
            None => {
                let trace = fastrand::u128(1..).to_be_bytes();
                (trace, self.0.sampler.load().keeps(name, &trace))
            }
        };
        let mut attributes = fields.attributes;
        attributes.extend(node.map(|node| text("component_id", node)));
        Some(Begun {
            trace,
            id: fastrand::u64(1..).to_be_bytes(),
            parent: parent.map(|(_, id, _)| id),
            name: fields.name,
            kind: fields.kind,
            start: SystemTime::now(),
            attributes,
            error: fields.error,
            sampled,
        })
    }

    /// Whether spans pass through a component, or a module around it.
    fn carries(&self, node: &str) -> bool {
        let inside = |carrier: &String| {
            node.strip_prefix(carrier.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.carriers.load().iter().any(inside)
    }
}

impl Begun {
    fn end(self, name: &str, end: SystemTime) -> Span {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        Span {
            trace_id: self.trace.to_vec(),
            span_id: self.id.to_vec(),
            parent_span_id: self.parent.map(|id| id.to_vec()).unwrap_or_default(),
            flags: 1,
            name: self.name.unwrap_or_else(|| name.to_string()),
            kind: self.kind.into(),
            start_time_unix_nano: nanos(self.start),
            // A clock that was set back makes no negative duration.
            end_time_unix_nano: nanos(end.max(self.start)),
            attributes: self.attributes,
            status: self.error.map(|message| Status { message, code: StatusCode::Error.into() }),
            ..Span::default()
        }
    }
}

/// `version-trace-parent-flags`: W3C Trace Context, section 3.2.
fn parse(header: &str) -> Option<([u8; 16], [u8; 8], bool)> {
    let mut parts = header.trim().split('-');
    let (version, trace, id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let whole = version.len() == 2 && trace.len() == 32 && id.len() == 16 && flags.len() == 2;
    // Version 00 has four parts, later ones may have more; ff is none.
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    if !whole || !known || ![version, trace, id, flags].into_iter().all(lower) {
        return None;
    }
    let (trace, id) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(id, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && id != 0).then(|| (trace.to_be_bytes(), id.to_be_bytes(), flags & 1 == 1))
}

/// Reads the trace of a span where the subscriber keeps it.
struct Current;

impl Propagator for Current {
    fn traceparent(&self, id: &tracing::Id) -> Option<String> {
        tracing::dispatcher::get_default(|dispatch| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            let extensions = span.extensions();
            let begun = extensions.get::<Begun>()?;
            let (trace, id) = (u128::from_be_bytes(begun.trace), u64::from_be_bytes(begun.id));
            Some(format!("00-{trace:032x}-{id:016x}-{:02x}", u8::from(begun.sampled)))
        })
    }
}

/// Gathers what a span says of itself.
struct Fields {
    attributes: Vec<KeyValue>,
    name: Option<String>,
    kind: SpanKind,
    node: Option<String>,
    remote: Option<String>,
    error: Option<String>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            attributes: Vec::new(),
            name: None,
            kind: SpanKind::Internal,
            node: None,
            remote: None,
            error: None,
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_string(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: String) -> KeyValue {
    attribute(key, Value::StringValue(value))
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push(attribute(field.name(), Value::IntValue(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push(attribute(field.name(), Value::DoubleValue(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(attribute(field.name(), Value::BoolValue(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "otel.name" => self.name = Some(value.to_string()),
            "otel.kind" => {
                self.kind = match value {
                    "client" => SpanKind::Client,
                    "server" => SpanKind::Server,
                    _ => SpanKind::Internal,
                }
            }
            "component_id" => self.node = Some(value.to_string()),
            "traceparent" => self.remote = Some(value.to_string()),
            "error" => self.error = Some(value.to_string()),
            name => self.attributes.push(text(name, value.to_string())),
        }
    }
}

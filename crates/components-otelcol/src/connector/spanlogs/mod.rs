//! `otelcol.connector.spanlogs` writes a log line for each span, root, process or event of traces.
//!
//! Data path: batch → each request decoded → its lines → `output`, all in the sender's task.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use component::otel::{OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Port, Rejected, RunCx,
    Stability,
};
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use signal::otlp::proto::trace::v1::status::StatusCode;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpBatch, OtlpRequest, TracesSignal};
use signal::{OtlpLogs, Traces};

use crate::logfmt::{Line, scalar};
use crate::value::{attribute, text};

/// `otelcol.connector.spanlogs`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// A line for each span.
    #[arg(default = false)]
    pub spans: bool,
    /// A line for each span without a parent.
    #[arg(default = false)]
    pub roots: bool,
    /// A line for each trace of a process.
    #[arg(default = false)]
    pub processes: bool,
    /// A line for each event of a span.
    #[arg(default = false)]
    pub events: bool,
    /// Attributes of spans that are written.
    #[arg(default)]
    pub span_attributes: Vec<String>,
    /// Attributes of resources that are written.
    #[arg(default)]
    pub process_attributes: Vec<String>,
    /// Attributes of events that are written.
    #[arg(default)]
    pub event_attributes: Vec<String>,
    /// Keys of the line that become attributes of the log record too.
    #[arg(default)]
    pub labels: Vec<String>,
    /// What keys are called.
    #[arg(block)]
    pub overrides: Overrides,
    /// Where logs go.
    #[arg(block, required)]
    pub output: Output,
}

/// Names of keys.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Overrides {
    /// The attribute that says of which kind a line is.
    #[arg(default = "traces".to_string())]
    pub logs_instance_tag: String,
    /// The service's name.
    #[arg(default = "svc".to_string())]
    pub service_key: String,
    /// The span's name.
    #[arg(default = "span".to_string())]
    pub span_name_key: String,
    /// The span's status.
    #[arg(default = "status".to_string())]
    pub status_key: String,
    /// The span's duration.
    #[arg(default = "dur".to_string())]
    pub duration_key: String,
    /// The trace's ID.
    #[arg(default = "tid".to_string())]
    pub trace_id_key: String,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            logs_instance_tag: "traces".into(),
            service_key: "svc".into(),
            span_name_key: "span".into(),
            status_key: "status".into(),
            duration_key: "dur".into(),
            trace_id_key: "tid".into(),
        }
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct SpanLogsExports {
    /// Takes traces in.
    pub input: OtelInput,
}

/// The component.
pub struct SpanLogs {
    args: Args,
    port: Port<Traces>,
}

impl Component for SpanLogs {
    const NAME: &'static str = "otelcol.connector.spanlogs";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = SpanLogsExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, SpanLogsExports), Error> {
        args.output.fanout()?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        Ok((Self { args, port }, SpanLogsExports { input }))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        self.attach(self.args.clone())?;
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| self.attach(args));
                }
            }
        }
    }
}

impl SpanLogs {
    fn attach(&self, args: Args) -> Result<(), Error> {
        let next = args.output.fanout()?.logs;
        let owner = self.port.receiver().owner().to_string();
        let _ = self.port.attach(Input { writer: Arc::new(Writer(args)), next, owner });
        Ok(())
    }
}

/// Stands behind the port.
struct Input {
    writer: Arc<Writer>,
    next: Fanout<OtlpLogs>,
    owner: String,
}

impl Consumer<Traces> for Input {
    fn consume(&self, batch: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            if self.next.is_empty() {
                let message = format!("{} has no consumer for logs in its output", self.owner);
                return Err(Rejected::Permanent(message));
            }
            match self.writer.logs(&batch)? {
                Some(logs) => self.next.send(logs).await,
                None => Ok(()),
            }
        })
    }
}

/// The keys of a line in their order; each is there once.
#[derive(Clone, Default)]
struct Pairs<'a>(Vec<(&'a str, AnyValue)>);

impl<'a> Pairs<'a> {
    fn set(&mut self, key: &'a str, value: AnyValue) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    fn set_text(&mut self, key: &'a str, value: String) {
        self.set(key, AnyValue { value: Some(Value::StringValue(value)) });
    }

    /// Those of the attributes that are named, in the order of the names.
    fn copy(&mut self, names: &'a [String], attributes: &[KeyValue]) {
        for name in names {
            if let Some(found) = attributes.iter().find(|a| a.key == *name) {
                self.set(name, found.value.clone().unwrap_or_default());
            }
        }
    }
}

/// Writes lines as the arguments say.
struct Writer(Args);

impl Writer {
    fn logs(&self, batch: &OtlpBatch<TracesSignal>) -> Result<Option<OtlpLogs>, Rejected> {
        let mut resource_logs = Vec::new();
        for request in &batch.requests {
            let message = decoded(request)?;
            resource_logs.extend(message.resource_spans.iter().filter_map(|spans| self.resource(spans)));
        }
        if resource_logs.is_empty() {
            return Ok(None);
        }
        let request = OtlpRequest::from_message(ExportLogsServiceRequest { resource_logs });
        let (client, received_ms) = (batch.client.clone(), batch.received_ms);
        Ok(Some(OtlpBatch { requests: [request].into(), client, received_ms }.into()))
    }

    fn resource(&self, spans: &ResourceSpans) -> Option<ResourceLogs> {
        let attributes = spans.resource.as_ref().map(|r| &*r.attributes).unwrap_or_default();
        let scope_logs = spans.scope_spans.iter().map(|spans| self.scope(attributes, spans));
        let scope_logs: Vec<_> = scope_logs.filter(|scope| !scope.log_records.is_empty()).collect();
        (!scope_logs.is_empty()).then(|| ResourceLogs { scope_logs, ..ResourceLogs::default() })
    }

    fn scope(&self, resource: &[KeyValue], spans: &ScopeSpans) -> ScopeLogs {
        let args = &self.0;
        let mut log_records = Vec::new();
        let mut last_trace: Option<&[u8]> = None;
        for span in &spans.spans {
            let is_root = span.parent_span_id.iter().all(|byte| *byte == 0);
            if args.processes && last_trace != Some(&*span.trace_id) {
                last_trace = Some(&*span.trace_id);
                let mut pairs = Pairs::default();
                self.process(&mut pairs, resource);
                pairs.set_text(&args.overrides.trace_id_key, const_hex::encode(&span.trace_id));
                log_records.push(self.record("process", &pairs));
            }
            if !(args.spans || args.roots && is_root || args.events && !span.events.is_empty()) {
                continue;
            }
            let mut pairs = Pairs::default();
            self.span(&mut pairs, span);
            self.process(&mut pairs, resource);
            pairs.set_text(&args.overrides.trace_id_key, const_hex::encode(&span.trace_id));
            if args.spans {
                log_records.push(self.record("span", &pairs));
            }
            if args.roots && is_root {
                log_records.push(self.record("root", &pairs));
            }
            for event in span.events.iter().filter(|_| args.events) {
                let mut pairs = pairs.clone();
                pairs.copy(&args.event_attributes, &event.attributes);
                log_records.push(self.record("event", &pairs));
            }
        }
        ScopeLogs { log_records, ..ScopeLogs::default() }
    }

    fn process<'a>(&'a self, pairs: &mut Pairs<'a>, resource: &[KeyValue]) {
        let service = resource.iter().find(|a| a.key == "service.name");
        let name = service.map(|a| text(a.value.as_ref())).unwrap_or_default();
        pairs.set_text(&self.0.overrides.service_key, name);
        pairs.copy(&self.0.process_attributes, resource);
    }

    fn span<'a>(&'a self, pairs: &mut Pairs<'a>, span: &Span) {
        let overrides = &self.0.overrides;
        pairs.set_text(&overrides.span_name_key, span.name.clone());
        let nanos = span.end_time_unix_nano.wrapping_sub(span.start_time_unix_nano) as i64;
        pairs.set_text(&overrides.duration_key, format!("{nanos}ns"));
        let status = match span.status.as_ref().map(|status| status.code()) {
            None | Some(StatusCode::Unset) => None,
            Some(StatusCode::Ok) => Some("Ok"),
            Some(StatusCode::Error) => Some("Error"),
        };
        if let Some(status) = status {
            pairs.set_text(&overrides.status_key, status.to_string());
        }
        pairs.copy(&self.0.span_attributes, &span.attributes);
    }

    fn record(&self, kind: &str, pairs: &Pairs<'_>) -> LogRecord {
        let mut line = Line::default();
        let mut attributes = vec![attribute(&self.0.overrides.logs_instance_tag, kind)];
        for (key, value) in &pairs.0 {
            match value.value {
                None => line.push_null(*key),
                Some(_) => line.push(*key, scalar(Some(value))),
            }
            if self.0.labels.iter().any(|label| label == key) {
                let (key, value) = ((*key).to_string(), Some(value.clone()));
                let own = KeyValue { key, value, ..KeyValue::default() };
                match attributes.iter_mut().find(|known| known.key == own.key) {
                    Some(known) => *known = own,
                    None => attributes.push(own),
                }
            }
        }
        let now = signal::clock::now_unix_nano();
        LogRecord {
            observed_time_unix_nano: now,
            body: Some(AnyValue { value: Some(Value::StringValue(line.finish())) }),
            attributes,
            ..LogRecord::default()
        }
    }
}

fn decoded(request: &OtlpRequest<TracesSignal>) -> Result<Cow<'_, ExportTraceServiceRequest>, Rejected> {
    let decoded = if request.is_decoded() {
        request.message().map(Cow::Borrowed)
    } else {
        let own = OtlpRequest::<TracesSignal>::from_wire(request.wire().clone(), 0, None);
        own.into_message().map(Cow::Owned)
    };
    decoded.map_err(|error| Rejected::Permanent(error.to_string()))
}

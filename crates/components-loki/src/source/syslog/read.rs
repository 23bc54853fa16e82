//! From messages to entries.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use component::metrics::{IntCounter, NodeMetrics};
use component::{Error, Fanout, Receiver, RelabelRules};
use parking_lot::Mutex;
use signal::logs::{Entry, LogBuilder};
use signal::{Labels, LabelsBuilder, Logs};
use tokio::time::Instant;
use wire::syslog::{self, Frame, Message, Time};

use super::args::{Format, ListenerArgs};
use super::labels::{CONNECTION_HOSTNAME, CONNECTION_IP, Wanted};
use crate::intake::Intake;
use crate::source::hand_over::HandOver;
use net::names::Names;

/// Own metrics of the component.
pub(super) struct Metrics {
    pub(super) entries: IntCounter,
    pub(super) errors: IntCounter,
    empty: IntCounter,
    cut: IntCounter,
    pub(super) hand_over: HandOver,
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics) -> Self {
        let counter = |what: &str, help: &str| metrics.counter(&format!("loki_source_syslog_{what}"), help);
        Self {
            entries: counter("entries_total", "Entries that were taken by all of forward_to."),
            errors: counter("parsing_errors_total", "Messages that could not be read."),
            empty: counter("empty_messages_total", "Messages without a text."),
            cut: counter("truncated_messages_total", "Messages that were cut to max_message_length."),
            hand_over: HandOver::new(metrics, "loki_source_syslog"),
        }
    }
}

/// A listener's arguments as they are in force, put to work.
pub(super) struct Reading {
    pub(super) args: ListenerArgs,
    forward_to: Fanout<Logs>,
    wanted: Wanted,
    intake: Mutex<Intake>,
    pub(super) names: Names,
}

/// The arguments of a listener that runs; they may change at any time.
pub(super) type Current = Arc<ArcSwap<Reading>>;

impl Reading {
    pub(super) fn new(
        args: &ListenerArgs,
        forward_to: &[Receiver<Logs>],
        rules: Option<&RelabelRules>,
    ) -> Result<Self, Error> {
        Ok(Self {
            forward_to: Fanout::new(forward_to.iter().cloned()),
            wanted: Wanted::by(rules),
            intake: Mutex::new(Intake::new(Labels::from_pairs(&args.labels), rules)?),
            names: Names::new(usize::try_from(args.udp_host_cache_size).unwrap_or_default()),
            args: args.clone(),
        })
    }

    pub(super) fn forward_to(&self) -> Fanout<Logs> {
        self.forward_to.clone()
    }

    /// The labels that all messages of a sender have; its name only if it is found until `deadline`.
    pub(super) async fn sender(&self, address: IpAddr, deadline: Instant) -> Labels {
        if self.wanted == Wanted::Nothing {
            return Labels::empty();
        }
        let hostname = match self.wanted.wants(CONNECTION_HOSTNAME) {
            true => self.names.of(address, deadline).await,
            false => "".into(),
        };
        let ip = if self.wanted.wants(CONNECTION_IP) { address.to_string() } else { String::new() };
        Labels::from_pairs([(CONNECTION_IP, ip.as_str()), (CONNECTION_HOSTNAME, &hostname)])
    }
}

/// Entries that are being put together.
pub(super) struct Entries<'a> {
    reading: &'a Reading,
    metrics: &'a Metrics,
    builder: LogBuilder,
    scratch: LabelsBuilder,
    now_ns: i64,
    bytes: usize,
    dropped: u64,
}

impl<'a> Entries<'a> {
    pub(super) fn new(reading: &'a Reading, metrics: &'a Metrics) -> Self {
        let now_ns = crate::intake::now_ns();
        let builder = LogBuilder::new(now_ns / 1_000_000, None);
        Self { reading, metrics, builder, scratch: LabelsBuilder::new(), now_ns, bytes: 0, dropped: 0 }
    }

    /// Whether these are enough for one batch.
    pub(super) fn is_full(&self) -> bool {
        self.builder.len() >= 4096 || self.bytes >= 1 << 20
    }

    /// Adds a message of a sender.
    pub(super) fn add(&mut self, sender: &Labels, frame: Frame) {
        if frame.cut {
            self.metrics.cut.inc();
        }
        let frame = crate::source::text(frame.bytes);
        let args = &self.reading.args;
        let parsed = match args.syslog_format {
            Format::Rfc5424 => syslog::parse_rfc5424(&frame),
            Format::Rfc3164 => syslog::parse_rfc3164(&frame, args.cisco()),
            Format::Raw => {
                let (priority, text) = syslog::parse_raw(&frame);
                let text = (!text.is_empty()).then_some(text);
                Ok(Message { priority, text, ..Message::default() })
            }
        };
        let message = match parsed {
            Ok(message) => message,
            Err(error) => return self.error(&error),
        };
        let Some(text) = message.text.or(args.rfc5424_allow_empty_msg.then_some("")) else {
            return self.metrics.empty.inc();
        };
        let whole = args.use_rfc5424_message && args.syslog_format == Format::Rfc5424;
        let line = if whole { frame.clone() } else { frame.slice_ref(text) };
        let timestamp_ns = self.time(&message);
        self.scratch.reset(sender);
        self.reading.wanted.message(&message, args.label_structured_data, &mut self.scratch);
        let Some(stream) = self.reading.intake.lock().stream(&self.scratch.build()) else {
            self.dropped += 1;
            return;
        };
        let stream = self.builder.stream(&stream);
        self.bytes += line.len();
        self.builder.push(Entry { stream, timestamp_ns, line, metadata: None });
    }

    fn time(&self, message: &Message<'_>) -> i64 {
        let args = &self.reading.args;
        let theirs = match message.time.filter(|_| args.use_incoming_timestamp) {
            Some(Time::Instant(ns)) => Some(ns),
            Some(Time::Yearless(time)) if args.rfc3164_default_to_current_year => time.near(self.now_ns),
            Some(Time::Yearless(_)) | None => None,
        };
        theirs.unwrap_or(self.now_ns)
    }

    /// Counts something that is no message.
    pub(super) fn error(&self, error: &dyn std::fmt::Display) {
        self.metrics.errors.inc();
        if self.metrics.hand_over.may_warn() {
            tracing::warn!(%error, address = self.reading.args.address, "a message could not be read");
        }
    }

    /// The batch.
    pub(super) fn finish(self) -> Logs {
        self.metrics.hand_over.drop("relabel_rules", self.dropped);
        self.builder.finish()
    }
}

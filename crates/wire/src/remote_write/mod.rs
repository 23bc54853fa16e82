//! Remote write 1 (`prometheus.WriteRequest`) and 2 (`io.prometheus.write.v2.Request`).
//!
//! Writers turn a [`signal::SampleBatch`] into request bodies by copying: labels are already in wire form.
//! Readers turn a body from anybody into a batch, and tell what they had to refuse.

mod decode;
mod matcher;
mod merge;
mod plan;
mod symbols;
mod template;
mod v1;
mod v2;

use signal::MetricKind;

pub use decode::{DecodeError, Received, Refused, decode};
pub use merge::{merge_v1, merge_v2};
pub use template::Template;
pub use v1::{V1Encoder, V1Requests, encode_metadata};
pub use v2::{V2Encoder, V2Requests};

/// The header that states the version of the protocol.
pub const VERSION_HEADER: &str = "X-Prometheus-Remote-Write-Version";
/// Response header: samples that were written.
pub const SAMPLES_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Samples-Written";
/// Response header: native histogram samples that were written.
pub const HISTOGRAMS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Histograms-Written";
/// Response header: exemplars that were written.
pub const EXEMPLARS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Exemplars-Written";
/// Bodies are always one snappy block.
pub const CONTENT_ENCODING: &str = "snappy";

/// Which message a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Message {
    /// `prometheus.WriteRequest`
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

impl Message {
    /// The full name, as in `protobuf_message`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// From the full name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|m| m.name() == name)
    }

    /// The `Content-Type` to send. Version 1 receivers may know nothing of parameters.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The value of [`VERSION_HEADER`].
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    /// Reads a `Content-Type`; an empty one means version 1. An error is to be answered with 415. As
    /// prometheus/storage/remote: `parseProtoMsg`.
    pub fn from_content_type(value: &str) -> Result<Self, String> {
        let mut parts = value.trim().split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !media.is_empty() && !media.eq_ignore_ascii_case("application/x-protobuf") {
            return Err(format!("expected the Content-Type application/x-protobuf, got {value:?}"));
        }
        for part in parts {
            let (name, message) = part
                .split_once('=')
                .ok_or_else(|| format!("expected key=value parameters in the Content-Type {value:?}"))?;
            if name.trim_end() == "proto" {
                return Self::from_name(message.trim_start())
                    .ok_or_else(|| format!("unknown protobuf message {message:?} in the Content-Type"));
            }
        }
        Ok(Self::V1)
    }
}

/// How many of each a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Float samples.
    pub samples: usize,
    /// Native histogram samples.
    pub histograms: usize,
    /// Exemplars.
    pub exemplars: usize,
    /// Metadata entries (version 1 only; in version 2 they belong to series).
    pub metadata: usize,
}

impl Counts {
    /// What counts towards the maximum of a request, as in Prometheus' queues.
    pub fn items(&self) -> usize {
        self.samples + self.histograms + self.exemplars
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.metadata += other.metadata;
    }
}

/// What goes into requests, and how much into each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Samples, histograms and exemplars in one request, together; at least 1. A sample is not separated
    /// from its exemplars, so that a request may exceed this by the exemplars of one series.
    pub max_samples: usize,
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// Whether native histograms are sent.
    pub histograms: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_samples: 2000, exemplars: true, histograms: true }
    }
}

/// The number of a type, the same in `MetricMetadata.MetricType` and version 2's `Metadata.MetricType`.
fn kind_number(kind: MetricKind) -> u64 {
    match kind {
        MetricKind::Unknown => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Histogram => 3,
        MetricKind::GaugeHistogram => 4,
        MetricKind::Summary => 5,
        MetricKind::Info => 6,
        MetricKind::StateSet => 7,
    }
}

fn kind_of_number(number: u32) -> MetricKind {
    match number {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_the_message() {
        for message in [Message::V1, Message::V2] {
            assert_eq!(Message::from_content_type(message.content_type()), Ok(message));
        }
        let cases = [
            ("", Ok(Message::V1)),
            ("application/x-protobuf; proto=prometheus.WriteRequest", Ok(Message::V1)),
            ("Application/X-Protobuf ; a=b ; proto=io.prometheus.write.v2.Request", Ok(Message::V2)),
            ("application/json", Err("expected the Content-Type")),
            ("application/x-protobuf; proto=other", Err("unknown protobuf message")),
            ("application/x-protobuf; proto", Err("key=value")),
        ];
        for (value, expected) in cases {
            match (Message::from_content_type(value), expected) {
                (Ok(message), Ok(expected)) => assert_eq!(message, expected, "{value}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, _) => panic!("{value}: {got:?}"),
            }
        }
    }

    #[test]
    fn types_keep_their_numbers() {
        for number in 0..8 {
            assert_eq!(kind_number(kind_of_number(number)), u64::from(number));
        }
    }
}

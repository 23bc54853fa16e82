//! What targets expose: Prometheus text, OpenMetrics text and protobuf, read as a stream of events.
//!
//! The data path is made for a scraper that remembers its last scrape: [`Parser::next`] yields a sample
//! with the *raw* text of its series and does not look at labels; the scraper compares that text with what
//! it expects and calls [`parse_series`] only for text that it has not seen. Told what to expect, the text
//! parser does not even look for the end of the series.

pub mod lint;
pub mod negotiate;
pub mod number;

mod created;
mod protobuf;
mod series;
mod text;

use std::borrow::Cow;

use signal::{LabelsBuilder, MetricKind, NativeHistogram};

pub use negotiate::{ScrapeProtocol, accept_header, format_of};
pub use number::plain_value;
pub use protobuf::NativeHistograms;

/// How an exposition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, 0.0.4 and 1.0.0: one grammar reads both.
    PrometheusText,
    /// OpenMetrics text, 0.0.1 and 1.0.0: one grammar reads both.
    OpenMetricsText,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages.
    PrometheusProto,
}

/// What to make of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// OpenMetrics text: take `_created` series of counters, histograms and summaries out of the stream and
    /// report their values as [`Sample::start_ms`]. Otherwise they are samples like any other.
    pub created_as_start: bool,
    /// Protobuf: what to do with native histograms.
    pub native_histograms: NativeHistograms,
}

/// Why an exposition cannot be read. The whole scrape fails, as in Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that breaks the grammar.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What was expected and what stands there.
        message: String,
    },
    /// The labels of a series, exemplar or bucket.
    #[error("{0}")]
    Series(String),
    /// A protobuf exposition that breaks the encoding.
    #[error("metric family {family:?} (number {index}): {source}")]
    Proto {
        /// Name, as far as it is known.
        family: String,
        /// Counted from 1.
        index: usize,
        /// What is wrong.
        source: crate::proto::Error,
    },
    /// A protobuf exposition that is well encoded and makes no sense.
    #[error("metric family {family:?}: {message}")]
    Family {
        /// Its name.
        family: String,
        /// What is wrong.
        message: String,
    },
}

/// One entry of an exposition.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A float sample.
    Sample(Sample<'a>),
    /// A native histogram sample (protobuf only).
    Histogram(Box<HistogramSample<'a>>),
    /// The type of a family.
    Type {
        /// Family name.
        name: Cow<'a, str>,
        /// Its type.
        kind: MetricKind,
    },
    /// The help of a family.
    Help {
        /// Family name.
        name: Cow<'a, str>,
        /// Text, unescaped.
        text: Cow<'a, str>,
    },
    /// The unit of a family.
    Unit {
        /// Family name.
        name: Cow<'a, str>,
        /// Unit; may be empty.
        unit: Cow<'a, str>,
    },
}

/// A float sample of an exposition.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// What identifies the series within the target: in the text formats the name and labels exactly as
    /// they stand, in protobuf a key made from them. Equal bytes are equal series.
    pub raw: &'a [u8],
    /// The value. NaN has the bits `0x7ff8000000000001`, as in Prometheus.
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the target states a time.
    pub timestamp_ms: Option<i64>,
    /// When the counter started, in milliseconds since the Unix epoch; 0 where unknown.
    pub start_ms: i64,
    /// The exemplar; its labels are not parsed yet.
    pub exemplar: Option<Exemplar<'a>>,
}

/// A native histogram sample of an exposition.
#[derive(Clone, Debug)]
pub struct HistogramSample<'a> {
    /// As [`Sample::raw`].
    pub raw: &'a [u8],
    /// The histogram, without empty buckets.
    pub histogram: NativeHistogram,
    /// Milliseconds since the Unix epoch, where the target states a time.
    pub timestamp_ms: Option<i64>,
    /// When it started to count, in milliseconds since the Unix epoch; 0 where unknown.
    pub start_ms: i64,
    /// Its exemplars, those without a time left out as in Prometheus.
    pub exemplars: Vec<Exemplar<'a>>,
}

/// An exemplar whose labels are parsed on demand.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    /// The observed value.
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the target states a time.
    pub timestamp_ms: Option<i64>,
    pub(crate) labels: ExemplarLabels<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ExemplarLabels<'a> {
    /// `{` to `}`, checked.
    Text(&'a [u8]),
    /// The `Exemplar` message.
    Proto(&'a [u8]),
}

impl Exemplar<'_> {
    /// Puts the exemplar's labels into `builder`, which is cleared first.
    pub fn parse_labels(&self, builder: &mut LabelsBuilder) -> Result<(), Error> {
        match self.labels {
            ExemplarLabels::Text(text) => series::exemplar_labels(text, builder),
            ExemplarLabels::Proto(message) => protobuf::exemplar_labels(message, builder),
        }
    }
}

/// Reads one exposition.
#[derive(Debug)]
pub struct Parser<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Text(text::TextParser<'a>),
    Proto(Box<protobuf::ProtoParser<'a>>),
}

impl<'a> Parser<'a> {
    /// A parser at the start of `body`.
    pub fn new(format: Format, body: &'a [u8], options: Options) -> Self {
        Self(match format {
            Format::PrometheusText => {
                Inner::Text(text::TextParser::new(text::Dialect::Prometheus, body, options))
            }
            Format::OpenMetricsText => {
                Inner::Text(text::TextParser::new(text::Dialect::OpenMetrics, body, options))
            }
            Format::PrometheusProto => Inner::Proto(Box::new(protobuf::ProtoParser::new(body, options))),
        })
    }

    /// The next event, or `None` at the end. `expected` is the raw series text that the caller predicts, or
    /// empty; it must come from an earlier [`Sample::raw`] of the same format. A wrong prediction costs a
    /// comparison and changes nothing in the result. After an error nothing more is to be read.
    #[inline]
    pub fn next(&mut self, expected: &[u8]) -> Result<Option<Event<'_>>, Error> {
        self.next_predicted(|rest| rest.starts_with(expected).then_some(expected.len()))
    }

    /// As [`Parser::next`], for a caller that remembers less of a text than the text: `predict` tells the length
    /// of the series text that it predicts, if what it is given begins with that. It is asked once a line, with
    /// the rest of the page from there on, and may be asked about lines that are no samples.
    #[inline]
    pub fn next_predicted(
        &mut self,
        predict: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Option<Event<'_>>, Error> {
        match &mut self.0 {
            Inner::Text(parser) => parser.next(predict),
            Inner::Proto(parser) => parser.next(),
        }
    }

    /// The type in the last TYPE line, which [`parse_series`] wants to know.
    pub fn kind(&self) -> MetricKind {
        match &self.0 {
            Inner::Text(parser) => parser.kind(),
            Inner::Proto(parser) => parser.kind(),
        }
    }
}

/// Puts the labels of a series into `builder`, which is cleared first; the metric name becomes `__name__`.
/// `raw` comes from [`Sample::raw`] of the same format and `kind` from [`Parser::kind`] at that time: the
/// `le` of a histogram and the `quantile` of a summary are brought into the form of OpenMetrics (`1.0`), as
/// Prometheus does. Labels with empty values are left out. Fails on duplicate labels, on a missing name and
/// on text that is not UTF-8; names are not held against the legacy alphabet here.
pub fn parse_series(
    format: Format,
    raw: &[u8],
    kind: MetricKind,
    builder: &mut LabelsBuilder,
) -> Result<(), Error> {
    match format {
        Format::PrometheusText => series::series_labels(text::Dialect::Prometheus, raw, kind, builder),
        Format::OpenMetricsText => series::series_labels(text::Dialect::OpenMetrics, raw, kind, builder),
        Format::PrometheusProto => protobuf::series_labels(raw, builder),
    }
}

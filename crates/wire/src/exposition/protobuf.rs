//! Delimited `io.prometheus.client.MetricFamily` messages as the same events that text gives.
//!
//! A message is one metric with all its buckets; it is spread into the series that text would have. What
//! stands for their raw text is a key: family name, suffix, bound, label bytes. As
//! prometheus/model/textparse: `ProtobufParser`.

use std::borrow::Cow;

use signal::histogram::ResetHint;
use signal::{LabelsBuilder, METRIC_NAME, MetricKind};

use super::number::format_bound;
use super::series::fill;
use super::text::has_unit;
use super::{Error, Event, Exemplar, ExemplarLabels, HistogramSample, Options, Sample};
use crate::native::{self, WireHistogram};
use crate::proto::{self, Reader, push_bytes_field, push_varint};

/// What becomes of histograms that are native.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NativeHistograms {
    /// Only the classic series are read.
    #[default]
    Ignore,
    /// Native where there is one, else the classic series.
    Prefer,
    /// Native where there is one, and the classic series where there are buckets.
    Both,
}

#[derive(Debug)]
pub(crate) struct ProtoParser<'a> {
    body: Reader<'a>,
    options: Options,
    index: usize,
    family: Family<'a>,
    metadata: Metadata,
    /// Samples of the current metric that are still to be told.
    pending: std::vec::IntoIter<Pending<'a>>,
    native: Option<Box<Native<'a>>>,
    labels: Vec<u8>,
    key: Vec<u8>,
    timestamp_ms: Option<i64>,
    start_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: MetricKind,
    /// The message again, from which the metrics are taken.
    metrics: Option<Reader<'a>>,
}

/// Which metadata of the family is told next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metadata {
    Type,
    Help,
    Unit,
    Told,
}

#[derive(Debug)]
struct Pending<'a> {
    suffix: Suffix,
    /// Of a bucket or a quantile.
    bound: f64,
    value: f64,
    exemplar: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Native<'a> {
    histogram: WireHistogram,
    exemplars: Vec<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Suffix {
    None,
    Count,
    Sum,
    Bucket,
    Quantile,
}

impl Suffix {
    const ALL: [Self; 5] = [Self::None, Self::Count, Self::Sum, Self::Bucket, Self::Quantile];

    /// What is behind the family name, and the label that holds the bound.
    fn parts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::None => ("", None),
            Self::Count => ("_count", None),
            Self::Sum => ("_sum", None),
            Self::Bucket => ("_bucket", Some("le")),
            Self::Quantile => ("", Some("quantile")),
        }
    }
}

/// What the next call tells.
enum Step<'a> {
    Metadata(Event<'a>),
    Sample(Pending<'a>),
    Native(Box<Native<'a>>),
}

impl<'a> ProtoParser<'a> {
    pub(crate) fn new(body: &'a [u8], options: Options) -> Self {
        Self {
            body: Reader::new(body),
            options,
            index: 0,
            family: Family::default(),
            metadata: Metadata::Told,
            pending: Vec::new().into_iter(),
            native: None,
            labels: Vec::new(),
            key: Vec::new(),
            timestamp_ms: None,
            start_ms: 0,
        }
    }

    pub(crate) fn kind(&self) -> MetricKind {
        self.family.kind
    }

    pub(crate) fn next(&mut self) -> Result<Option<Event<'_>>, Error> {
        let Some(step) = self.step()? else { return Ok(None) };
        Ok(Some(match step {
            Step::Metadata(event) => event,
            Step::Sample(pending) => {
                self.write_key(pending.suffix, pending.bound);
                let exemplar = pending.exemplar.map(exemplar).transpose().map_err(|e| self.proto(e))?;
                Event::Sample(Sample {
                    raw: &self.key,
                    value: pending.value,
                    timestamp_ms: self.timestamp_ms,
                    start_ms: self.start_ms,
                    exemplar,
                })
            }
            Step::Native(native) => {
                self.write_key(Suffix::None, 0.0);
                let exemplars = native.exemplars.iter().map(|e| exemplar(e)).collect::<Result<Vec<_>, _>>();
                let mut exemplars = exemplars.map_err(|e| self.proto(e))?;
                exemplars.retain(|e| e.timestamp_ms.is_some());
                let mut histogram = native.histogram.into_native();
                native::validate(&histogram).map_err(|message| self.nonsense(message))?;
                native::compact(&mut histogram);
                Event::Histogram(Box::new(HistogramSample {
                    raw: &self.key,
                    histogram,
                    timestamp_ms: self.timestamp_ms,
                    start_ms: self.start_ms,
                    exemplars,
                }))
            }
        }))
    }

    fn step(&mut self) -> Result<Option<Step<'a>>, Error> {
        loop {
            if self.metadata != Metadata::Told {
                if let Some(event) = self.tell_metadata() {
                    return Ok(Some(Step::Metadata(event)));
                }
            } else if let Some(native) = self.native.take() {
                return Ok(Some(Step::Native(native)));
            } else if let Some(pending) = self.pending.next() {
                return Ok(Some(Step::Sample(pending)));
            } else if let Some(metric) = self.next_metric().map_err(|e| self.proto(e))? {
                self.spread(metric).map_err(|e| self.proto(e))?;
            } else if self.body.is_empty() {
                return Ok(None);
            } else {
                self.next_family()?;
            }
        }
    }

    fn tell_metadata(&mut self) -> Option<Event<'a>> {
        let Family { name, help, unit, kind, .. } = self.family;
        let name = Cow::Borrowed(name);
        match self.metadata {
            Metadata::Type => {
                self.metadata = Metadata::Help;
                Some(Event::Type { name, kind })
            }
            Metadata::Help => {
                self.metadata = Metadata::Unit;
                (!help.is_empty()).then_some(Event::Help { name, text: Cow::Borrowed(help) })
            }
            Metadata::Unit => {
                self.metadata = Metadata::Told;
                (!unit.is_empty()).then_some(Event::Unit { name, unit: Cow::Borrowed(unit) })
            }
            Metadata::Told => None,
        }
    }

    fn next_family(&mut self) -> Result<(), Error> {
        self.index += 1;
        self.family = Family::default();
        let message = self.body.delimited().map_err(|e| self.proto(e))?;
        let (has_metrics, kind) = self.read_family(message).map_err(|e| self.proto(e))?;
        if !has_metrics {
            // Families without metrics are passed over, metadata included.
            return Ok(());
        }
        self.family.kind = match kind {
            0 => MetricKind::Counter,
            1 => MetricKind::Gauge,
            2 => MetricKind::Summary,
            3 => MetricKind::Unknown,
            4 => MetricKind::Histogram,
            5 => MetricKind::GaugeHistogram,
            other => return Err(self.nonsense(format!("unknown metric type {other}"))),
        };
        let Family { name, unit, kind, .. } = self.family;
        if name.is_empty() {
            return Err(self.nonsense("the family has no name".to_owned()));
        }
        let base =
            if kind == MetricKind::Counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
        if !unit.is_empty() && !has_unit(base, unit) {
            return Err(self.nonsense(format!("the unit '{unit}' is not the suffix of the metric name")));
        }
        self.metadata = Metadata::Type;
        self.family.metrics = Some(Reader::new(message));
        Ok(())
    }

    fn read_family(&mut self, message: &'a [u8]) -> Result<(bool, u32), proto::Error> {
        let (mut has_metrics, mut kind) = (false, 0);
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.family.name = field.str()?,
                2 => self.family.help = field.str()?,
                3 => kind = field.u32()?,
                4 => has_metrics |= field.bytes().is_ok(),
                5 => self.family.unit = field.str()?,
                _ => {}
            }
        }
        Ok((has_metrics, kind))
    }

    fn next_metric(&mut self) -> Result<Option<Reader<'a>>, proto::Error> {
        let Some(reader) = &mut self.family.metrics else { return Ok(None) };
        while let Some(field) = reader.next_field()? {
            if field.number == 4 {
                return Ok(Some(field.message()?));
            }
        }
        self.family.metrics = None;
        Ok(None)
    }

    /// Reads a `Metric` into `labels`, `pending` and `native`.
    fn spread(&mut self, mut metric: Reader<'a>) -> Result<(), proto::Error> {
        self.labels.clear();
        (self.timestamp_ms, self.start_ms) = (None, 0);
        let mut body = Reader::new(&[]);
        let wanted = match self.family.kind {
            MetricKind::Gauge => 2,
            MetricKind::Counter => 3,
            MetricKind::Summary => 4,
            MetricKind::Histogram | MetricKind::GaugeHistogram => 7,
            _ => 5,
        };
        while let Some(field) = metric.next_field()? {
            match field.number {
                1 => push_bytes_field(&mut self.labels, 1, field.bytes()?),
                // Zero means unset: proto3 cannot tell them apart here.
                6 => self.timestamp_ms = Some(field.i64()?).filter(|t| *t != 0),
                n if n == wanted => body = field.message()?,
                _ => {}
            }
        }
        let mut pending = Vec::new();
        match self.family.kind {
            MetricKind::Summary => self.spread_summary(body, &mut pending)?,
            MetricKind::Histogram | MetricKind::GaugeHistogram => {
                self.spread_histogram(body, &mut pending)?
            }
            kind => self.read_value(body, kind == MetricKind::Counter, &mut pending)?,
        }
        self.pending = pending.into_iter();
        Ok(())
    }

    fn read_value(
        &mut self,
        mut body: Reader<'a>,
        counter: bool,
        out: &mut Vec<Pending<'a>>,
    ) -> Result<(), proto::Error> {
        let mut sample = Pending { suffix: Suffix::None, bound: 0.0, value: 0.0, exemplar: None };
        while let Some(field) = body.next_field()? {
            match field.number {
                1 => sample.value = field.f64()?,
                2 if counter => sample.exemplar = Some(field.bytes()?),
                3 if counter => self.start_ms = timestamp(field.message()?)?,
                _ => {}
            }
        }
        out.push(sample);
        Ok(())
    }

    fn spread_summary(
        &mut self,
        mut body: Reader<'a>,
        out: &mut Vec<Pending<'a>>,
    ) -> Result<(), proto::Error> {
        push_totals(out);
        while let Some(field) = body.next_field()? {
            match field.number {
                1 => out[0].value = field.u64()? as f64,
                2 => out[1].value = field.f64()?,
                3 => {
                    let mut sample =
                        Pending { suffix: Suffix::Quantile, bound: 0.0, value: 0.0, exemplar: None };
                    let mut quantile = field.message()?;
                    while let Some(field) = quantile.next_field()? {
                        match field.number {
                            1 => sample.bound = field.f64()?,
                            2 => sample.value = field.f64()?,
                            _ => {}
                        }
                    }
                    out.push(sample);
                }
                4 => self.start_ms = timestamp(field.message()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn spread_histogram(
        &mut self,
        mut body: Reader<'a>,
        out: &mut Vec<Pending<'a>>,
    ) -> Result<(), proto::Error> {
        push_totals(out);
        let mut h = WireHistogram::default();
        let mut count_float = 0.0;
        let mut exemplars = Vec::new();
        while let Some(field) = body.next_field()? {
            match field.number {
                1 => h.count_int = field.u64()?,
                2 => h.sum = field.f64()?,
                3 => out.push(bucket(field.message()?)?),
                4 => count_float = field.f64()?,
                5 => h.schema = field.s32()?,
                6 => h.zero_threshold = field.f64()?,
                7 => h.zero_count_int = field.u64()?,
                8 => h.zero_count_float = field.f64()?,
                9 => h.negative_spans.push(native::span(field)?),
                10 => field.each_varint(|v| h.negative_deltas.push(proto::unzigzag(v)))?,
                11 => field.each_f64(|v| h.negative_counts.push(v))?,
                12 => h.positive_spans.push(native::span(field)?),
                13 => field.each_varint(|v| h.positive_deltas.push(proto::unzigzag(v)))?,
                14 => field.each_f64(|v| h.positive_counts.push(v))?,
                15 => self.start_ms = timestamp(field.message()?)?,
                16 => exemplars.push(field.bytes()?),
                _ => {}
            }
        }
        let count = if count_float != 0.0 { count_float } else { h.count_int as f64 };
        (out[0].value, out[1].value) = (count, h.sum);
        // As `isNativeHistogram`: otherwise it might be meant so, but cannot be told from a classic one.
        let is_native = !h.positive_spans.is_empty()
            || !h.negative_spans.is_empty()
            || h.zero_threshold > 0.0
            || h.zero_count_int > 0;
        let has_buckets = out.len() > 2;
        if is_native && self.options.native_histograms != NativeHistograms::Ignore {
            if exemplars.is_empty() {
                exemplars.extend(out.iter().filter_map(|p| p.exemplar));
            }
            if count_float > 0.0 || h.zero_count_float > 0.0 {
                h.count_float = Some(count_float);
            }
            if self.family.kind == MetricKind::GaugeHistogram {
                h.reset_hint = ResetHint::Gauge;
            }
            self.native = Some(Box::new(Native { histogram: h, exemplars }));
            if self.options.native_histograms == NativeHistograms::Prefer || !has_buckets {
                out.clear();
                return Ok(());
            }
        }
        // Nothing is expected behind +Inf, which may be left out.
        match out.iter().position(|p| p.suffix == Suffix::Bucket && p.bound == f64::INFINITY) {
            Some(last) => out.truncate(last + 1),
            None => out.push(Pending {
                suffix: Suffix::Bucket,
                bound: f64::INFINITY,
                value: count,
                exemplar: None,
            }),
        }
        Ok(())
    }

    fn write_key(&mut self, suffix: Suffix, bound: f64) {
        self.key.clear();
        push_varint(&mut self.key, self.family.name.len() as u64);
        self.key.extend_from_slice(self.family.name.as_bytes());
        self.key.push(suffix as u8);
        if suffix.parts().1.is_some() {
            self.key.extend_from_slice(&bound.to_le_bytes());
        }
        self.key.extend_from_slice(&self.labels);
    }

    fn proto(&self, source: proto::Error) -> Error {
        Error::Proto { family: self.family.name.to_owned(), index: self.index, source }
    }

    fn nonsense(&self, message: String) -> Error {
        Error::Family { family: self.family.name.to_owned(), message }
    }
}

fn push_totals(out: &mut Vec<Pending<'_>>) {
    for suffix in [Suffix::Count, Suffix::Sum] {
        out.push(Pending { suffix, bound: 0.0, value: 0.0, exemplar: None });
    }
}

fn bucket<'a>(mut message: Reader<'a>) -> Result<Pending<'a>, proto::Error> {
    let mut sample = Pending { suffix: Suffix::Bucket, bound: 0.0, value: 0.0, exemplar: None };
    let mut float = 0.0;
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => sample.value = field.u64()? as f64,
            2 => sample.bound = field.f64()?,
            3 => sample.exemplar = Some(field.bytes()?),
            4 => float = field.f64()?,
            _ => {}
        }
    }
    // The float count, where there is one, takes precedence.
    if float != 0.0 {
        sample.value = float;
    }
    Ok(sample)
}

/// `google.protobuf.Timestamp` in milliseconds.
fn timestamp(mut message: Reader<'_>) -> Result<i64, proto::Error> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => seconds = field.i64()?,
            2 => nanos = i64::from(field.u32()? as i32),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

fn exemplar(message: &[u8]) -> Result<Exemplar<'_>, proto::Error> {
    let mut exemplar = Exemplar { value: 0.0, timestamp_ms: None, labels: ExemplarLabels::Proto(message) };
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        match field.number {
            2 => exemplar.value = field.f64()?,
            3 => exemplar.timestamp_ms = Some(timestamp(field.message()?)?),
            _ => {}
        }
    }
    Ok(exemplar)
}

pub(super) fn exemplar_labels(message: &[u8], builder: &mut LabelsBuilder) -> Result<(), Error> {
    let mut pairs = Vec::with_capacity(4);
    read_labels(message, &mut pairs).map_err(|e| Error::Series(format!("an exemplar is broken: {e}")))?;
    fill(pairs, builder).map_err(Error::Series)
}

/// Reads the `LabelPair`s in field 1; other fields are passed over.
fn read_labels<'a>(
    message: &'a [u8],
    pairs: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
) -> Result<(), proto::Error> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        if field.number != 1 {
            continue;
        }
        let (mut name, mut value) = ("", "");
        let mut pair = field.message()?;
        while let Some(field) = pair.next_field()? {
            match field.number {
                1 => name = field.str()?,
                2 => value = field.str()?,
                _ => {}
            }
        }
        pairs.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    Ok(())
}

/// Takes apart what `write_key` has put together.
pub(super) fn series_labels(key: &[u8], builder: &mut LabelsBuilder) -> Result<(), Error> {
    let broken = || Error::Series("not a series key of a protobuf exposition".to_owned());
    let mut reader = Reader::new(key);
    let name = reader.delimited().ok().and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(broken)?;
    let (suffix, mut rest) = reader.rest().split_first().ok_or_else(broken)?;
    let (suffix, bound_label) = Suffix::ALL.get(usize::from(*suffix)).ok_or_else(broken)?.parts();
    let mut pairs = Vec::with_capacity(16);
    pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Owned(format!("{name}{suffix}"))));
    if let Some(label) = bound_label {
        let (bound, after) = rest.split_first_chunk().ok_or_else(broken)?;
        pairs.push((Cow::Borrowed(label), Cow::Owned(format_bound(f64::from_le_bytes(*bound)))));
        rest = after;
    }
    read_labels(rest, &mut pairs)
        .map_err(|e| Error::Series(format!("the labels of '{name}' are broken: {e}")))?;
    fill(pairs, builder).map_err(|message| Error::Series(format!("{message} in '{name}'")))
}

//! Reads remote write bodies from anybody.
//!
//! A body that is not protobuf fails as a whole; a series that makes no sense is refused alone, with a
//! reason, and the rest is kept, as prometheus/storage/remote (`writeHandler`) does. Symbols let a few bytes
//! stand for very many, so all text that labels and metadata expand to is held against a limit.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use signal::samples::{ExemplarPoint, HistogramPoint, NO_FAMILY, Point};
use signal::{FamilyMetadata, Labels, METRIC_NAME, MetricKind, SampleBatch, Series};

use super::{Counts, Message, kind_of_number};
use crate::native::{self, WireHistogram};
use crate::proto::{self, Field, Reader};

/// Why a body cannot be read at all. To be answered with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a protobuf message of this schema.
    #[error("the body is not a valid write request: {0}")]
    Proto(#[from] proto::Error),
    /// A reference beyond the symbol table.
    #[error("reference {reference} is outside of the table of {symbols} symbols")]
    UnknownSymbol {
        /// The reference.
        reference: u64,
        /// Size of the table.
        symbols: usize,
    },
    /// Labels and metadata expand to too much text.
    #[error("the labels of the request expand to more than {limit} bytes")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
}

/// What a body holds.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// What is good of it.
    pub batch: SampleBatch,
    /// How much that is, for the `…-Written` response headers.
    pub counts: Counts,
    /// What is not.
    pub refused: Refused,
}

/// Series and histograms that were left out. Not empty means 400 in version 2, after the rest is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Samples and histograms that were left out.
    pub samples: usize,
    /// Exemplars that were left out; senders need not hear of them.
    pub exemplars: usize,
    /// Why, for the first few series and histograms.
    pub reasons: Vec<String>,
    /// How many series and histograms were refused.
    pub count: usize,
}

impl Refused {
    /// Whether all was good.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, samples: usize, reason: String) {
        const MAX_REASONS: usize = 10;
        self.samples += samples;
        self.count += 1;
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason);
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reasons.join("; "))?;
        match self.count - self.reasons.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Reads a decompressed body. Labels in any order are taken and sorted, as Prometheus does; labels with
/// empty values are left out. `limit` bounds the bytes that labels and metadata may expand to.
pub fn decode(message: Message, body: &[u8], limit: usize) -> Result<Received, DecodeError> {
    let mut decoder =
        Decoder { received: Received::default(), budget: limit, limit, families: HashMap::default() };
    match message {
        Message::V1 => decoder.v1(body)?,
        Message::V2 => decoder.v2(body)?,
    }
    let batch = &decoder.received.batch;
    let (samples, histograms, exemplars) =
        (batch.points.len(), batch.histograms.len(), batch.exemplars.len());
    decoder.received.counts =
        Counts { samples, histograms, exemplars, metadata: decoder.received.counts.metadata };
    Ok(decoder.received)
}

struct Decoder<'a> {
    received: Received,
    budget: usize,
    limit: usize,
    families: HashMap<FamilyKey<'a>, u32, foldhash::fast::RandomState>,
}

#[derive(PartialEq, Eq, Hash)]
struct FamilyKey<'a> {
    name: &'a str,
    kind: MetricKind,
    help: &'a str,
    unit: &'a str,
}

/// Labels as they stand in a message; whatever is wrong with them.
type Pairs<'a> = Result<Vec<(&'a str, &'a str)>, String>;

impl<'a> Decoder<'a> {
    fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::TooLarge { limit: self.limit })?;
        Ok(())
    }

    fn v1(&mut self, body: &'a [u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.v1_series(field.bytes()?)?,
                3 => self.v1_metadata(field.message()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn v1_series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let mut pairs = Ok(Vec::with_capacity(16));
        let mut data = Items::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => push_pair(field, &mut pairs)?,
                2 => data.samples.push(field),
                3 => data.exemplars.push(field),
                4 => data.histograms.push(field),
                _ => {}
            }
        }
        let Some(series) = self.series(pairs, &data)? else { return Ok(()) };
        for field in &data.exemplars {
            let mut pairs = Ok(Vec::new());
            let mut exemplar = (0.0, 0);
            let mut reader = field.message()?;
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => push_pair(field, &mut pairs)?,
                    2 => exemplar.0 = field.f64()?,
                    3 => exemplar.1 = field.i64()?,
                    _ => {}
                }
            }
            self.exemplar(&series, pairs, exemplar)?;
        }
        self.points(&series, &data, 0, NO_FAMILY)
    }

    fn v1_metadata(&mut self, mut reader: Reader<'a>) -> Result<(), DecodeError> {
        let mut key = FamilyKey { name: "", kind: MetricKind::Unknown, help: "", unit: "" };
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => key.kind = kind_of_number(field.u32()?),
                2 => key.name = field.str()?,
                4 => key.help = field.str()?,
                5 => key.unit = field.str()?,
                _ => {}
            }
        }
        if !key.name.is_empty() {
            self.received.counts.metadata += 1;
            self.family(key)?;
        }
        Ok(())
    }

    fn v2(&mut self, body: &'a [u8]) -> Result<(), DecodeError> {
        let mut symbols: Vec<Result<&'a str, &'a [u8]>> = Vec::new();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 4 {
                let bytes = field.bytes()?;
                symbols.push(std::str::from_utf8(bytes).map_err(|_| bytes));
            }
        }
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 5 {
                self.v2_series(field.bytes()?, &symbols)?;
            }
        }
        Ok(())
    }

    fn v2_series(
        &mut self,
        message: &'a [u8],
        symbols: &[Result<&'a str, &'a [u8]>],
    ) -> Result<(), DecodeError> {
        let mut refs = Vec::with_capacity(32);
        let mut data = Items::default();
        let (mut metadata, mut created_ms) = (None, 0);
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => field.each_varint(|r| refs.push(r))?,
                2 => data.samples.push(field),
                3 => data.histograms.push(field),
                4 => data.exemplars.push(field),
                5 => metadata = Some(field.message()?),
                // Drafts of the specification had the start time here.
                6 => created_ms = field.i64()?,
                _ => {}
            }
        }
        let Some(series) = self.series(resolve(&refs, symbols), &data)? else { return Ok(()) };
        for field in &data.exemplars {
            let mut refs = Vec::new();
            let mut exemplar = (0.0, 0);
            let mut reader = field.message()?;
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => field.each_varint(|r| refs.push(r))?,
                    2 => exemplar.0 = field.f64()?,
                    3 => exemplar.1 = field.i64()?,
                    _ => {}
                }
            }
            self.exemplar(&series, resolve(&refs, symbols), exemplar)?;
        }
        let family = match metadata {
            Some(metadata) => self.v2_family(metadata, &refs, symbols)?,
            None => NO_FAMILY,
        };
        self.points(&series, &data, created_ms, family)
    }

    fn v2_family(
        &mut self,
        mut metadata: Reader<'a>,
        refs: &[u64],
        symbols: &[Result<&'a str, &'a [u8]>],
    ) -> Result<u32, DecodeError> {
        let (mut kind, mut help, mut unit) = (MetricKind::Unknown, 0, 0);
        while let Some(field) = metadata.next_field()? {
            match field.number {
                1 => kind = kind_of_number(field.u32()?),
                3 => help = field.u64()?,
                4 => unit = field.u64()?,
                _ => {}
            }
        }
        let text = |reference: u64| match symbols.get(reference as usize) {
            Some(text) => Ok(text.unwrap_or_default()),
            None if reference == 0 => Ok(""),
            None => Err(DecodeError::UnknownSymbol { reference, symbols: symbols.len() }),
        };
        let (help, unit) = (text(help)?, text(unit)?);
        if kind == MetricKind::Unknown && help.is_empty() && unit.is_empty() {
            return Ok(NO_FAMILY);
        }
        let mut name = "";
        for pair in refs.chunks_exact(2) {
            if text(pair[0])? == METRIC_NAME {
                name = text(pair[1])?;
            }
        }
        self.family(FamilyKey { name: family_name(name, kind), kind, help, unit })
    }

    fn family(&mut self, key: FamilyKey<'a>) -> Result<u32, DecodeError> {
        if let Some(index) = self.families.get(&key) {
            return Ok(*index);
        }
        self.spend(key.name.len() + key.help.len() + key.unit.len())?;
        let families = Arc::make_mut(&mut self.received.batch.families);
        let index = families.len() as u32;
        families.push(Arc::new(FamilyMetadata {
            name: key.name.to_owned(),
            kind: key.kind,
            help: key.help.to_owned(),
            unit: key.unit.to_owned(),
        }));
        self.families.insert(key, index);
        Ok(index)
    }

    /// The series of a message, or `None` if it was refused.
    fn series(&mut self, pairs: Pairs<'a>, data: &Items<'a>) -> Result<Option<Series>, DecodeError> {
        let labels = match pairs {
            Ok(pairs) => {
                self.spend(pairs.iter().map(|(n, v)| n.len() + v.len()).sum())?;
                match Labels::try_from_pairs(pairs.iter().copied()) {
                    Ok(labels) if labels.metric_name().is_none() => {
                        Err(format!("series {} has no metric name", excerpt(&pairs)))
                    }
                    Ok(labels) => Ok(labels),
                    Err(error) => Err(format!("series {}: {error}", excerpt(&pairs))),
                }
            }
            Err(reason) => Err(reason),
        };
        match labels {
            Ok(labels) => Ok(Some(Series::intern(labels))),
            Err(reason) => {
                self.received.refused.exemplars += data.exemplars.len();
                self.received.refused.add(data.samples.len() + data.histograms.len(), reason);
                Ok(None)
            }
        }
    }

    fn points(
        &mut self,
        series: &Series,
        data: &Items<'a>,
        created_ms: i64,
        family: u32,
    ) -> Result<(), DecodeError> {
        for field in &data.samples {
            let mut point =
                Point { series: series.clone(), timestamp_ms: 0, value: 0.0, start_ms: created_ms, family };
            let mut reader = field.message()?;
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => point.value = field.f64()?,
                    2 => point.timestamp_ms = field.i64()?,
                    3 => point.start_ms = field.i64()?,
                    _ => {}
                }
            }
            self.received.batch.points.push(point);
        }
        for field in &data.histograms {
            let histogram = WireHistogram::decode(field.bytes()?)?;
            let (timestamp_ms, start_ms) = (histogram.timestamp_ms, histogram.start_ms);
            let histogram = histogram.into_native();
            if let Err(reason) = native::validate(&histogram) {
                let name = series.metric_name().unwrap_or_default();
                self.received.refused.add(1, format!("histogram of {name}: {reason}"));
                continue;
            }
            self.received.batch.histograms.push(HistogramPoint {
                series: series.clone(),
                timestamp_ms,
                histogram: Arc::new(histogram),
                start_ms: if start_ms == 0 { created_ms } else { start_ms },
                family,
            });
        }
        Ok(())
    }

    fn exemplar(
        &mut self,
        series: &Series,
        pairs: Pairs<'a>,
        (value, timestamp_ms): (f64, i64),
    ) -> Result<(), DecodeError> {
        if let Ok(pairs) = pairs {
            self.spend(pairs.iter().map(|(n, v)| n.len() + v.len()).sum())?;
            if let Ok(labels) = Labels::try_from_pairs(pairs) {
                let exemplar = ExemplarPoint { series: series.clone(), labels, value, timestamp_ms };
                self.received.batch.exemplars.push(exemplar);
                return Ok(());
            }
        }
        // A bad exemplar does not make its series bad.
        self.received.refused.exemplars += 1;
        Ok(())
    }
}

/// What belongs to a series, not looked at yet.
#[derive(Default)]
struct Items<'a> {
    samples: Vec<Field<'a>>,
    histograms: Vec<Field<'a>>,
    exemplars: Vec<Field<'a>>,
}

/// Reads a `Label` message.
fn push_pair<'a>(field: Field<'a>, pairs: &mut Pairs<'a>) -> Result<(), DecodeError> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| not_utf8(bytes));
    match (text(name), text(value), &mut *pairs) {
        (Ok(name), Ok(value), Ok(pairs)) => pairs.push((name, value)),
        (Err(reason), _, Ok(_)) | (_, Err(reason), Ok(_)) => *pairs = Err(reason),
        (_, _, Err(_)) => {}
    }
    Ok(())
}

fn resolve<'a>(refs: &[u64], symbols: &[Result<&'a str, &'a [u8]>]) -> Pairs<'a> {
    let text = |reference: u64| match usize::try_from(reference).ok().and_then(|i| symbols.get(i)) {
        Some(Ok(text)) => Ok(*text),
        Some(Err(bytes)) => Err(not_utf8(bytes)),
        None => Err(DecodeError::UnknownSymbol { reference, symbols: symbols.len() }.to_string()),
    };
    let (pairs, odd) = refs.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(format!(
            "a series has {} label references: names and values must come in pairs",
            refs.len()
        ));
    }
    pairs.iter().map(|[name, value]| Ok((text(*name)?, text(*value)?))).collect()
}

fn not_utf8(bytes: &[u8]) -> String {
    format!("the label text {:?} is not valid UTF-8", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
}

/// Version 2 tells metadata by series: series of one histogram or summary share a family.
fn family_name(name: &str, kind: MetricKind) -> &str {
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricKind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|s| name.strip_suffix(s)).filter(|n| !n.is_empty()).unwrap_or(name)
}

/// The first labels of a series, for an error message.
fn excerpt(pairs: &[(&str, &str)]) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in pairs.iter().enumerate() {
        if out.len() > 200 {
            out.push('…');
            break;
        }
        let short: String = value.chars().take(80).collect();
        let name: String = name.chars().take(80).collect();
        out.push_str(&format!("{}{name}={short:?}", if i == 0 { "" } else { ", " }));
    }
    out.push('}');
    out
}

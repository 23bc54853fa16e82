//! Decides about one span or log record, and writes down on it how it was sampled.
//!
//! As the collector's `probabilisticsampler`: an item has *randomness* (from `rv`, its trace ID, or a hash) and
//! perhaps the threshold of a sampler before; the mode gives the threshold that the randomness has to reach.

use std::borrow::Cow;

use signal::otlp::OtlpSignal;
use wire::otlp::view::{Any, Unclear, any_or_empty, attribute, fields, once, payload, text};
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices, text_value};
use wire::proto::push_bytes_field;

use super::threshold::{BUCKET_BITS, MIN_PROBABILITY, Randomness, Threshold, Unfit, hashed};
use super::tracestate::TraceState;
use super::{Args, Mode};
use crate::value;

/// Attribute of a log record that carries what `th` is for a span.
const THRESHOLD: &[u8] = b"sampling.threshold";
/// Attribute of a log record that carries what `rv` is for a span.
const RANDOMNESS: &[u8] = b"sampling.randomness";
/// Attribute of a span by which an application forces a decision.
const PRIORITY: &[u8] = b"sampling.priority";

/// One generation of the arguments, for one signal.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    how: How,
    seed: u32,
    precision: u32,
    fail_closed: bool,
    from_trace_id: bool,
    from_attribute: String,
    priority: String,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Never,
    Hash(Threshold),
    Equalizing(Threshold),
    Proportional(f64),
}

/// Where the randomness of an item comes from: the label `policy` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Missing,
    TraceIdHash,
    TraceIdW3c,
    Randomness,
    Attribute,
    Priority,
}

impl Policy {
    pub(super) const ALL: [Self; 6] = [
        Self::Missing,
        Self::TraceIdHash,
        Self::TraceIdW3c,
        Self::Randomness,
        Self::Attribute,
        Self::Priority,
    ];

    /// As the label says it; randomness from an attribute has the attribute's name.
    pub(super) fn name(self, attribute: &str) -> &str {
        match self {
            Self::Missing => "missing_randomness",
            Self::TraceIdHash => "trace_id_hash",
            Self::TraceIdW3c => "trace_id_w3c",
            Self::Randomness => "sampling_randomness",
            Self::Attribute => attribute,
            Self::Priority => "sampling_priority",
        }
    }
}

/// What is known of an item before the decision.
struct Known {
    randomness: Option<Randomness>,
    policy: Policy,
    /// What it carries contradicts itself or the mode.
    unfit: bool,
}

/// Items seen, by policy and decision.
pub(super) type Counts = [[u64; 2]; Policy::ALL.len()];

impl Sampler {
    pub(super) fn new(args: &Args, logs: bool) -> Self {
        let percent = args.sampling_percentage.min(100.0) as f32;
        // Collectors before the modes were hashing.
        let mode = match args.mode {
            Mode::Unset if args.hash_seed != 0 || (logs && !args.is_from_trace_id()) => Mode::HashSeed,
            Mode::Unset => Mode::Proportional,
            mode => mode,
        };
        let ratio = (f64::from(percent) / 100.0).max(MIN_PROBABILITY);
        let precision = u32::from(args.sampling_precision);
        let how = match mode {
            _ if percent == 0.0 => How::Never,
            Mode::Equalizing => How::Equalizing(rounded(ratio, precision)),
            Mode::HashSeed => {
                // In 32 bits and towards zero, as collectors have always done.
                let rate = (percent * ((1 << BUCKET_BITS) as f32 / 100.0)) as u64;
                match rate {
                    0 => How::Never,
                    rate => How::Hash(Threshold::of_bits(((1 << BUCKET_BITS) - rate) << 42)),
                }
            }
            Mode::Proportional | Mode::Unset => How::Proportional(ratio),
        };
        Self {
            how,
            seed: args.hash_seed,
            precision,
            fail_closed: args.fail_closed,
            from_trace_id: args.is_from_trace_id(),
            from_attribute: args.from_attribute.clone(),
            priority: args.sampling_priority.clone(),
        }
    }

    /// Whether the mode is the one that hashes.
    fn hashes(&self) -> bool {
        matches!(self.how, How::Hash(_))
    }

    /// What the mode asks of an item that has arrived with a threshold.
    fn threshold(&self, known: &Known, arrived: Option<Threshold>) -> Threshold {
        if known.unfit || known.randomness.is_none() {
            return if self.fail_closed { Threshold::NEVER } else { Threshold::ALWAYS };
        }
        match self.how {
            How::Never => Threshold::NEVER,
            How::Hash(threshold) | How::Equalizing(threshold) => threshold,
            How::Proportional(ratio) => {
                let arrived = arrived.map_or(1.0, Threshold::probability);
                rounded(arrived * ratio, self.precision)
            }
        }
    }

    /// Decides about a span; `Some` if it is sampled, with its new trace state where that changes.
    fn span(&self, span: &Span<'_>) -> (Policy, Option<Option<String>>) {
        let mut state = TraceState::parse(span.trace_state);
        let mut known = self.known_of_span(span, state.as_mut());
        // A threshold that the randomness does not reach was never the reason why the span is here.
        if let (Some(state), Some(randomness), false) = (state.as_mut(), known.randomness, known.unfit)
            && state.threshold().is_some_and(|arrived| !arrived.samples(randomness))
        {
            state.clear_threshold();
            known.unfit = true;
        }
        let arrived = state.as_ref().and_then(TraceState::threshold);
        let (policy, threshold) = match span.priority {
            Some(true) => (Policy::Priority, Threshold::ALWAYS),
            Some(false) => (Policy::Priority, Threshold::NEVER),
            None => (known.policy, self.threshold(&known, arrived)),
        };
        if !threshold.samples(known.randomness.unwrap_or(Randomness::ALL)) {
            return (policy, None);
        }
        let new = state.and_then(|mut state| state.raise(threshold).then(|| state.text()));
        (policy, Some(new.filter(|new| new != span.trace_state)))
    }

    fn known_of_span(&self, span: &Span<'_>, state: Option<&mut TraceState<'_>>) -> Known {
        if self.hashes() {
            let randomness = Some(hashed(span.trace_id, self.seed));
            let unfit = match state {
                None => true,
                // Whoever samples by the specification before us is not to be mixed with hashing.
                Some(state) if state.randomness().is_some() || state.threshold().is_some() => true,
                Some(state) => {
                    randomness.into_iter().for_each(|randomness| state.set_randomness(randomness));
                    false
                }
            };
            return Known { randomness, policy: Policy::TraceIdHash, unfit };
        }
        let Some(state) = state else {
            return Known { randomness: None, policy: Policy::Missing, unfit: true };
        };
        let of_id = || trace_id(span.trace_id).map(|id| (Randomness::of_trace_id(id), Policy::TraceIdW3c));
        let found = state.randomness().map(|r| (r, Policy::Randomness)).or_else(of_id);
        let policy = found.map_or(Policy::Missing, |(_, policy)| policy);
        Known { randomness: found.map(|(randomness, _)| randomness), policy, unfit: false }
    }

    /// Decides about a log record and writes down how on its attributes.
    fn record(&self, id: &[u8], list: &mut AttributeList<'_>) -> Result<(Policy, bool), Unclear> {
        let carried = |key: &[u8]| -> Result<Option<String>, Unclear> {
            let Some(at) = list.find(key) else { return Ok(None) };
            match any_or_empty(list.value(at))? {
                Any::Text(b"") => Ok(None),
                Any::Text(bytes) => Ok(Some(text(bytes)?.to_string())),
                _ => Ok(None),
            }
        };
        let (threshold, randomness) = (carried(THRESHOLD)?, carried(RANDOMNESS)?);
        let mut arrived = threshold.as_deref().and_then(Threshold::parse);
        let explicit = randomness.as_deref().and_then(Randomness::parse);
        let garbled =
            (threshold.is_some() && arrived.is_none()) || (randomness.is_some() && explicit.is_none());
        let mut known = self.known_of_record(id, list, explicit, garbled)?;
        let mut note = None;
        if self.hashes() && !garbled {
            known.unfit = explicit.is_some() || arrived.is_some();
            note = known.randomness.filter(|_| !known.unfit);
        }
        if let (Some(randomness), false) = (known.randomness, known.unfit)
            && arrived.is_some_and(|arrived| !arrived.samples(randomness))
        {
            known.unfit = true;
            arrived = None;
            list.find(THRESHOLD).into_iter().for_each(|at| list.remove(at));
        }
        let mut policy = known.policy;
        let mut threshold = self.threshold(&known, arrived);
        if let Some(asked) = self.asked(list)? {
            (policy, threshold) = (Policy::Priority, asked);
        }
        let sampled = threshold.samples(known.randomness.unwrap_or(Randomness::ALL));
        if sampled && !garbled {
            let mut put = |key: &'static [u8], text: String| {
                let value = Cow::Owned(text_value(text.as_bytes()));
                match list.find(key) {
                    Some(at) => list.set(at, value),
                    None => list.push(Cow::Borrowed(key), Some(value)),
                }
            };
            note.into_iter().for_each(|randomness| put(RANDOMNESS, randomness.text()));
            if arrived.is_none_or(|arrived| arrived < threshold) {
                put(THRESHOLD, threshold.text());
            }
        }
        Ok((policy, sampled))
    }

    fn known_of_record(
        &self,
        id: &[u8],
        list: &AttributeList<'_>,
        explicit: Option<Randomness>,
        garbled: bool,
    ) -> Result<Known, Unclear> {
        let known = |randomness, policy| Known { randomness: Some(randomness), policy, unfit: garbled };
        if self.hashes() && self.from_trace_id {
            let mut whole = [0; 16];
            if let Some(id) = trace_id(id) {
                whole = *id;
            }
            return Ok(known(hashed(&whole, self.seed), Policy::TraceIdHash));
        }
        if !self.hashes() && !garbled {
            if let Some(randomness) = explicit {
                return Ok(known(randomness, Policy::Randomness));
            }
            if let Some(id) = trace_id(id) {
                return Ok(known(Randomness::of_trace_id(id), Policy::TraceIdW3c));
            }
        }
        let named = !self.from_attribute.is_empty() && (self.hashes() || !garbled);
        if let Some(at) = named.then(|| list.find(self.from_attribute.as_bytes())).flatten() {
            let value = list.value(at);
            let randomness = match any_or_empty(value)? {
                Any::Bytes(bytes) => hashed(bytes, self.seed),
                _ => hashed(value::text_of(value)?.as_bytes(), self.seed),
            };
            return Ok(known(randomness, Policy::Attribute));
        }
        Ok(Known { randomness: None, policy: Policy::Missing, unfit: true })
    }

    /// The threshold that a log record asks for by a percentage of its own.
    fn asked(&self, list: &AttributeList<'_>) -> Result<Option<Threshold>, Unclear> {
        if self.priority.is_empty() {
            return Ok(None);
        }
        let Some(at) = list.find(self.priority.as_bytes()) else { return Ok(None) };
        let percent = match any_or_empty(list.value(at))? {
            Any::Double(v) => v,
            Any::Int(v) => v as f64,
            _ => return Ok(None),
        };
        Ok(Threshold::of(percent / 100.0, self.precision).ok())
    }
}

/// Probabilities too small to be written down sample nothing, those too close to 1 everything.
fn rounded(probability: f64, precision: u32) -> Threshold {
    match Threshold::of(probability, precision) {
        Ok(threshold) => threshold,
        Err(Unfit::Range) => Threshold::NEVER,
        Err(Unfit::Precision) => Threshold::ALWAYS,
    }
}

/// A trace ID that is one: 16 bytes that are not all zero.
fn trace_id(bytes: &[u8]) -> Option<&[u8; 16]> {
    <&[u8; 16]>::try_from(bytes).ok().filter(|id| **id != [0; 16])
}

/// What a decision looks at of a span.
struct Span<'a> {
    trace_id: &'a [u8],
    trace_state: &'a str,
    /// The field with the trace state, and where one could be put.
    place: std::ops::Range<usize>,
    /// What `sampling.priority` says.
    priority: Option<bool>,
}

/// A missing ID hashes as one of zeros.
const NO_ID: [u8; 16] = [0; 16];

impl<'a> Span<'a> {
    fn new(span: &'a [u8]) -> Result<Self, Unclear> {
        let (mut id, mut state, mut priority) = (None, None, None);
        let mut fields = fields(span);
        while let Some((place, field)) = fields.next_field()? {
            match field.number {
                1 => once(&mut id, payload(&field)?)?,
                3 => once(&mut state, (place, payload(&field)?))?,
                9 if priority.is_none() => {
                    let attribute = attribute(place, payload(&field)?)?;
                    if attribute.key == PRIORITY {
                        priority = Some(forced(attribute.value)?);
                    }
                }
                _ => {}
            }
        }
        let (place, state) = state.unwrap_or((span.len()..span.len(), b""));
        let trace_id = id.filter(|id| !id.is_empty()).unwrap_or(&NO_ID);
        Ok(Self { trace_id, trace_state: text(state)?, place, priority: priority.flatten() })
    }
}

/// Above zero the span is kept, zero drops it, anything else says nothing.
fn forced(value: Option<&[u8]>) -> Result<Option<bool>, Unclear> {
    let number = match any_or_empty(value)? {
        Any::Int(v) => v as f64,
        Any::Double(v) => v,
        Any::Text(bytes) => text(bytes)?.parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    };
    Ok(if number == 0.0 { Some(false) } else { (number > 0.0).then_some(true) })
}

/// Samples the items of requests.
pub(super) struct Sampling<'s> {
    sampler: &'s Sampler,
    logs: bool,
    /// Of requests that are done.
    before: Counts,
    /// Of the request that is being sampled.
    now: Counts,
}

impl<'s> Sampling<'s> {
    pub(super) fn new<S: OtlpSignal>(sampler: &'s Sampler) -> Self {
        let none = Counts::default();
        Self { sampler, logs: S::NAME == "logs", before: none, now: none }
    }

    /// The request that was sampled last counts, too.
    pub(super) fn done(&mut self) {
        for (before, now) in self.before.iter_mut().flatten().zip(self.now.iter().flatten()) {
            *before += now;
        }
        self.now = Counts::default();
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.before
    }
}

impl Editor for Sampling<'_> {
    fn begin(&mut self) {
        self.now = Counts::default();
    }

    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear> {
        let (policy, sampled) = if self.logs {
            let mut list = AttributeList::new(item, around.attributes)?;
            let mut id = None;
            let mut fields = fields(item);
            while let Some((_, field)) = fields.next_field()? {
                if field.number == 9 {
                    once(&mut id, payload(&field)?)?;
                }
            }
            let (policy, sampled) = self.sampler.record(id.unwrap_or_default(), &mut list)?;
            if sampled {
                list.write(splices);
            }
            (policy, sampled)
        } else {
            let span = Span::new(item)?;
            let (policy, kept) = self.sampler.span(&span);
            if let Some(Some(state)) = &kept {
                splices.replace(span.place, |out| push_bytes_field(out, 3, state.as_bytes()));
            }
            (policy, kept.is_some())
        };
        self.now[policy as usize][usize::from(sampled)] += 1;
        Ok(if sampled { Fate::Keep } else { Fate::Drop })
    }
}

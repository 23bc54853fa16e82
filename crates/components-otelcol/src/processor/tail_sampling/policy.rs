//! Policies: what each says of a trace, and what they say together.
//!
//! As the collector's `tailsampling/internal/sampling`. `invert_match` has answers of its own, which weigh more
//! than plain ones: see [`Policies::decide`].

use component::Error;
use signal::Regex;
use tokio::time::Instant;
use wire::otlp::view::{Any, Unclear, text};

use super::args::{AndArgs, PolicyArgs, SharedArgs, SubArgs};
use super::composite::{Bucket, Composite};
use super::condition::OttlCondition;
use super::trace::{Trace, status, text_of};
use crate::processor::lru::Lru;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Sampled,
    NotSampled,
    InvertSampled,
    InvertNotSampled,
    Dropped,
}

impl Decision {
    pub(super) fn samples(self) -> bool {
        matches!(self, Self::Sampled | Self::InvertSampled)
    }

    /// Values of the labels `sampled` and `decision`.
    pub(super) fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Sampled | Self::InvertSampled => ["true", "sampled"],
            Self::NotSampled | Self::InvertNotSampled => ["false", "not_sampled"],
            Self::Dropped => ["false", "dropped"],
        }
    }

    fn of(sampled: bool) -> Self {
        if sampled { Self::Sampled } else { Self::NotSampled }
    }

    /// For policies that look for something: `found`, and whether the match is inverted.
    fn found(found: bool, invert: bool) -> Self {
        match (found, invert) {
            (true, true) => Self::InvertNotSampled,
            (false, true) => Self::InvertSampled,
            (found, false) => Self::of(found),
        }
    }
}

/// Why a policy has no decision.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Undecided {
    /// The trace cannot be read.
    #[error(transparent)]
    Unclear(#[from] Unclear),
    /// A condition failed.
    #[error("{0}")]
    Condition(String),
}

/// A policy.
#[derive(Debug)]
pub(super) enum Policy {
    Always,
    Latency { above: i64, upper: i64 },
    Numeric { key: String, range: std::ops::RangeInclusive<i64>, invert: bool },
    Probabilistic { salt: String, threshold: u64 },
    Status(Vec<i32>),
    Text { key: String, texts: Texts, invert: bool },
    SpanRate(Bucket),
    ByteRate(Bucket),
    SpanCount { least: i64, most: i64 },
    Boolean { key: String, value: bool, invert: bool },
    TraceState { key: String, values: Vec<String> },
    Ottl(OttlCondition),
    And(Vec<Policy>),
    Not(Box<Policy>),
    Drop(Vec<Policy>),
    Composite(Composite),
}

/// Texts that an attribute may have.
#[derive(Debug)]
pub(super) enum Texts {
    Equal(Vec<String>),
    Regex { patterns: Vec<Regex>, known: Lru<Vec<u8>, bool> },
}

/// Longer texts are not remembered.
const LONGEST_REMEMBERED: usize = 1 << 10;

fn wrong(name: &str, message: impl std::fmt::Display) -> Error {
    Error::argument("policy", format!("{name:?}: {message}"))
}

const KINDS: &str = "always_sample, latency, numeric_attribute, probabilistic, status_code, string_attribute, \
    rate_limiting, bytes_limiting, span_count, boolean_attribute, ottl_condition, trace_state";

impl Policy {
    fn new(args: &PolicyArgs) -> Result<Self, Error> {
        let name = &args.shared.name;
        let needs = |kind: &str| wrong(name, format!("type {kind} needs a block {kind}"));
        match args.shared.kind.as_str() {
            "composite" => {
                let args = args.composite.as_ref().ok_or_else(|| needs("composite"))?;
                Ok(Self::Composite(Composite::new(name, args)?))
            }
            "and" => Self::and(args.and.as_ref().ok_or_else(|| needs("and"))?),
            "not" => {
                let args = args.not.as_ref().ok_or_else(|| needs("not"))?;
                Ok(Self::Not(Box::new(Self::shared(&args.not_sub_policy.shared, "")?)))
            }
            "drop" => {
                let args = args.drop.as_ref().ok_or_else(|| needs("drop"))?;
                Ok(Self::Drop(all(&args.drop_sub_policy)?))
            }
            _ => Self::shared(&args.shared, ", and, not, drop, composite"),
        }
    }

    pub(super) fn and(args: &AndArgs) -> Result<Self, Error> {
        Ok(Self::And(all(&args.and_sub_policy)?))
    }

    /// `more`: what else the type could have been here.
    pub(super) fn shared(args: &SharedArgs, more: &str) -> Result<Self, Error> {
        let SharedArgs { name, kind, .. } = args;
        let needs = || wrong(name, format!("type {kind} needs a block {kind}"));
        match kind.as_str() {
            "always_sample" => Ok(Self::Always),
            "latency" => {
                let args = args.latency.as_ref().ok_or_else(needs)?;
                Ok(Self::Latency { above: args.threshold_ms, upper: args.upper_threshold_ms })
            }
            "numeric_attribute" => {
                let args = args.numeric_attribute.as_ref().ok_or_else(needs)?;
                let range = args.min_value..=args.max_value;
                Ok(Self::Numeric { key: args.key.clone(), range, invert: args.invert_match })
            }
            "probabilistic" => {
                let args = args.probabilistic.as_ref().ok_or_else(needs)?;
                let salt = if args.hash_salt.is_empty() { "default-hash-seed" } else { &args.hash_salt };
                let threshold = share(args.sampling_percentage / 100.0);
                Ok(Self::Probabilistic { salt: salt.to_string(), threshold })
            }
            "status_code" => {
                let codes = &args.status_code.as_ref().ok_or_else(needs)?.status_codes;
                if codes.is_empty() {
                    return Err(wrong(name, "status_codes must list one"));
                }
                let code = |code: &String| {
                    let at = ["UNSET", "OK", "ERROR"].iter().position(|known| known == code);
                    at.and_then(|at| i32::try_from(at).ok()).ok_or_else(|| {
                        wrong(name, format!("status_codes: {code:?} is not OK, ERROR or UNSET"))
                    })
                };
                Ok(Self::Status(codes.iter().map(code).collect::<Result<_, _>>()?))
            }
            "string_attribute" => {
                let args = args.string_attribute.as_ref().ok_or_else(needs)?;
                let texts = if args.enabled_regex_matching {
                    let regex = |v: &String| Regex::new(v).map_err(|e| wrong(name, format!("values: {e}")));
                    let patterns = args.values.iter().map(regex).collect::<Result<_, _>>()?;
                    let size = usize::try_from(args.cache_max_size).ok().filter(|size| *size > 0);
                    Texts::Regex { patterns, known: Lru::new(size.unwrap_or(128)) }
                } else {
                    Texts::Equal(args.values.iter().filter(|v| !v.is_empty()).cloned().collect())
                };
                Ok(Self::Text { key: args.key.clone(), texts, invert: args.invert_match })
            }
            "rate_limiting" => {
                let args = args.rate_limiting.as_ref().ok_or_else(needs)?;
                Ok(Self::SpanRate(Bucket::new(args.spans_per_second, args.burst_capacity)))
            }
            "bytes_limiting" => {
                let args = args.bytes_limiting.as_ref().ok_or_else(needs)?;
                Ok(Self::ByteRate(Bucket::new(args.bytes_per_second, args.burst_capacity)))
            }
            "span_count" => {
                let args = args.span_count.as_ref().ok_or_else(needs)?;
                Ok(Self::SpanCount { least: args.min_spans, most: args.max_spans })
            }
            "boolean_attribute" => {
                let args = args.boolean_attribute.as_ref().ok_or_else(needs)?;
                Ok(Self::Boolean { key: args.key.clone(), value: args.value, invert: args.invert_match })
            }
            "trace_state" => {
                let args = args.trace_state.as_ref().ok_or_else(needs)?;
                let values = args.values.iter().filter(|v| !v.is_empty()).cloned().collect();
                Ok(Self::TraceState { key: args.key.clone(), values })
            }
            "ottl_condition" => {
                Ok(Self::Ottl(OttlCondition::new(name, args.ottl_condition.as_ref().ok_or_else(needs)?)?))
            }
            _ => Err(wrong(name, format!("type {kind:?} is none of {KINDS}{more}"))),
        }
    }

    /// What the policy says of a trace.
    pub(super) fn evaluate(&mut self, trace: &Trace<'_>, now: Instant) -> Result<Decision, Undecided> {
        Ok(match self {
            Self::Always => Decision::Sampled,
            Self::Latency { above, upper } => {
                let millis = trace.millis()?;
                Decision::of(if *upper == 0 { millis >= *above } else { millis > *above && millis <= *upper })
            }
            Self::Numeric { key, range, invert } => {
                let within = |value| Ok(matches!(value, Any::Int(v) if range.contains(&v)));
                Decision::found(trace.has_attribute(key, within)?, *invert)
            }
            Self::Probabilistic { salt, threshold } => Decision::of(hash(salt, trace.id) <= *threshold),
            Self::Status(codes) => Decision::of(trace.any_span(|span| Ok(codes.contains(&status(span)?)))?),
            Self::Text { key, texts, invert } => {
                let like = |value| match value {
                    Any::Text(value) => texts.is_match(value),
                    _ => Ok(false),
                };
                Decision::found(trace.has_attribute(key, like)?, *invert)
            }
            Self::SpanRate(bucket) => Decision::of(bucket.take(trace.spans as f64, now)),
            Self::ByteRate(bucket) => Decision::of(bucket.take(trace.bytes.len() as f64, now)),
            Self::SpanCount { least, most } => {
                let spans = i64::try_from(trace.spans).unwrap_or(i64::MAX);
                Decision::of(spans >= *least && (*most == 0 || spans <= *most))
            }
            Self::Boolean { key, value, invert } => {
                let equal = |found| Ok(matches!(found, Any::Bool(v) if v == *value));
                Decision::found(trace.has_attribute(key, equal)?, *invert)
            }
            Self::TraceState { key, values } => Decision::of(trace.any_span(|span| {
                let state = text(text_of(span, 3)?)?;
                Ok(member(state, key).is_some_and(|value| values.iter().any(|v| v == value)))
            })?),
            Self::Ottl(condition) => Decision::of(condition.holds(trace)?),
            Self::And(all) => Decision::of(all_sample(all, trace, now)?),
            Self::Not(policy) => match policy.evaluate(trace, now)? {
                Decision::Sampled => Decision::NotSampled,
                Decision::NotSampled => Decision::Sampled,
                Decision::InvertSampled => Decision::InvertNotSampled,
                Decision::InvertNotSampled => Decision::InvertSampled,
                Decision::Dropped => Decision::Dropped,
            },
            Self::Drop(all) => match all_sample(all, trace, now)? {
                true => Decision::Dropped,
                false => Decision::NotSampled,
            },
            Self::Composite(composite) => composite.evaluate(trace, now)?,
        })
    }
}

fn all(args: &[SubArgs]) -> Result<Vec<Policy>, Error> {
    args.iter().map(|sub| Policy::shared(&sub.shared, "")).collect()
}

fn all_sample(policies: &mut [Policy], trace: &Trace<'_>, now: Instant) -> Result<bool, Undecided> {
    for policy in policies {
        if !policy.evaluate(trace, now)?.samples() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Texts {
    fn is_match(&mut self, value: &[u8]) -> Result<bool, Unclear> {
        match self {
            Self::Equal(texts) => Ok(!value.is_empty() && texts.iter().any(|text| text.as_bytes() == value)),
            Self::Regex { patterns, known } => {
                if let Some(matches) = known.get(value) {
                    return Ok(*matches);
                }
                let value_text = text(value)?;
                let matches = patterns.iter().any(|pattern| pattern.is_match(value_text));
                if value.len() <= LONGEST_REMEMBERED {
                    known.insert(value.to_vec(), matches);
                }
                Ok(matches)
            }
        }
    }
}

/// The value of a member of a trace state.
fn member<'a>(state: &'a str, key: &str) -> Option<&'a str> {
    let members = state.split(',').filter_map(|member| member.trim_matches([' ', '\t']).split_once('='));
    members.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// FNV-1a of salt and trace ID. As the collector's, so that layers of both decide alike.
fn hash(salt: &str, id: &[u8]) -> u64 {
    salt.bytes()
        .chain(id.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The largest hash of a share of all.
fn share(ratio: f64) -> u64 {
    if ratio >= 1.0 {
        return u64::MAX;
    }
    // 53 bits of the ratio times 64: a float alone would lose the last bits.
    let scaled = (ratio.max(0.0) * (1u64 << 53) as f64) as u128;
    ((u128::from(u64::MAX) * scaled) >> 53) as u64
}

/// A policy with its name.
#[derive(Debug)]
pub(super) struct Named {
    /// As metrics name it: with the component before it.
    pub(super) label: String,
    policy: Policy,
}

/// What one policy said of a trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Its place in the list.
    pub(super) policy: usize,
    /// None: it could not decide.
    pub(super) decision: Option<Decision>,
    pub(super) took: std::time::Duration,
}

/// All policies of a generation of arguments.
#[derive(Debug, Default)]
pub(super) struct Policies {
    list: Vec<Named>,
    first_match: bool,
}

impl Policies {
    /// `component` is put before the names of policies in metrics.
    pub(super) fn new(component: &str, args: &[PolicyArgs], first_match: bool) -> Result<Self, Error> {
        let mut names: Vec<&str> = args.iter().map(|policy| policy.shared.name.as_str()).collect();
        names.sort_unstable();
        if names.contains(&"") {
            return Err(Error::argument("policy", "a policy has an empty name"));
        }
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong(pair[0], "two policies have this name"));
        }
        let named = |args: &PolicyArgs| {
            Ok::<_, Error>(Named {
                label: format!("{component}.{}", args.shared.name),
                policy: Policy::new(args)?,
            })
        };
        let mut list: Vec<_> = args.iter().map(named).collect::<Result<_, _>>()?;
        // What drops a trace needs nobody else's opinion.
        list.sort_by_key(|named| !matches!(named.policy, Policy::Drop(_)));
        Ok(Self { list, first_match })
    }

    pub(super) fn label(&self, at: usize) -> &str {
        &self.list[at].label
    }

    /// What is done with a trace, and in `said` what each policy that was asked said.
    ///
    /// Dropping beats everything; then an inverted match that was found; then sampling; then an inverted match
    /// that was not found, unless a plain policy does not sample.
    ///
    /// # Errors
    /// If the trace's bytes are not as an encoder writes them.
    pub(super) fn decide(
        &mut self,
        trace: &Trace<'_>,
        now: Instant,
        said: &mut Vec<Said>,
    ) -> Result<Decision, Unclear> {
        said.clear();
        let first_match = self.first_match;
        for (policy, named) in self.list.iter_mut().enumerate() {
            let start = std::time::Instant::now();
            let decision = match named.policy.evaluate(trace, now) {
                Ok(decision) => Some(decision),
                Err(Undecided::Unclear(Unclear::Repeated)) => return Err(Unclear::Repeated),
                Err(error) => {
                    tracing::debug!(policy = %named.label, %error, "a policy has no decision");
                    None
                }
            };
            said.push(Said { policy, decision, took: start.elapsed() });
            if decision == Some(Decision::Dropped) || (first_match && decision == Some(Decision::Sampled)) {
                break;
            }
        }
        let has = |decision| said.iter().any(|s| s.decision == Some(decision));
        Ok(if has(Decision::Dropped) {
            Decision::Dropped
        } else if has(Decision::InvertNotSampled) {
            Decision::NotSampled
        } else {
            Decision::of(
                has(Decision::Sampled) || (has(Decision::InvertSampled) && !has(Decision::NotSampled)),
            )
        })
    }
}

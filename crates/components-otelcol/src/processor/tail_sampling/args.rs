//! The arguments: policies and what they consist of.

use component::{ArgEnum, ArgObject, Arguments};

/// How many decisions are remembered after their traces.
#[derive(Clone, Debug, Default, PartialEq, ArgObject)]
#[arg(type_name = "object", code_type = "object(DecisionCacheConfig)")]
pub struct DecisionCache {
    /// Sampled traces.
    #[arg(default = 0)]
    pub sampled_cache_size: u32,
    /// Traces that were not sampled.
    #[arg(default = 0)]
    pub non_sampled_cache_size: u32,
}

/// What every kind of policy can be.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SharedArgs {
    /// Its name, in metrics and for other policies.
    pub name: String,
    /// Its kind: the name of the block with its settings, or `always_sample`.
    #[arg(name = "type")]
    pub kind: String,
    /// Traces that take long.
    #[arg(block)]
    pub latency: Option<LatencyArgs>,
    /// Traces with an attribute in a range.
    #[arg(block)]
    pub numeric_attribute: Option<NumericArgs>,
    /// A share of all traces.
    #[arg(block)]
    pub probabilistic: Option<ProbabilisticArgs>,
    /// Traces with a span of a status.
    #[arg(block)]
    pub status_code: Option<StatusArgs>,
    /// Traces with an attribute of a text.
    #[arg(block)]
    pub string_attribute: Option<StringArgs>,
    /// As many traces as fit a rate of spans.
    #[arg(block)]
    pub rate_limiting: Option<RateArgs>,
    /// As many traces as fit a rate of bytes.
    #[arg(block)]
    pub bytes_limiting: Option<BytesArgs>,
    /// Traces of a size.
    #[arg(block)]
    pub span_count: Option<SpanCountArgs>,
    /// Traces with an attribute that is true or false.
    #[arg(block)]
    pub boolean_attribute: Option<BooleanArgs>,
    /// Traces with a span for which a condition in OTTL holds.
    #[arg(block)]
    pub ottl_condition: Option<OttlArgs>,
    /// Traces with a member of the trace state.
    #[arg(block)]
    pub trace_state: Option<TraceStateArgs>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct PolicyArgs {
    /// What every kind of policy can be.
    #[arg(squash)]
    pub shared: SharedArgs,
    /// Policies that share a rate.
    #[arg(block)]
    pub composite: Option<CompositeArgs>,
    /// Policies that all have to sample the trace.
    #[arg(block)]
    pub and: Option<AndArgs>,
    /// A policy that must not sample the trace.
    #[arg(block)]
    pub not: Option<NotArgs>,
    /// Policies that, if all would sample the trace, drop it.
    #[arg(block)]
    pub drop: Option<DropArgs>,
}

/// How long a trace takes, from the start of its first span to the end of its last.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct LatencyArgs {
    /// At least so many milliseconds; with `upper_threshold_ms`, more than that.
    pub threshold_ms: i64,
    /// At most so many milliseconds; 0 sets no limit.
    #[arg(default)]
    pub upper_threshold_ms: i64,
}

/// A whole number in an attribute of a span or resource.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct NumericArgs {
    /// The attribute.
    pub key: String,
    /// The least value.
    pub min_value: i64,
    /// The greatest value.
    pub max_value: i64,
    /// Sample traces without such an attribute.
    #[arg(default)]
    pub invert_match: bool,
}

/// A share of all traces, by a hash of the trace ID.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ProbabilisticArgs {
    /// Makes samplers independent of each other.
    #[arg(default)]
    pub hash_salt: String,
    /// How many of a hundred traces.
    pub sampling_percentage: f64,
}

/// Status of a span.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct StatusArgs {
    /// `OK`, `ERROR` or `UNSET`.
    pub status_codes: Vec<String>,
}

/// A text in an attribute of a span or resource.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct StringArgs {
    /// The attribute.
    pub key: String,
    /// The texts, or RE2 expressions that match anywhere in the text.
    pub values: Vec<String>,
    /// `values` are expressions.
    #[arg(default)]
    pub enabled_regex_matching: bool,
    /// Texts of which is remembered whether an expression matches; 0 means 128.
    #[arg(default)]
    pub cache_max_size: i64,
    /// Sample traces without such an attribute.
    #[arg(default)]
    pub invert_match: bool,
}

/// A rate of spans.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct RateArgs {
    /// Spans a second.
    pub spans_per_second: i64,
    /// Spans at once at most; 0 means twice the rate.
    #[arg(default)]
    pub burst_capacity: i64,
}

/// A rate of bytes.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct BytesArgs {
    /// Serialised bytes a second.
    pub bytes_per_second: i64,
    /// Bytes at once at most; 0 means twice the rate.
    #[arg(default)]
    pub burst_capacity: i64,
}

/// Number of spans of a trace.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SpanCountArgs {
    /// The least.
    pub min_spans: i64,
    /// The most; 0 sets no limit.
    #[arg(default)]
    pub max_spans: i64,
}

/// A boolean in an attribute of a span or resource.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct BooleanArgs {
    /// The attribute.
    pub key: String,
    /// Its value.
    pub value: bool,
    /// Sample traces without such an attribute.
    #[arg(default)]
    pub invert_match: bool,
}

/// Conditions in OTTL, one of which has to hold.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct OttlArgs {
    /// What happens when a condition cannot be evaluated.
    #[arg(code_type = "string(ErrorMode)")]
    pub error_mode: ErrorMode,
    /// Conditions about spans.
    #[arg(default)]
    pub span: Vec<String>,
    /// Conditions about events of spans.
    #[arg(default)]
    pub spanevent: Vec<String>,
}

/// What happens when a condition cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
#[arg(ignore_case)]
pub enum ErrorMode {
    /// It does not hold; that is logged.
    Ignore,
    /// It does not hold.
    Silent,
    /// The policy has no decision, which is counted.
    Propagate,
}

/// A member of a span's trace state.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct TraceStateArgs {
    /// Its key.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Policies that share a rate.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct CompositeArgs {
    /// Spans that all of them together sample in a second.
    pub max_total_spans_per_second: i64,
    /// Names of the policies, in the order in which they are asked; the first that samples a trace counts.
    pub policy_order: Vec<String>,
    /// The policies.
    #[arg(block)]
    pub composite_sub_policy: Vec<CompositeSubArgs>,
    /// What each may use of the rate; a policy without one gets an equal share.
    #[arg(block)]
    pub rate_allocation: Vec<AllocationArgs>,
}

/// A policy inside of a composite one.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct CompositeSubArgs {
    /// What every kind of policy can be.
    #[arg(squash)]
    pub shared: SharedArgs,
    /// Policies that all have to sample the trace.
    #[arg(block)]
    pub and: Option<AndArgs>,
}

/// What a policy may use of the rate.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AllocationArgs {
    /// Its name.
    pub policy: String,
    /// Of a hundred; 0 means an equal share.
    pub percent: i64,
}

/// Policies that all have to sample the trace.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AndArgs {
    /// The policies.
    #[arg(block, required)]
    pub and_sub_policy: Vec<SubArgs>,
}

/// A policy that must not sample the trace.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct NotArgs {
    /// The policy.
    #[arg(block, required)]
    pub not_sub_policy: SubArgs,
}

/// Policies that, if all would sample the trace, drop it.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct DropArgs {
    /// The policies.
    #[arg(block, required)]
    pub drop_sub_policy: Vec<SubArgs>,
}

/// A policy inside of another.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct SubArgs {
    /// What every kind of policy can be.
    #[arg(squash)]
    pub shared: SharedArgs,
}

//! Rates: a bucket of tokens, and policies that share one.

use component::Error;
use tokio::time::Instant;

use super::args::CompositeArgs;
use super::policy::{Decision, Policy, Undecided};
use super::trace::Trace;

/// Fills up with time; what is taken has to be in it.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    most: f64,
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    /// Tokens a second, and how many it holds: 0 for twice the rate.
    pub(super) fn new(rate: i64, most: i64) -> Self {
        let rate = rate.max(0) as f64;
        let most = if most > 0 { most as f64 } else { rate * 2.0 };
        Self { rate, most, tokens: most, filled: None }
    }

    /// Takes so many out if they are in it.
    pub(super) fn take(&mut self, tokens: f64, now: Instant) -> bool {
        let since = self.filled.map(|at| now.saturating_duration_since(at)).unwrap_or_default();
        self.tokens = (self.tokens + since.as_secs_f64() * self.rate).min(self.most);
        self.filled = Some(now);
        let there = tokens <= self.tokens;
        if there {
            self.tokens -= tokens;
        }
        there
    }
}

/// Policies that share a rate of spans, counted anew each second.
#[derive(Debug)]
pub(super) struct Composite {
    policies: Vec<Sub>,
    total: u64,
    begun: Option<Instant>,
}

#[derive(Debug)]
struct Sub {
    policy: Policy,
    /// Spans a second.
    allowed: u64,
    /// Spans of this second.
    sampled: u64,
}

fn wrong(name: &str, message: impl std::fmt::Display) -> Error {
    Error::argument("policy", format!("{name:?}: composite: {message}"))
}

impl Composite {
    pub(super) fn new(name: &str, args: &CompositeArgs) -> Result<Self, Error> {
        let total = u64::try_from(args.max_total_spans_per_second).unwrap_or_default();
        let subs = &args.composite_sub_policy;
        if subs.is_empty() {
            return Err(wrong(name, "needs a block composite_sub_policy"));
        }
        let known = |policy: &String| subs.iter().any(|sub| sub.shared.name == *policy);
        let allocated = args.rate_allocation.iter().map(|allocation| &allocation.policy);
        if let Some(unknown) = args.policy_order.iter().chain(allocated).find(|policy| !known(policy)) {
            return Err(wrong(name, format!("{unknown:?} is none of its policies")));
        }
        let equal = total / subs.len() as u64;
        let mut policies = Vec::new();
        for sub in subs {
            let place = args.policy_order.iter().position(|policy| *policy == sub.shared.name);
            let policy = match sub.shared.kind.as_str() {
                "and" => {
                    let and = sub.and.as_ref();
                    Policy::and(and.ok_or_else(|| wrong(&sub.shared.name, "type and needs a block and"))?)?
                }
                _ => Policy::shared(&sub.shared, ", and")?,
            };
            let allocation = args.rate_allocation.iter().find(|a| a.policy == sub.shared.name);
            let allowed = match allocation.map(|a| a.percent).filter(|percent| *percent > 0) {
                Some(percent) => (percent as f64 / 100.0 * total as f64) as u64,
                None => equal,
            };
            policies.push((place.unwrap_or(usize::MAX), Sub { policy, allowed, sampled: 0 }));
        }
        // Those that the order does not name come last, as they are written.
        policies.sort_by_key(|(place, _)| *place);
        let policies = policies.into_iter().map(|(_, sub)| sub).collect();
        Ok(Self { policies, total, begun: None })
    }

    pub(super) fn evaluate(&mut self, trace: &Trace<'_>, now: Instant) -> Result<Decision, Undecided> {
        let second = std::time::Duration::from_secs(1);
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= second) {
            self.begun = Some(now);
            self.policies.iter_mut().for_each(|sub| sub.sampled = 0);
        }
        let total: u64 = self.policies.iter().map(|sub| sub.sampled).sum();
        for sub in &mut self.policies {
            if sub.policy.evaluate(trace, now)?.samples() {
                let fits = sub.sampled + trace.spans <= sub.allowed && total + trace.spans <= self.total;
                if fits {
                    sub.sampled += trace.spans;
                }
                // The first policy that samples a trace decides: it does not eat into another's share.
                return Ok(if fits { Decision::Sampled } else { Decision::NotSampled });
            }
        }
        Ok(Decision::NotSampled)
    }
}

//! What has been counted: of each resource, its series.
//!
//! Invariants: a metric of a resource has at most `aggregation_cardinality_limit` series, all together at most
//! [`MAX_SERIES`], and one more a metric and resource for what finds no room; there are at most
//! `resource_metrics_cache_size` resources, and as many that have made room and wait to be sent once more.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use signal::otlp::proto::metrics::v1::{Exemplar, exemplar};
use tokio::time::Instant;
use wire::proto;

use super::args::Temporality;
use super::plan::{Around, Known, Of, Plan};
use crate::connector::spans::{self, Memo, Span, adjusted_count, event_attributes};
use crate::streams::Identity;
use crate::streams::map::ByIdentity;
use crate::streams::recorder::Recorder;

/// Series of all resources together at most.
pub(super) const MAX_SERIES: usize = 1 << 20;

/// One series.
pub(super) struct Series<V> {
    pub(super) attributes: Arc<[KeyValue]>,
    pub(super) value: V,
    pub(super) exemplars: Vec<Exemplar>,
    /// When its first span came, Unix nanoseconds.
    pub(super) start: u64,
    seen: Instant,
}

/// The series of one metric of one resource.
pub(super) struct Group<V>(pub(super) ByIdentity<Series<V>>);

impl<V> Default for Group<V> {
    fn default() -> Self {
        Self(ByIdentity::default())
    }
}

/// What is counted of one resource.
pub(super) struct Counted {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) calls: Group<u64>,
    pub(super) durations: Group<Recorder>,
    pub(super) events: Group<u64>,
    seen: Instant,
    /// Larger than that of those used before.
    used: u64,
}

/// All that has been counted.
#[derive(Default)]
pub(super) struct State {
    pub(super) resources: ByIdentity<Counted>,
    /// Have made room, and are sent once more.
    pub(super) leaving: Vec<(Identity, Counted)>,
    known: Memo<Known>,
    series: usize,
    uses: u64,
    /// When a series of delta temporality was last sent, by resource and series.
    pub(super) sent: HashMap<(Identity, Identity), u64>,
    scratch: Vec<u8>,
}

/// What became of the spans of a request.
#[derive(Default)]
pub(super) struct Outcome {
    /// Without `service.name` there is nothing to count them for.
    pub(super) nameless: u64,
    /// Were counted without their dimensions.
    pub(super) overflown: u64,
}

/// Everything about a span that counting it needs.
struct Observed<'a> {
    now: Instant,
    nanos: u64,
    /// How many spans it stands for.
    count: u64,
    duration: f64,
    exemplar: Option<&'a dyn Fn() -> Exemplar>,
}

impl State {
    /// Whether another request may make further resources leave.
    pub(super) fn has_room(&self, plan: &Plan) -> bool {
        self.leaving.len() < usize::try_from(plan.args.resource_metrics_cache_size).unwrap_or(usize::MAX)
    }

    /// Counts the spans of a serialised request.
    pub(super) fn count(
        &mut self,
        plan: &Plan,
        request: &[u8],
        nanos: u64,
        outcome: &mut Outcome,
    ) -> Result<(), proto::Error> {
        let now = Instant::now();
        for resource in spans::resources(request) {
            let resource = resource?;
            let known = self.known.get(resource.resource, |resource| plan.resource(resource))?;
            if known.service.is_none() {
                let all = resource.scopes().flat_map(|(_, scope)| spans::spans(scope));
                outcome.nameless += all.count() as u64;
                continue;
            }
            self.make_room(plan, &known);
            for (scope, scope_spans) in resource.scopes() {
                let scope = read_scope(plan, scope?);
                for span in spans::spans(scope_spans) {
                    let span = Span::read(span?)?;
                    self.span(plan, &known, &scope, &span, (now, nanos), outcome)?;
                }
            }
        }
        Ok(())
    }

    /// Room for a resource: the one unused for longest leaves.
    fn make_room(&mut self, plan: &Plan, known: &Known) {
        let limit = usize::try_from(plan.args.resource_metrics_cache_size).unwrap_or(usize::MAX);
        if self.resources.contains_key(&known.id) || self.resources.len() < limit {
            return;
        }
        let oldest = self.resources.iter().min_by_key(|(_, counted)| counted.used).map(|(id, _)| *id);
        if let Some(id) = oldest
            && let Some(counted) = self.resources.remove(&id)
        {
            self.leaving.push((id, counted));
        }
    }

    fn span(
        &mut self,
        plan: &Plan,
        known: &Known,
        scope: &InstrumentationScope,
        span: &Span<'_>,
        (now, nanos): (Instant, u64),
        outcome: &mut Outcome,
    ) -> Result<(), proto::Error> {
        self.uses += 1;
        let counted = self.resources.entry(known.id).or_insert_with(|| Counted::new(known, now));
        (counted.seen, counted.used) = (now, self.uses);
        let duration = plan.args.histogram.value(span.nanos());
        let exemplar = || Exemplar {
            time_unix_nano: span.end,
            trace_id: span.trace_id.to_vec(),
            span_id: span.span_id.to_vec(),
            value: Some(exemplar::Value::AsDouble(duration)),
            ..Default::default()
        };
        let wanted = plan.args.exemplars.enabled && span.trace_id.iter().any(|byte| *byte != 0);
        let observed = Observed {
            now,
            nanos,
            count: adjusted_count(span.trace_state),
            duration,
            exemplar: wanted.then_some(&exemplar),
        };
        let mut counting = Counting {
            plan,
            series: &mut self.series,
            scratch: &mut self.scratch,
            observed,
            overflown: false,
        };
        let around = Around { resource: known, scope, event: &[] };
        let shared = counting.calls(counted, span, &around)?;
        counting.durations(counted, span, &around, shared)?;
        if plan.args.events.enabled {
            for event in &span.events {
                let event = event_attributes(event)?;
                let around = Around { resource: known, scope, event: &event };
                counting.event(counted, span, &around)?;
            }
        }
        outcome.overflown += u64::from(counting.overflown);
        Ok(())
    }

    /// Takes what a flush sends and forgets: with delta temporality all, else what leaves.
    pub(super) fn take(&mut self, plan: &Plan) -> Vec<(Identity, Counted)> {
        let mut taken = std::mem::take(&mut self.leaving);
        if plan.args.aggregation_temporality == Temporality::Delta {
            taken.extend(self.resources.drain());
        }
        self.series -= taken.iter().map(|(_, counted)| counted.len()).sum::<usize>();
        taken
    }

    /// What was taken and not sent.
    pub(super) fn put_back(&mut self, plan: &Plan, taken: Vec<(Identity, Counted)>) {
        let delta = plan.args.aggregation_temporality == Temporality::Delta;
        for (id, counted) in taken {
            let before = self.resources.get(&id).map_or(0, Counted::len);
            match self.resources.get_mut(&id) {
                Some(own) if delta => {
                    own.absorb(counted, plan);
                    self.series += own.len() - before;
                }
                // What has left has begun anew since: each is sent as what it is.
                Some(_) => {
                    self.series += counted.len();
                    self.leaving.push((id, counted));
                }
                None => {
                    self.series += counted.len();
                    if delta {
                        self.resources.insert(id, counted);
                    } else {
                        self.leaving.push((id, counted));
                    }
                }
            }
        }
    }

    /// After a flush of cumulative temporality: forgets what had no spans for too long.
    pub(super) fn expire(&mut self, plan: &Plan) {
        let now = Instant::now();
        let age = |limit: Duration, seen: Instant| !limit.is_zero() && now.duration_since(seen) >= limit;
        let (resources, series) = (plan.args.metrics_expiration, plan.args.series_expiration);
        self.resources.retain(|_, counted| !age(resources, counted.seen));
        if !series.is_zero() {
            for counted in self.resources.values_mut() {
                counted.calls.0.retain(|_, one| !age(series, one.seen));
                counted.durations.0.retain(|_, one| !age(series, one.seen));
                counted.events.0.retain(|_, one| !age(series, one.seen));
            }
        }
        self.series = self.resources.values().map(Counted::len).sum::<usize>()
            + self.leaving.iter().map(|(_, counted)| counted.len()).sum::<usize>();
    }

    /// Series that are kept.
    pub(super) fn len(&self) -> usize {
        self.series
    }

    /// Remembers when series of delta temporality were sent; those sent longest ago are forgotten.
    pub(super) fn note_sent(&mut self, keys: Vec<(Identity, Identity)>, nanos: u64, limit: usize) {
        self.sent.extend(keys.into_iter().map(|key| (key, nanos)));
        if self.sent.len() <= limit {
            return;
        }
        let mut times: Vec<u64> = self.sent.values().copied().collect();
        let surplus = times.len() - limit;
        let (_, last, _) = times.select_nth_unstable(surplus - 1);
        let last = *last;
        let mut surplus = surplus - self.sent.values().filter(|time| **time < last).count();
        self.sent.retain(|_, time| match (*time).cmp(&last) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if surplus > 0 => {
                surplus -= 1;
                false
            }
            _ => true,
        });
    }
}

/// Only what the plan asks for is read.
fn read_scope(plan: &Plan, bytes: &[u8]) -> InstrumentationScope {
    if plan.args.include_instrumentation_scope.is_empty() {
        return InstrumentationScope::default();
    }
    prost::Message::decode(bytes).unwrap_or_default()
}

impl Counted {
    fn new(known: &Known, now: Instant) -> Self {
        Self {
            attributes: known.attributes.clone(),
            calls: Group::default(),
            durations: Group::default(),
            events: Group::default(),
            seen: now,
            used: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.calls.0.len() + self.durations.0.len() + self.events.0.len()
    }

    fn absorb(&mut self, other: Self, plan: &Plan) {
        let most = exemplars(plan);
        self.calls.absorb(other.calls, most, |own, more| *own += more);
        self.events.absorb(other.events, most, |own, more| *own += more);
        if let Some(layout) = &plan.layout {
            self.durations.absorb(other.durations, most, |own, more| own.absorb(&more, layout));
        }
    }

    /// Examples belong to one flush.
    pub(super) fn clear_exemplars(&mut self) {
        self.calls.0.values_mut().for_each(|one| one.exemplars.clear());
        self.durations.0.values_mut().for_each(|one| one.exemplars.clear());
        self.events.0.values_mut().for_each(|one| one.exemplars.clear());
    }
}

fn exemplars(plan: &Plan) -> usize {
    usize::try_from(plan.args.exemplars.max_per_data_point).unwrap_or_default()
}

impl<V> Group<V> {
    fn absorb(&mut self, other: Self, most: usize, add: impl Fn(&mut V, V)) {
        for (id, from) in other.0 {
            match self.0.get_mut(&id) {
                None => {
                    self.0.insert(id, from);
                }
                Some(own) => {
                    add(&mut own.value, from.value);
                    own.start = own.start.min(from.start);
                    let room = most.saturating_sub(own.exemplars.len());
                    own.exemplars.extend(from.exemplars.into_iter().take(room));
                }
            }
        }
    }
}

/// Counting one span.
struct Counting<'a> {
    plan: &'a Plan,
    series: &'a mut usize,
    scratch: &'a mut Vec<u8>,
    observed: Observed<'a>,
    overflown: bool,
}

/// The key and attributes of a call's series, where durations have the same.
type Shared = Option<(Identity, Arc<[KeyValue]>)>;

impl Counting<'_> {
    fn calls(
        &mut self,
        counted: &mut Counted,
        span: &Span<'_>,
        around: &Around<'_>,
    ) -> Result<Shared, proto::Error> {
        let id = self.plan.key(Of::Calls, span, around, self.scratch)?;
        let count = self.observed.count;
        let attributes = || self.plan.attributes(Of::Calls, span, around).map(Arc::from);
        let plan = self.plan;
        let series = self.series(&mut counted.calls, id, attributes, || 0)?;
        series.value += count;
        Ok(plan.calls_are_durations().then(|| (id, series.attributes.clone())))
    }

    fn durations(
        &mut self,
        counted: &mut Counted,
        span: &Span<'_>,
        around: &Around<'_>,
        shared: Shared,
    ) -> Result<(), proto::Error> {
        let plan = self.plan;
        let Some(layout) = &plan.layout else { return Ok(()) };
        let (count, duration) = (self.observed.count, self.observed.duration);
        let new = || Recorder::new(layout);
        let series = match shared {
            Some((id, attributes)) => self.series(&mut counted.durations, id, || Ok(attributes), new)?,
            None => {
                let id = plan.key(Of::Durations, span, around, self.scratch)?;
                let attributes = || plan.attributes(Of::Durations, span, around).map(Arc::from);
                self.series(&mut counted.durations, id, attributes, new)?
            }
        };
        series.value.record(layout, duration, count);
        Ok(())
    }

    fn event(
        &mut self,
        counted: &mut Counted,
        span: &Span<'_>,
        around: &Around<'_>,
    ) -> Result<(), proto::Error> {
        let plan = self.plan;
        let id = plan.key(Of::Events, span, around, self.scratch)?;
        let count = self.observed.count;
        let attributes = || plan.attributes(Of::Events, span, around).map(Arc::from);
        self.series(&mut counted.events, id, attributes, || 0)?.value += count;
        Ok(())
    }

    /// The series of a key, or the one for what finds no room; seen, and with another example if there is room for it.
    fn series<'s, V>(
        &mut self,
        group: &'s mut Group<V>,
        id: Identity,
        attributes: impl FnOnce() -> Result<Arc<[KeyValue]>, proto::Error>,
        new: impl FnOnce() -> V,
    ) -> Result<&'s mut Series<V>, proto::Error> {
        let Observed { now, nanos, exemplar, .. } = &self.observed;
        let most = exemplars(self.plan);
        let full = !group.0.contains_key(&id) && self.is_full(group.0.len());
        let id = if full { overflow_id() } else { id };
        self.overflown |= full;
        if !group.0.contains_key(&id) {
            let attributes = if full { overflow().into() } else { attributes()? };
            let series =
                Series { attributes, value: new(), exemplars: Vec::new(), start: *nanos, seen: *now };
            group.0.insert(id, series);
            *self.series += 1;
        }
        let series = group.0.get_mut(&id).expect("put there if it was not");
        series.seen = *now;
        if let Some(exemplar) = exemplar
            && !full
            && series.exemplars.len() < most
        {
            series.exemplars.push(exemplar());
        }
        Ok(series)
    }

    fn is_full(&self, series: usize) -> bool {
        let limit = usize::try_from(self.plan.args.aggregation_cardinality_limit).unwrap_or(usize::MAX);
        (limit > 0 && series >= limit) || *self.series >= MAX_SERIES
    }
}

fn overflow_id() -> Identity {
    Identity::of_bytes(b"otel.metric.overflow")
}

fn overflow() -> Vec<KeyValue> {
    let value = Some(AnyValue { value: Some(Value::BoolValue(true)) });
    vec![KeyValue { key: "otel.metric.overflow".into(), value, ..Default::default() }]
}

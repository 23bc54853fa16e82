//! Hands records over as OTLP, again and again until they are taken.
//!
//! Invariants: a record is taken, or counted as dropped with a reason; what a `recombine` held keeps its batch's
//! receipt until it is taken, and for good if it never is, so that no position runs ahead of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::eval::Invalid;
use component::{Arguments, Fanout, OnceAMinute, Rejected};
use parking_lot::Mutex;
use signal::logs::Hold;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use signal::otlp::proto::common::v1::InstrumentationScope;
use signal::otlp::proto::logs::v1::{ResourceLogs, ScopeLogs};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::{OtlpBatch, OtlpLogs, OtlpRequest};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, Failure};
use super::expr::Template;
use super::value::{Map, key_values};
use super::{Counters, Pipeline};

/// A batch is not waited with longer than this when its receiver stops.
const GRACE: Duration = Duration::from_secs(5);

/// Between looks at what is held while a receiver stops.
const LOOK: Duration = Duration::from_millis(50);

/// `retry_on_failure`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Retry::validate)]
pub struct Retry {
    /// Give up after `max_elapsed_time`; otherwise a batch that nobody takes is offered for ever.
    #[arg(default)]
    pub enabled: bool,
    /// First wait before a batch is offered again.
    #[arg(default = "1s")]
    pub initial_interval: Duration,
    /// The wait doubles up to this.
    #[arg(default = "30s")]
    pub max_interval: Duration,
    /// How long a batch is offered where `enabled` is set; 0 is for ever.
    #[arg(default = "5m")]
    pub max_elapsed_time: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            enabled: false,
            initial_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(300),
        }
    }
}

impl Retry {
    fn validate(&self) -> Result<(), Invalid> {
        if self.initial_interval.is_zero() {
            return Err(Invalid::field("initial_interval", "initial_interval must be longer than 0"));
        }
        if self.max_interval < self.initial_interval {
            return Err(Invalid::field(
                "max_interval",
                "max_interval must not be shorter than initial_interval",
            ));
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        (self.enabled && !self.max_elapsed_time.is_zero()).then(|| Instant::now() + self.max_elapsed_time)
    }
}

/// What all entries of a receiver get: `attributes` and `resource`.
#[derive(Clone, Debug, Default)]
pub struct Given {
    attributes: Vec<(String, Template)>,
    resource: Vec<(String, Template)>,
}

impl Given {
    /// Reads texts that may hold `EXPR(…)`.
    ///
    /// # Errors
    /// With the name of the argument, if an expression is none.
    pub fn new<'a>(
        attributes: impl IntoIterator<Item = (&'a String, &'a String)>,
        resource: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Self, Invalid> {
        fn read<'a>(
            argument: &'static str,
            pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
        ) -> Result<Vec<(String, Template)>, Invalid> {
            let read = pairs.into_iter().map(|(name, text)| {
                let template = Template::parse(text);
                let template = template.map_err(|e| Invalid::field(argument, format!("{name}: {e}")))?;
                Ok((name.clone(), template))
            });
            read.collect()
        }
        Ok(Self { attributes: read("attributes", attributes)?, resource: read("resource", resource)? })
    }

    /// Gives them to an entry.
    ///
    /// # Errors
    /// If an expression has no value for it; it has the others then.
    pub fn apply(&self, entry: &mut Entry) -> Result<(), Failure> {
        let mut result = Ok(());
        for (name, template) in &self.attributes {
            match template.value(entry) {
                Ok(value) => drop(entry.attributes_mut().insert(name.clone(), value)),
                Err(failure) => result = Err(failure),
            }
        }
        for (name, template) in &self.resource {
            match template.value(entry) {
                Ok(value) => drop(entry.resource_mut().insert(name.clone(), value)),
                Err(failure) => result = Err(failure),
            }
        }
        result
    }
}

/// What arguments say of the way from an entry to the consumers.
pub struct Way {
    /// The operators.
    pub pipeline: Pipeline,
    /// What all entries get.
    pub given: Given,
    /// The consumers.
    pub fanout: Fanout<OtlpLogs>,
    /// How often a batch is offered.
    pub retry: Retry,
}

/// The way from entries to consumers, shared by all that read.
pub struct Delivery {
    way: ArcSwap<Way>,
    counters: Counters,
    /// Something is held that was not before.
    held: Notify,
    /// Receipts of what nobody has taken.
    kept: Mutex<Vec<Hold>>,
    told: OnceAMinute,
}

impl Delivery {
    /// With arguments.
    pub fn new(way: Way, counters: Counters) -> Self {
        Self {
            way: ArcSwap::from_pointee(way),
            counters,
            held: Notify::new(),
            kept: Mutex::default(),
            told: OnceAMinute::default(),
        }
    }

    /// Puts arguments in force; the answer is what the old operators held, to be handed over.
    pub fn change(&self, way: Way) -> Vec<Entry> {
        let old = self.way.swap(Arc::new(way));
        let mut out = Vec::new();
        old.pipeline.flush(None, &mut out);
        out
    }

    /// Whether entries may be held by the operators.
    pub fn holds(&self) -> bool {
        self.way.load().pipeline.holds()
    }

    /// Own metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts records that were dropped before they came here.
    pub fn count_dropped(&self, reason: &str, count: u64) {
        self.counters.drop("receiver", reason, count);
    }

    /// Leads entries through the operators and hands over what comes out.
    ///
    /// # Errors
    /// If the receiver stops before it is taken.
    pub async fn send(&self, entries: Vec<Entry>, stop: &CancellationToken) -> Result<(), Rejected> {
        let mut out = Vec::with_capacity(entries.len());
        {
            let way = self.way.load();
            for mut entry in entries {
                if let Err(failure) = way.given.apply(&mut entry)
                    && self.told.now()
                {
                    tracing::warn!(%failure, "an attribute could not be given to a record");
                }
                way.pipeline.process(entry, &mut out);
            }
            if way.pipeline.holds() {
                self.held.notify_one();
            }
        }
        self.hand_over(out, stop).await
    }

    /// Hands records over until they are taken, refused for good, or given up.
    ///
    /// # Errors
    /// If the receiver stops before they are taken.
    pub async fn hand_over(&self, entries: Vec<Entry>, stop: &CancellationToken) -> Result<(), Rejected> {
        let Some((batch, holds)) = batch(entries) else { return Ok(()) };
        let mut holds = Holds { holds, kept: &self.kept };
        let count = batch.items() as u64;
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::pin!(too_late);
        let deadline = self.way.load().retry.deadline();
        let mut pause = Duration::ZERO;
        loop {
            let way = self.way.load_full();
            let answer = tokio::select! {
                answer = way.fanout.send(batch.clone()) => answer,
                () = &mut too_late => return Err(Rejected::Stopped),
            };
            let why = match answer {
                Ok(()) => {
                    holds.holds.clear();
                    return Ok(());
                }
                Err(Rejected::Permanent(why)) => {
                    holds.holds.clear();
                    self.count_dropped("refused", count);
                    self.tell(&why, count, "records were refused for good and are dropped");
                    return Ok(());
                }
                Err(error) => error.to_string(),
            };
            self.tell(&why, count, "records wait to be taken");
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                holds.holds.clear();
                self.count_dropped("retry_expired", count);
                return Ok(());
            }
            pause = (pause * 2).clamp(way.retry.initial_interval, way.retry.max_interval);
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                () = &mut too_late => return Err(Rejected::Stopped),
            }
        }
    }

    fn tell(&self, error: &str, records: u64, message: &'static str) {
        if self.told.now() {
            tracing::warn!(error, records, "{message}");
        }
    }

    /// Lets go of what the operators hold, in time, until it is dropped.
    pub async fn keep_time(&self, stop: &CancellationToken) {
        loop {
            let deadline = self.way.load().pipeline.deadline();
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    let mut out = Vec::new();
                    self.way.load().pipeline.flush(Some(Instant::now()), &mut out);
                    let _ = self.hand_over(out, stop).await;
                }
                () = self.held.notified() => {}
            }
        }
    }

    /// Hands over all that is held while a receiver ends; until it is dropped.
    pub async fn empty(&self, stop: &CancellationToken) {
        loop {
            self.empty_once(stop).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Hands over all that is held now.
    pub async fn empty_once(&self, stop: &CancellationToken) {
        let mut out = Vec::new();
        self.way.load().pipeline.flush(None, &mut out);
        let count = out.len() as u64;
        if self.hand_over(out, stop).await.is_err() {
            tracing::warn!(records = count, "records that were held could not be handed over in time");
        }
    }
}

/// Receipts of records that are under way: kept for good unless they were taken, even where nobody waits for the
/// answer any more.
struct Holds<'a> {
    holds: Vec<Hold>,
    kept: &'a Mutex<Vec<Hold>>,
}

impl Drop for Holds<'_> {
    fn drop(&mut self) {
        self.kept.lock().append(&mut self.holds);
    }
}

/// A request of records that share resources and scopes where they stand together.
fn batch(entries: Vec<Entry>) -> Option<(OtlpLogs, Vec<Hold>)> {
    let received_ms = entries.first()?.observed_ns / 1_000_000;
    let mut holds = Vec::new();
    let mut resource_logs: Vec<ResourceLogs> = Vec::new();
    let mut last: Option<(Map, String)> = None;
    for mut entry in entries {
        holds.append(&mut entry.hold);
        let (resource, scope, record) = entry.into_record();
        let same_resource = last.as_ref().is_some_and(|(r, _)| *r == resource);
        let same_scope = same_resource && last.as_ref().is_some_and(|(_, s)| *s == scope);
        if !same_resource {
            let attributes = key_values(resource.clone());
            let resource = (!attributes.is_empty()).then(|| Resource { attributes, ..Resource::default() });
            resource_logs.push(ResourceLogs { resource, ..ResourceLogs::default() });
        }
        let logs = resource_logs.last_mut().expect("one was just pushed or is there");
        if !same_scope {
            let named = (!scope.is_empty())
                .then(|| InstrumentationScope { name: scope.clone(), ..InstrumentationScope::default() });
            logs.scope_logs.push(ScopeLogs { scope: named, ..ScopeLogs::default() });
            last = Some((resource, scope));
        }
        logs.scope_logs.last_mut().expect("one was just pushed or is there").log_records.push(record);
    }
    let request = OtlpRequest::from_message(ExportLogsServiceRequest { resource_logs });
    let mut batch = OtlpBatch { received_ms, ..OtlpBatch::default() };
    batch.requests.push(request);
    Some((batch.into(), holds))
}

/// A body of text without spaces at its ends, or with them.
pub fn trimmed(text: &str, (leading, trailing): (bool, bool)) -> &str {
    let text = if leading { text } else { text.trim_start() };
    if trailing { text } else { text.trim_end() }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::tests::text_entry;
    use super::*;

    #[test]
    fn records_share_resources_and_scopes_that_stand_together() {
        let entry = |host: &str, scope: &str| {
            let mut entry: Entry = text_entry("x");
            entry.resource_mut().insert("host".into(), host.into());
            entry.scope = scope.into();
            entry
        };
        let entries =
            vec![entry("a", "s"), entry("a", "s"), entry("a", "t"), entry("b", "t"), entry("b", "t")];
        let (batch, _) = batch(entries).unwrap();
        let message = batch.requests[0].message().unwrap();
        let counts: Vec<Vec<usize>> = message
            .resource_logs
            .iter()
            .map(|r| r.scope_logs.iter().map(|s| s.log_records.len()).collect())
            .collect();
        assert_eq!(counts, [vec![2, 1], vec![2]]);
        assert_eq!(message.resource_logs[1].scope_logs[0].scope.as_ref().unwrap().name, "t");
        assert_eq!(batch.items(), 5);
    }

    #[test]
    fn spaces_stay_where_they_are_to_be_kept() {
        for (keep, expected) in [
            ((false, false), "a b"),
            ((true, false), "  a b"),
            ((false, true), "a b \t"),
            ((true, true), "  a b \t"),
        ] {
            assert_eq!(trimmed("  a b \t", keep), expected);
        }
    }
}

//! One target: when it is scraped, what becomes of the page, how the batch gets to its sinks.
//!
//! A worker owns what is remembered of its target. New settings, the target's end and its return arrive as
//! values of a watch channel, so that the memory outlives all of them. Nothing here waits without a limit:
//! a scrape has its timeout, a delivery ends with the next scrape.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildCx, Fanout, Offered, heavy, offer};
use http::HeaderValue;
use net::Client;
use net::scrape::{Failed, Last, Places, Pool, Status, first_within};
use signal::samples::{NO_FAMILY, Point, STALE_NAN};
use signal::{LabelsBuilder, METRIC_NAME, SampleBatch, Samples, Series};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::exposition::{Format, ScrapeProtocol, format_of};

use crate::MANY_SERIES;

use super::args::Args;
use super::failures::FailureLog;
use super::fetch::{Buffers, Metrics, fetch};
use super::page::{self, Memory, Tally};
use super::rules::Rules;
use super::target::Spec;

/// Pages above this size are read where they hold up no other task.
const LARGE_PAGE: usize = 2 << 20;
/// How late a scrape may be and still carry the time that was planned for it. As prometheus/scrape:
/// `ScrapeTimestampTolerance`.
const TOLERANCE_MS: i64 = 2;

/// Series that every scrape reports, and those of `extra_metrics`.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA_REPORTS: [&str; 3] = ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// What all targets of one configuration share.
pub(super) struct Settings {
    /// What it was made from, without targets and receivers.
    pub(super) args: Args,
    pub(super) client: Client,
    pub(super) accept: HeaderValue,
    pub(super) compression: bool,
    pub(super) body_limit: usize,
    pub(super) fallback: ScrapeProtocol,
    /// Why no target may be scraped.
    pub(super) refused: Option<String>,
    pub(super) failures: Option<Arc<FailureLog>>,
}

/// What to scrape and how.
pub(super) struct Job {
    pub(super) spec: Spec,
    pub(super) rules: Rules,
    pub(super) settings: Arc<Settings>,
}

/// What all workers of a component share for as long as it lives.
pub(super) struct Shared {
    pub(super) forward: ArcSwap<Fanout<Samples>>,
    pub(super) pool: Pool<Buffers>,
    pub(super) metrics: Metrics,
    pub(super) cx: BuildCx,
    /// When targets are scraped; for as many as there are now.
    pub(super) places: ArcSwap<Places>,
}

/// Unix time in milliseconds.
pub(super) fn now_ms() -> i64 {
    #[cfg(not(test))]
    return signal::clock::now_ms();
    // Tests pause tokio's clock; the time of samples has to follow it.
    #[cfg(test)]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let (start, now) = (*START.get_or_init(Instant::now), Instant::now());
        let since = now.saturating_duration_since(start).as_millis() as i64;
        1_700_000_000_000 + SKEW.get() + since - start.saturating_duration_since(now).as_millis() as i64
    }
}

#[cfg(test)]
thread_local! {
    /// By how much the clock has been put forward.
    pub(super) static SKEW: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Scrapes one target.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: watch::Receiver<Option<Arc<Job>>>,
    pub(super) status: Arc<Status>,
    pub(super) stop: CancellationToken,
    /// Told the key of the target once its end has been marked.
    pub(super) gone: mpsc::Sender<u64>,
}

/// When things happen to the target.
enum Phase {
    /// Scraped at an instant for which a time is planned.
    Due { at: Instant, planned_ms: i64 },
    /// No longer wanted; its series are marked stale later, as of `stale_ms`.
    Ended { at: Instant, stale_ms: i64 },
    /// Its end has been marked.
    Marked,
}

impl Phase {
    fn first(after: Duration) -> Self {
        Self::Due { at: Instant::now() + after, planned_ms: now_ms() + after.as_millis() as i64 }
    }

    async fn due(&self) {
        match self {
            Self::Due { at, .. } | Self::Ended { at, .. } => tokio::time::sleep_until(*at).await,
            Self::Marked => std::future::pending().await,
        }
    }
}

struct Target {
    job: Arc<Job>,
    memory: Memory,
    reports: Vec<Series>,
    /// Stale markers have something to mark.
    scraped: bool,
}

impl Worker {
    /// Runs until the component stops or drops the sender of jobs. `first_in` is when the first scrape is due.
    pub(super) async fn run(mut self, first_in: Duration) {
        let Some(job) = self.jobs.borrow_and_update().clone() else { return };
        let mut target = Target { reports: reports(&job), job, memory: Memory::default(), scraped: false };
        let mut phase = Phase::first(first_in);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                changed = self.jobs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let job = self.jobs.borrow_and_update().clone();
                    phase = target.change(job, phase);
                }
                () = phase.due() => match phase {
                    Phase::Due { at, planned_ms } => {
                        let Some(next) = self.scrape(&mut target, at, planned_ms).await else { return };
                        phase = next;
                    }
                    Phase::Ended { stale_ms, .. } => {
                        self.mark_end(&mut target, stale_ms).await;
                        phase = Phase::Marked;
                        tokio::select! {
                            () = self.stop.cancelled() => return,
                            // The component may be gone.
                            _ = self.gone.send(target.job.spec.key) => {}
                        }
                    }
                    Phase::Marked => {}
                }
            }
        }
    }

    /// Scrapes, hands over, and says when the next scrape is due; `None` if the component stops.
    async fn scrape(&self, target: &mut Target, at: Instant, planned_ms: i64) -> Option<Phase> {
        let job = target.job.clone();
        let interval = job.spec.interval;
        let time_ms = {
            let now = now_ms();
            let tolerance = TOLERANCE_MS.min(interval.as_millis() as i64 / 100);
            if (0..=tolerance).contains(&(now - planned_ms)) { planned_ms } else { now }
        };
        let next = next_due(target, **self.shared.places.load(), at, time_ms);
        let mut buffers = self.shared.pool.take();
        let started = Instant::now();
        let page = async {
            match &job.settings.refused {
                Some(refused) => Err(Failed::new("limit", refused.clone())),
                None => fetch(&job, self.shared.cx.services(), &mut buffers.page).await,
            }
        };
        let page = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            page = page => page,
        };
        let read = heavy(buffers.page.body.len() > LARGE_PAGE, || {
            let read = || target.take_page(page, &mut buffers, time_ms, started, &self.shared.metrics);
            catch_unwind(AssertUnwindSafe(read))
        });
        let (batch, error) = read.unwrap_or_else(|_| {
            // No page may cost more than its scrape. What was remembered may be half changed.
            (target.memory, buffers) = Default::default();
            let failed = Err(Failed::new("panic", "reading the page panicked: please report it"));
            target.take_page(failed, &mut buffers, time_ms, started, &self.shared.metrics)
        });
        buffers.page.clear();
        self.shared.pool.put(buffers);
        self.tell(&job, error, time_ms, started.elapsed()).await;
        let until = match &next {
            Phase::Due { at, .. } => *at,
            _ => started + interval,
        };
        self.deliver(batch, until).await;
        heavy(target.memory.len() > MANY_SERIES, || target.memory.rest());
        Some(next)
    }

    async fn tell(&self, job: &Job, failed: Option<Failed>, at_ms: i64, took: Duration) {
        let url = &job.spec.url;
        if let Some(Failed { message: error, reason }) = &failed {
            self.shared.metrics.failed.with_label_values(&[reason]).inc();
            tracing::debug!(target = %net::shown_url(url), error, "scrape failed");
            if let Some(failures) = &job.settings.failures {
                failures.write(&job.spec.job, &net::shown_url(url), error, at_ms).await;
            }
        }
        let up = Some(failed.is_none());
        let error = failed.map(|failed| failed.message).unwrap_or_default();
        self.status.set(Last { up, error, at_ms, took });
    }

    /// Hands a batch to the sinks; again while they say that it may work later, until it is too late.
    async fn deliver(&self, batch: SampleBatch, until: Instant) {
        let batch = Samples::from(batch);
        let count = batch.len();
        self.shared.cx.live_debug(|| live_text(&batch));
        let metrics = &self.shared.metrics;
        let offered = offer(&self.shared.forward, batch, &metrics.latency, until, &self.stop).await;
        match offered.reason() {
            None => metrics.forwarded.inc_by(count as u64),
            Some(reason) => metrics.drop(reason, count),
        }
        match offered {
            Offered::Taken => {}
            Offered::Refused(error) => {
                tracing::warn!(%error, samples = count, "samples of a scrape were refused and are lost");
            }
            Offered::Late => {
                tracing::warn!(samples = count, "samples of a scrape were not taken in time and are lost");
            }
        }
    }

    /// The target is no more: all its series, the reported ones too, are stale.
    async fn mark_end(&self, target: &mut Target, stale_ms: i64) {
        let mut batch = SampleBatch { origin: Some(target.job.spec.key), ..SampleBatch::default() };
        target.memory.fail(&target.job.rules, stale_ms, &mut batch);
        target.memory = Memory::default();
        if std::mem::take(&mut target.scraped) {
            batch.points.extend(target.reports.iter().map(|series| point(series, stale_ms, STALE_NAN)));
            self.deliver(batch, Instant::now() + target.job.spec.interval).await;
        }
    }
}

impl Target {
    /// A new job, the end of the target or its return.
    fn change(&mut self, job: Option<Arc<Job>>, phase: Phase) -> Phase {
        let Some(job) = job else {
            // As prometheus/scrape: `endOfRunStaleness`. The markers carry the time of the scrape that does
            // not happen, and wait for two intervals and a bit, in case that the target comes back.
            let interval = self.job.spec.interval;
            return match phase {
                Phase::Due { at, planned_ms } => {
                    Phase::Ended { at: at + interval + interval / 10, stale_ms: planned_ms }
                }
                other => other,
            };
        };
        let interval_changed = job.spec.interval != self.job.spec.interval;
        self.reports = reports(&job);
        self.memory.forget_row();
        self.job = job;
        match phase {
            Phase::Due { at, planned_ms } if !interval_changed => Phase::Due { at, planned_ms },
            _ => Phase::first(first_within(
                self.job.spec.key,
                Duration::from_secs(1).min(self.job.spec.interval),
            )),
        }
    }

    /// Makes a batch of a page, or of its absence.
    fn take_page(
        &mut self,
        page: Result<String, Failed>,
        buffers: &mut Buffers,
        time_ms: i64,
        started: Instant,
        metrics: &Metrics,
    ) -> (SampleBatch, Option<Failed>) {
        let job = self.job.clone();
        let mut batch = SampleBatch { origin: Some(job.spec.key), ..SampleBatch::default() };
        let page = page.and_then(|content_type| {
            let negotiated = format_of(&content_type, Some(job.settings.fallback))
                .map_err(|error| Failed::new("content_type", error))?;
            if let Some(warning) = &negotiated.warning {
                tracing::debug!(target = %net::shown_url(&job.spec.url), warning);
            }
            Ok(negotiated.format)
        });
        if let Ok(format) = page
            && let Some(batch) = self.repeat(format, &buffers.page.body, time_ms, started)
        {
            self.scraped = true;
            return (batch, None);
        }
        let (tally, size, error) = match page {
            Ok(format) => {
                let source = (format, buffers.page.body.as_slice());
                let (tally, result) = page::read(
                    &mut self.memory,
                    &mut buffers.scratch,
                    &job.rules,
                    source,
                    time_ms,
                    &mut batch,
                );
                (tally, buffers.page.body.len() as f64, result.err().map(|failed| *failed))
            }
            Err(failed) => {
                self.memory.fail(&job.rules, time_ms, &mut batch);
                // As prometheus/scrape: -1 for a page above its limit.
                (Tally::default(), if failed.is_too_large() { -1.0 } else { 0.0 }, Some(failed))
            }
        };
        metrics.drop("repeated", tally.repeated);
        metrics.drop("ahead", tally.ahead);
        self.scraped = true;
        let values = self.report(started.elapsed(), &tally, size, error.is_none());
        batch
            .points
            .extend(self.reports.iter().zip(values).map(|(series, value)| point(series, time_ms, value)));
        if error.is_none() && !job.rules.convert_classic {
            self.memory.learn(&buffers.page.body, self.reports.len(), &mut batch);
        }
        (batch, error)
    }

    /// The batch of a page that is like the last one.
    fn repeat(&mut self, format: Format, body: &[u8], time_ms: i64, started: Instant) -> Option<SampleBatch> {
        let mut values = self.memory.repeat(&self.job.rules, (format, body), time_ms)?;
        let tally = Tally::repeated(values.len());
        let reported = self.report(started.elapsed(), &tally, body.len() as f64, true);
        values.extend(&reported[..self.reports.len()]);
        let row = self.memory.row(time_ms, values)?;
        let (families, origin) = (row.list().families().clone(), Some(self.job.spec.key));
        Some(SampleBatch { points: row.into(), families, origin, ..SampleBatch::default() })
    }

    /// Values for [`REPORTS`] and [`EXTRA_REPORTS`].
    fn report(&self, took: Duration, tally: &Tally, size: f64, up: bool) -> [f64; 8] {
        [
            f64::from(u8::from(up)),
            took.as_secs_f64(),
            tally.scraped as f64,
            tally.added as f64,
            tally.series_added as f64,
            self.job.spec.timeout.as_secs_f64(),
            self.job.rules.limits.samples as f64,
            size,
        ]
    }
}

fn point(series: &Series, timestamp_ms: i64, value: f64) -> Point {
    Point { series: series.clone(), timestamp_ms, value, start_ms: 0, family: NO_FAMILY }
}

/// The series about scrapes themselves. They carry the labels of the target.
fn reports(job: &Job) -> Vec<Series> {
    let mut builder = LabelsBuilder::new();
    let extra: &[&str] = if job.settings.args.extra_metrics { &EXTRA_REPORTS } else { &[] };
    let named = |name: &&str| {
        builder.reset(&job.rules.labels);
        builder.set(METRIC_NAME, name);
        builder.build_series()
    };
    REPORTS.iter().chain(extra).map(named).collect()
}

/// Each target has its place within the interval, by its key and the clock, so that scrapes are spread and
/// stay where they are across restarts. The scrape after the first one comes half an interval later or more.
fn next_due(target: &Target, places: Places, at: Instant, time_ms: i64) -> Phase {
    let interval = target.job.spec.interval;
    let interval_ms = (interval.as_millis() as i64).max(1);
    let now = Instant::now();
    if !target.scraped || at + interval < now {
        let mut wait = places.wait(target.job.spec.key, interval, time_ms).as_millis() as i64;
        if wait < interval_ms / 2 {
            wait += interval_ms;
        }
        return Phase::Due { at: now + Duration::from_millis(wait as u64), planned_ms: time_ms + wait };
    }
    Phase::Due { at: at + interval, planned_ms: time_ms + interval_ms }
}

fn live_text(batch: &Samples) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for point in batch.points.iter().take(1000) {
        let _ = writeln!(text, "{} {} {}", point.series, point.value, point.timestamp_ms);
    }
    text
}

//! One profile of one target: when it is fetched, what becomes of it, how it gets to its sinks.
//!
//! A worker owns what is remembered of its profile. New settings, the target's end and its return arrive as values of a
//! watch channel, so that the memory outlives all of them. What was fetched is offered while the next one is being
//! fetched, for that takes almost all of the interval where the target takes the profile for a time: at most two are
//! held. A difference that was not taken by then is part of the next one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BoxFuture, BuildCx, Fanout, Offered, OnceAMinute, heavy, offer};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use net::Client;
use net::args::HttpClientArgs;
use net::scrape::{Failed, Fetch, Last, Pool, Status, wait_for_place};
use signal::{Profile, Profiles};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::pprof::Delta;

use super::Metrics;
use super::take::{BODY_LIMIT, Buffers, Taken, remembered, take};
use super::target::Spec;

/// How long a profile is offered if no other one comes.
const LONGEST_OFFER: Duration = Duration::from_secs(3600);
/// Profiles above this size are compared where that holds up no other task.
const LARGE: usize = 256 << 10;

/// What all targets of one configuration share.
pub(super) struct Settings {
    /// What the client was made from.
    pub(super) args: HttpClientArgs,
    pub(super) client: Client,
}

/// What to fetch and how.
pub(super) struct Job {
    pub(super) spec: Spec,
    pub(super) settings: Arc<Settings>,
}

/// What all workers of a component share for as long as it lives.
pub(super) struct Shared {
    pub(super) forward: ArcSwap<Fanout<Profiles>>,
    pub(super) pool: Pool<Buffers>,
    /// How many profiles are unpacked and compared at once: as many as there are processors.
    pub(super) compare: Semaphore,
    pub(super) metrics: Metrics,
    /// For the line about profiles that are lost.
    pub(super) lost: OnceAMinute,
    pub(super) cx: BuildCx,
}

impl Shared {
    /// Counts what became of a profile.
    fn count(&self, offered: &Offered) {
        let Some(reason) = offered.reason() else { return self.metrics.forwarded.inc() };
        self.metrics.dropped.with_label_values(&[reason]).inc();
        if self.lost.now() {
            let why = match offered {
                Offered::Refused(rejected) => rejected.to_string(),
                Offered::Taken | Offered::Late => "it was not taken in time".to_owned(),
            };
            tracing::warn!(reason, why, "a profile is lost");
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Fetches one profile again and again.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: watch::Receiver<Option<Arc<Job>>>,
    pub(super) status: Arc<Status>,
    pub(super) stop: CancellationToken,
    /// Told the key of the profile once it is done with.
    pub(super) gone: mpsc::Sender<u64>,
}

/// When something happens.
enum Phase {
    /// The profile is fetched.
    Due(Instant),
    /// It is no longer wanted; what is remembered is kept for a while, in case that it comes back.
    Ended(Instant),
    /// Nothing is remembered.
    Gone,
}

impl Phase {
    /// At the profile's place within the interval.
    fn at_place(spec: &Spec) -> Self {
        Self::Due(Instant::now() + wait_for_place(spec.key, spec.interval, now_ms()))
    }

    async fn due(&self) {
        match self {
            Self::Due(at) | Self::Ended(at) => tokio::time::sleep_until(*at).await,
            Self::Gone => std::future::pending().await,
        }
    }
}

/// A profile on its way to the sinks.
struct Flight {
    offered: BoxFuture<'static, Offered>,
    /// It is a difference.
    settles: bool,
}

struct Target {
    job: Arc<Job>,
    /// Of a profile that only grows.
    delta: Option<Delta>,
    flight: Option<Flight>,
    /// For the line about scrapes that fail.
    failing: OnceAMinute,
}

impl Target {
    /// Returns when what is on its way has arrived; never if nothing is.
    async fn landed(&mut self) -> Offered {
        match &mut self.flight {
            Some(flight) => (&mut flight.offered).await,
            None => std::future::pending().await,
        }
    }

    /// What was on its way has arrived, or is lost for good.
    fn land(&mut self, offered: &Offered, shared: &Shared) {
        let settles = self.flight.take().is_some_and(|flight| flight.settles);
        if settles && let Some(delta) = &mut self.delta {
            delta.settle();
        }
        shared.count(offered);
    }

    /// A new job, the end of the target or its return.
    fn change(&mut self, job: Option<Arc<Job>>, phase: Phase) -> Phase {
        let Some(job) = job else {
            return match phase {
                Phase::Due(at) => Phase::Ended(at + 2 * self.job.spec.interval),
                other => other,
            };
        };
        let same_interval = job.spec.interval == self.job.spec.interval;
        if job.spec.kind != self.job.spec.kind {
            self.delta = remembered(job.spec.kind);
        }
        self.job = job;
        match phase {
            Phase::Due(at) if same_interval => Phase::Due(at),
            _ => Phase::at_place(&self.job.spec),
        }
    }
}

impl Worker {
    /// Runs until the component stops or drops the sender of jobs.
    pub(super) async fn run(mut self) {
        let Some(job) = self.jobs.borrow_and_update().clone() else { return };
        let mut phase = Phase::at_place(&job.spec);
        let delta = remembered(job.spec.kind);
        let mut target = Target { job, delta, flight: None, failing: OnceAMinute::default() };
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.finish(&mut target).await,
                changed = self.jobs.changed() => {
                    if changed.is_err() {
                        return self.finish(&mut target).await;
                    }
                    let job = self.jobs.borrow_and_update().clone();
                    phase = target.change(job, phase);
                }
                offered = target.landed() => target.land(&offered, &self.shared),
                () = phase.due() => match phase {
                    Phase::Due(at) => {
                        let interval = target.job.spec.interval;
                        let next = at + interval;
                        self.scrape(&mut target).await;
                        let missed = next <= Instant::now();
                        phase = if missed { Phase::at_place(&target.job.spec) } else { Phase::Due(next) };
                    }
                    Phase::Ended(_) => {
                        if target.flight.is_some() {
                            // It is offered on; the target may come back even so.
                            phase = Phase::Ended(Instant::now() + target.job.spec.interval);
                            continue;
                        }
                        phase = Phase::Gone;
                        target.delta = remembered(target.job.spec.kind);
                        tokio::select! {
                            () = self.stop.cancelled() => return,
                            // The component may be gone.
                            _ = self.gone.send(target.job.spec.key) => {}
                        }
                    }
                    Phase::Gone => {}
                }
            }
        }
    }

    /// Waits for what is on its way; that ends soon after the component is asked to stop.
    async fn finish(&self, target: &mut Target) {
        if target.flight.is_some() {
            let offered = target.landed().await;
            target.land(&offered, &self.shared);
        }
    }

    /// Fetches, and sends what came on its way.
    async fn scrape(&self, target: &mut Target) {
        let job = target.job.clone();
        let (started, at_ms) = (Instant::now(), now_ms());
        let mut buffers = self.shared.pool.take();
        let fetched = {
            let fetched = self.fetch(&job, &mut buffers);
            tokio::pin!(fetched);
            loop {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    fetched = &mut fetched => break fetched,
                    offered = target.landed() => target.land(&offered, &self.shared),
                }
            }
        };
        let taken = match fetched {
            Ok(()) => self.take(target, &mut buffers).await,
            Err(failed) => Err(failed.message),
        };
        buffers.clear();
        self.shared.pool.put(buffers);
        self.tell(target, taken.as_ref().err(), at_ms, started.elapsed());
        match taken {
            Ok(Taken::Whole(raw)) => {
                if target.flight.is_some() {
                    target.land(&Offered::Late, &self.shared);
                }
                self.send(target, raw, at_ms, false);
            }
            Ok(Taken::Difference(raw)) => self.send(target, raw, at_ms, true),
            Ok(Taken::Nothing) | Err(_) => {}
        }
    }

    async fn fetch(&self, job: &Job, buffers: &mut Buffers) -> Result<(), Failed> {
        let mut headers = HeaderMap::with_capacity(1);
        // Profiles are packed; packing them once more would be undone here.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let fetch = Fetch {
            client: &job.settings.client,
            services: self.shared.cx.services(),
            url: &job.spec.url,
            headers,
            timeout: job.spec.timeout,
            limit: BODY_LIMIT,
            lenient: true,
        };
        fetch.into(&mut buffers.page).await.map(drop)
    }

    /// What there is to send of an answer.
    async fn take(&self, target: &mut Target, buffers: &mut Buffers) -> Result<Taken, String> {
        if target.delta.is_none() {
            return take(buffers, None);
        }
        // A difference on its way that has not arrived by now is part of the one that is made now.
        if target.flight.as_ref().is_some_and(|flight| flight.settles) {
            target.flight = None;
        }
        let _one = self.shared.compare.acquire().await.expect("the semaphore is never closed");
        heavy(buffers.page.body.len() > LARGE, || take(buffers, target.delta.as_mut()))
    }

    fn tell(&self, target: &Target, error: Option<&String>, at_ms: i64, took: Duration) {
        if let Some(error) = error {
            self.shared.metrics.failed.inc();
            if target.failing.now() {
                let url = net::shown_url(&target.job.spec.url);
                tracing::warn!(target = %url, profile = target.job.spec.name(), error, "scrape failed");
            }
        }
        let error = error.cloned();
        self.status.set(Last { up: Some(error.is_none()), error: error.unwrap_or_default(), at_ms, took });
    }

    /// Sends a profile on its way.
    fn send(&self, target: &mut Target, raw: bytes::Bytes, at_ms: i64, settles: bool) {
        let labels = target.job.spec.labels.clone();
        self.shared.cx.live_debug(|| format!("{labels} {} bytes", raw.len()));
        let batch = Profiles::new([Profile::pprof(labels, raw)], at_ms);
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let until = Instant::now() + LONGEST_OFFER;
        let offered =
            Box::pin(
                async move { offer(&shared.forward, batch, &shared.metrics.latency, until, &stop).await },
            );
        target.flight = Some(Flight { offered, settles });
    }
}

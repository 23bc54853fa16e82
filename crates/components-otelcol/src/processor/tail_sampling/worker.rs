//! Decides about traces whose time has come and sends what was sampled.
//!
//! Invariant: a sampled trace is sent until it is taken, refused for good, or the component has to end.

use std::sync::Arc;
use std::time::Duration;

use component::Rejected;
use signal::otlp::Traces;
use tokio::time::Instant;

use super::pool::{Pool, Step};

/// Traces that are due within so much are decided about together.
const TICK: Duration = Duration::from_millis(100);

/// First and longest wait after a refusal.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Runs until the pool has stopped and is empty.
pub(super) async fn work(pool: Arc<Pool>) {
    let mut refusals = Refusals::default();
    loop {
        match pool.step() {
            Step::Send { batch, bytes } => {
                send(&pool, batch, &mut refusals).await;
                pool.sent(bytes);
            }
            Step::Again => tokio::task::yield_now().await,
            Step::End => return,
            Step::Wait(None) => pool.has_work().await,
            Step::Wait(Some(due)) => {
                let tick = async {
                    tokio::time::sleep_until(due).await;
                    tokio::time::sleep(TICK).await;
                };
                tokio::select! {
                    () = tick => {}
                    () = stopped_or_sooner(&pool, due) => {}
                }
            }
        }
    }
}

/// Ends when there is work before `due`; every arrival asks, few bring it.
async fn stopped_or_sooner(pool: &Pool, due: Instant) {
    loop {
        pool.has_work().await;
        if pool.is_urgent(due) {
            return;
        }
    }
}

async fn send(pool: &Pool, batch: Traces, refusals: &mut Refusals) {
    let mut wait = BACK_OFF.0;
    loop {
        let (next, stopped) = pool.next();
        let drop = |reason: &str| {
            pool.counters().dropped.with_label_values(&[reason]).inc_by(batch.items() as u64);
        };
        if next.is_empty() {
            return drop("no_output");
        }
        match next.send(batch.clone()).await {
            Ok(()) => return,
            Err(Rejected::Permanent(error)) => {
                refusals.log(&error);
                return drop("refused");
            }
            // Nobody will be there again.
            Err(Rejected::Stopped) if stopped => return drop("shutdown"),
            Err(Rejected::Retryable(_) | Rejected::Stopped) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Tells of refusals at most once a minute.
#[derive(Default)]
struct Refusals {
    told: Option<Instant>,
}

impl Refusals {
    fn log(&mut self, error: &str) {
        let minute = Duration::from_secs(60);
        if self.told.is_none_or(|told| told.elapsed() >= minute) {
            self.told = Some(Instant::now());
            tracing::warn!(error, "sampled spans were refused for good and are dropped");
        }
    }
}

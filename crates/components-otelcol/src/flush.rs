//! Handing on at times what a component has gathered.
//!
//! Invariants: only one flush of a component is under way; what is gathered is handed on at the end too, until it is
//! taken or will never be.

use std::sync::Arc;
use std::time::Duration;

use component::{BoxFuture, Rejected, Spawner};
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// At the end, a refused flush is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// A component that gathers.
pub trait Gathers: Send + Sync + 'static {
    /// Hands on what is due. What is refused for now has to be kept for the next time.
    fn flush(&self) -> BoxFuture<'_, Result<(), Rejected>>;
}

/// Flushes a component, one time after the other.
pub struct Flusher<G> {
    gathers: Arc<G>,
    turn: Arc<Mutex<()>>,
    spawner: Spawner,
}

impl<G: Gathers> Flusher<G> {
    /// For a component.
    pub fn new(gathers: Arc<G>, spawner: Spawner) -> Self {
        Self { gathers, turn: Arc::default(), spawner }
    }

    /// Flushes in a task of its own, so that slow consumers hold up nothing else; not while another is under way.
    pub fn start(&self) {
        let Ok(turn) = self.turn.clone().try_lock_owned() else { return };
        let gathers = self.gathers.clone();
        self.spawner.spawn(async move {
            let _turn = turn;
            if let Err(error) = gathers.flush().await {
                tracing::warn!(%error, "what has been gathered was not taken");
            }
        });
    }

    /// Flushes for the last time.
    pub async fn finish(&self) {
        let _turn = self.turn.lock().await;
        loop {
            match self.gathers.flush().await {
                Ok(()) => return,
                Err(Rejected::Retryable(error)) => {
                    tracing::warn!(%error, "what has been gathered was not taken yet");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    tracing::error!(%error, "what has been gathered is lost");
                    return;
                }
            }
        }
    }
}

/// Ticks, the first after one period.
pub fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

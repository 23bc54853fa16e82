//! Keeps what may happen with every batch from filling the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Says yes at most once a minute.
#[derive(Debug, Default)]
pub struct OnceAMinute(Mutex<Option<Instant>>);

impl OnceAMinute {
    /// Whether to write a line now.
    pub fn now(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() >= Duration::from_secs(60));
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_a_minute_is_written() {
        let once = OnceAMinute::default();
        assert_eq!([once.now(), once.now()], [true, false]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!([once.now(), once.now()], [true, false]);
    }
}

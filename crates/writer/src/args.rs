//! What the arguments of writers share: choices, and how often and how long an endpoint is tried.

use std::time::Duration;

use component::eval::Invalid;
use component::{ArgEnum, Arguments};
use delivery::{Backoff, Config};

/// When data is forced to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Fsync {
    /// Every second.
    #[default]
    Interval,
    /// The operating system decides.
    Never,
    /// Before a batch is acknowledged.
    Always,
}

impl From<Fsync> for delivery::Fsync {
    fn from(fsync: Fsync) -> Self {
        match fsync {
            Fsync::Interval => Self::Interval(Duration::from_secs(1)),
            Fsync::Never => Self::Never,
            Fsync::Always => Self::Always,
        }
    }
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum OnFull {
    /// The oldest data is dropped and counted.
    #[default]
    DropOldest,
    /// Senders wait; scrapes are delayed.
    Block,
    /// New data is refused and counted.
    Reject,
}

impl From<OnFull> for delivery::OnFull {
    fn from(choice: OnFull) -> Self {
        match choice {
            OnFull::DropOldest => Self::DropOldest,
            OnFull::Block => Self::Block,
            OnFull::Reject => Self::Reject,
        }
    }
}

/// How an endpoint is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Arguments)]
pub struct Retries {
    /// First wait after a failure; it doubles up to `max_backoff_period`.
    #[arg(default = Duration::from_millis(500))]
    pub min_backoff_period: Duration,
    /// Longest wait after a failure.
    #[arg(default = Duration::from_secs(300))]
    pub max_backoff_period: Duration,
    /// After so many attempts what was not taken is dropped and counted; 0 keeps it for as long as the queue may.
    #[arg(default = 10)]
    pub max_backoff_retries: i64,
    /// Keep what was refused with 429; otherwise it is dropped and counted.
    #[arg(default = true)]
    pub retry_on_http_429: bool,
}

impl Retries {
    /// Rules across arguments.
    ///
    /// # Errors
    /// With the argument that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.min_backoff_period.is_zero() || self.min_backoff_period > self.max_backoff_period {
            let message = "must be above 0 and at most max_backoff_period";
            return Err(Invalid::field("min_backoff_period", message));
        }
        if !(0..=i64::from(u32::MAX)).contains(&self.max_backoff_retries) {
            return Err(Invalid::field("max_backoff_retries", "must be 0 or more"));
        }
        Ok(())
    }

    /// A queue that is emptied so, of which a request may take `timeout`.
    pub fn config(&self, timeout: Duration) -> Config {
        Config {
            backoff: Backoff { min: self.min_backoff_period, max: self.max_backoff_period },
            retry_limited: self.retry_on_http_429,
            max_attempts: u32::try_from(self.max_backoff_retries).ok().filter(|retries| *retries > 0),
            // Above what an attempt may take by itself: a request, and one more where it is redirected.
            attempt_timeout: timeout.saturating_mul(2).saturating_add(Duration::from_secs(10)),
            ..Config::default()
        }
    }
}

/// Checks that endpoints which have names have different ones.
///
/// # Errors
/// If two have the same.
pub fn distinct<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), Invalid> {
    let mut names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Invalid::field("endpoint", "two endpoints have the same name: names must differ"));
    }
    Ok(())
}

//! Choices that the arguments of writers share.

use std::time::Duration;

use component::ArgEnum;

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

//! What the processors share that are made of OTTL: contexts and error modes of their arguments, mistakes as
//! errors of arguments, and the telling of what failed.

use component::metrics::{Collector, IntCounterVec, Opts};
use component::{ArgEnum, OnceAMinute};
use ottl::{Context, ErrorMode, Failure};

/// What happens when a statement or condition cannot be applied to an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ArgEnum)]
#[arg(ignore_case)]
pub enum Mode {
    /// It is logged, and the next one is tried.
    #[default]
    #[arg(default)]
    Ignore,
    /// The next one is tried.
    Silent,
    /// The request is refused for good.
    Propagate,
}

impl Mode {
    pub(super) fn to_ottl(self) -> ErrorMode {
        match self {
            Self::Ignore => ErrorMode::Ignore,
            Self::Silent => ErrorMode::Silent,
            Self::Propagate => ErrorMode::Propagate,
        }
    }
}

/// The context of a name, if the signal has it.
pub(super) fn context(name: &str, allowed: &[Context]) -> Result<Context, String> {
    Context::from_name(&name.to_lowercase()).filter(|context| allowed.contains(context)).ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|c| c.name()).collect();
        format!("{name:?} is not one of the contexts {}", names.join(", "))
    })
}

/// Tells of statements and conditions that fail: each is counted, one a minute is logged.
pub(super) struct Failures {
    counter: IntCounterVec,
    logged: OnceAMinute,
}

impl Failures {
    /// Counts in a metric of that name.
    pub(super) fn new(name: &str, help: &str) -> Self {
        let counter = IntCounterVec::new(Opts::new(name, help), &["signal"]);
        Self {
            counter: counter.expect("metric names are constants of this program"),
            logged: OnceAMinute::default(),
        }
    }

    /// What it counts in.
    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.counter.clone())
    }

    pub(super) fn report(&self, signal: &'static str, failure: &Failure<'_>) {
        self.counter.with_label_values(&[signal]).inc();
        if self.logged.now() {
            tracing::warn!(signal, statement = failure.text, error = %failure.error, "could not be applied");
        }
    }
}

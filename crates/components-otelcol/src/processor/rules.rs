//! What the processors share that are made of OTTL: contexts and error modes of their arguments, mistakes as
//! errors of arguments, and the telling of what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use component::ArgEnum;
use component::metrics::{Collector, Computed, IntCounterVec, NodeMetrics, Opts};
use component::otel::MetricsLevel;
use ottl::{Context, ErrorMode, Failure};
use parking_lot::Mutex;
use tokio::time::Instant;

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

/// Whether a component shows metrics of its own: all but at `level = "none"`.
#[derive(Clone)]
pub(super) struct Shown(Arc<AtomicBool>);

impl Shown {
    /// Shows `collectors` as long as the level asks for it.
    pub(super) fn new(
        metrics: &NodeMetrics,
        identity: &str,
        level: MetricsLevel,
        collectors: Vec<Box<dyn Collector>>,
    ) -> Self {
        let shown = Self(Arc::new(AtomicBool::new(false)));
        shown.set(level);
        let asked = shown.clone();
        metrics.register(Computed::new(identity, move || {
            if !asked.0.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let families = collectors.iter().flat_map(|collector| collector.collect());
            families.filter(|family| !family.get_metric().is_empty()).collect()
        }));
        shown
    }

    pub(super) fn set(&self, level: MetricsLevel) {
        self.0.store(level != MetricsLevel::None, Ordering::Relaxed);
    }
}

/// Tells of statements and conditions that fail: each is counted, one a minute is logged.
pub(super) struct Failures {
    counter: IntCounterVec,
    logged: Mutex<Option<Instant>>,
}

const LOG_EVERY: Duration = Duration::from_secs(60);

impl Failures {
    /// Counts in a metric of that name.
    pub(super) fn new(name: &str, help: &str) -> Self {
        let counter = IntCounterVec::new(Opts::new(name, help), &["signal"]);
        Self {
            counter: counter.expect("metric names are constants of this program"),
            logged: Mutex::new(None),
        }
    }

    /// What it counts in.
    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.counter.clone())
    }

    pub(super) fn report(&self, signal: &'static str, failure: &Failure<'_>) {
        self.counter.with_label_values(&[signal]).inc();
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.is_none_or(|last| now.duration_since(last) >= LOG_EVERY) {
            *logged = Some(now);
            tracing::warn!(signal, statement = failure.text, error = %failure.error, "could not be applied");
        }
    }
}

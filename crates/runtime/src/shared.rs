//! What all modules of a runtime share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use component::Services;
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::drain::Drains;
use crate::own_metrics::OwnMetrics;
use crate::scheduler::Scheduler;

/// Definitions, services, the queue of evaluations and the nodes on their way out.
pub(crate) struct Shared {
    pub(crate) definitions: Definitions,
    pub(crate) services: Arc<Services>,
    pub(crate) scheduler: Scheduler,
    pub(crate) drains: Drains,
    pub(crate) metrics: Arc<OwnMetrics>,
    /// Cancelled when the runtime shuts down or is dropped: ends its own tasks and evaluations under way.
    pub(crate) stop: CancellationToken,
    serials: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        definitions: Definitions,
        services: Arc<Services>,
        metrics: Arc<OwnMetrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            definitions,
            services,
            scheduler: Scheduler::default(),
            drains: Drains::default(),
            metrics,
            stop: CancellationToken::new(),
            serials: AtomicU64::new(1),
        })
    }

    /// A number that no node has had.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }
}

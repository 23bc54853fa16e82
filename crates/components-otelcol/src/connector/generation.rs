//! The generation of a connector that counts spans, and those before it that still have to hand on what they have counted.
//!
//! Invariant: what was counted is handed on, by the generation that has counted it, to where that sends.

use std::sync::Arc;

use arc_swap::ArcSwap;
use component::{Consumer, Fanout, Port, Spawner};
use signal::otlp::{OtlpMetrics, Traces};

use crate::flush::{Flusher, Gathers};

/// A connector that counts spans by arguments that stay the same while it counts.
pub(super) trait Counts: Gathers + Consumer<Traces> {
    /// Where its metrics go, which may change.
    fn next(&self) -> &ArcSwap<Fanout<OtlpMetrics>>;

    /// No spans come any more: what is waiting for more of them is counted as it is.
    fn close(&self) {}
}

/// The one that counts.
pub(super) struct Generation<'p, C> {
    port: &'p Port<Traces>,
    connector: Arc<C>,
    flusher: Flusher<C>,
    spawner: Spawner,
}

impl<'p, C: Counts> Generation<'p, C> {
    /// Puts a connector behind the port.
    pub(super) fn start(port: &'p Port<Traces>, connector: C, spawner: Spawner) -> Self {
        let connector = Arc::new(connector);
        let _ = port.attach_shared(connector.clone());
        Self { port, flusher: Flusher::new(connector.clone(), spawner.clone()), connector, spawner }
    }

    pub(super) fn connector(&self) -> &C {
        &self.connector
    }

    /// Hands on what is due, in a task of its own.
    pub(super) fn flush(&self) {
        self.flusher.start();
    }

    /// The same series go elsewhere.
    pub(super) fn redirect(&self, next: Fanout<OtlpMetrics>) {
        self.connector.next().store(Arc::new(next));
    }

    /// Other series: those that there are go where they were to go, for the last time.
    pub(super) fn replace(&mut self, connector: C) {
        let connector = Arc::new(connector);
        let draining = self.port.attach_shared(connector.clone());
        let flusher = Flusher::new(connector.clone(), self.spawner.clone());
        let flusher = std::mem::replace(&mut self.flusher, flusher);
        let before = std::mem::replace(&mut self.connector, connector);
        self.spawner.spawn(async move {
            draining.finished().await;
            before.close();
            flusher.finish().await;
        });
    }

    /// Takes no more spans and hands on what is left.
    pub(super) async fn stop(self) {
        self.port.stop().finished().await;
        self.connector.close();
        self.flusher.finish().await;
    }
}

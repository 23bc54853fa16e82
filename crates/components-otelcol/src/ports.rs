//! The three ports of a component: what it exports as `input`, and what stands behind it.
//!
//! Invariant: a signal that `output` has no consumer for is refused, never taken and dropped.

use std::sync::Arc;

use component::otel::{OtelFanout, OtelInput};
use component::{BoxFuture, BuildCx, Consumer, Draining, Fanout, Port, Rejected, Signal};
use signal::otlp::{
    LogsSignal, MetricsSignal, Otlp, OtlpLogs, OtlpMetrics, OtlpSignal, Traces, TracesSignal,
};

use crate::processor::relay::{self, Change};

/// Hands a batch over for a client that waits; where all consumers have gone meanwhile, to those of now. A reload stops a
/// component only after those that sent to it know of others, so that what is under way then need not be refused.
pub(crate) async fn hand_over<T: Signal + Clone>(
    batch: T,
    consumers: &Fanout<T>,
    now: impl Fn() -> Fanout<T>,
) -> Result<(), Rejected> {
    match consumers.send(batch.clone()).await {
        Err(Rejected::Stopped) => {
            let now = now();
            if now.is_empty() { Err(Rejected::Stopped) } else { now.send(batch).await }
        }
        answer => answer,
    }
}

/// The ports of a component that takes all signals.
#[derive(Clone)]
pub struct Ports {
    traces: Port<Traces>,
    metrics: Port<OtlpMetrics>,
    logs: Port<OtlpLogs>,
}

/// What stands behind the ports: a consumer a signal.
pub struct Consumers {
    /// Takes spans.
    pub traces: Arc<dyn Consumer<Traces>>,
    /// Takes data points.
    pub metrics: Arc<dyn Consumer<OtlpMetrics>>,
    /// Takes log records.
    pub logs: Arc<dyn Consumer<OtlpLogs>>,
}

impl Consumers {
    /// One value that takes all signals.
    pub fn of<C>(consumer: C) -> Self
    where
        C: Consumer<Traces> + Consumer<OtlpMetrics> + Consumer<OtlpLogs>,
    {
        let consumer = Arc::new(consumer);
        Self { traces: consumer.clone(), metrics: consumer.clone(), logs: consumer }
    }
}

impl Ports {
    /// The ports of a node.
    pub fn new(cx: &BuildCx) -> Self {
        Self { traces: cx.port("traces"), metrics: cx.port("metrics"), logs: cx.port("logs") }
    }

    /// What the component exports.
    pub fn input(&self) -> OtelInput {
        OtelInput {
            traces: Some(self.traces.receiver()),
            metrics: Some(self.metrics.receiver()),
            logs: Some(self.logs.receiver()),
        }
    }

    /// Puts consumers behind the ports, for an exporter.
    pub fn attach(&self, consumers: Consumers) -> [Draining; 3] {
        [
            self.traces.attach_shared(consumers.traces),
            self.metrics.attach_shared(consumers.metrics),
            self.logs.attach_shared(consumers.logs),
        ]
    }

    /// Puts consumers behind the ports of those signals that have somewhere to go; the others are refused.
    pub fn attach_for(&self, next: &OtelFanout, consumers: Consumers) -> [Draining; 3] {
        [
            attach(&self.traces, &next.traces, consumers.traces),
            attach(&self.metrics, &next.metrics, consumers.metrics),
            attach(&self.logs, &next.logs, consumers.logs),
        ]
    }

    /// Puts one generation of a processor behind the ports of those signals that have somewhere to go.
    pub(crate) fn relay<C>(&self, next: &OtelFanout, change: &Arc<C>) -> [Draining; 3]
    where
        C: Change<TracesSignal> + Change<MetricsSignal> + Change<LogsSignal>,
    {
        [
            relay::attach(&self.traces, &next.traces, change),
            relay::attach(&self.metrics, &next.metrics, change),
            relay::attach(&self.logs, &next.logs, change),
        ]
    }

    /// Lets senders wait until something stands behind the ports again.
    pub fn suspend(&self) -> [Draining; 3] {
        [self.traces.suspend(), self.metrics.suspend(), self.logs.suspend()]
    }

    /// Refuses from now on; the answer tells when those who are under way are done.
    pub fn stop(&self) -> [Draining; 3] {
        [self.traces.stop(), self.metrics.stop(), self.logs.stop()]
    }
}

/// Puts a consumer behind a port if its signal has somewhere to go; else what is sent to it is refused.
pub fn attach<S: OtlpSignal>(
    port: &Port<Otlp<S>>,
    next: &Fanout<Otlp<S>>,
    consumer: Arc<dyn Consumer<Otlp<S>>>,
) -> Draining
where
    Otlp<S>: Signal,
{
    if next.is_empty() {
        return port.attach(Nowhere { owner: port.receiver().owner().to_string() });
    }
    port.attach_shared(consumer)
}

/// Stands behind the port of a signal without consumers.
struct Nowhere {
    owner: String,
}

impl<S: OtlpSignal> Consumer<Otlp<S>> for Nowhere {
    fn consume(&self, _batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        let message = format!("{} has no consumer for {} in its output", self.owner, S::NAME);
        Box::pin(std::future::ready(Err(Rejected::Permanent(message))))
    }
}

#[cfg(test)]
mod tests {
    use component::testkit::Sink;

    use super::*;

    #[tokio::test]
    async fn what_finds_its_consumers_gone_goes_to_those_of_now() {
        let (gone, there) = (Sink::<Traces>::new(), Sink::<Traces>::new());
        let fanout = |sink: &Sink<Traces>| Fanout::new([sink.receiver()]);
        gone.answer(Err(Rejected::Stopped));
        let old = fanout(&gone);
        assert_eq!(hand_over(Traces::default(), &old, || fanout(&there)).await, Ok(()));
        assert_eq!(there.take().len(), 1);
        // Nobody is there any more: that is no success.
        for now in [old.clone(), Fanout::new([])] {
            assert_eq!(hand_over(Traces::default(), &old, || now.clone()).await, Err(Rejected::Stopped));
        }
        // What was refused for another reason is not offered to anybody else.
        gone.answer(Err(Rejected::Retryable("full".into())));
        let answer = hand_over(Traces::default(), &old, || fanout(&there)).await;
        assert_eq!(answer, Err(Rejected::Retryable("full".into())));
        assert!(there.take().is_empty());
    }
}

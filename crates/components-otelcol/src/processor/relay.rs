//! What processors have in common that change a batch in its sender's task and hand it on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use component::metrics::{Collector, Computed, NodeMetrics};
use component::otel::{MetricsLevel, OtelFanout};
use component::{
    BoxFuture, Component, Consumer, Draining, Error, Event, Fanout, Port, Rejected, RunCx, Signal,
};
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, OtlpRequest, OtlpSignal, Traces, TracesSignal};
use wire::otlp::{Editor, Schematic, Uneditable, edit};

use super::items::ItemCounts;
use crate::ports::Ports;

/// One generation of a processor, for one signal.
pub(crate) trait Change<S: OtlpSignal>: Send + Sync + 'static {
    /// What goes on; `None` where nothing is left.
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected>;

    /// Where items are counted; `None` where the component counts by itself.
    fn counts(&self) -> Option<&ItemCounts> {
        None
    }
}

/// Stands behind the port of one signal.
struct Relay<S: OtlpSignal, C> {
    change: Arc<C>,
    next: Fanout<Otlp<S>>,
}

impl<S: OtlpSignal, C: Change<S>> Consumer<Otlp<S>> for Relay<S, C>
where
    Otlp<S>: Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            let counts = self.change.counts();
            counts.inspect(|counts| counts.came(S::NAME, batch.items()));
            let Some(batch) = self.change.change(batch)? else { return Ok(()) };
            let items = batch.items();
            self.next.send(batch).await?;
            counts.inspect(|counts| counts.went(S::NAME, items));
            Ok(())
        })
    }
}

/// Puts a generation behind a port if its signal has somewhere to go; otherwise the signal is refused.
pub(crate) fn attach<S: OtlpSignal, C: Change<S>>(
    port: &Port<Otlp<S>>,
    next: &Fanout<Otlp<S>>,
    change: &Arc<C>,
) -> Draining
where
    Otlp<S>: Signal,
{
    crate::ports::attach(port, next, Arc::new(Relay { change: change.clone(), next: next.clone() }))
}

/// Runs a processor of all three signals: a generation of it stands behind the ports, and is made anew from new
/// arguments.
pub(crate) async fn run<C: Component, G>(
    mut cx: RunCx<C>,
    ports: &Ports,
    args: C::Args,
    make: impl Fn(&C::Args) -> Result<(Arc<G>, OtelFanout), Error>,
) -> Result<(), Error>
where
    G: Change<TracesSignal> + Change<MetricsSignal> + Change<LogsSignal>,
{
    let (generation, next) = make(&args)?;
    let _ = ports.relay(&next, &generation);
    loop {
        match cx.event().await {
            Event::Stop => return Ok(()),
            Event::Update(update) => {
                update.apply(|args| {
                    let (generation, next) = make(&args)?;
                    let _ = ports.relay(&next, &generation);
                    Ok(())
                });
            }
        }
    }
}

/// Runs a processor of spans alone, as [`run`].
pub(crate) async fn run_traces<C: Component, G: Change<TracesSignal>>(
    mut cx: RunCx<C>,
    port: &Port<Traces>,
    args: C::Args,
    make: impl Fn(&C::Args) -> Result<(Arc<G>, OtelFanout), Error>,
) -> Result<(), Error> {
    let (generation, next) = make(&args)?;
    let _ = attach(port, &next.traces, &generation);
    loop {
        match cx.event().await {
            Event::Stop => return Ok(()),
            Event::Update(update) => {
                update.apply(|args| {
                    let (generation, next) = make(&args)?;
                    let _ = attach(port, &next.traces, &generation);
                    Ok(())
                });
            }
        }
    }
}

/// Edits each request of a batch; those without items left go.
pub(crate) fn edit_batch<S: Schematic>(
    mut batch: Otlp<S>,
    editor: &mut impl Editor,
) -> Result<Option<Otlp<S>>, Rejected> {
    let mut new: Vec<(usize, OtlpRequest<S>)> = Vec::new();
    for (at, request) in batch.requests.iter().enumerate() {
        if let Some(edited) = edit(request, editor).map_err(refused)? {
            new.push((at, edited));
        }
    }
    if !new.is_empty() {
        let batch = batch.make_mut();
        let emptied: Vec<usize> = new.iter().filter(|(_, r)| r.items() == 0).map(|(at, _)| *at).collect();
        new.into_iter().for_each(|(at, request)| batch.requests[at] = request);
        let mut at = 0;
        batch.requests.retain(|_| {
            at += 1;
            emptied.binary_search(&(at - 1)).is_err()
        });
        if batch.requests.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(batch))
}

/// Receivers check what they take in: this is damage, and stays so.
pub(crate) fn refused(error: impl Into<Uneditable>) -> Rejected {
    Rejected::Permanent(error.into().to_string())
}

/// A component's own metrics, shown as long as `debug_metrics` asks for any.
pub(crate) struct Shown(Arc<AtomicU8>);

impl Shown {
    /// `identity` looks like the name of a metric.
    pub(crate) fn new(
        metrics: &NodeMetrics,
        identity: &str,
        level: MetricsLevel,
        collectors: Vec<Box<dyn Collector>>,
    ) -> Self {
        let shown = Arc::new(AtomicU8::new(level as u8));
        let now = shown.clone();
        metrics.register(Computed::new(identity, move || {
            if now.load(Ordering::Relaxed) == MetricsLevel::None as u8 {
                return Vec::new();
            }
            let families = collectors.iter().flat_map(|c| c.collect());
            families.filter(|family| !family.get_metric().is_empty()).collect()
        }));
        Self(shown)
    }

    /// From now on.
    pub(crate) fn show(&self, level: MetricsLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

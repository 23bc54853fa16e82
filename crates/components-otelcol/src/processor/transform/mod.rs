//! `otelcol.processor.transform` changes spans, data points and log records by statements of OTTL.
//!
//! Data path: batch → each request decoded → the steps of its signal, one after the other, over all items of
//! their context → `output`, all in the sender's task. A request to which no statement applies is passed on as
//! it came, in all its forms.

mod args;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use component::otel::{OtelFanout, OtelInput};
use component::{BuildCx, Component, Error, Exports, Rejected, RunCx, Stability};
use ottl::{Conditions, Context, ErrorMode, EvalError, Failure, Statements, walk};
use signal::otlp::proto::common::v1::KeyValue;
use signal::otlp::{ClientMetadata, LogsSignal, MetricsSignal, Otlp, OtlpRequest, OtlpSignal, TracesSignal};

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change, Shown};
use super::rules::Failures;
use crate::ports::Ports;
pub use args::Args;

/// Statements of one context.
struct Step {
    context: Context,
    /// One of them has to hold; if there are none, nothing has to.
    conditions: Conditions,
    statements: Statements,
    mode: ErrorMode,
    /// Whether the cache is that of all steps and items of the context.
    shared_cache: bool,
}

/// One generation of the arguments.
struct Rules {
    traces: Vec<Step>,
    metrics: Vec<Step>,
    logs: Vec<Step>,
    failures: Arc<Failures>,
    counts: ItemCounts,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct TransformExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct Transform {
    args: Args,
    ports: Ports,
    own: Own,
}

/// Its own metrics.
struct Own {
    failures: Arc<Failures>,
    items: Arc<ItemMetrics>,
    shown: Shown,
}

impl Own {
    /// A generation, which counts as far as its arguments ask for it.
    fn rules(&self, args: &Args) -> Result<(Arc<Rules>, OtelFanout), Error> {
        let next = args.output.fanout()?;
        let rules = args.rules(self.failures.clone(), self.items.at(args.debug_metrics.level))?;
        self.shown.show(args.debug_metrics.level);
        Ok((Arc::new(rules), next))
    }
}

/// A signal whose items statements can change.
trait Changed: OtlpSignal {
    fn steps(rules: &Rules) -> &[Step];

    fn walk(
        message: &mut Self::Request,
        context: Context,
        cache: Option<&mut Vec<KeyValue>>,
        client: Option<&ClientMetadata>,
        visit: walk::Visit<'_>,
    ) -> Result<(), EvalError>;
}

macro_rules! changed {
    ($signal:ty, $steps:ident) => {
        impl Changed for $signal {
            fn steps(rules: &Rules) -> &[Step] {
                &rules.$steps
            }

            fn walk(
                message: &mut Self::Request,
                context: Context,
                cache: Option<&mut Vec<KeyValue>>,
                client: Option<&ClientMetadata>,
                visit: walk::Visit<'_>,
            ) -> Result<(), EvalError> {
                walk::$steps(message, context, cache, client, visit)
            }
        }
    };
}

changed!(TracesSignal, traces);
changed!(MetricsSignal, metrics);
changed!(LogsSignal, logs);

/// The caches of steps that share one, a context each.
type Caches = [Vec<KeyValue>; Context::ALL.len()];

impl Rules {
    /// The new request, if a statement applied to it.
    fn request<S: Changed>(
        &self,
        request: &OtlpRequest<S>,
        client: Option<&ClientMetadata>,
        caches: &mut Caches,
    ) -> Result<Option<OtlpRequest<S>>, Rejected> {
        let malformed = |error: signal::otlp::Malformed| Rejected::Permanent(error.to_string());
        // A copy: the request stays whole for others, and for the case that nothing changes.
        let mut message = match request.is_decoded() {
            true => request.message().map_err(malformed)?.clone(),
            false => OtlpRequest::<S>::from_wire(request.wire().clone(), 0, None)
                .into_message()
                .map_err(malformed)?,
        };
        let mut changed = false;
        let mut report = |failure: Failure<'_>| self.failures.report(S::NAME, &failure);
        for step in S::steps(self) {
            let shared = Context::ALL.iter().position(|c| *c == step.context).filter(|_| step.shared_cache);
            let cache = shared.map(|at| &mut caches[at]);
            S::walk(&mut message, step.context, cache, client, &mut |item| {
                let applies = step.conditions.is_empty()
                    || step.conditions.any(&item.view(), step.mode, &mut report)?;
                if applies {
                    changed |= step.statements.run(item, step.mode, &mut report)?;
                }
                Ok(())
            })
            .map_err(|error| Rejected::Permanent(error.to_string()))?;
        }
        Ok(changed.then(|| OtlpRequest::from_message(message)))
    }
}

impl<S: Changed> Change<S> for Rules {
    fn change(&self, mut batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        if S::steps(self).is_empty() {
            return Ok(Some(batch));
        }
        let mut caches = Caches::default();
        let mut new = Vec::new();
        for (at, request) in batch.requests.iter().enumerate() {
            if let Some(request) = self.request(request, batch.client.as_deref(), &mut caches)? {
                new.push((at, request));
            }
        }
        if !new.is_empty() {
            let batch = batch.make_mut();
            new.into_iter().for_each(|(at, request)| batch.requests[at] = request);
        }
        Ok(Some(batch))
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl Component for Transform {
    const NAME: &'static str = "otelcol.processor.transform";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = TransformExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, TransformExports), Error> {
        let failures = Arc::new(Failures::new(
            "otelcol_processor_transform_failed_statements_total",
            "Statements and conditions that could not be applied to an item, in the error mode ignore.",
        ));
        let shown = vec![failures.collector()];
        let shown = Shown::new(&cx.metrics(), "otelcol_processor_transform", args.debug_metrics.level, shown);
        let own = Own { failures, items: ItemMetrics::new("transform", cx), shown };
        own.rules(&args)?;
        let ports = Ports::new(cx);
        let exports = TransformExports { input: ports.input() };
        Ok((Self { args, ports, own }, exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        relay::run(cx, &self.ports, self.args.clone(), |args| self.own.rules(args)).await
    }
}

//! Own metrics of receivers, by the names that Alloy gives them.
//!
//! All are families, which show nothing until they are used: `debug_metrics` decides what is.

use component::metrics::{IntCounterVec, NodeMetrics};
use component::otel::MetricsLevel;
use net::grpc::{Code, Finished};
use signal::otlp::OtlpSignal;

use crate::rpc::Rpc;
use crate::signals::Kind;

/// The families.
pub(super) struct Metrics {
    /// `receiver` label: as otelcol names components, the type and Alloy's ID.
    receiver: String,
    /// Those of the signals that the receiver has.
    items: Vec<(Kind, Items)>,
    rpc: Rpc,
}

/// Those of a signal.
struct Items {
    accepted: IntCounterVec,
    refused: IntCounterVec,
}

impl Metrics {
    /// For a receiver of a type (`otlp`) that takes some of the signals.
    pub(super) fn new(metrics: &NodeMetrics, of: &str, id: &str, kinds: &[Kind]) -> Self {
        let (_, local) = component::metrics::split_global_id(id);
        let items = |kind: &Kind| {
            let words = kind.items().replace('_', " ");
            let count = |what: &str, help: &str| {
                let name = format!("otelcol_receiver_{what}_{}_total", kind.items());
                let help = format!("Number of {words} that were {help}.");
                metrics.counter_vec(&name, &help, &["receiver", "transport"])
            };
            let accepted = count("accepted", "taken by all consumers");
            (*kind, Items { accepted, refused: count("refused", "not taken") })
        };
        Self {
            receiver: format!("{of}/{local}"),
            items: kinds.iter().map(items).collect(),
            rpc: Rpc::new(metrics, "server"),
        }
    }

    /// Items of a request were taken, or not.
    pub(super) fn received<S: OtlpSignal>(
        &self,
        level: MetricsLevel,
        transport: &str,
        items: u64,
        taken: bool,
    ) {
        let of = self.items.iter().find(|(kind, _)| *kind == Kind::of::<S>());
        if let Some((_, of)) = of.filter(|_| level > MetricsLevel::None) {
            let family = if taken { &of.accepted } else { &of.refused };
            family.with_label_values(&[&self.receiver, transport]).inc_by(items);
        }
    }

    /// A call was answered.
    pub(super) fn called(&self, level: MetricsLevel, finished: &Finished<'_>) {
        if level == MetricsLevel::Detailed {
            let Finished { method, code, took, request_bytes, response_bytes } = *finished;
            let answered = (code == Code::Ok).then_some(response_bytes);
            self.rpc.called(method, code, took, request_bytes, answered);
        }
    }

    /// The level has changed: what it does not show any more is forgotten.
    pub(super) fn show(&self, level: MetricsLevel) {
        if level == MetricsLevel::None {
            self.items.iter().flat_map(|(_, i)| [&i.accepted, &i.refused]).for_each(IntCounterVec::reset);
        }
        if level < MetricsLevel::Detailed {
            self.rpc.reset();
        }
    }
}

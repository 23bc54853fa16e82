//! Own metrics, by the names that Alloy gives them.
//!
//! All are families, which show nothing until they are used: `debug_metrics` decides what is.

use component::metrics::{IntCounterVec, NodeMetrics};
use component::otel::MetricsLevel;
use net::grpc::{Code, Finished};
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal};

use crate::rpc::Rpc;

/// The families.
pub(super) struct Metrics {
    /// `receiver` label: as otelcol names components, the type and Alloy's ID.
    receiver: String,
    /// Of spans, metric points and log records.
    accepted: [IntCounterVec; 3],
    refused: [IntCounterVec; 3],
    rpc: Rpc,
}

const ITEMS: [&str; 3] = ["spans", "metric_points", "log_records"];

fn index<S: OtlpSignal>() -> usize {
    match S::NAME {
        MetricsSignal::NAME => 1,
        LogsSignal::NAME => 2,
        _ => 0,
    }
}

impl Metrics {
    pub(super) fn new(metrics: &NodeMetrics, id: &str) -> Self {
        let (_, local) = component::metrics::split_global_id(id);
        let labels = ["receiver", "transport"];
        let count = |what: &str, help: &str| {
            ITEMS.map(|items| {
                let words = items.replace('_', " ");
                let name = format!("otelcol_receiver_{what}_{items}_total");
                metrics.counter_vec(&name, &format!("Number of {words} that were {help}."), &labels)
            })
        };
        Self {
            receiver: format!("otlp/{local}"),
            accepted: count("accepted", "taken by all consumers"),
            refused: count("refused", "not taken"),
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
        if level > MetricsLevel::None {
            let families = if taken { &self.accepted } else { &self.refused };
            families[index::<S>()].with_label_values(&[&self.receiver, transport]).inc_by(items);
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
            self.accepted.iter().chain(&self.refused).for_each(IntCounterVec::reset);
        }
        if level < MetricsLevel::Detailed {
            self.rpc.reset();
        }
    }
}

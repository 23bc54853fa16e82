//! The agent's datagrams: a call of `emitBatch` or `emitZipkinBatch` each.
//!
//! Data path: socket → batch → up to `workers` at one time: decoded, handed over, again and again while a consumer
//! cannot take them. UDP cannot be told to wait: what comes meanwhile waits in the queue, and is counted and dropped
//! when that is full.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::metrics::IntCounterVec;
use component::{Error, Rejected, Spawner};
use net::datagrams::{Datagram, Receiving};
use net::socket::listen_udp;
use signal::otlp::{ClientMetadata, Traces};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::jaeger::from_agent;
use wire::thrift::Protocol;

use super::args::AgentArgs;
use crate::receiver::spans::Spans;

/// How long spans wait that a consumer could not take: at first, and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// One of the two protocols, with what it counts.
#[derive(Clone)]
pub(super) struct Kind {
    pub(super) protocol: Protocol,
    pub(super) transport: &'static str,
    /// Datagrams that were dropped, by reason.
    pub(super) dropped: IntCounterVec,
}

/// A socket that is read from.
pub(super) struct Agent {
    /// No more datagrams; those that are there are handed over.
    retire: CancellationToken,
    /// No more attempts.
    give_up: CancellationToken,
    tasks: TaskTracker,
}

impl Agent {
    pub(super) async fn bind(
        address: &str,
        args: &AgentArgs,
        kind: Kind,
        spans: &Arc<Spans>,
        spawner: &Spawner,
    ) -> Result<Self, Error> {
        let claim = listen_udp(spans.cx.id(), address, args.kernel_buffer()).await?;
        let agent = Self {
            retire: CancellationToken::new(),
            give_up: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (queue, batches) = mpsc::channel(1);
        let receiving = Receiving { claim, queue, dropped: kind.dropped.clone(), limits: args.limits() };
        spawner.spawn(agent.tasks.track_future(receiving.run(agent.retire.clone())));
        let worker = Worker { kind, spans: spans.clone(), give_up: agent.give_up.clone() };
        spawner.spawn(agent.tasks.track_future(work(batches, args.workers(), worker)));
        Ok(agent)
    }

    /// Reads no more, and hands over what is there, for as long as is given.
    pub(super) async fn end(self, grace: Duration) {
        self.retire.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.give_up.cancel();
            self.tasks.wait().await;
        }
    }
}

async fn work(mut batches: mpsc::Receiver<Vec<Datagram>>, workers: usize, worker: Worker) {
    let mut under_way = JoinSet::new();
    let ended = |result: Result<(), tokio::task::JoinError>| {
        if let Err(error) = result {
            // A panic below is the node's health.
            std::panic::resume_unwind(Box::new(format!("a datagram could not be handled: {error}")));
        }
    };
    while let Some(batch) = batches.recv().await {
        for (from, datagram) in batch {
            while under_way.len() >= workers {
                under_way.join_next().await.into_iter().for_each(ended);
            }
            under_way.spawn(worker.clone().handle(from.ip(), datagram));
        }
    }
    while let Some(result) = under_way.join_next().await {
        ended(result);
    }
}

#[derive(Clone)]
struct Worker {
    kind: Kind,
    spans: Arc<Spans>,
    give_up: CancellationToken,
}

impl Worker {
    fn drop(&self, reason: &str) {
        self.kind.dropped.with_label_values(&[reason]).inc();
    }

    async fn handle(self, from: std::net::IpAddr, datagram: Bytes) {
        let converted = match from_agent(&datagram, self.kind.protocol) {
            Ok(converted) => converted,
            Err(error) => {
                self.drop("invalid");
                tracing::debug!(%error, %from, "a datagram is not the agent's");
                return;
            }
        };
        if !self.spans.is_served() {
            return self.drop("no_consumer");
        }
        let client = Arc::new(ClientMetadata { headers: Vec::new(), peer: from.to_string() });
        if let Some(batch) = self.spans.batch(self.kind.transport, converted, Some(client)) {
            self.hand_over(batch).await;
        }
    }

    async fn hand_over(&self, batch: Traces) {
        let spans = batch.items();
        let mut wait = BACK_OFF[0];
        let reason = loop {
            match self.give_up.run_until_cancelled(self.spans.offer(batch.clone())).await {
                Some(Ok(())) => return self.spans.count(self.kind.transport, spans, true),
                Some(Err(Rejected::Permanent(why))) => {
                    self.spans.warn(spans, &why);
                    break "rejected";
                }
                Some(Err(Rejected::Retryable(_) | Rejected::Stopped)) => {}
                // A consumer may let its senders wait for longer than there is time.
                None => break "shutdown",
            }
            let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
            if self.give_up.run_until_cancelled(tokio::time::sleep(jittered)).await.is_none() {
                break "shutdown";
            }
            wait = (wait * 2).min(BACK_OFF[1]);
        };
        self.spans.count(self.kind.transport, spans, false);
        self.drop(reason);
    }
}

#[cfg(test)]
mod tests {
    use component::metrics::Metrics;
    use component::otel::{DebugMetrics, OtelInput, Output};
    use component::{BuildCx, Port, Services};

    use super::*;
    use crate::receiver::jaeger::tests::compact;
    use crate::receiver::spans::Target;

    #[tokio::test]
    async fn a_consumer_that_never_answers_does_not_hold_up_the_end() {
        // Senders of a port that nothing is attached to wait.
        let port = Port::<Traces>::detached("otelcol.exporter.x");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let output = Output { traces: vec![input], ..Output::default() };
        let target = Target::new(&output, &DebugMetrics::default()).expect("traces are taken");
        let cx = BuildCx::detached("otelcol.receiver.jaeger.x", Services::for_tests("unused"));
        let metrics = Metrics::default();
        let dropped = metrics.node("x").counter_vec("dropped", "Dropped.", &["reason"]);
        let kind = Kind { protocol: Protocol::Compact, transport: "udp", dropped: dropped.clone() };
        let give_up = CancellationToken::new();
        let worker = Worker { kind, spans: Spans::new("jaeger", target, &cx), give_up: give_up.clone() };
        let from = std::net::IpAddr::from([127, 0, 0, 1]);
        let task = tokio::spawn(worker.handle(from, Bytes::from(compact("a"))));
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        give_up.cancel();
        task.await.expect("no panic");
        assert_eq!(dropped.with_label_values(&["shutdown"]).get(), 1);
    }
}

//! The three `Export` methods over gRPC.

use std::sync::Arc;

use bytes::Bytes;
use component::{BoxFuture, Signal};
use http::{HeaderMap, StatusCode};
use net::grpc::{Call, Code, Finished, Service, Status};
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, TracesSignal};

use super::intake::{Config, Incoming, Shared, Taken, keep};
use crate::server::{admit, client};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// The service of one server; all of them share the state.
pub(super) struct Export(pub(super) Arc<Shared>);

impl Service for Export {
    fn serves(&self, method: &str) -> bool {
        let fanout = &self.0.config.load().fanout;
        match method {
            TRACES => !fanout.traces.is_empty(),
            METRICS => !fanout.metrics.is_empty(),
            LOGS => !fanout.logs.is_empty(),
            _ => false,
        }
    }

    fn admit<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let config = self.0.config.load_full();
            admit(config.grpc_auth.as_ref(), headers).await.map_err(|refusal| {
                let known = refusal.status == StatusCode::UNAUTHORIZED;
                Status::new(if known { Code::Unauthenticated } else { Code::Internal }, refusal.why)
            })
        })
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Bytes, Status>> {
        Box::pin(async move {
            let config = self.0.config.load_full();
            match call.method.as_str() {
                TRACES => self.export::<TracesSignal>(&config, call).await,
                METRICS => self.export::<MetricsSignal>(&config, call).await,
                LOGS => self.export::<LogsSignal>(&config, call).await,
                _ => Err(Status::new(Code::Unimplemented, "there is no such method")),
            }
        })
    }

    fn finished(&self, finished: &Finished<'_>) {
        self.0.metrics.called(self.0.config.load().level, finished);
    }
}

impl Export {
    async fn export<S: Taken>(&self, config: &Config, call: Call) -> Result<Bytes, Status>
    where
        Otlp<S>: Signal,
    {
        let Call { headers, peer, message, packed, room, .. } = call;
        let client = config.grpc_metadata.then(|| client(&headers, peer.as_ref()));
        let packed = packed.and_then(|(encoding, bytes)| keep(encoding, bytes));
        let incoming = Incoming { transport: "grpc", body: message, packed, client };
        self.0.take::<S>(config, incoming).await?;
        drop(room);
        // An export response without partial success has no bytes.
        Ok(Bytes::new())
    }
}

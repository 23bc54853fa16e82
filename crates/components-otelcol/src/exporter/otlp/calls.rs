//! One call, and what its outcome means, as the OTLP specification says (OTLP/gRPC Response).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{BoxFuture, BuildCx};
use http::HeaderMap;
use net::grpc::{Answer, Channel, ChannelOptions, Code, Endpoint, Failure, Unary};
use net::proxy::ProxyRules;
use tokio::time::Instant;

use super::args::{GrpcClient, metadata};
use crate::auth::Handler;
use crate::exporter::sending::{Carrier, Headers, Verdict, Writing, partial_success};
use crate::rpc::Rpc;
use crate::signals::Kind;

/// Go's clients give a connection as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer, as Go's clients have it.
const MAX_ANSWER: usize = 4 << 20;

/// Calls to one back end, for all signals.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    metadata: HeaderMap,
    auth: Option<Handler>,
    timeout: Duration,
    writing: Writing,
    shown: String,
    rpc: Option<Arc<Rpc>>,
}

/// Calls of one signal.
pub(crate) struct Calls {
    caller: Caller,
    method: &'static str,
}

/// Makes the calls to an endpoint; opens no connection.
///
/// # Errors
/// If the arguments cannot work; the text says why.
pub(crate) fn caller(
    endpoint: &str,
    client: &GrpcClient,
    timeout: Duration,
    cx: &BuildCx,
    rpc: Option<Arc<Rpc>>,
) -> Result<Caller, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &client.headers {
        match metadata(name, value)? {
            Some((name, value)) => drop(headers.insert(name, value)),
            None => tracing::warn!(header = %name, "headers cannot set this header; it is left out"),
        }
    }
    let parsed = Endpoint::parse(endpoint)?;
    let shown = parsed.shown();
    let (encoding, word) = client.encoding();
    let channel = Channel::new(ChannelOptions {
        endpoint: parsed,
        tls: client.tls(endpoint),
        authority: client.authority.clone(),
        user_agent: cx.services().user_agent(),
        balancing: client.balancing(),
        keepalive: client.keepalive(),
        wait_for_ready: client.wait_for_ready,
        read_buffer: usize::try_from(client.read_buffer_size.0).unwrap_or(0),
        write_buffer: usize::try_from(client.write_buffer_size.0).unwrap_or(0),
        max_answer: MAX_ANSWER,
        connect_timeout: CONNECT_TIMEOUT,
        signer: client.auth.as_ref().map(Handler::signer),
        // As Go's gRPC: what the environment says, and nothing else.
        proxy: ProxyRules::from_environment(|name| std::env::var(name).ok()).map_err(|e| e.to_string())?,
    })
    .map_err(|e| e.to_string())?;
    Ok(Caller {
        channel,
        metadata: headers,
        auth: client.auth.clone(),
        timeout,
        writing: Writing { json: false, encoding, word, level: None },
        shown,
        rpc,
    })
}

impl Caller {
    /// The calls of a signal.
    pub(crate) fn of(&self, kind: Kind) -> Calls {
        let method = match kind {
            Kind::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Kind::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Kind::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        };
        Calls { caller: self.clone(), method }
    }
}

impl Carrier for Calls {
    fn writing(&self) -> &Writing {
        &self.caller.writing
    }

    fn auth(&self) -> Option<&Handler> {
        self.caller.auth.as_ref()
    }

    fn shown(&self) -> &str {
        &self.caller.shown
    }

    fn carry<'a>(&'a self, headers: &'a Headers, message: Bytes) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let mut metadata = self.caller.metadata.clone();
            if let Some(auth) = &self.caller.auth {
                auth.apply_from_client(headers, &mut metadata);
            }
            let (began, bytes) = (Instant::now(), message.len());
            let call = Unary {
                method: self.method,
                metadata,
                message,
                encoding: self.caller.writing.word,
                timeout: self.caller.timeout,
            };
            let result = self.caller.channel.call(call).await;
            if let Some(rpc) = &self.caller.rpc {
                let code = result.as_ref().map_or_else(|failure| failure.status.code, |_| Code::Ok);
                let answered = result.as_ref().ok().map(|answer| answer.bytes);
                rpc.called(self.method, code, began.elapsed(), bytes, answered);
            }
            judge(result)
        })
    }
}

/// What the outcome of a call means for its data.
fn judge(result: Result<Answer, Failure>) -> Verdict {
    let failure = match result {
        Ok(answer) => {
            let (rejected, message) = partial_success(&answer.message).unwrap_or_default();
            return Verdict::Taken { rejected, message };
        }
        Err(failure) => failure,
    };
    let Failure { status, said, retry_after: after } = failure;
    let message = status.to_string();
    let later = |reason, limited| Verdict::Later { reason, message: message.clone(), after, limited };
    match status.code {
        // Whatever happens on the way says nothing about the data.
        Code::DeadlineExceeded if !said => later("timeout", false),
        _ if !said => later("unreachable", false),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => later("unavailable", after.is_some()),
        // Without a time it may as well mean that the request will never fit.
        Code::ResourceExhausted if after.is_some() => later("rate_limited", true),
        code => Verdict::Refused {
            in_parts: matches!(
                code,
                Code::InvalidArgument | Code::ResourceExhausted | Code::Internal | Code::Unknown
            ),
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use net::grpc::Status;

    use super::*;

    #[test]
    fn every_outcome_means_what_the_specification_says() {
        let wait = Some(Duration::from_secs(3));
        let later = "later";
        for (code, said, after, expected) in [
            (Code::Cancelled, true, None, later),
            (Code::DeadlineExceeded, true, None, later),
            (Code::Aborted, true, None, later),
            (Code::OutOfRange, true, None, later),
            (Code::Unavailable, true, None, later),
            (Code::DataLoss, true, None, later),
            (Code::ResourceExhausted, true, wait, "limited"),
            (Code::Unavailable, true, wait, "limited"),
            (Code::ResourceExhausted, true, None, "refused in parts"),
            (Code::InvalidArgument, true, None, "refused in parts"),
            (Code::Internal, true, None, "refused in parts"),
            (Code::Unknown, true, None, "refused in parts"),
            (Code::NotFound, true, None, "refused"),
            (Code::AlreadyExists, true, None, "refused"),
            (Code::PermissionDenied, true, wait, "refused"),
            (Code::FailedPrecondition, true, None, "refused"),
            (Code::Unimplemented, true, None, "refused"),
            (Code::Unauthenticated, true, None, "refused"),
            (Code::Internal, false, None, later),
            (Code::PermissionDenied, false, None, later),
            (Code::ResourceExhausted, false, None, later),
        ] {
            let failure = Failure { status: Status::new(code, "why"), said, retry_after: after };
            let found = match judge(Err(failure)) {
                Verdict::Later { limited, after: found, .. } => {
                    assert_eq!(found, after);
                    if limited { "limited" } else { later }
                }
                Verdict::Refused { in_parts: true, .. } => "refused in parts",
                Verdict::Refused { .. } => "refused",
                taken => panic!("{taken:?}"),
            };
            assert_eq!(found, expected, "{code:?}");
        }
    }
}

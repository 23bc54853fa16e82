//! What listens: gRPC, HTTP, and the two sockets of the agent.
//!
//! Invariant: all of a change is in force or nothing of it; a new listener is there before the old one goes, and
//! takes over what comes to the same address.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::metrics::IntCounterVec;
use component::{BoxFuture, Error, Spawner};
use http::{HeaderMap, StatusCode, request};
use net::Server;
use net::grpc::{Call, Code, Finished, Limits, Service, Status};
use net::server::Refusal;
use wire::jaeger;
use wire::spans::{Converted, memory};
use wire::thrift::Protocol;

use super::agent::{Agent, Kind};
use super::args::{GrpcArgs, HttpArgs, Protocols};
use crate::auth::Handler;
use crate::receiver::posts::{Format, Posts};
use crate::receiver::spans::Spans;
use crate::server::{HttpPolicy, admit, client, media_type};

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";
/// How long requests under way may take when a server stops or moves.
const GRACE: Duration = Duration::from_secs(30);
/// How long spans of datagrams may wait for a consumer then: shorter than the whole node has.
const AGENT_GRACE: Duration = Duration::from_secs(10);

/// What all listeners are made from.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) spans: Arc<Spans>,
    pub(super) spawner: Spawner,
    /// Datagrams dropped, by reason.
    pub(super) binary_dropped: IntCounterVec,
    pub(super) compact_dropped: IntCounterVec,
}

/// A listener for each block that is there.
#[derive(Default)]
pub(super) struct Servers {
    grpc: Option<Server>,
    http: Option<Server>,
    binary: Option<Agent>,
    compact: Option<Agent>,
}

impl Servers {
    /// Listens for those protocols whose arguments are given.
    ///
    /// # Errors
    /// The listeners that are there already, and why the next could not be had.
    pub(super) async fn bind(protocols: &Protocols, shared: &Shared) -> Result<Self, (Self, Error)> {
        let mut servers = Self::default();
        match servers.add(protocols, shared).await {
            Ok(()) => Ok(servers),
            Err(error) => Err((servers, error)),
        }
    }

    async fn add(&mut self, protocols: &Protocols, shared: &Shared) -> Result<(), Error> {
        let Shared { spans, spawner, binary_dropped, compact_dropped } = shared;
        if let Some(args) = &protocols.grpc {
            self.grpc = Some(grpc(args, spans).await?);
        }
        if let Some(args) = &protocols.thrift_http {
            self.http = Some(http(args, spans).await?);
        }
        if let Some(args) = &protocols.thrift_binary {
            let dropped = binary_dropped.clone();
            let kind = Kind { protocol: Protocol::Binary, transport: "udp_thrift_binary", dropped };
            self.binary = Some(Agent::bind(&args.endpoint, &args.agent, kind, spans, spawner).await?);
        }
        if let Some(args) = &protocols.thrift_compact {
            let dropped = compact_dropped.clone();
            let kind = Kind { protocol: Protocol::Compact, transport: "udp_thrift_compact", dropped };
            self.compact = Some(Agent::bind(&args.endpoint, &args.agent, kind, spans, spawner).await?);
        }
        Ok(())
    }

    /// Puts new arguments into force: what differs is bound anew, and what was there before ends in the background.
    ///
    /// # Errors
    /// If a listener cannot be had; the old arguments are in force then.
    pub(super) async fn change(
        &mut self,
        old: &Protocols,
        new: &Protocols,
        shared: &Shared,
    ) -> Result<(), Error> {
        let moved = Moved::between(old, new);
        match Self::bind(&moved.only(new), shared).await {
            Ok(bound) => {
                let before = self.replace(&moved, bound);
                shared.spawner.spawn(before.end());
                Ok(())
            }
            Err((bound, error)) => {
                // What has been taken from the old listeners is given back.
                let taken = Moved {
                    grpc: bound.grpc.is_some(),
                    http: bound.http.is_some(),
                    binary: bound.binary.is_some(),
                    compact: bound.compact.is_some(),
                };
                match Self::bind(&taken.only(old), shared).await {
                    Ok(back) => {
                        let lost = self.replace(&taken, back);
                        shared.spawner.spawn(lost.end());
                    }
                    Err((back, again)) => {
                        tracing::error!(error = %again, "a listener could not be had back");
                        shared.spawner.spawn(back.end());
                    }
                }
                shared.spawner.spawn(bound.end());
                Err(error)
            }
        }
    }

    fn replace(&mut self, moved: &Moved, mut with: Self) -> Self {
        let mut before = Self::default();
        if moved.grpc {
            before.grpc = std::mem::replace(&mut self.grpc, with.grpc.take());
        }
        if moved.http {
            before.http = std::mem::replace(&mut self.http, with.http.take());
        }
        if moved.binary {
            before.binary = std::mem::replace(&mut self.binary, with.binary.take());
        }
        if moved.compact {
            before.compact = std::mem::replace(&mut self.compact, with.compact.take());
        }
        before
    }

    /// Takes nothing more; what has come is answered and handed over.
    pub(super) async fn end(self) {
        let server = async |server: Option<Server>| {
            if let Some(server) = server {
                server.shutdown(GRACE).await;
            }
        };
        let agent = async |agent: Option<Agent>| {
            if let Some(agent) = agent {
                agent.end(AGENT_GRACE).await;
            }
        };
        tokio::join!(server(self.grpc), server(self.http), agent(self.binary), agent(self.compact));
    }
}

/// Which protocols have other arguments.
struct Moved {
    grpc: bool,
    http: bool,
    binary: bool,
    compact: bool,
}

impl Moved {
    fn between(old: &Protocols, new: &Protocols) -> Self {
        Self {
            grpc: old.grpc != new.grpc,
            http: old.thrift_http != new.thrift_http,
            binary: old.thrift_binary != new.thrift_binary,
            compact: old.thrift_compact != new.thrift_compact,
        }
    }

    /// The arguments of these alone.
    fn only(&self, all: &Protocols) -> Protocols {
        Protocols {
            grpc: all.grpc.clone().filter(|_| self.grpc),
            thrift_http: all.thrift_http.clone().filter(|_| self.http),
            thrift_binary: all.thrift_binary.clone().filter(|_| self.binary),
            thrift_compact: all.thrift_compact.clone().filter(|_| self.compact),
        }
    }
}

async fn grpc(args: &GrpcArgs, spans: &Arc<Spans>) -> Result<Server, Error> {
    let args = &args.server;
    let limits = Limits { max_message: args.max_message(), budget: spans.budget.clone() };
    let collector =
        Collector { spans: spans.clone(), auth: args.auth.clone(), include_metadata: args.include_metadata };
    args.bind(spans.cx.id(), net::grpc::handler(collector, limits)).await
}

async fn http(args: &HttpArgs, spans: &Arc<Spans>) -> Result<Server, Error> {
    let policy = HttpPolicy::new(&args.server);
    let posts = Posts { spans: spans.clone(), policy, format: ThriftHttp };
    args.server.bind(spans.cx.id(), Arc::new(posts)).await
}

/// `jaeger.api_v2.CollectorService`.
struct Collector {
    spans: Arc<Spans>,
    auth: Option<Handler>,
    include_metadata: bool,
}

impl Service for Collector {
    fn serves(&self, method: &str) -> bool {
        method == POST_SPANS && self.spans.is_served()
    }

    fn admit<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            admit(self.auth.as_ref(), headers).await.map_err(|refusal| {
                let known = refusal.status == StatusCode::UNAUTHORIZED;
                Status::new(if known { Code::Unauthenticated } else { Code::Internal }, refusal.why)
            })
        })
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Bytes, Status>> {
        Box::pin(async move {
            let Call { headers, peer, message, packed, mut room, .. } = call;
            drop(packed);
            room.at_least(message.len() + memory(message.len())).await?;
            let converted = jaeger::from_request(&message).map_err(|e| {
                Status::new(Code::InvalidArgument, format!("the message is no PostSpansRequest: {e}"))
            })?;
            drop(message);
            room.at_most(converted.memory);
            let client = self.include_metadata.then(|| client(&headers, peer.as_ref()));
            if let Some(batch) = self.spans.batch("grpc", converted, client) {
                self.spans.take("grpc", batch).await?;
            }
            // A PostSpansResponse has no fields.
            Ok(Bytes::new())
        })
    }

    fn finished(&self, finished: &Finished<'_>) {
        self.spans.called(finished);
    }
}

/// `POST /api/traces`, a `jaeger.Batch` in the binary protocol.
struct ThriftHttp;

impl Format for ThriftHttp {
    type Body = ();

    fn serves(&self, path: &str) -> bool {
        path == "/api/traces"
    }

    fn body(&self, head: &request::Parts) -> Result<((), &'static str), Refusal> {
        match media_type(&head.headers).as_str() {
            "application/x-thrift" | "application/vnd.apache.thrift.binary" => Ok(((), "collector_http")),
            given => Err(Refusal::bad(format!(
                "the Content-Type is {given:?}; it must be application/x-thrift or \
                 application/vnd.apache.thrift.binary"
            ))),
        }
    }

    fn read(&self, (): (), body: &[u8]) -> Result<Converted, String> {
        jaeger::from_batch(body, Protocol::Binary).map_err(|e| format!("the body is not a jaeger.Batch: {e}"))
    }
}

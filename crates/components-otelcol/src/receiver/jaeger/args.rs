//! What an `otelcol.receiver.jaeger` block may say.

use component::Arguments;
use component::eval::{Invalid, Size};
use component::otel::{DebugMetrics, Output};
use net::datagrams::{KERNEL_BUFFER, Limits};

use crate::receiver::check_debug_metrics;
use crate::server::{GrpcServerArgs, HttpServerArgs, endpoint};

/// Datagrams that may wait, where nothing is said.
const QUEUE: i64 = 1000;
/// Datagrams that are handed over at one time, where nothing is said.
const WORKERS: i64 = 10;
/// More of either is a mistake.
const MOST_QUEUE: i64 = 1_000_000;
const MOST_WORKERS: i64 = 10_000;

/// `otelcol.receiver.jaeger`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// What listens; only protocols whose block is there do.
    #[arg(block, required)]
    pub protocols: Protocols,
    /// What the component tells of itself.
    #[arg(block, default = DebugMetrics::default())]
    pub debug_metrics: DebugMetrics,
    /// Where spans go. Without a consumer of traces nothing is served; the other signals never get anything.
    #[arg(block, required)]
    pub output: Output,
}

/// `protocols`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Protocols {
    /// `jaeger.api_v2.CollectorService` over gRPC.
    #[arg(block)]
    pub grpc: Option<GrpcArgs>,
    /// Batches in Thrift over HTTP.
    #[arg(block)]
    pub thrift_http: Option<HttpArgs>,
    /// The agent's datagrams in Thrift's binary protocol.
    #[arg(block)]
    pub thrift_binary: Option<BinaryArgs>,
    /// The agent's datagrams in Thrift's compact protocol.
    #[arg(block)]
    pub thrift_compact: Option<CompactArgs>,
}

/// `grpc`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct GrpcArgs {
    /// The server.
    #[arg(squash, default = GrpcServerArgs {
        endpoint: "0.0.0.0:14250".to_string(),
        max_recv_msg_size: Size(0),
        ..GrpcServerArgs::default()
    })]
    pub server: GrpcServerArgs,
}

/// `thrift_http`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct HttpArgs {
    /// The server.
    #[arg(squash, default = HttpServerArgs { endpoint: "0.0.0.0:14268".to_string(), ..HttpServerArgs::default() })]
    pub server: HttpServerArgs,
}

/// `thrift_binary`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct BinaryArgs {
    /// Address to listen on, `host:port`; an empty host stands for all addresses.
    #[arg(default = "0.0.0.0:6832".to_string())]
    pub endpoint: String,
    /// How datagrams are taken.
    #[arg(squash, default = AgentArgs::usual())]
    pub agent: AgentArgs,
}

/// `thrift_compact`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct CompactArgs {
    /// Address to listen on, `host:port`; an empty host stands for all addresses.
    #[arg(default = "0.0.0.0:6831".to_string())]
    pub endpoint: String,
    /// How datagrams are taken.
    #[arg(squash, default = AgentArgs::usual())]
    pub agent: AgentArgs,
}

/// What both protocols of the agent have.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AgentArgs {
    /// Datagrams that may wait for being handed over; what comes then is dropped. 0 means 1000.
    #[arg(default = QUEUE)]
    pub queue_size: i64,
    /// Largest datagram; longer ones are dropped. 0 means as large as datagrams can be.
    #[arg(default = Size::kib(65))]
    pub max_packet_size: Size,
    /// Datagrams that are handed over at one time; 0 means 10.
    #[arg(default = WORKERS)]
    pub workers: i64,
    /// Bytes that the kernel keeps until they are read; 0 means 1MiB.
    #[arg(default)]
    pub socket_buffer_size: Size,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let protocols = &self.protocols;
        let grpc = protocols.grpc.as_ref().map(|grpc| &grpc.server.endpoint);
        let http = protocols.thrift_http.as_ref().map(|http| &http.server.endpoint);
        let binary = protocols.thrift_binary.as_ref().map(|agent| &agent.endpoint);
        let compact = protocols.thrift_compact.as_ref().map(|agent| &agent.endpoint);
        for (one, other, names) in
            [(grpc, http, "grpc and thrift_http"), (binary, compact, "thrift_binary and thrift_compact")]
        {
            if let (Some(one), Some(other)) = (one, other)
                && one == other
                && !one.ends_with(":0")
            {
                let message = format!("{names} cannot both listen on {one:?}");
                return Err(Invalid::field("protocols", message).with_help("give each its own endpoint"));
            }
        }
        check_debug_metrics(&self.debug_metrics)
    }
}

impl GrpcArgs {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate()
    }
}

impl HttpArgs {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate()
    }
}

impl BinaryArgs {
    fn validate(&self) -> Result<(), Invalid> {
        endpoint(&self.endpoint)?;
        self.agent.check()
    }
}

impl CompactArgs {
    fn validate(&self) -> Result<(), Invalid> {
        endpoint(&self.endpoint)?;
        self.agent.check()
    }
}

impl AgentArgs {
    fn usual() -> Self {
        component::eval::Arguments::defaults()
    }

    fn check(&self) -> Result<(), Invalid> {
        let numbers = [("queue_size", self.queue_size, MOST_QUEUE), ("workers", self.workers, MOST_WORKERS)];
        for (field, given, most) in numbers {
            if !(0..=most).contains(&given) {
                return Err(Invalid::field(field, format!("{field} must be from 0 to {most}")));
            }
        }
        let sizes = [
            ("max_packet_size", self.max_packet_size, u64::from(u32::MAX)),
            ("socket_buffer_size", self.socket_buffer_size, 1 << 30),
        ];
        for (field, given, most) in sizes {
            if given.bytes() > most {
                return Err(Invalid::field(field, format!("{field} must be at most {most} bytes")));
            }
        }
        Ok(())
    }

    /// Where a batch of datagrams ends: it holds what the queue may.
    pub(super) fn limits(&self) -> Limits {
        let largest = match usize::try_from(self.max_packet_size.bytes()) {
            Ok(0) | Err(_) => Limits::default().largest,
            Ok(given) => given.min(Limits::default().largest),
        };
        let datagrams = or(self.queue_size, QUEUE);
        Limits { datagrams, bytes: datagrams.saturating_mul(largest), largest }
    }

    pub(super) fn workers(&self) -> usize {
        or(self.workers, WORKERS)
    }

    pub(super) fn kernel_buffer(&self) -> usize {
        match usize::try_from(self.socket_buffer_size.bytes()) {
            Ok(0) | Err(_) => KERNEL_BUFFER,
            Ok(given) => given,
        }
    }
}

/// A number, or the default where it is 0.
fn or(given: i64, default: i64) -> usize {
    let number = if given <= 0 { default } else { given };
    usize::try_from(number).unwrap_or(1)
}

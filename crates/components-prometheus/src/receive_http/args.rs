//! What a `prometheus.receive_http` block may say.

use std::time::Duration;

use component::eval::Invalid;
use component::{ArgEnum, Arguments, Receiver};
use net::args::{GrpcServerArgs, HttpServerArgs};
use signal::Samples;

/// `prometheus.receive_http`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How long requests under way may take when the server stops or moves.
    #[arg(default = Duration::from_secs(30))]
    pub graceful_shutdown_timeout: Duration,
    /// Where samples go.
    pub forward_to: Vec<Receiver<Samples>>,
    /// Passes type, help and unit of metrics on.
    #[arg(default)]
    pub append_metadata: bool,
    /// Gives series the labels `__type__` and `__unit__`, from the metadata that version 2 has.
    #[arg(default)]
    pub enable_type_and_unit_labels: bool,
    /// Messages that are accepted. `io.prometheus.write.v2.Request` is experimental.
    #[arg(default = vec![Message::V1])]
    pub accepted_remote_write_protobuf_messages: Vec<Message>,
    /// Where to listen.
    #[arg(block)]
    pub http: Option<HttpServerArgs>,
    /// Refused: remote write is not sent over gRPC.
    #[arg(block)]
    pub grpc: Option<GrpcServerArgs>,
}

/// The messages of remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Message {
    /// Remote write 1.0.
    #[arg(name = "prometheus.WriteRequest")]
    V1,
    /// Remote write 2.0.
    #[arg(name = "io.prometheus.write.v2.Request")]
    V2,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.grpc.is_some() {
            return Err(Invalid::field(
                "grpc",
                "remote write comes over HTTP only; nothing would answer over gRPC",
            )
            .with_help("remove the block"));
        }
        let messages = &self.accepted_remote_write_protobuf_messages;
        if messages.is_empty() {
            let message = "accepted_remote_write_protobuf_messages must name at least one message";
            return Err(Invalid::field("accepted_remote_write_protobuf_messages", message));
        }
        Ok(())
    }

    pub(super) fn accepts(&self, message: wire::remote_write::Message) -> bool {
        use wire::remote_write::Message as Wire;
        let named = match message {
            Wire::V1 => Message::V1,
            Wire::V2 => Message::V2,
        };
        self.accepted_remote_write_protobuf_messages.contains(&named)
    }
}

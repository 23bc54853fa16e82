//! What a `pyroscope.receive_http` block may say.

use std::time::Duration;

use component::eval::Invalid;
use component::{Arguments, Receiver};
use net::args::{GrpcServerArgs, HttpServerArgs};
use signal::Profiles;

/// `pyroscope.receive_http`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How long requests under way may take when the server stops or moves.
    #[arg(default = Duration::from_secs(30))]
    pub graceful_shutdown_timeout: Duration,
    /// Where profiles go.
    pub forward_to: Vec<Receiver<Profiles>>,
    /// How long an upload of debug information may take.
    #[arg(
        default = Duration::from_secs(120),
        no_effect = "debug information is not taken; let those who make it upload it to Pyroscope themselves"
    )]
    pub debug_info_upload_timeout: Duration,
    /// Where to listen; port 8080 of all addresses where the block is absent.
    #[arg(block)]
    pub http: Option<HttpServerArgs>,
    /// Refused: profiles are taken over HTTP.
    #[arg(block)]
    pub grpc: Option<GrpcServerArgs>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.grpc.is_some() {
            let message = "profiles come over HTTP only; nothing would answer over gRPC";
            return Err(Invalid::field("grpc", message).with_help("remove the block"));
        }
        Ok(())
    }
}

//! What an `otelcol.exporter.otlp` block may say; its client is also that of `otelcol.exporter.loadbalancing`.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use component::Arguments;
use component::eval::{Invalid, Size};
use component::otel::DebugMetrics;
use http::{HeaderName, HeaderValue};
use net::TlsExtras;
use net::args::TlsConfigArgs;
use net::grpc::{Balancing, Endpoint, Keepalive, is_reserved};
use wire::compress::Encoding;

use crate::auth::Handler;
use crate::exporter::args::{ClientTls, RetryOnFailure, SendingQueue};
use crate::exporter::otlphttp::CompressionType;

/// `otelcol.exporter.otlp`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(5))]
    pub timeout: Duration,
    /// What waits until it has been sent.
    #[arg(block)]
    pub sending_queue: SendingQueue,
    /// What becomes of a request that has failed and may succeed later.
    #[arg(block)]
    pub retry_on_failure: RetryOnFailure,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
    /// How to reach the back end.
    #[arg(block, required)]
    pub client: Client,
}

/// How to reach the back end.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Client::validate)]
pub struct Client {
    /// Where to connect: `host:port`.
    pub endpoint: String,
    /// The rest.
    #[arg(squash)]
    pub rest: GrpcClient,
}

/// How to call a back end, wherever it is.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = GrpcClient::validate)]
pub struct GrpcClient {
    /// How messages are compressed: `gzip`, `zstd`, `snappy` or `none`.
    #[arg(default = CompressionType::Gzip, code_type = "string(CompressionType)")]
    pub compression: CompressionType,
    /// Bytes that are read from the connection at a time; 0 leaves it to the protocol.
    #[arg(default)]
    pub read_buffer_size: Size,
    /// Bytes of a message that a connection takes over before the back end does.
    #[arg(default = Size(512 << 10))]
    pub write_buffer_size: Size,
    /// Let an attempt wait for a connection, rather than fail while there is none.
    #[arg(default)]
    pub wait_for_ready: bool,
    /// Additional metadata; what the protocol itself sets stays as it is.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// Which of several addresses are used: `round_robin` all in turn, `pick_first` the first that answers.
    #[arg(default = "round_robin")]
    pub balancer_name: String,
    /// `:authority`, and the name that the certificate must carry, where they are not the endpoint's.
    #[arg(default)]
    pub authority: String,
    /// Who to be: the `handler` of an `otelcol.auth` component.
    #[arg(code_type = "capsule(otelcol.Handler)")]
    pub auth: Option<Handler>,
    /// TLS; on unless `insecure = true`.
    #[arg(block)]
    pub tls: ClientTls,
    /// How silent connections are asked for a sign of life.
    #[arg(block)]
    pub keepalive: Option<KeepaliveArgs>,
}

/// How silent connections are asked for a sign of life.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct KeepaliveArgs {
    /// Silence before one is asked, at least 10 seconds; 0 for never.
    #[arg(default)]
    pub ping_wait: Duration,
    /// How long the sign may take; 0 for 20 seconds.
    #[arg(default)]
    pub ping_response_timeout: Duration,
    /// Ask connections without calls too.
    #[arg(default)]
    pub ping_without_stream: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        match self.timeout.is_zero() {
            true => Err(Invalid::field("timeout", "must be above 0")),
            false => Ok(()),
        }
    }
}

impl Client {
    fn validate(&self) -> Result<(), Invalid> {
        Endpoint::parse(&self.endpoint).map_err(|message| Invalid::field("endpoint", message))?;
        self.rest.validate()
    }
}

impl GrpcClient {
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        let refuse = |field, message: &str| Err(Invalid::field(field, message.to_owned()));
        if matches!(self.compression, CompressionType::Zlib | CompressionType::Deflate) {
            return refuse("compression", "gRPC knows gzip, zstd, snappy and none");
        }
        if !matches!(self.balancer_name.as_str(), "round_robin" | "pick_first") {
            return refuse("balancer_name", "must be round_robin or pick_first");
        }
        if self.auth.as_ref().is_some_and(|handler| !handler.is_for_clients()) {
            return refuse("auth", "this handler has nothing that a client could send");
        }
        if self.auth.as_ref().is_some_and(|handler| !handler.is_for_calls()) {
            return refuse("auth", "this handler signs requests of HTTP only: use otelcol.exporter.otlphttp");
        }
        for (name, value) in &self.headers {
            metadata(name, value).map_err(|message| Invalid::field("headers", message))?;
        }
        Ok(())
    }

    /// As the codecs and `grpc-encoding` name the compression.
    pub(crate) fn encoding(&self) -> (Encoding, Option<&'static str>) {
        match self.compression.encoding() {
            // HTTP has blocks, gRPC has the framed format.
            (Encoding::Snappy, word) => (Encoding::SnappyFramed, word),
            other => other,
        }
    }

    /// TLS; `None` speaks without. `https` in the endpoint asks for it in any case.
    pub(crate) fn tls(&self, endpoint: &str) -> Option<(TlsConfigArgs, TlsExtras)> {
        match (self.tls.is_off(), endpoint.starts_with("https://")) {
            (false, _) => Some((self.tls.config(), self.tls.extras())),
            (true, true) => Some((TlsConfigArgs::default(), TlsExtras::default())),
            (true, false) => None,
        }
    }

    /// Which addresses are used.
    pub(crate) fn balancing(&self) -> Balancing {
        if self.balancer_name == "pick_first" { Balancing::PickFirst } else { Balancing::RoundRobin }
    }

    /// How silent connections are asked.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        self.keepalive.as_ref().map(|args| Keepalive {
            after: args.ping_wait,
            patience: args.ping_response_timeout,
            while_idle: args.ping_without_stream,
        })
    }
}

/// Metadata of the user; `None` for what is the protocol's own. Values of `…-bin` are bytes, which travel as base64.
pub(crate) fn metadata(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let parsed =
        HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    let mut value = match parsed.as_str().ends_with("-bin") {
        true => HeaderValue::try_from(STANDARD_NO_PAD.encode(value)),
        false => HeaderValue::try_from(value),
    }
    .map_err(|_| format!("header {name:?} has a value that a header cannot have"))?;
    value.set_sensitive(true);
    Ok((!is_reserved(&parsed)).then_some((parsed, value)))
}

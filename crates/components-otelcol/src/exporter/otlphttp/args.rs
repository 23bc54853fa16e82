//! What an `otelcol.exporter.otlphttp` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{Arguments as _, Invalid, Size};
use component::otel::DebugMetrics;
use component::{ArgEnum, Arguments};
use http::HeaderValue;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
use net::Url;
use net::args::HttpClientArgs;
use wire::compress::Encoding;

use crate::auth::Handler;
use crate::exporter::args::{ClientTls, RetryOnFailure, SendingQueue};
use crate::signals::Kind;

/// `otelcol.exporter.otlphttp`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Where traces are posted; `client > endpoint` with `/v1/traces` otherwise.
    #[arg(default)]
    pub traces_endpoint: String,
    /// Where metrics are posted; `client > endpoint` with `/v1/metrics` otherwise.
    #[arg(default)]
    pub metrics_endpoint: String,
    /// Where logs are posted; `client > endpoint` with `/v1/logs` otherwise.
    #[arg(default)]
    pub logs_endpoint: String,
    /// `proto` or `json`.
    #[arg(default = "proto")]
    pub encoding: String,
    /// How to reach the back end.
    #[arg(block, required)]
    pub client: Client,
    /// What waits until it has been sent.
    #[arg(block)]
    pub sending_queue: SendingQueue,
    /// What becomes of a request that has failed and may succeed later.
    #[arg(block)]
    pub retry_on_failure: RetryOnFailure,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// How to reach the back end.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Client::validate)]
pub struct Client {
    /// Base of the URLs, as `https://host:4318`.
    pub endpoint: String,
    /// Proxy for all requests; that of the environment otherwise.
    #[arg(default)]
    pub proxy_url: String,
    /// How bodies are compressed.
    #[arg(default = CompressionType::Gzip, code_type = "string(CompressionType)")]
    pub compression: CompressionType,
    /// Not supported other than at its default: buffers are sized by what goes through them.
    #[arg(default)]
    pub read_buffer_size: Size,
    /// Not supported other than at its default: buffers are sized by what goes through them.
    #[arg(default = Size(512 << 10))]
    pub write_buffer_size: Size,
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(30))]
    pub timeout: Duration,
    /// Additional request headers; those that the protocol itself sets stay as they are.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// Unused connections that are kept.
    #[arg(default = 100)]
    pub max_idle_conns: i64,
    /// Unused connections that are kept a host; 0 for `max_idle_conns`.
    #[arg(default)]
    pub max_idle_conns_per_host: i64,
    /// Most requests in flight at once, whatever `num_consumers` says; 0 for no limit.
    #[arg(default)]
    pub max_conns_per_host: i64,
    /// How long an unused connection is kept.
    #[arg(default = Duration::from_secs(90))]
    pub idle_conn_timeout: Duration,
    /// Use each connection once.
    #[arg(default)]
    pub disable_keep_alives: bool,
    /// An HTTP/2 connection silent for so long is asked for a sign of life; 0 for never.
    #[arg(default)]
    pub http2_read_idle_timeout: Duration,
    /// How long that sign of life may take.
    #[arg(default = Duration::from_secs(15))]
    pub http2_ping_timeout: Duration,
    /// Offer HTTP/2 to TLS servers.
    #[arg(default = true)]
    pub force_attempt_http2: bool,
    /// Who to be: the `handler` of an `otelcol.auth` component.
    #[arg(code_type = "capsule(otelcol.Handler)")]
    pub auth: Option<Handler>,
    /// How hard to compress.
    #[arg(block)]
    pub compression_params: Option<CompressionParams>,
    /// TLS.
    #[arg(block)]
    pub tls: ClientTls,
    /// Not supported: keeping cookies.
    #[arg(block)]
    pub cookies: Option<Cookies>,
}

/// How hard to compress.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct CompressionParams {
    /// For gzip, zlib and deflate −1 to 9, for zstd 1 to 22.
    pub level: i64,
}

/// Keeping cookies.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Cookies {
    /// Keep them.
    #[arg(default)]
    pub enabled: bool,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum CompressionType {
    /// RFC 1952.
    #[arg(default)]
    Gzip,
    /// RFC 1950, called `zlib`.
    Zlib,
    /// RFC 1950, called `deflate`.
    Deflate,
    /// One block.
    Snappy,
    /// RFC 8878.
    Zstd,
    /// Not at all.
    None,
    /// Not at all.
    #[arg(name = "")]
    Empty,
}

impl CompressionType {
    /// As the codecs name it, and as `Content-Encoding` does.
    pub fn encoding(self) -> (Encoding, Option<&'static str>) {
        match self {
            Self::Gzip => (Encoding::Gzip, Some("gzip")),
            Self::Zlib => (Encoding::Deflate, Some("zlib")),
            Self::Deflate => (Encoding::Deflate, Some("deflate")),
            Self::Snappy => (Encoding::Snappy, Some("snappy")),
            Self::Zstd => (Encoding::Zstd, Some("zstd")),
            Self::None | Self::Empty => (Encoding::Identity, None),
        }
    }
}

fn refuse(field: &'static str, message: impl Into<String>) -> Result<(), Invalid> {
    Err(Invalid::field(field, message.into()))
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if !matches!(self.encoding.as_str(), "proto" | "json") {
            return refuse("encoding", "must be proto or json");
        }
        for (field, text) in [
            ("traces_endpoint", &self.traces_endpoint),
            ("metrics_endpoint", &self.metrics_endpoint),
            ("logs_endpoint", &self.logs_endpoint),
        ] {
            if !text.is_empty() {
                url(text).map_err(|message| Invalid::field(field, message))?;
            }
        }
        let own = [&self.traces_endpoint, &self.metrics_endpoint, &self.logs_endpoint];
        if own.into_iter().all(String::is_empty) {
            url(&self.client.endpoint)
                .map_err(|message| Invalid::field("client", format!("endpoint: {message}")))?;
        }
        Ok(())
    }

    /// Where a signal is posted. `Err`: nowhere, and why. `client > endpoint` may be anything as long as another
    /// signal has a place of its own.
    pub fn url(&self, kind: Kind) -> Result<Url, String> {
        let own = match kind {
            Kind::Traces => &self.traces_endpoint,
            Kind::Metrics => &self.metrics_endpoint,
            Kind::Logs => &self.logs_endpoint,
        };
        if !own.is_empty() {
            return url(own);
        }
        let base = &self.client.endpoint;
        let slash = if base.ends_with('/') { "" } else { "/" };
        url(&format!("{base}{slash}v1/{}", kind.name()))
    }
}

impl Client {
    fn validate(&self) -> Result<(), Invalid> {
        for (field, set) in [
            ("read_buffer_size", self.read_buffer_size != Size(0)),
            ("write_buffer_size", self.write_buffer_size != Size(512 << 10)),
        ] {
            if set {
                return refuse(
                    field,
                    "is not supported: buffers are sized by what goes through them; remove it",
                );
            }
        }
        if self.cookies.as_ref().is_some_and(|cookies| cookies.enabled) {
            return refuse("cookies", "keeping cookies is not supported: remove cookies");
        }
        if self.auth.as_ref().is_some_and(|handler| !handler.is_for_clients()) {
            return refuse("auth", "this handler has nothing that a client could send");
        }
        if self.timeout.is_zero() {
            return refuse("timeout", "must be above 0");
        }
        for (field, count) in [
            ("max_idle_conns", self.max_idle_conns),
            ("max_idle_conns_per_host", self.max_idle_conns_per_host),
            ("max_conns_per_host", self.max_conns_per_host),
        ] {
            if count < 0 {
                return refuse(field, "must be 0 or more");
            }
        }
        for (name, value) in &self.headers {
            header(name, value).map_err(|message| Invalid::field("headers", message))?;
        }
        self.http().validate()?;
        self.level().map_err(|message| Invalid::field("compression_params", message))?;
        Ok(())
    }

    /// How hard to compress; `None` for the format's own level.
    pub fn level(&self) -> Result<Option<i32>, String> {
        let Some(CompressionParams { level }) = self.compression_params else { return Ok(None) };
        let range = match self.compression.encoding().0 {
            Encoding::Gzip | Encoding::Deflate => -1..=9,
            Encoding::Zstd => 1..=22,
            Encoding::Snappy | Encoding::SnappyFramed | Encoding::Identity => 0..=0,
        };
        if !range.contains(&level) {
            let (name, low, high) = (self.compression.as_str(), range.start(), range.end());
            return Err(format!("level {level} is none of {name:?}: it goes from {low} to {high}"));
        }
        Ok(i32::try_from(level).ok().filter(|level| *level >= 0))
    }

    /// The part that all HTTP clients have. As Go's clients, it takes the proxy from the environment where none is
    /// given.
    pub(super) fn http(&self) -> HttpClientArgs {
        HttpClientArgs {
            proxy_url: Some(self.proxy_url.clone()).filter(|url| !url.is_empty()),
            proxy_from_environment: self.proxy_url.is_empty(),
            enable_http2: self.force_attempt_http2,
            tls_config: self.tls().config(),
            ..HttpClientArgs::default()
        }
    }

    /// TLS where the endpoint says `https`.
    pub(super) fn tls(&self) -> ClientTls {
        if self.tls.is_off() { ClientTls::defaults() } else { self.tls.clone() }
    }
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is not a URL: {e}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        "http" | "https" => Err(format!("{text:?} names no host")),
        scheme => Err(format!("scheme {scheme:?} cannot be posted to: write http://host:4318 or https://…")),
    }
}

/// A header of the user; `None` for one that is the protocol's own.
pub(super) fn header(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    const OURS: [HeaderName; 6] =
        [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];
    let parsed =
        HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| format!("header {name:?} has a value that a header cannot have"))?;
    value.set_sensitive(true);
    Ok((!OURS.contains(&parsed)).then_some((parsed, value)))
}

//! What a `prometheus.remote_write` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{Invalid, Size};
use component::{ArgEnum, Arguments, RelabelRule};
use net::args::HttpClientArgs;
use writer::{Fsync, OnFull};

/// `prometheus.remote_write`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Labels given to every series that lacks them.
    #[arg(default)]
    pub external_labels: BTreeMap<String, String>,
    /// Where to send; every endpoint gets everything and has a queue of its own.
    #[arg(block)]
    pub endpoint: Vec<Endpoint>,
    /// What is kept on disk until it has been delivered.
    #[arg(block)]
    pub wal: Wal,
}

/// One back end.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Endpoint::validate)]
pub struct Endpoint {
    /// Name in metrics and on disk; made from the URL and settings where it is absent.
    #[arg(default)]
    pub name: String,
    /// Where to post, as `http://host/api/v1/write`.
    pub url: String,
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(30))]
    pub remote_timeout: Duration,
    /// Additional request headers.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// Send exemplars.
    #[arg(default = true)]
    pub send_exemplars: bool,
    /// Send native histograms; without it they are left out and counted.
    #[arg(default)]
    pub send_native_histograms: bool,
    /// Protocol: `prometheus.WriteRequest` (1.0) or `io.prometheus.write.v2.Request` (2.0).
    #[arg(default)]
    pub protobuf_message: Message,
    /// How to connect and authenticate.
    #[arg(squash, default = HttpClientArgs { enable_http2: false, ..HttpClientArgs::default() })]
    pub client: HttpClientArgs,
    /// Connect to all addresses of the host in turn.
    #[arg(default)]
    pub round_robin_dns: bool,
    /// Bounds of queue and senders.
    #[arg(block)]
    pub queue_config: Option<QueueConfig>,
    /// How metadata is sent.
    #[arg(block)]
    pub metadata_config: Option<MetadataConfig>,
    /// Relabelling of what is sent to this endpoint; external labels are there already.
    #[arg(block)]
    pub write_relabel_config: Vec<RelabelRule>,
    /// Sign requests for AWS.
    #[arg(block)]
    pub sigv4: Option<net::sign::SigV4Args>,
    /// Get tokens from Azure AD.
    #[arg(block)]
    pub azuread: Option<net::sign::AzureAdArgs>,
    /// Get tokens from Google.
    #[arg(block)]
    pub google_iam: Option<net::sign::GoogleIamArgs>,
}

/// The two messages of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum Message {
    /// Remote write 1.0.
    #[default]
    #[arg(name = "prometheus.WriteRequest")]
    V1,
    /// Remote write 2.0. Falls back to 1.0 for an endpoint that does not know it.
    #[arg(name = "io.prometheus.write.v2.Request")]
    V2,
}

/// Bounds of an endpoint's queue and senders.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = QueueConfig::validate)]
pub struct QueueConfig {
    /// Samples per sender that are kept in memory; what exceeds it waits on disk.
    #[arg(default = 10_000, code_type = "int")]
    pub capacity: u64,
    /// Most requests in flight at once.
    #[arg(default = 50, code_type = "int")]
    pub max_shards: usize,
    /// Fewest requests in flight at once when there is work.
    #[arg(default = 1, code_type = "int")]
    pub min_shards: usize,
    /// Most samples in one request.
    #[arg(default = 2_000, code_type = "int")]
    pub max_samples_per_send: usize,
    /// How long samples may wait for others to share a request with; never more than a second here.
    #[arg(default = Duration::from_secs(5))]
    pub batch_send_deadline: Duration,
    /// First wait after a failure; it doubles up to `max_backoff`.
    #[arg(default = Duration::from_millis(30))]
    pub min_backoff: Duration,
    /// Longest wait after a failure.
    #[arg(default = Duration::from_secs(5))]
    pub max_backoff: Duration,
    /// Keep samples that were refused with 429; otherwise they are dropped and counted.
    #[arg(default = true)]
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped and counted; 0 keeps them up to the queue's age limit.
    #[arg(default = Duration::ZERO)]
    pub sample_age_limit: Duration,
}

/// How metadata is sent with remote write 1.0; 2.0 carries it with every series.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = MetadataConfig::validate)]
pub struct MetadataConfig {
    /// Send it.
    #[arg(default = true)]
    pub send: bool,
    /// How often.
    #[arg(default = Duration::from_secs(60))]
    pub send_interval: Duration,
    /// Most families in one request.
    #[arg(default = 2_000, code_type = "int")]
    pub max_samples_per_send: usize,
}

/// The queue on disk. Delivered data is removed at once, so nothing has to be truncated: of Alloy's
/// arguments `max_keepalive_time` bounds the age of what waits, the other two have no effect.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Wal::validate)]
pub struct Wal {
    /// How often delivered data is removed.
    #[arg(
        default = Duration::from_secs(2 * 3600),
        no_effect = "what has been delivered is removed at once"
    )]
    pub truncate_frequency: Duration,
    /// How long data stays at least.
    #[arg(
        default = Duration::from_secs(5 * 60),
        no_effect = "what waits stays until it is delivered or as old as max_keepalive_time"
    )]
    pub min_keepalive_time: Duration,
    /// What has waited for longer is dropped and counted.
    #[arg(default = Duration::from_secs(8 * 3600))]
    pub max_keepalive_time: Duration,
    /// Keep the queue on disk, so that it survives a restart. Without it the queue is bounded by memory.
    #[arg(default = true)]
    pub enabled: bool,
    /// Bytes on disk per endpoint.
    #[arg(default = Size(2 << 30))]
    pub max_size: Size,
    /// What happens when the queue is full.
    #[arg(default)]
    pub on_full: OnFull,
    /// When data is forced to the device. Without it, it still survives the end of the process.
    #[arg(default)]
    pub fsync: Fsync,
}

fn invalid(field: &'static str, message: &str) -> Result<(), Invalid> {
    Err(Invalid::field(field, message))
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        writer::distinct(self.endpoint.iter().map(|e| &e.name))
    }
}

impl Endpoint {
    fn validate(&self) -> Result<(), Invalid> {
        self.client.validate()?;
        net::post_url(&self.url).map_err(|message| Invalid::field("url", message))?;
        if self.remote_timeout.is_zero() {
            return invalid("remote_timeout", "must be above 0");
        }
        let client = &self.client;
        let own = client.basic_auth.is_some()
            || client.authorization.is_some()
            || client.oauth2.is_some()
            || !client.bearer_token.is_empty()
            || !client.bearer_token_file.is_empty();
        let methods = [own, self.sigv4.is_some(), self.azuread.is_some(), self.google_iam.is_some()];
        if methods.into_iter().filter(|m| *m).count() > 1 {
            let message = "at most one of sigv4, azuread, google_iam, basic_auth, authorization, oauth2, \
                           bearer_token and bearer_token_file may be used";
            return Err(Invalid::body(message));
        }
        let authenticated = methods.contains(&true);
        for (name, value) in &self.headers {
            check_header(name, value, authenticated).map_err(|m| Invalid::field("headers", m))?;
        }
        match self.client.http_headers.keys().find(|name| is_of_the_protocol(name)) {
            Some(name) => Err(Invalid::field("http_headers", unchangeable(name))),
            None => Ok(()),
        }
    }
}

/// Those that the specifications reserve: senders must not let users change them.
fn is_of_the_protocol(name: &str) -> bool {
    ["content-encoding", "content-type", "user-agent", "x-prometheus-remote-write-version"]
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
}

fn unchangeable(name: &str) -> String {
    format!("header {name:?} is set by the protocol and cannot be changed")
}

fn check_header(name: &str, value: &str, authenticated: bool) -> Result<(), String> {
    // Those of the connection and of sigv4. As prometheus/config: `reservedHeaders`.
    const RESERVED: [&str; 12] = [
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "transfer-encoding",
        "www-authenticate",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
    ];
    let (parsed, _) = net::request_header(name, value)?;
    if is_of_the_protocol(name) || RESERVED.contains(&parsed.as_str()) {
        return Err(unchangeable(name));
    }
    if parsed == http::header::AUTHORIZATION && authenticated {
        return Err(format!("header {name:?} is set by the endpoint's authentication: use one of the two"));
    }
    Ok(())
}

impl QueueConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.capacity == 0 {
            return invalid("capacity", "must be at least 1");
        }
        if self.max_shards == 0 || self.max_shards > 1024 {
            return invalid("max_shards", "must be between 1 and 1024");
        }
        if self.min_shards == 0 || self.min_shards > self.max_shards {
            return invalid("min_shards", "must be at least 1 and at most max_shards");
        }
        if self.max_samples_per_send == 0 {
            return invalid("max_samples_per_send", "must be at least 1");
        }
        if self.min_backoff.is_zero() || self.min_backoff > self.max_backoff {
            return invalid("min_backoff", "must be above 0 and at most max_backoff");
        }
        Ok(())
    }
}

impl MetadataConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.send && self.send_interval.is_zero() {
            return invalid("send_interval", "must be above 0");
        }
        if self.max_samples_per_send == 0 {
            return invalid("max_samples_per_send", "must be at least 1");
        }
        Ok(())
    }
}

impl Wal {
    fn validate(&self) -> Result<(), Invalid> {
        if self.truncate_frequency.is_zero() {
            return invalid("truncate_frequency", "must be above 0");
        }
        if self.min_keepalive_time >= self.max_keepalive_time {
            return invalid("min_keepalive_time", "must be less than max_keepalive_time");
        }
        if self.enabled && self.max_size.0 < 1 << 20 {
            return invalid("max_size", "must be at least 1MiB");
        }
        Ok(())
    }
}

//! What a `loki.write` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::Arguments;
use component::eval::{Invalid, Size};
use http::HeaderValue;
use net::args::HttpClientArgs;
use writer::{Fsync, Retries};

/// `loki.write`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Labels given to every stream that lacks them.
    #[arg(default)]
    pub external_labels: BTreeMap<String, String>,
    /// Most streams per endpoint that are active at once, 0 for any number; a stream is active until it has been
    /// silent for a minute. Entries of further ones are dropped and counted as `stream_limited`.
    #[arg(default)]
    pub max_streams: i64,
    /// Where to send; every endpoint gets everything and has a queue of its own.
    #[arg(block)]
    pub endpoint: Vec<Endpoint>,
    /// What is kept on disk until it has been delivered.
    #[arg(block)]
    pub wal: Wal,
}

/// One Loki.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Endpoint::validate)]
pub struct Endpoint {
    /// Name on disk and in messages; made from the URL where it is absent.
    #[arg(default)]
    pub name: String,
    /// Where to post, as `http://host:3100/loki/api/v1/push`.
    pub url: String,
    /// How long entries may wait for others to share a request with.
    #[arg(default = Duration::from_secs(1))]
    pub batch_wait: Duration,
    /// Bytes of a request before compression.
    #[arg(default = Size(1 << 20))]
    pub batch_size: Size,
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(10))]
    pub remote_timeout: Duration,
    /// Additional request headers; those that the protocol itself sets stay as they are.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// How it is tried again.
    #[arg(squash)]
    pub retries: Retries,
    /// Tenant of entries without a label `__tenant_id__`.
    #[arg(default)]
    pub tenant_id: String,
    /// How to connect and authenticate.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// Bounds of the queue.
    #[arg(block)]
    pub queue_config: QueueConfig,
}

/// Bounds of an endpoint's queue.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = QueueConfig::validate)]
pub struct QueueConfig {
    /// Bytes of entries that are kept in memory. Without the disk queue this is all there is; with it, what
    /// exceeds it waits on disk.
    #[arg(default = Size(10 << 20))]
    pub capacity: Size,
    /// Requests in flight at once; each stream belongs to one of them, so that it stays in order.
    #[arg(default = 1, code_type = "int")]
    pub min_shards: usize,
    /// How long a stopping or removed endpoint may go on sending.
    #[arg(default = Duration::from_secs(15))]
    pub drain_timeout: Duration,
    /// Let senders wait while the queue is full; otherwise new entries are dropped and counted as
    /// `queue_is_full`.
    #[arg(default = true)]
    pub block_on_overflow: bool,
}

/// The queue on disk. Delivered entries are removed at once, and nobody polls it: of Alloy's arguments
/// `max_segment_age` bounds the age of what waits, the read frequencies have no effect.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Wal::validate)]
pub struct Wal {
    /// Keep the queue on disk, so that it survives a restart.
    #[arg(default)]
    pub enabled: bool,
    /// What has waited for longer is dropped and counted.
    #[arg(default = Duration::from_secs(3600))]
    pub max_segment_age: Duration,
    /// How often the queue is looked at, at most.
    #[arg(default = Duration::from_millis(250), no_effect = "the queue is not polled: entries are sent as they come")]
    pub min_read_frequency: Duration,
    /// How often the queue is looked at, at least.
    #[arg(default = Duration::from_secs(1), no_effect = "the queue is not polled: entries are sent as they come")]
    pub max_read_frequency: Duration,
    /// How long a stopping or removed endpoint may go on sending; the rest stays on disk.
    #[arg(default = Duration::from_secs(15))]
    pub drain_timeout: Duration,
    /// Bytes on disk per endpoint.
    #[arg(default = Size(2 << 30))]
    pub max_size: Size,
    /// When data is forced to the device. Without it, it still survives the end of the process.
    #[arg(default)]
    pub fsync: Fsync,
}

fn invalid(field: &'static str, message: &str) -> Result<(), Invalid> {
    Err(Invalid::field(field, message))
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        writer::distinct(self.endpoint.iter().map(|e| &e.name))?;
        if self.max_streams < 0 {
            return invalid("max_streams", "must be 0 or more");
        }
        Ok(())
    }
}

impl Endpoint {
    fn validate(&self) -> Result<(), Invalid> {
        self.client.validate()?;
        net::post_url(&self.url).map_err(|message| Invalid::field("url", message))?;
        if self.remote_timeout.is_zero() {
            return invalid("remote_timeout", "must be above 0");
        }
        if self.batch_size.0 == 0 {
            return invalid("batch_size", "must be at least 1");
        }
        self.retries.validate()?;
        if HeaderValue::try_from(&self.tenant_id).is_err() {
            return invalid("tenant_id", "has characters that a header cannot have");
        }
        net::check_headers(&self.headers)
    }
}

impl QueueConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.capacity.0 == 0 {
            return invalid("capacity", "must be at least 1");
        }
        if self.min_shards == 0 || self.min_shards > 1024 {
            return invalid("min_shards", "must be between 1 and 1024");
        }
        Ok(())
    }
}

impl Wal {
    fn validate(&self) -> Result<(), Invalid> {
        if self.min_read_frequency >= self.max_read_frequency {
            return invalid("min_read_frequency", "must be less than max_read_frequency");
        }
        if self.max_segment_age.is_zero() {
            return invalid("max_segment_age", "must be above 0");
        }
        if self.enabled && self.max_size.0 < 1 << 20 {
            return invalid("max_size", "must be at least 1MiB");
        }
        Ok(())
    }
}

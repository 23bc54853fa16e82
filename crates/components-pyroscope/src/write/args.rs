//! What a `pyroscope.write` block may say.

use std::collections::BTreeMap;
use std::time::Duration;

use component::Arguments;
use component::eval::{Invalid, Size};
use net::args::HttpClientArgs;
use wire::pyroscope::is_label_name;
use writer::{Fsync, Retries};

/// `pyroscope.write`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Labels given to every profile; they replace those that it has.
    #[arg(default)]
    pub external_labels: BTreeMap<String, String>,
    /// Where to send; every endpoint gets everything and has a queue of its own.
    #[arg(block)]
    pub endpoint: Vec<Endpoint>,
    /// How requests tell of the program's own trace.
    #[arg(block, default = Tracing { jaeger_propagator: true, trace_context_propagator: true })]
    pub tracing: Tracing,
    /// What is kept on disk until it has been delivered.
    #[arg(block)]
    pub wal: Wal,
}

/// One Pyroscope.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Endpoint::validate)]
pub struct Endpoint {
    /// Name on disk and in messages; made from the URL where it is absent.
    #[arg(default)]
    pub name: String,
    /// The address of the Pyroscope, as `http://host:4040`; the paths of its APIs are put behind it.
    pub url: String,
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(10))]
    pub remote_timeout: Duration,
    /// How long an upload of debug information may take.
    #[arg(
        default = Duration::from_secs(120),
        no_effect = "nothing here makes debug information that could be uploaded"
    )]
    pub debug_info_upload_timeout: Duration,
    /// Additional request headers; those that the protocol itself sets stay as they are.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// How it is tried again.
    #[arg(squash)]
    pub retries: Retries,
    /// How to connect and authenticate.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// Bounds of the queue.
    #[arg(block)]
    pub queue_config: QueueConfig,
}

/// The headers of tracing; a block without an argument turns it off.
#[derive(Clone, Copy, Debug, PartialEq, Arguments)]
pub struct Tracing {
    /// Send `uber-trace-id`, which Pyroscope reads.
    #[arg(default)]
    pub jaeger_propagator: bool,
    /// Send `traceparent`.
    #[arg(default)]
    pub trace_context_propagator: bool,
}

/// Bounds of an endpoint's queue. Alloy has none: its senders wait for the back end.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = QueueConfig::validate)]
pub struct QueueConfig {
    /// Bytes of profiles that are kept in memory. Without the disk queue this is all there is; with it, what
    /// exceeds it waits on disk.
    #[arg(default = Size(64 << 20))]
    pub capacity: Size,
    /// Most requests in flight at once; one is enough as long as it keeps up.
    #[arg(default = 16, code_type = "int")]
    pub max_shards: usize,
    /// How long a stopping or removed endpoint may go on sending.
    #[arg(default = Duration::from_secs(15))]
    pub drain_timeout: Duration,
    /// Let senders wait while the queue is full; otherwise new profiles are dropped and counted as
    /// `queue_is_full`.
    #[arg(default = true)]
    pub block_on_overflow: bool,
}

/// The queue on disk, which Alloy does not have.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Wal::validate)]
pub struct Wal {
    /// Keep the queue on disk, so that it survives a restart.
    #[arg(default)]
    pub enabled: bool,
    /// What has waited for longer is dropped and counted. Pyroscope refuses profiles older than an hour unless it
    /// is told otherwise.
    #[arg(default = Duration::from_secs(3600))]
    pub max_age: Duration,
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
        if let Some(name) = self.external_labels.keys().find(|name| !is_label_name(name)) {
            let message = format!(
                "Pyroscope takes no label {name:?}: letters, digits, `_` and `.` are what its name may be made of"
            );
            return invalid("external_labels", &message);
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
        self.retries.validate()?;
        net::check_headers(&self.headers)
    }
}

impl QueueConfig {
    fn validate(&self) -> Result<(), Invalid> {
        if self.capacity.0 == 0 {
            return invalid("capacity", "must be at least 1");
        }
        if self.max_shards == 0 || self.max_shards > 1024 {
            return invalid("max_shards", "must be between 1 and 1024");
        }
        Ok(())
    }
}

impl Wal {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max_age.is_zero() {
            return invalid("max_age", "must be above 0");
        }
        if self.enabled && self.max_size.0 < 1 << 20 {
            return invalid("max_size", "must be at least 1MiB");
        }
        Ok(())
    }
}

//! The blocks that every exporter has: `sending_queue`, `retry_on_failure`, and the `tls` of a client.
//!
//! Invariant: what cannot be honoured is refused with its place, never passed over.

use std::time::Duration;

use component::Arguments;
use component::eval::{Invalid, Secret};
use net::TlsExtras;
use net::args::TlsConfigArgs;

use crate::auth::Handler;
use crate::tls::{Tpm, version};

/// Most requests at once; more would be a mistake of the configuration.
const MOST_CONSUMERS: i64 = 1024;

fn refuse(field: &'static str, message: impl Into<String>) -> Result<(), Invalid> {
    Err(Invalid::field(field, message.into()))
}

/// What waits until it has been sent.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct SendingQueue {
    /// Queue what is taken in. Without a queue a sender waits for the back end's answer and gets it.
    #[arg(default = true)]
    pub enabled: bool,
    /// Requests in flight at once.
    #[arg(default = 10)]
    pub num_consumers: i64,
    /// How much may wait, counted as `sizer` says.
    #[arg(default = 1000)]
    pub queue_size: i64,
    /// Let senders wait while the queue is full; otherwise they are refused for now.
    #[arg(default)]
    pub block_on_overflow: bool,
    /// What `queue_size` counts: `requests`, `items` or `bytes`.
    #[arg(default = "requests")]
    pub sizer: String,
    /// Not supported: a sender that must know the outcome gets it with `enabled = false`.
    #[arg(default)]
    pub wait_for_result: bool,
    /// Keep the queue on disk: the `handler` of an `otelcol.storage` component.
    #[arg(code_type = "capsule(otelcol.Handler)")]
    pub storage: Option<Handler>,
    /// Join what waits into larger requests.
    #[arg(block)]
    pub batch: Option<Batch>,
}

/// Joining of what waits.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Batch {
    /// How long a request may wait for others.
    #[arg(default = Duration::from_millis(200))]
    pub flush_timeout: Duration,
    /// A request of this size is sent at once.
    #[arg(default = 2000)]
    pub min_size: i64,
    /// Largest request, 0 for any; larger ones are cut between items.
    #[arg(default = 3000)]
    pub max_size: i64,
    /// What sizes count: `items` or `bytes`.
    #[arg(default = "items")]
    pub sizer: String,
}

/// What a size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizer {
    /// Batches as they were taken in.
    Requests,
    /// Spans, data points, log records.
    Items,
    /// Bytes as they wait.
    Bytes,
}

impl Sizer {
    fn of(text: &str) -> Option<Self> {
        match text {
            "requests" => Some(Self::Requests),
            "items" => Some(Self::Items),
            "bytes" => Some(Self::Bytes),
            _ => None,
        }
    }
}

impl SendingQueue {
    fn validate(&self) -> Result<(), Invalid> {
        if self.storage.as_ref().is_some_and(|handler| handler.folder().is_none()) {
            return refuse("storage", "this handler stores nothing: use that of otelcol.storage.file");
        }
        if self.storage.is_some() && !self.enabled {
            return refuse(
                "storage",
                "without a queue nothing is stored: enable the queue or remove storage",
            );
        }
        if self.wait_for_result {
            return refuse(
                "wait_for_result",
                "is not supported: with enabled = false a sender waits for the outcome and gets it",
            );
        }
        if Sizer::of(&self.sizer).is_none() {
            return refuse("sizer", "must be requests, items or bytes");
        }
        if !(1..=MOST_CONSUMERS).contains(&self.num_consumers) {
            return refuse("num_consumers", format!("must be between 1 and {MOST_CONSUMERS}"));
        }
        if self.queue_size < 1 {
            return refuse("queue_size", "must be at least 1");
        }
        if self.batch.is_some() && !self.enabled {
            return refuse("batch", "without a queue nothing waits that could be joined: enable the queue");
        }
        Ok(())
    }

    /// What `queue_size` counts.
    pub fn sizer(&self) -> Sizer {
        Sizer::of(&self.sizer).expect("validated")
    }
}

impl Batch {
    fn validate(&self) -> Result<(), Invalid> {
        if !matches!(Sizer::of(&self.sizer), Some(Sizer::Items | Sizer::Bytes)) {
            return refuse("sizer", "must be items or bytes");
        }
        if self.sizer() == Sizer::Bytes && self.max_size != 0 {
            return refuse(
                "max_size",
                "requests are cut by items only: set sizer = \"items\" or max_size = 0",
            );
        }
        if self.flush_timeout.is_zero() {
            return refuse("flush_timeout", "must be above 0");
        }
        if self.min_size < 0 || self.max_size < 0 {
            return refuse(if self.min_size < 0 { "min_size" } else { "max_size" }, "must be 0 or more");
        }
        if self.max_size != 0 && self.max_size < self.min_size {
            return refuse("max_size", "must be 0 or at least min_size");
        }
        Ok(())
    }

    /// What sizes count.
    pub fn sizer(&self) -> Sizer {
        Sizer::of(&self.sizer).expect("validated")
    }
}

/// What becomes of a request that has failed and may succeed later.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct RetryOnFailure {
    /// Try again; otherwise a failure is the end of the request.
    #[arg(default = true)]
    pub enabled: bool,
    /// First wait.
    #[arg(default = Duration::from_secs(5))]
    pub initial_interval: Duration,
    /// By which part of itself a wait is made longer or shorter, at random.
    #[arg(default = 0.5)]
    pub randomization_factor: f64,
    /// Each wait is so many times the one before.
    #[arg(default = 1.5)]
    pub multiplier: f64,
    /// Longest wait.
    #[arg(default = Duration::from_secs(30))]
    pub max_interval: Duration,
    /// How long after its first attempt a request is given up; 0 for never.
    #[arg(default = Duration::from_secs(300))]
    pub max_elapsed_time: Duration,
}

impl RetryOnFailure {
    fn validate(&self) -> Result<(), Invalid> {
        if !self.enabled {
            return Ok(());
        }
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            return refuse("randomization_factor", "must be between 0 and 1");
        }
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            return refuse("multiplier", "must be 1 or more");
        }
        if self.initial_interval.is_zero() {
            return refuse("initial_interval", "must be above 0");
        }
        if self.max_interval < self.initial_interval {
            return refuse("max_interval", "must be at least initial_interval");
        }
        if !self.max_elapsed_time.is_zero() && self.max_elapsed_time < self.initial_interval {
            return refuse("max_elapsed_time", "must be 0 or at least initial_interval");
        }
        Ok(())
    }

    /// As the delivery engine has it.
    pub fn backoff(&self) -> (delivery::Backoff, delivery::Growth) {
        let spread = (1.0 - self.randomization_factor, 1.0 + self.randomization_factor);
        (
            delivery::Backoff { min: self.initial_interval, max: self.max_interval },
            delivery::Growth { multiplier: self.multiplier, spread },
        )
    }

    /// How long after its first attempt a request is given up.
    pub fn give_up_after(&self) -> Option<Duration> {
        Some(self.max_elapsed_time).filter(|time| !time.is_zero())
    }
}

/// TLS of a client.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate, without_effect = Self::without_effect)]
pub struct ClientTls {
    /// Certificates (PEM) of the authorities that may have signed the server's; the system's otherwise.
    #[arg(default)]
    pub ca_pem: String,
    /// File with such certificates.
    #[arg(default)]
    pub ca_file: String,
    /// The client's certificate chain (PEM).
    #[arg(default)]
    pub cert_pem: String,
    /// File with the client's certificate chain.
    #[arg(default)]
    pub cert_file: String,
    /// The client's private key (PEM).
    #[arg(default)]
    pub key_pem: Secret,
    /// File with the client's private key.
    #[arg(default)]
    pub key_file: String,
    /// Oldest version; 1.2 is the oldest there is.
    #[arg(default = "TLS 1.2")]
    pub min_version: String,
    /// Newest version.
    #[arg(default = "TLS 1.3")]
    pub max_version: String,
    /// How old the contents of files may get.
    #[arg(default, no_effect = "files are looked at with every connection, so that they are never older")]
    pub reload_interval: Duration,
    /// Cipher suites of TLS 1.2 that are offered; all that are safe otherwise.
    #[arg(default)]
    pub cipher_suites: Vec<String>,
    /// Not supported: unsafe suites are not part of this program.
    #[arg(default)]
    pub include_insecure_cipher_suites: bool,
    /// Trust the system's authorities beside those given here.
    #[arg(default)]
    pub include_system_ca_certs_pool: bool,
    /// Curves that are offered; all otherwise.
    #[arg(default)]
    pub curve_preferences: Vec<String>,
    /// Speak without TLS; where the endpoint says `https`, with that of the system instead of this block's.
    #[arg(default)]
    pub insecure: bool,
    /// Accept any certificate. The connection is encrypted, but with nobody knows whom.
    #[arg(default)]
    pub insecure_skip_verify: bool,
    /// Name that the server's certificate must carry.
    #[arg(default)]
    pub server_name: String,
    /// Not supported: a key inside a trusted platform module.
    #[arg(block)]
    pub tpm: Option<Tpm>,
}

impl ClientTls {
    fn validate(&self) -> Result<(), Invalid> {
        Tpm::check(self.tpm.as_ref())?;
        if self.include_insecure_cipher_suites {
            return refuse("include_insecure_cipher_suites", "unsafe cipher suites are not supported");
        }
        for (field, text) in [("min_version", &self.min_version), ("max_version", &self.max_version)] {
            version(field, text)?;
        }
        self.config().validate()
    }

    /// Whether this block has no say: `insecure`, unless there are authorities (as in the OpenTelemetry Collector).
    pub fn is_off(&self) -> bool {
        self.insecure && self.ca_pem.is_empty() && self.ca_file.is_empty()
    }

    /// What of this block is set and has no say.
    fn without_effect(&self) -> Vec<Invalid> {
        if !self.is_off() {
            return Vec::new();
        }
        [
            ("cert_pem", !self.cert_pem.is_empty()),
            ("cert_file", !self.cert_file.is_empty()),
            ("server_name", !self.server_name.is_empty()),
            ("insecure_skip_verify", self.insecure_skip_verify),
            ("cipher_suites", !self.cipher_suites.is_empty()),
            ("curve_preferences", !self.curve_preferences.is_empty()),
        ]
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| Invalid::without_effect(name, "insecure = true turns the whole block off"))
        .collect()
    }

    /// The part that all clients have.
    pub fn config(&self) -> TlsConfigArgs {
        TlsConfigArgs {
            ca_pem: self.ca_pem.clone(),
            ca_file: self.ca_file.clone(),
            cert_pem: self.cert_pem.clone(),
            cert_file: self.cert_file.clone(),
            key_pem: self.key_pem.clone(),
            key_file: self.key_file.clone(),
            server_name: self.server_name.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            min_version: version("min_version", &self.min_version).expect("validated"),
        }
    }

    /// The rest.
    pub fn extras(&self) -> TlsExtras {
        TlsExtras {
            max_version: version("max_version", &self.max_version).expect("validated"),
            cipher_suites: self.cipher_suites.clone(),
            curves: self.curve_preferences.clone(),
            system_authorities_too: self.include_system_ca_certs_pool,
        }
    }
}

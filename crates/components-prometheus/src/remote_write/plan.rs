//! Everything about an endpoint that follows from the configuration, without I/O.

use std::sync::Arc;
use std::time::Duration;

use component::{BuildCx, Error, compile_rules};
use delivery::{Backoff, Config, DiskConfig};
use http::{HeaderMap, HeaderValue};
use net::sign::{AzureAd, GoogleIam, SigV4};
use net::{ClientOptions, Poster, Url, shown_url};
use wire::remote_write::Options;

use super::args::{self, Args, MetadataConfig, QueueConfig};
use super::encode::rules;
use super::transport::fixed_headers;

/// Bytes of records that an endpoint keeps in memory; the rest waits on disk.
const MEMORY_BYTES: u64 = 32 << 20;
/// Bytes that one request may have before compression is undone; far above what 2,000 samples make.
const REQUEST_BYTES: u64 = 8 << 20;
/// Samples wait no longer than this for company, whatever `batch_send_deadline` allows.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a removed or stopping endpoint may go on sending what it keeps on disk anyway.
const DRAIN_DISK: Duration = Duration::from_secs(10);
/// The same where what is not sent is lost. As Alloy's flush deadline.
const DRAIN_MEMORY: Duration = Duration::from_secs(60);

/// Everything about an endpoint that follows from the configuration, without I/O.
#[derive(Clone)]
pub(super) struct Plan {
    /// Tells endpoints apart across reloads; names the queue's folder.
    pub key: String,
    pub name: String,
    pub shown_url: String,
    pub config: Config,
    pub metadata: MetadataConfig,
    /// `queue_config > capacity`.
    pub capacity: u64,
    pub message: args::Message,
    pub options: Options,
    pub rules: signal::Rules,
    pub age_limit_ms: Option<i64>,
    pub client: Poster,
    pub url: Url,
    pub headers: HeaderMap,
    pub timeout: Duration,
}

impl delivery::Plan for Plan {
    fn key(&self) -> &str {
        &self.key
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn on_disk(&self) -> bool {
        self.config.disk.is_some()
    }
}

impl Plan {
    /// How long the queue may go on sending when it is to end.
    pub(super) fn drain_deadline(&self) -> Duration {
        if self.config.disk.is_some() { DRAIN_DISK } else { DRAIN_MEMORY }
    }

    /// Whether an append waits for the device.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.config.disk.as_ref().is_some_and(|disk| disk.fsync == delivery::Fsync::Always)
    }
}

/// Plans for all endpoints, or what is wrong with the arguments.
pub(super) fn plans(args: &Args, cx: &BuildCx) -> Result<Vec<Plan>, Error> {
    let make = |endpoint: &args::Endpoint, key| plan(args, endpoint, key, cx);
    writer::plans(&args.endpoint, |endpoint| (endpoint.name.as_str(), endpoint.url.as_str()), make)
}

fn plan(args: &Args, endpoint: &args::Endpoint, key: String, cx: &BuildCx) -> Result<Plan, Error> {
    let url = net::post_url(&endpoint.url).map_err(|message| Error::argument("url", message))?;
    let name = if endpoint.name.is_empty() { key.clone() } else { endpoint.name.clone() };
    let queue = endpoint.queue_config.clone().unwrap_or_else(component::eval::Arguments::defaults);
    let metadata = endpoint.metadata_config.clone().unwrap_or_else(component::eval::Arguments::defaults);
    let write_relabel = compile_rules("write_relabel_config", &endpoint.write_relabel_config)?;
    let rules =
        rules(&args.external_labels, &write_relabel).map_err(|e| Error::argument("external_labels", e))?;
    Ok(Plan {
        config: config(args, endpoint, &queue, disk(args, cx, &key)),
        shown_url: shown_url(&url),
        capacity: queue.capacity,
        message: endpoint.protobuf_message,
        options: Options {
            max_samples: queue.max_samples_per_send,
            exemplars: endpoint.send_exemplars,
            histograms: endpoint.send_native_histograms,
        },
        rules,
        age_limit_ms: (!queue.sample_age_limit.is_zero())
            .then(|| i64::try_from(queue.sample_age_limit.as_millis()).unwrap_or(i64::MAX / 2)),
        client: client(endpoint, cx)?,
        headers: headers(endpoint, cx)?,
        timeout: endpoint.remote_timeout,
        key,
        name,
        metadata,
        url,
    })
}

fn disk(args: &Args, cx: &BuildCx, key: &str) -> Option<DiskConfig> {
    let wal = &args.wal;
    wal.enabled.then(|| writer::disk(&cx.data_path(), key, wal.max_size, wal.fsync))
}

fn config(args: &Args, endpoint: &args::Endpoint, queue: &QueueConfig, disk: Option<DiskConfig>) -> Config {
    Config {
        memory_bytes: MEMORY_BYTES,
        memory_items: queue.capacity.saturating_mul(queue.max_shards as u64),
        disk,
        max_age: match queue.sample_age_limit {
            Duration::ZERO => args.wal.max_keepalive_time,
            limit => limit.min(args.wal.max_keepalive_time),
        },
        on_full: args.wal.on_full.into(),
        min_senders: queue.min_shards,
        max_senders: queue.max_shards,
        lanes: queue.max_shards,
        batch_items: queue.max_samples_per_send as u64,
        batch_bytes: REQUEST_BYTES,
        batch_wait: queue.batch_send_deadline.min(LONGEST_WAIT),
        batch_alone: queue.max_samples_per_send as u64 / 2 + 1,
        backoff: Backoff { min: queue.min_backoff, max: queue.max_backoff },
        retry_limited: queue.retry_on_http_429,
        max_attempts: None,
        // Above what an attempt may take by itself: two requests where version 2 is refused, two more where
        // each is redirected.
        attempt_timeout: endpoint.remote_timeout.saturating_mul(4).saturating_add(Duration::from_secs(10)),
        ..Config::default()
    }
}

fn client(endpoint: &args::Endpoint, cx: &BuildCx) -> Result<Poster, Error> {
    let agent = cx.services().user_agent();
    let mut options = ClientOptions::new(agent.as_str()).round_robin_dns(endpoint.round_robin_dns);
    let failed = |e: net::Error| Error::argument("endpoint", e.to_string());
    if let Some(args) = &endpoint.sigv4 {
        options = options.signer(Arc::new(SigV4::new(args, &agent).map_err(failed)?));
    } else if let Some(args) = &endpoint.azuread {
        options = options.signer(Arc::new(AzureAd::new(args, &agent).map_err(failed)?));
    } else if let Some(args) = &endpoint.google_iam {
        options = options.signer(Arc::new(GoogleIam::new(args, &agent).map_err(failed)?));
    }
    Poster::new(&endpoint.client, options).map_err(failed)
}

fn headers(endpoint: &args::Endpoint, cx: &BuildCx) -> Result<HeaderMap, Error> {
    let mut headers = fixed_headers(&cx.services().user_agent());
    let id = HeaderValue::try_from(cx.services().instance_id.as_str()).expect("an ID is plain text");
    headers.insert("x-agent-id", id.clone());
    headers.insert("x-alloy-id", id);
    for (name, value) in &endpoint.headers {
        let (name, value) = net::request_header(name, value).map_err(|m| Error::argument("headers", m))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

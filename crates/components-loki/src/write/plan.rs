//! Everything about an endpoint that follows from the configuration, without I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use component::{BuildCx, Error};
use delivery::{Config, DiskConfig, OnFull};
use http::HeaderMap;
use net::{ClientOptions, Poster, Url, shown_url};

use super::args::{self, Args};
use super::encode::Shape;

/// Records are cut at a part of a request, so that requests get close to `batch_size`, and so that one that Loki
/// refuses does not take many others along.
const RECORDS_A_REQUEST: u64 = 4;
const LARGEST_RECORD: u64 = 1 << 20;

/// Everything about an endpoint that follows from the configuration, without I/O.
#[derive(Clone)]
pub(super) struct Plan {
    /// Tells endpoints apart across reloads; names the queue's folder.
    pub key: String,
    pub name: String,
    pub shown_url: String,
    /// As metrics name it: host and port, where the URL has one.
    pub host: String,
    pub config: Config,
    pub shape: Shape,
    pub external_labels: BTreeMap<String, String>,
    pub tenant: String,
    pub max_streams: usize,
    pub client: Poster,
    pub url: Url,
    pub headers: HeaderMap,
    pub timeout: Duration,
    /// How long the queue may go on sending when it is to end.
    pub drain_timeout: Duration,
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

/// Plans for all endpoints, or what is wrong with the arguments.
pub(super) fn plans(args: &Args, cx: &BuildCx) -> Result<Vec<Plan>, Error> {
    let make = |endpoint: &args::Endpoint, key| plan(args, endpoint, key, cx);
    writer::plans(&args.endpoint, |endpoint| (endpoint.name.as_str(), endpoint.url.as_str()), make)
}

fn plan(args: &Args, endpoint: &args::Endpoint, key: String, cx: &BuildCx) -> Result<Plan, Error> {
    let url = net::post_url(&endpoint.url).map_err(|message| Error::argument("url", message))?;
    let name = if endpoint.name.is_empty() { key.clone() } else { endpoint.name.clone() };
    let host = url.host_str().unwrap_or_default();
    let queue = &endpoint.queue_config;
    let options = ClientOptions::new(cx.services().user_agent());
    let client = Poster::new(&endpoint.client, options);
    Ok(Plan {
        shape: Shape {
            lanes: queue.min_shards,
            record_bytes: record_bytes(endpoint),
            in_memory: !args.wal.enabled,
        },
        config: config(args, endpoint, disk(args, cx, &key)),
        shown_url: shown_url(&url),
        host: url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        external_labels: args.external_labels.clone(),
        tenant: endpoint.tenant_id.clone(),
        max_streams: usize::try_from(args.max_streams).unwrap_or(usize::MAX),
        client: client.map_err(|e| Error::argument("endpoint", e.to_string()))?,
        headers: net::request_headers(&endpoint.headers, &cx.services().user_agent())?,
        timeout: endpoint.remote_timeout,
        drain_timeout: if args.wal.enabled { args.wal.drain_timeout } else { queue.drain_timeout },
        key,
        name,
        url,
    })
}

fn record_bytes(endpoint: &args::Endpoint) -> usize {
    let part = endpoint.batch_size.0 / RECORDS_A_REQUEST;
    // Several must fit into the queue, or senders would take turns with it.
    let largest = (endpoint.queue_config.capacity.0 / RECORDS_A_REQUEST).clamp(1, LARGEST_RECORD);
    part.clamp(1, largest) as usize
}

fn disk(args: &Args, cx: &BuildCx, key: &str) -> Option<DiskConfig> {
    let wal = &args.wal;
    wal.enabled.then(|| writer::disk(&cx.data_path(), key, wal.max_size, wal.fsync))
}

fn config(args: &Args, endpoint: &args::Endpoint, disk: Option<DiskConfig>) -> Config {
    let queue = &endpoint.queue_config;
    Config {
        memory_bytes: queue.capacity.0,
        memory_items: u64::MAX,
        max_age: if disk.is_some() { args.wal.max_segment_age } else { writer::FOR_EVER },
        disk,
        on_full: if queue.block_on_overflow { OnFull::Block } else { OnFull::Reject },
        min_senders: queue.min_shards,
        max_senders: queue.min_shards,
        lanes: queue.min_shards,
        batch_items: u64::MAX,
        batch_bytes: endpoint.batch_size.0,
        batch_wait: endpoint.batch_wait,
        ..endpoint.retries.config(endpoint.remote_timeout)
    }
}

//! One endpoint of the component: its queue, its encoder, its way out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use component::{BuildCx, Error, Rejected, compile_rules};
use delivery::{AppendError, Backoff, Config, DiskConfig, Queue, Record};
use http::{HeaderMap, HeaderName, HeaderValue};
use net::sign::{AzureAd, GoogleIam, SigV4};
use net::{Client, ClientOptions, Url, shown_url};
use signal::SampleBatch;
use wire::remote_write::{Counts, Message, Options};
use xxhash_rust::xxh64::xxh64;

use super::args::{self, Args, Fsync, MetadataConfig, OnFull, QueueConfig};
use super::encode::{Encoder, rules};
use super::metrics::{Counters, Metrics};
use super::record::{KIND_METADATA, put_head};
use super::transport::{HttpTransport, Learned};

/// Bytes of records that an endpoint keeps in memory; the rest waits on disk.
const MEMORY_BYTES: u64 = 32 << 20;
/// Bytes that one request may have before compression is undone; far above what 2,000 samples make.
const REQUEST_BYTES: u64 = 8 << 20;
/// Samples wait no longer than this for company, whatever `batch_send_deadline` allows.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Everything about an endpoint that follows from the configuration, without I/O.
#[derive(Clone)]
pub(super) struct Plan {
    /// Tells endpoints apart across reloads; names the queue's folder.
    pub key: String,
    pub name: String,
    pub shown_url: String,
    pub config: Config,
    pub metadata: MetadataConfig,
    message: args::Message,
    options: Options,
    rules: signal::Rules,
    age_limit_ms: Option<i64>,
    client: Client,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
}

/// Plans for all endpoints, or what is wrong with the arguments.
pub(super) fn plans(args: &Args, cx: &BuildCx) -> Result<Vec<Plan>, Error> {
    let mut plans: Vec<Plan> = Vec::with_capacity(args.endpoint.len());
    for endpoint in &args.endpoint {
        let mut plan = plan(args, endpoint, cx)?;
        let twins = plans.iter().filter(|p| p.key == plan.key || p.key.starts_with(&format!("{}-", plan.key))).count();
        if twins > 0 {
            plan.key = format!("{}-{twins}", plan.key);
            plan.config.disk = disk(args, cx, &plan.key);
        }
        plans.push(plan);
    }
    Ok(plans)
}

fn plan(args: &Args, endpoint: &args::Endpoint, cx: &BuildCx) -> Result<Plan, Error> {
    let url = Url::parse(&endpoint.url)
        .map_err(|e| Error::argument("url", format!("{:?} is not a URL: {e}", endpoint.url)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::argument("url", format!("scheme {:?} cannot be posted to: use http or https", url.scheme())));
    }
    let key = key(endpoint);
    let name = if endpoint.name.is_empty() { key.clone() } else { endpoint.name.clone() };
    let queue = endpoint.queue_config.clone().unwrap_or_else(component::eval::Arguments::defaults);
    let metadata = endpoint.metadata_config.clone().unwrap_or_else(component::eval::Arguments::defaults);
    let write_relabel = compile_rules("write_relabel_config", &endpoint.write_relabel_config)?;
    let rules = rules(&args.external_labels, &write_relabel).map_err(|e| Error::argument("external_labels", e))?;
    Ok(Plan {
        config: config(args, &queue, disk(args, cx, &key)),
        shown_url: shown_url(&url),
        message: endpoint.protobuf_message,
        options: Options {
            max_samples: queue.max_samples_per_send,
            exemplars: endpoint.send_exemplars,
            histograms: endpoint.send_native_histograms,
        },
        rules,
        age_limit_ms: (!queue.sample_age_limit.is_zero()).then_some(queue.sample_age_limit.as_millis() as i64),
        client: client(endpoint, cx)?,
        headers: headers(endpoint, cx)?,
        timeout: endpoint.remote_timeout,
        key,
        name,
        metadata,
        url,
    })
}

/// A name that stays the same while the endpoint is the same back end.
fn key(endpoint: &args::Endpoint) -> String {
    let identity = if endpoint.name.is_empty() { &endpoint.url } else { &endpoint.name };
    format!("{:016x}", xxh64(identity.as_bytes(), 0))
}

fn disk(args: &Args, cx: &BuildCx, key: &str) -> Option<DiskConfig> {
    args.wal.enabled.then(|| DiskConfig {
        max_bytes: args.wal.max_size.0,
        fsync: match args.wal.fsync {
            Fsync::Interval => delivery::Fsync::Interval(Duration::from_secs(1)),
            Fsync::Never => delivery::Fsync::Never,
            Fsync::Always => delivery::Fsync::Always,
        },
        ..DiskConfig::new(folder(&cx.data_path(), key))
    })
}

/// Where an endpoint's queue lives below the component's data path.
pub(super) fn folder(data_path: &Path, key: &str) -> PathBuf {
    data_path.join("queue").join(key)
}

fn config(args: &Args, queue: &QueueConfig, disk: Option<DiskConfig>) -> Config {
    Config {
        memory_bytes: MEMORY_BYTES,
        memory_items: queue.capacity.saturating_mul(queue.max_shards as u64),
        disk,
        max_age: match queue.sample_age_limit {
            Duration::ZERO => args.wal.max_keepalive_time,
            limit => limit.min(args.wal.max_keepalive_time),
        },
        on_full: match args.wal.on_full {
            OnFull::DropOldest => delivery::OnFull::DropOldest,
            OnFull::Block => delivery::OnFull::Block,
            OnFull::Reject => delivery::OnFull::Reject,
        },
        min_senders: queue.min_shards,
        max_senders: queue.max_shards,
        lanes: queue.max_shards,
        batch_items: queue.max_samples_per_send as u64,
        batch_bytes: REQUEST_BYTES,
        batch_wait: queue.batch_send_deadline.min(LONGEST_WAIT),
        backoff: Backoff { min: queue.min_backoff, max: queue.max_backoff },
        retry_limited: queue.retry_on_http_429,
        max_attempts: None,
        ..Config::default()
    }
}

fn client(endpoint: &args::Endpoint, cx: &BuildCx) -> Result<Client, Error> {
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
    Client::new(&endpoint.client, options).map_err(failed)
}

fn headers(endpoint: &args::Endpoint, cx: &BuildCx) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let id = HeaderValue::try_from(cx.services().instance_id.as_str()).expect("an ID is plain text");
    headers.insert("x-agent-id", id.clone());
    headers.insert("x-alloy-id", id);
    for (name, value) in &endpoint.headers {
        let bad = |what: &str| Error::argument("headers", format!("{name:?} {what}"));
        let value = HeaderValue::try_from(value).map_err(|_| bad("has a value that a header cannot have"))?;
        let name = HeaderName::try_from(name).map_err(|_| bad("cannot be the name of a header"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A running endpoint.
pub(super) struct Endpoint {
    pub plan: Plan,
    pub queue: Queue,
    pub counters: Arc<Counters>,
    encoder: Arc<Encoder>,
    learned: Arc<Learned>,
}

impl Endpoint {
    /// Opens the queue and starts its senders.
    pub(super) async fn open(plan: Plan, metrics: &Metrics) -> Result<Self, Error> {
        let learned = Arc::new(Learned::default());
        let counters = Arc::new(metrics.endpoint(&plan.name, &plan.shown_url));
        let transport = transport(&plan, &learned, &counters);
        let opened = Queue::open(plan.config.clone(), Arc::new(transport)).await;
        let queue = opened.map_err(|e| Error::other(e.to_string()))?;
        let encoder = Arc::new(encoder(&plan));
        Ok(Self { plan, queue, counters, encoder, learned })
    }

    /// Takes a new plan for the same endpoint. `Err` gives the plan back when the queue cannot change into
    /// it (its folder comes or goes): the owner drains this one and opens another.
    pub(super) fn change(&mut self, plan: Plan, metrics: &Metrics) -> Result<(), Plan> {
        if self.queue.reconfigure(plan.config.clone()).is_err() {
            return Err(plan);
        }
        if plan.message != self.plan.message {
            self.learned = Arc::new(Learned::default());
        }
        self.counters = Arc::new(metrics.endpoint(&plan.name, &plan.shown_url));
        self.queue.set_transport(Arc::new(transport(&plan, &self.learned, &self.counters)));
        let same = self.encoder.same_rules(&plan.rules)
            && plan.options == self.plan.options
            && plan.age_limit_ms == self.plan.age_limit_ms;
        if !same {
            self.encoder = Arc::new(encoder(&plan));
        }
        self.plan = plan;
        Ok(())
    }

    /// What a writer needs to put batches in.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet {
            queue: self.queue.clone(),
            encoder: self.encoder.clone(),
            counters: self.counters.clone(),
            learned: self.learned.clone(),
            message: self.plan.message,
        }
    }

    /// Whether metadata has to be sent apart from samples.
    pub(super) fn wants_metadata(&self) -> bool {
        self.plan.metadata.send && self.inlet().message() == Message::V1
    }
}

fn encoder(plan: &Plan) -> Encoder {
    Encoder::new(plan.options, plan.rules.clone(), plan.age_limit_ms)
}

fn transport(plan: &Plan, learned: &Arc<Learned>, counters: &Arc<Counters>) -> HttpTransport {
    HttpTransport {
        client: plan.client.clone(),
        url: plan.url.clone(),
        headers: plan.headers.clone(),
        timeout: plan.timeout,
        learned: learned.clone(),
        counters: counters.clone(),
        name: plan.name.clone(),
    }
}

/// The way into one endpoint's queue.
pub(super) struct Inlet {
    queue: Queue,
    encoder: Arc<Encoder>,
    counters: Arc<Counters>,
    learned: Arc<Learned>,
    message: args::Message,
}

impl Inlet {
    /// The message that new records get.
    fn message(&self) -> Message {
        match self.message {
            args::Message::V2 if !self.learned.v1_only.load(Ordering::Relaxed) => Message::V2,
            _ => Message::V1,
        }
    }

    /// Encodes a batch and queues it; `Ok` when the queue has all of it.
    pub(super) async fn put(&self, batch: &SampleBatch, now_ms: i64) -> Result<(), Rejected> {
        let encoded = self.encoder.encode(batch, self.message(), now_ms);
        self.counters.taken.add(encoded.taken);
        self.counters.dropped("too_old", encoded.too_old);
        self.counters.dropped("dropped_series", encoded.relabeled);
        self.counters.dropped("native_histograms_off", encoded.histograms_off);
        for record in encoded.records {
            let items = u64::from(record.items);
            if let Err(error) = self.queue.append(record).await {
                return self.refused(&error, items);
            }
        }
        Ok(())
    }

    fn refused(&self, error: &AppendError, items: u64) -> Result<(), Rejected> {
        match error {
            AppendError::Closed => Err(Rejected::Stopped),
            e if e.is_retryable() => Err(Rejected::Retryable(e.to_string())),
            e => {
                self.counters.dropped("too_large", items);
                Err(Rejected::Permanent(e.to_string()))
            }
        }
    }
}

/// A record of metadata.
pub(super) fn metadata_record<'a>(
    families: impl ExactSizeIterator<Item = &'a signal::FamilyMetadata>,
    now_ms: i64,
) -> Record {
    let items = u32::try_from(families.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    wire::remote_write::encode_metadata(families, &mut message);
    let mut body = Vec::new();
    put_head(Counts::default(), &mut body);
    let mut snappy = wire::compress::SnappyEncoder::new();
    snappy.compress(&message, &mut body).expect("metadata is far smaller than snappy's 4 GiB");
    Record { body: body.into(), items, key: u64::MAX, created_ms: now_ms, newest_ms: 0, kind: KIND_METADATA }
}

//! Everything about the queue of a signal that follows from the configuration, without I/O.

use std::time::Duration;

use component::{BuildCx, Error};
use delivery::{Config, OnFull};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use net::{ClientOptions, Poster, Url, shown_url};

use super::args::{self, Args};
use super::transport::Writing;
use crate::auth::Handler;
use crate::exporter::args::{SendingQueue, Sizer};
use crate::signals::Kind;

/// No limit: longer than any program runs. What waits is bounded by the queue's size, and gives up by
/// `max_elapsed_time` from its first attempt on.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// As Go's clients.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The queue of a signal.
#[derive(Clone)]
pub(super) struct Plan {
    /// Tells queues apart across reloads. Without a queue it is another one: what is queued stays where it is
    /// until it has been sent.
    key: &'static str,
    pub kind: Kind,
    pub config: Config,
    /// Whether there is a queue; otherwise senders wait for the answer.
    pub queued: bool,
    /// Whether a failed request is tried again.
    pub retries: bool,
    pub give_up_after: Option<Duration>,
    pub sizer: Sizer,
    pub capacity: u64,
    pub joining: Option<Joining>,
    pub client: Poster,
    pub url: Url,
    pub shown_url: String,
    pub headers: HeaderMap,
    pub auth: Option<Handler>,
    pub timeout: Duration,
    pub writing: Writing,
}

/// Joining of what waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Joining {
    pub sizer: Sizer,
    pub enough: u64,
    /// Items of the largest request.
    pub most_items: Option<usize>,
}

impl delivery::Plan for Plan {
    fn key(&self) -> &str {
        self.key
    }

    fn name(&self) -> &str {
        self.kind.name()
    }

    fn on_disk(&self) -> bool {
        false
    }
}

/// Plans for the three signals, or what is wrong with the arguments.
pub(super) fn plans(args: &Args, cx: &BuildCx) -> Result<Vec<Plan>, Error> {
    let client = &args.client;
    let poster = poster(client, cx)?;
    let headers = headers(client, cx)?;
    let (encoding, word) = client.compression.encoding();
    let level = client.level().map_err(|message| Error::argument("client", message))?;
    let queue = &args.sending_queue;
    let joining = queue.batch.as_ref().map(|batch| Joining {
        sizer: batch.sizer(),
        enough: batch.min_size.max(1) as u64,
        most_items: usize::try_from(batch.max_size).ok().filter(|most| *most > 0),
    });
    let plan = |kind: Kind| {
        let url = args.url(kind).map_err(|message| Error::argument("client", message))?;
        Ok(Plan {
            key: match (kind, queue.enabled) {
                (Kind::Traces, true) => "traces",
                (Kind::Metrics, true) => "metrics",
                (Kind::Logs, true) => "logs",
                (Kind::Traces, false) => "traces, not queued",
                (Kind::Metrics, false) => "metrics, not queued",
                (Kind::Logs, false) => "logs, not queued",
            },
            kind,
            config: config(args),
            queued: queue.enabled,
            retries: args.retry_on_failure.enabled,
            give_up_after: args.retry_on_failure.give_up_after(),
            sizer: queue.sizer(),
            capacity: queue.queue_size as u64,
            joining,
            client: poster.clone(),
            shown_url: shown_url(&url),
            url,
            headers: headers.clone(),
            auth: client.auth.clone(),
            timeout: client.timeout,
            writing: Writing { json: args.encoding == "json", encoding, word, level },
        })
    };
    Kind::ALL.into_iter().map(plan).collect()
}

fn config(args: &Args) -> Config {
    let queue = &args.sending_queue;
    let (memory_bytes, memory_items, max_records) = bounds(queue);
    let (backoff, growth) = args.retry_on_failure.backoff();
    let (batch_items, batch_bytes, batch_wait) = match &queue.batch {
        // One request of the queue is one of the back end.
        None => (1, u64::MAX, Duration::ZERO),
        Some(batch) => {
            let enough = batch.min_size.max(1) as u64;
            match batch.sizer() {
                Sizer::Bytes => (u64::MAX, enough, batch.flush_timeout),
                _ => (enough, u64::MAX, batch.flush_timeout),
            }
        }
    };
    let most = usize::try_from(args.client.max_conns_per_host).ok().filter(|most| *most > 0);
    let senders = (queue.num_consumers as usize).min(most.unwrap_or(usize::MAX));
    Config {
        memory_bytes,
        memory_items,
        max_records,
        max_age: FOR_EVER,
        on_full: if queue.block_on_overflow { OnFull::Block } else { OnFull::Reject },
        min_senders: senders,
        max_senders: senders,
        lanes: senders,
        batch_items,
        batch_bytes,
        batch_wait,
        backoff,
        growth,
        max_attempts: (!args.retry_on_failure.enabled).then_some(1),
        // Above what an attempt may take by itself: a request, and one more where it is redirected. Requests that
        // were joined are tried one by one within it as well.
        attempt_timeout: args.client.timeout.saturating_mul(2).saturating_add(Duration::from_secs(60)),
        ..Config::default()
    }
}

/// Bytes, items and records that may wait.
fn bounds(queue: &SendingQueue) -> (u64, u64, usize) {
    let size = queue.queue_size as u64;
    match queue.sizer() {
        Sizer::Requests => (u64::MAX >> 1, u64::MAX, size as usize),
        Sizer::Items => (u64::MAX >> 1, size, usize::MAX),
        Sizer::Bytes => (size, u64::MAX, usize::MAX),
    }
}

fn poster(client: &args::Client, cx: &BuildCx) -> Result<Poster, Error> {
    let idle = match client.max_idle_conns_per_host {
        0 => client.max_idle_conns,
        some => some,
    };
    let silence = Some(client.http2_read_idle_timeout).filter(|silence| !silence.is_zero());
    let options = ClientOptions {
        connect_timeout: CONNECT_TIMEOUT.min(client.timeout),
        idle_timeout: client.idle_conn_timeout,
        max_idle_per_host: if client.disable_keep_alives { 0 } else { idle.max(0) as usize },
        signer: client.auth.as_ref().map(Handler::signer),
        tls: client.tls.extras(),
        http2_ping: silence.map(|silence| (silence, client.http2_ping_timeout)),
        ..ClientOptions::new(cx.services().user_agent())
    };
    Poster::new(&client.http(), options).map_err(|e| Error::argument("client", e.to_string()))
}

/// The headers that every request has. The user's do not replace the protocol's.
fn headers(client: &args::Client, cx: &BuildCx) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::try_from(cx.services().user_agent());
    headers.insert(USER_AGENT, agent.expect("name and version of the program are plain text"));
    for (name, value) in &client.headers {
        match args::header(name, value).map_err(|message| Error::argument("headers", message))? {
            Some((name, value)) => drop(headers.insert(name, value)),
            None => tracing::warn!(header = %name, "headers cannot set this header; it is left out"),
        }
    }
    Ok(headers)
}

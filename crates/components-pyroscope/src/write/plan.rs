//! Everything about an endpoint that follows from the configuration, without I/O.

use std::time::Duration;

use component::{BuildCx, Error};
use delivery::{Config, DiskConfig, OnFull};
use http::HeaderMap;
use net::{ClientOptions, Poster, TraceHeaders, Url, shown_url};
use wire::pyroscope::{INGEST_PATH, PUSH_PATH};

use super::args::{self, Args};

/// Everything about an endpoint that follows from the configuration, without I/O.
#[derive(Clone)]
pub(super) struct Plan {
    /// Tells endpoints apart across reloads; names the queue's folder.
    pub key: String,
    pub name: String,
    /// As metrics name it: the URL of the configuration, without credentials.
    pub endpoint: String,
    pub config: Config,
    pub client: Poster,
    pub push_url: Url,
    pub ingest_url: Url,
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
    let options = ClientOptions {
        trace: TraceHeaders {
            trace_context: args.tracing.trace_context_propagator,
            jaeger: args.tracing.jaeger_propagator,
        },
        ..ClientOptions::new(cx.services().user_agent())
    };
    let client = Poster::new(&endpoint.client, options);
    Ok(Plan {
        config: config(args, endpoint, disk(args, cx, &key)),
        endpoint: shown(&endpoint.url, &url),
        client: client.map_err(|e| Error::argument("endpoint", e.to_string()))?,
        push_url: below(&url, PUSH_PATH),
        ingest_url: below(&url, INGEST_PATH),
        headers: net::request_headers(&endpoint.headers, &cx.services().user_agent())?,
        timeout: endpoint.remote_timeout,
        drain_timeout: endpoint.queue_config.drain_timeout,
        name: if endpoint.name.is_empty() { key.clone() } else { endpoint.name.clone() },
        key,
    })
}

/// As Alloy, the text of the configuration, so that dashboards find what they look for; but no secret in it.
fn shown(text: &str, url: &Url) -> String {
    let open = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if open { text.to_owned() } else { shown_url(url) }
}

fn below(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
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
        max_age: if disk.is_some() { args.wal.max_age } else { writer::FOR_EVER },
        disk,
        on_full: if queue.block_on_overflow { OnFull::Block } else { OnFull::Reject },
        min_senders: 1,
        max_senders: queue.max_shards,
        lanes: queue.max_shards,
        // One profile a request: a Pyroscope that refuses one of several may have stored the others, and a profile
        // that is sent twice counts twice.
        batch_items: 1,
        ..endpoint.retries.config(endpoint.remote_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_behind_the_address_and_credentials_are_not_shown() {
        let cases = [
            ("http://h:4040", "http://h:4040/ingest", "http://h:4040"),
            ("http://h:4040/", "http://h:4040/ingest", "http://h:4040/"),
            ("http://h/a/b/", "http://h/a/b/ingest", "http://h/a/b/"),
            ("https://user:secret@h/a", "https://user:secret@h/a/ingest", "https://h/a"),
        ];
        for (text, expected, label) in cases {
            let url = Url::parse(text).expect("a URL");
            assert_eq!(below(&url, INGEST_PATH).as_str(), expected);
            assert_eq!(shown(text, &url), label);
        }
    }
}

//! `loki.source.heroku` takes the logs of Heroku's apps: it is the HTTPS drain that Logplex posts to.
//!
//! Invariant: a message that cannot be read costs itself only; where the next one begins is told by lengths.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use component::metrics::{IntCounter, NodeMetrics};
use component::{Arguments, Receiver, RelabelRules};
use http::header::CONTENT_ENCODING;
use http::request;
use net::server::Refusal;
use signal::logs::{Entry, LogBuilder};
use signal::{LabelsBuilder, Logs};
use wire::loki::TENANT_HEADER;
use wire::syslog::heroku;

use super::http_intake::{
    Action, Common, Found, HttpSource, Protocol, Route, ServerArgs, Taken, plain_tenant, unpacked,
};
use crate::intake::{Fixed, TENANT_LABEL};

/// The component.
pub type Heroku = HttpSource<Drain>;

/// `loki.source.heroku`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// The server.
    #[arg(squash, default = ServerArgs::default())]
    pub server: ServerArgs,
    /// Labels for all entries; labels that rules make win over them.
    #[arg(default)]
    pub labels: BTreeMap<String, String>,
    /// Keeps the times of messages; otherwise entries get the time at which they come in.
    #[arg(default)]
    pub use_incoming_timestamp: bool,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Rules that make labels of what is known of a message.
    pub relabel_rules: Option<RelabelRules>,
}

/// Bytes of a request. Logplex sends far less.
const MAX_BODY: usize = 16 << 20;

/// Logplex' drain.
pub struct Drain {
    errors: IntCounter,
}

impl Protocol for Drain {
    const NAME: &'static str = "loki.source.heroku";
    const DOCS: &'static str = include_str!("docs.md");
    const NAMESPACE: &'static str = "loki_source_heroku_drain_target";
    const ENTRIES: &'static str = "loki_source_heroku_drain_entries_total";
    const FIXED: Fixed = Fixed::After;
    const ROUTES: &'static [Route] = &[
        Route { path: "/heroku/api/v1/drain", name: "heroku_api_v1_drain", action: Action::Take(0) },
        Route { path: "/healthy", name: "healthy", action: Action::Tell("") },
    ];
    type Args = Args;

    fn new(metrics: &NodeMetrics) -> Self {
        let errors = metrics
            .counter("loki_source_heroku_drain_parsing_errors_total", "Messages that could not be read.");
        Self { errors }
    }

    fn common(args: &Args) -> Common<'_> {
        Common {
            server: &args.server,
            forward_to: &args.forward_to,
            labels: Some(&args.labels),
            relabel_rules: args.relabel_rules.as_ref(),
            max_body: [MAX_BODY; 2],
        }
    }

    fn admit(&self, head: &request::Parts, _args: &Args) -> Result<(), Refusal> {
        plain_tenant(&head.headers, TENANT_HEADER)?;
        Ok(())
    }

    fn unpack(&self, head: &request::Parts, body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
        unpacked(head.headers.get(CONTENT_ENCODING), body, limit)
    }

    fn read(&self, taken: &Taken<'_>, args: &Args) -> Result<Found, Refusal> {
        let params = params(taken.head.uri.query().unwrap_or_default());
        let tenant = plain_tenant(&taken.head.headers, TENANT_HEADER)?;
        let mut builder = LogBuilder::new(taken.now_ms(), None);
        let mut scratch = LabelsBuilder::new();
        let mut refused = None;
        let mut rest: &[u8] = &taken.body;
        while !rest.is_empty() {
            let (message, after) = match heroku::frame(rest) {
                Ok(split) => split,
                Err(error) => {
                    self.errors.inc();
                    refused = Some(Refusal::bad(error.to_string()));
                    break;
                }
            };
            rest = after;
            let message = super::text(taken.body.slice_ref(super::trim_line_end(message)));
            let drained = match heroku::parse(&message) {
                Ok(drained) => drained,
                Err(error) => {
                    self.errors.inc();
                    refused.get_or_insert_with(|| Refusal::bad(error.to_string()));
                    continue;
                }
            };
            scratch.clear();
            for (name, value) in [
                ("__heroku_drain_host", drained.hostname),
                ("__heroku_drain_app", drained.application),
                ("__heroku_drain_proc", drained.process),
                ("__heroku_drain_log_id", drained.id),
            ] {
                scratch.set(name, value);
            }
            for (name, value) in &params {
                scratch.set(name, value);
            }
            scratch.set(TENANT_LABEL, tenant.unwrap_or_default());
            let stream = builder.stream(&scratch.build());
            let timestamp_ns = if args.use_incoming_timestamp { drained.timestamp_ns } else { taken.now_ns };
            let line = message.slice_ref(drained.text);
            builder.push(Entry { stream, timestamp_ns, line, metadata: None });
        }
        Ok(Found { batch: builder.finish().into_batch(), unruled: false, refused })
    }
}

/// Parameters of the query as labels; values of one name are joined.
fn params(query: &str) -> BTreeMap<String, String> {
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let label = format!("__heroku_drain_param_{name}");
        params
            .entry(label)
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    params
}

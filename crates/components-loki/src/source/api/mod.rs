//! `loki.source.api` takes logs from clients of Loki: the push API in protobuf and JSON, and plain lines.
//!
//! Invariant: a stream that cannot be read costs its own entries only; its client is told.

mod plain;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use component::eval::{Invalid, Size};
use component::metrics::NodeMetrics;
use component::{Arguments, Receiver, RelabelRules};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, request};
use net::server::Refusal;
use signal::{Labels, LabelsBuilder, Logs};
use wire::compress::{Encoding, most};
use wire::loki::{DecodeError, Received, TENANT_HEADER, decode, decode_json};

use super::http_intake::{Action, Common, Found, HttpSource, Protocol, Route, ServerArgs, Taken, unpack_as};
use crate::intake::{Fixed, TENANT_LABEL};

/// The component.
pub type Api = HttpSource<Push>;

/// `loki.source.api`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// The server.
    #[arg(squash, default = ServerArgs::default())]
    pub server: ServerArgs,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Labels for all entries; they replace those of the same name that clients send.
    #[arg(default)]
    pub labels: BTreeMap<String, String>,
    /// Rules for the labels of streams.
    pub relabel_rules: Option<RelabelRules>,
    /// Keeps the times that clients send; otherwise entries get the time at which they come in.
    #[arg(default)]
    pub use_incoming_timestamp: bool,
    /// Largest request, both as it is sent and decompressed.
    #[arg(default = Size::mib(100))]
    pub max_send_message_size: Size,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        // 0 is Alloy's way to say "the default".
        if self.max_send_message_size.bytes() > u64::from(u32::MAX) {
            let message = "max_send_message_size must be below 4GiB";
            return Err(Invalid::field("max_send_message_size", message));
        }
        Ok(())
    }

    fn max_body(&self) -> usize {
        match self.max_send_message_size.bytes() {
            0 => 100 << 20,
            given => usize::try_from(given).unwrap_or(usize::MAX),
        }
    }
}

/// Paths of the push API.
const PUSH: u8 = 0;
/// Paths for plain lines.
const PLAIN: u8 = 1;

/// Loki's push API.
pub struct Push;

impl Protocol for Push {
    const NAME: &'static str = "loki.source.api";
    const DOCS: &'static str = include_str!("docs.md");
    const NAMESPACE: &'static str = "loki_source_api";
    const ENTRIES: &'static str = "loki_source_api_entries_written";
    const FIXED: Fixed = Fixed::Over;
    const ROUTES: &'static [Route] = &[
        Route { path: "/loki/api/v1/push", name: "loki_api_v1_push", action: Action::Take(PUSH) },
        Route { path: "/api/v1/push", name: "api_v1_push", action: Action::Take(PUSH) },
        Route { path: "/api/prom/push", name: "api_prom_push", action: Action::Take(PUSH) },
        Route { path: "/loki/api/v1/raw", name: "loki_api_v1_raw", action: Action::Take(PLAIN) },
        Route { path: "/api/v1/raw", name: "api_v1_raw", action: Action::Take(PLAIN) },
        Route { path: "/ready", name: "ready", action: Action::Tell("ready") },
    ];
    type Args = Args;

    fn new(_metrics: &NodeMetrics) -> Self {
        Self
    }

    fn common(args: &Args) -> Common<'_> {
        Common {
            server: &args.server,
            forward_to: &args.forward_to,
            labels: Some(&args.labels),
            relabel_rules: args.relabel_rules.as_ref(),
            max_body: [args.max_body(); 2],
        }
    }

    fn admit(&self, head: &request::Parts, _args: &Args) -> Result<(), Refusal> {
        tenant(&head.headers)?;
        encoding(&head.headers)?;
        Ok(())
    }

    fn most(&self, head: &request::Parts, body: &[u8], limit: usize) -> usize {
        let push = !head.uri.path().ends_with("/raw");
        match encoding(&head.headers) {
            Err(_) => 0,
            Ok(Encoding::Identity) if push && !is_json(&head.headers) => most(Encoding::Snappy, body, limit),
            Ok(Encoding::Identity) => 0,
            // There may be snappy inside.
            Ok(other) => most(other, body, limit).saturating_mul(2),
        }
    }

    fn unpack(&self, head: &request::Parts, body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
        let encoding = encoding(&head.headers)?;
        let push = !head.uri.path().ends_with("/raw");
        let json = push && is_json(&head.headers);
        match encoding {
            // As Alloy and Loki: JSON is not compressed with snappy, whatever is said; protobuf always is,
            // within another encoding too.
            Encoding::Snappy if json && looks_like_json(&body) => Ok(body),
            Encoding::Identity if push && !json => unpack_as(Encoding::Snappy, &body, limit),
            Encoding::Identity => Ok(body),
            Encoding::Gzip | Encoding::Deflate if push && !json => {
                let inner = unpack_as(encoding, &body, limit)?;
                match unpack_as(Encoding::Snappy, &inner, limit) {
                    Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => Ok(inner),
                    done => done,
                }
            }
            _ => unpack_as(encoding, &body, limit),
        }
    }

    fn read(&self, taken: &Taken<'_>, args: &Args) -> Result<Found, Refusal> {
        let tenant = tenant(&taken.head.headers)?;
        if taken.path == PLAIN {
            return plain::read(taken, tenant);
        }
        let received = match is_json(&taken.head.headers) {
            true => decode_json(&taken.body, taken.now_ms(), taken.memory),
            false => decode(&taken.body, taken.now_ms(), taken.memory),
        };
        let Received { mut batch, refused, .. } = received.map_err(|e| broken(&e))?;
        if !args.use_incoming_timestamp {
            batch.entries.iter_mut().for_each(|entry| entry.timestamp_ns = taken.now_ns);
        }
        let mut scratch = LabelsBuilder::new();
        for labels in &mut batch.streams {
            with_tenant(labels, tenant, &mut scratch);
        }
        let mut refusal = (!refused.is_empty()).then(|| Refusal::bad(refused.to_string()));
        let nameless = batch.streams.iter().any(Labels::is_empty) && args.labels.is_empty();
        if nameless {
            batch.entries.retain(|entry| !batch.streams[entry.stream as usize].is_empty());
            refusal.get_or_insert_with(|| Refusal::bad("a stream has no labels"));
        }
        Ok(Found { batch, unruled: false, refused: refusal })
    }
}

/// The tenant is the header's, never a label's that a client sends.
fn with_tenant(labels: &mut Labels, tenant: Option<&str>, scratch: &mut LabelsBuilder) {
    if tenant.is_none() && labels.get(TENANT_LABEL).is_none() {
        return;
    }
    scratch.reset(labels);
    scratch.set(TENANT_LABEL, tenant.unwrap_or_default());
    *labels = scratch.build();
}

fn broken(error: &DecodeError) -> Refusal {
    match error {
        DecodeError::TooLarge { .. } => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        _ => Refusal::bad(error.to_string()),
    }
}

/// Who sends. As dskit/tenant: what is allowed in the name of a tenant.
fn tenant(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    const MOST: usize = 150;
    let Some(value) = headers.get(TENANT_HEADER).filter(|value| !value.is_empty()) else { return Ok(None) };
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"!-_.*'()".contains(b);
    match value.to_str() {
        Ok(name)
            if name.len() <= MOST && name.bytes().all(|b| allowed(&b)) && name != "." && name != ".." =>
        {
            Ok(Some(name))
        }
        _ => Err(Refusal::bad(format!("{TENANT_HEADER} does not name one tenant"))),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let value = headers.get(CONTENT_ENCODING).map_or(Ok(""), |v| v.to_str());
    match value.ok().and_then(Encoding::from_content_encoding) {
        Some(encoding) => Ok(encoding),
        None => Err(Refusal::bad("the Content-Encoding is not supported; use snappy, gzip, deflate or zstd")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

fn looks_like_json(body: &[u8]) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

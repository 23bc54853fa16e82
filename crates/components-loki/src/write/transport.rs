//! One attempt at a Loki: records of one tenant as one request, and what its answer means.
//!
//! Invariant: records are given up only where Loki itself refuses them (4xx); whatever goes wrong on the way
//! there keeps them.

use std::sync::Arc;
use std::time::Duration;

use delivery::{Amount, BoxFuture, Handover, Outcome, Record, Transport};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use net::{Poster, Request, Response, Url, describe};
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::loki::TENANT_HEADER;

use super::answer::partial;
use super::metrics::{Host, Tenant};
use super::record::{Scratch, open};

/// How much of an error answer is read: Loki tells of every entry that it refuses, up to a limit.
const ERROR_BODY: usize = 16 << 10;
/// Between log lines about entries that Loki has refused.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The reason of Alloy for everything that has none of its own.
const GENERIC: &str = "ingester_error";

/// What outlives a change of the transport.
#[derive(Default)]
pub(super) struct Kept {
    scratches: Mutex<Vec<Scratch>>,
    told_at: Mutex<Option<Instant>>,
    pub handover: Handover,
}

/// Sends to one URL.
pub(super) struct LokiTransport {
    pub client: Poster,
    pub url: Url,
    /// User-Agent and the user's headers.
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub host: Arc<Host>,
    pub kept: Arc<Kept>,
    /// For log lines; carries no credentials.
    pub name: String,
}

impl Transport for LokiTransport {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.kept.handover.or(records, self.deliver(records)))
    }

    fn dropped(&self, reason: &'static str, group: u64, amount: Amount) {
        let reason = if reason == "queue_full" { "queue_is_full" } else { reason };
        // A tenant that has only been in the files of an earlier process is not known by name.
        let tenant = self.host.tenant_of(group).unwrap_or_else(|| self.host.tenant("unknown"));
        tenant.dropped(reason, amount.items, amount.bytes);
    }
}

impl LokiTransport {
    async fn deliver(&self, records: &[Record]) -> Outcome {
        let (tenant, request, bytes) = match self.request(records) {
            Ok(request) => request,
            Err(outcome) => return outcome,
        };
        let began = Instant::now();
        let response = self.client.post(request).await;
        let status = response.as_ref().ok().map(|response| response.status().as_u16());
        tenant.attempted(status, began.elapsed().as_secs_f64(), bytes);
        let entries = records.iter().map(|record| u64::from(record.items)).sum();
        let (outcome, refused) = match response {
            Ok(response) => self.judge(response, records.len(), entries, &tenant).await,
            // A name, certificate or token that does not work says nothing about the records, and the next
            // configuration may mend it: they are kept.
            Err(error) => (retry(error.to_string()), 0),
        };
        match outcome {
            Outcome::Delivered => {
                tenant.sent(entries - refused, bytes);
                let now = jiff::Timestamp::now().as_millisecond();
                for record in records {
                    let age = now.saturating_sub(record.created_ms).max(0);
                    tenant.arrived(age as f64 / 1000.0, record.items.into());
                }
            }
            Outcome::Retry { .. } => tenant.retried(),
            Outcome::Drop { .. } | Outcome::Split { .. } => {}
        }
        outcome
    }

    /// The tenant, the request and the size of its body.
    fn request(&self, records: &[Record]) -> Result<(Arc<Tenant>, Request, usize), Outcome> {
        let damaged = |message| Outcome::Split { reason: "damaged", message };
        let (name, _) = open(&records[0]).map_err(damaged)?;
        let mut scratch = self.kept.scratches.lock().pop().unwrap_or_default();
        let body = scratch.body(records, name);
        self.kept.scratches.lock().push(scratch);
        let body = body.map_err(damaged)?;
        let bytes = body.len();
        let mut request = Request::post(self.url.clone(), body).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::loki::CONTENT_TYPE));
        if !name.is_empty() {
            let value = HeaderValue::try_from(name).map_err(|_| Outcome::Drop {
                reason: "invalid_tenant",
                message: format!("the tenant {name:?} has characters that a header cannot have"),
            })?;
            request.headers.insert(TENANT_HEADER, value);
        }
        Ok((self.host.tenant(name), request, bytes))
    }

    /// What becomes of the records, and how many of the entries Loki has refused of those that it took.
    async fn judge(
        &self,
        response: Response,
        records: usize,
        entries: u64,
        tenant: &Tenant,
    ) -> (Outcome, u64) {
        let status = response.status();
        if status.is_success() {
            response.finish().await;
            return (Outcome::Delivered, 0);
        }
        let after = response.retry_after();
        let redirect = response.location().map(str::to_owned);
        let text = response.excerpt(ERROR_BODY).await;
        let message = describe(status, &text);
        let outcome = match status.as_u16() {
            429 => Outcome::Retry { reason: "rate_limited", message, after, limited: true },
            500..=599 => Outcome::Retry { reason: GENERIC, message, after, limited: false },
            // The endpoint has moved; that it would refuse the entries has not been said.
            300..=399 => retry(moved(&message, redirect.as_deref())),
            400 => match partial(&text) {
                Some(partial) => {
                    let refused = partial.entries.min(entries);
                    tenant.dropped(partial.reason, refused, 0);
                    self.tell(refused, partial.reason, &message);
                    return (Outcome::Delivered, refused);
                }
                // One bad stream makes Loki refuse a request: the others must not go with it.
                None if records > 1 => Outcome::Split { reason: GENERIC, message },
                None => Outcome::Drop { reason: GENERIC, message },
            },
            413 | 422 if records > 1 => Outcome::Split { reason: GENERIC, message },
            _ => Outcome::Drop { reason: GENERIC, message },
        };
        (outcome, 0)
    }

    fn tell(&self, entries: u64, reason: &str, message: &str) {
        let mut told_at = self.kept.told_at.lock();
        if told_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *told_at = Some(Instant::now());
            tracing::warn!(endpoint = %self.name, entries, reason, error = message, "Loki has refused some of the entries of a request");
        }
    }
}

fn retry(message: String) -> Outcome {
    Outcome::Retry { reason: GENERIC, message, after: None, limited: false }
}

fn moved(message: &str, to: Option<&str>) -> String {
    match to {
        Some(to) => format!("{message}; it redirects to {to}: set url to where it wants entries posted"),
        None => message.to_owned(),
    }
}

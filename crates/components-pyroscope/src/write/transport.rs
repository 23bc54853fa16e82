//! One attempt at a Pyroscope: a profile as one request, and what its answer means.
//!
//! Invariant: a profile is given up only where Pyroscope itself refuses it; whatever goes wrong on the way there
//! keeps it.

use std::sync::Arc;
use std::time::Duration;

use delivery::{Amount, BoxFuture, Handover, Outcome, Record, Transport};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use net::{Poster, Request, Response, Url, describe};
use tokio::time::Instant;
use wire::pyroscope::connect::{self, Code};

use super::encode::{IngestRequest, Kind};
use super::metrics::Counted;

/// How much of an error answer is read.
const ERROR_BODY: usize = 16 << 10;
/// How long the caller waits, in milliseconds.
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("connect-timeout-ms");

/// What outlives a change of the transport.
#[derive(Default)]
pub(super) struct Kept {
    pub handover: Handover,
}

/// Sends to one Pyroscope.
pub(super) struct PyroscopeTransport {
    pub client: Poster,
    pub push_url: Url,
    pub ingest_url: Url,
    /// User-Agent and the user's headers.
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub counted: Arc<Counted>,
    pub kept: Arc<Kept>,
}

impl Transport for PyroscopeTransport {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.kept.handover.or(records, self.deliver(records)))
    }

    fn dropped(&self, reason: &'static str, _group: u64, amount: Amount) {
        let reason = if reason == "queue_full" { "queue_is_full" } else { reason };
        self.counted.dropped(reason, amount.items, amount.bytes);
    }
}

impl PyroscopeTransport {
    async fn deliver(&self, records: &[Record]) -> Outcome {
        let [record] = records else {
            // The queue joins none; should it ever, each goes by itself.
            return Outcome::Split { reason: "damaged", message: "records have been joined".into() };
        };
        let Some(kind) = Kind::of_record(record) else {
            let message = "the record is of a kind that this version does not know".into();
            return Outcome::Drop { reason: "damaged", message };
        };
        let request = match self.request(kind, record) {
            Ok(request) => request,
            Err(message) => return Outcome::Drop { reason: "damaged", message },
        };
        let began = Instant::now();
        let response = self.client.post(request).await;
        self.counted.attempted(kind, began.elapsed());
        let outcome = match response {
            Ok(response) => judge(kind, response).await,
            // A name, certificate or token that does not work says nothing about the profile, and the next
            // configuration may mend it.
            Err(error) => retry("unreachable", error.to_string()),
        };
        match outcome {
            Outcome::Delivered => {
                let age = jiff::Timestamp::now().as_millisecond().saturating_sub(record.created_ms).max(0);
                self.counted.sent(kind, record.body.len(), Duration::from_millis(age.unsigned_abs()));
            }
            Outcome::Retry { .. } => self.counted.retried(),
            Outcome::Drop { .. } | Outcome::Split { .. } => {}
        }
        outcome
    }

    fn request(&self, kind: Kind, record: &Record) -> Result<Request, String> {
        match kind {
            Kind::Push => {
                let mut request =
                    Request::post(self.push_url.clone(), record.body.clone()).timeout(self.timeout);
                request.headers.clone_from(&self.headers);
                request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(connect::PROTO));
                let version = HeaderName::from_static(connect::VERSION_HEADER);
                request.headers.insert(version, HeaderValue::from_static("1"));
                let millis = self.timeout.as_millis().try_into().unwrap_or(u64::MAX);
                // At most ten digits, says the protocol.
                request.headers.insert(TIMEOUT_HEADER, HeaderValue::from(millis.min(9_999_999_999)));
                Ok(request)
            }
            Kind::Ingest => {
                let ingest = IngestRequest::open(record)?;
                let mut url = self.ingest_url.clone();
                url.set_query(Some(ingest.query));
                let mut request = Request::post(url, ingest.body).timeout(self.timeout);
                request.headers.clone_from(&self.headers);
                for (name, value) in
                    [(CONTENT_TYPE, ingest.content_type), (CONTENT_ENCODING, ingest.content_encoding)]
                {
                    if !value.is_empty() {
                        let value = HeaderValue::try_from(value);
                        request.headers.insert(name, value.map_err(|_| "a header is none".to_owned())?);
                    }
                }
                Ok(request)
            }
        }
    }
}

async fn judge(kind: Kind, response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        response.finish().await;
        return Outcome::Delivered;
    }
    let after = response.retry_after();
    let to = response.location().map(str::to_owned);
    let text = response.excerpt(ERROR_BODY).await;
    let (code, message) = match connect::parse_error(text.as_bytes()) {
        Some((code, said)) => (Some(code), describe(status, &format!("{}: {said}", code.name()))),
        None => (None, describe(status, &text)),
    };
    let code = code.filter(|_| kind == Kind::Push);
    match verdict(status.as_u16(), code) {
        Verdict::Limited => Outcome::Retry { reason: "rate_limited", message, after, limited: true },
        Verdict::Later => Outcome::Retry { reason: "unavailable", message, after, limited: false },
        Verdict::Moved => {
            let hint = to.map(|to| format!("; it redirects to {to}: set url to the Pyroscope's own address"));
            retry("redirected", message + &hint.unwrap_or_default())
        }
        Verdict::Refused => Outcome::Drop { reason: "refused", message },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Later, and less.
    Limited,
    Later,
    Moved,
    Refused,
}

/// As Alloy (`shouldRetry`): the code counts where there is one, for a proxy's status says less. Beyond it,
/// `canceled` is repeated: the server has ended, not refused.
fn verdict(status: u16, code: Option<Code>) -> Verdict {
    match (code, status) {
        (Some(Code::ResourceExhausted), _) | (None, 429) => Verdict::Limited,
        (
            Some(
                Code::DeadlineExceeded
                | Code::Unknown
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
                | Code::Aborted
                | Code::Canceled,
            ),
            _,
        )
        | (None, 408 | 499 | 500..) => Verdict::Later,
        (None, 300..=399) => Verdict::Moved,
        _ => Verdict::Refused,
    }
}

fn retry(reason: &'static str, message: String) -> Outcome {
    Outcome::Retry { reason, message, after: None, limited: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means_follows_from_its_code_or_else_from_its_status() {
        let cases = [
            (429, None, Verdict::Limited),
            (429, Some(Code::ResourceExhausted), Verdict::Limited),
            (200, Some(Code::ResourceExhausted), Verdict::Limited),
            (408, None, Verdict::Later),
            (500, None, Verdict::Later),
            (503, Some(Code::Unavailable), Verdict::Later),
            (409, Some(Code::Aborted), Verdict::Later),
            (499, Some(Code::Canceled), Verdict::Later),
            (302, None, Verdict::Moved),
            (400, None, Verdict::Refused),
            (400, Some(Code::InvalidArgument), Verdict::Refused),
            (401, Some(Code::Unauthenticated), Verdict::Refused),
            (404, None, Verdict::Refused),
            (500, Some(Code::InvalidArgument), Verdict::Refused),
            (501, Some(Code::Unimplemented), Verdict::Refused),
        ];
        for (status, code, expected) in cases {
            assert_eq!(verdict(status, code), expected, "{status} {code:?}");
        }
    }
}

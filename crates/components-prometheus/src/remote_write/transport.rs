//! One attempt at an endpoint: the request as the remote-write specification wants it, and what its answer
//! means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use delivery::{BoxFuture, Outcome, Record, Transport};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net::{Client, Request, Response, Url};
use wire::remote_write::{
    EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, Message, SAMPLES_WRITTEN_HEADER, VERSION_HEADER,
};

use super::metrics::Counters;
use super::record::{body, message, total};

/// How much of an error answer is read for its message.
const ERROR_BODY: usize = 512;

/// What outlives a change of the client: what has been learned about the endpoint.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// The endpoint has refused version 2: version 1 from now on.
    pub v1_only: AtomicBool,
}

/// Sends to one URL.
pub(super) struct HttpTransport {
    pub client: Client,
    pub url: Url,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub learned: Arc<Learned>,
    pub counters: Arc<Counters>,
    /// For log lines; carries no credentials.
    pub name: String,
}

impl Transport for HttpTransport {
    fn send<'a>(&'a self, records: &'a [Record], attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let outcome = match self.attempt(records, attempt).await {
                Attempt::Done(outcome) => outcome,
                Attempt::FallBack => {
                    if !self.learned.v1_only.swap(true, Ordering::Relaxed) {
                        tracing::warn!(remote_name = %self.name, "the endpoint does not know remote write 2.0: using 1.0 from now on");
                    }
                    match self.attempt(records, attempt).await {
                        Attempt::Done(outcome) => outcome,
                        Attempt::FallBack => Outcome::Drop {
                            reason: "http_415",
                            message: "the endpoint refuses both versions of the protocol".into(),
                        },
                    }
                }
            };
            self.counters.tell(&outcome, total(records));
            outcome
        })
    }
}

enum Attempt {
    Done(Outcome),
    /// Again as version 1.
    FallBack,
}

impl HttpTransport {
    async fn attempt(&self, records: &[Record], attempt: u32) -> Attempt {
        let as_v1 = self.learned.v1_only.load(Ordering::Relaxed);
        let version = if as_v1 { Message::V1 } else { message(records[0].kind) };
        let body = match body(records, as_v1) {
            Ok(body) => body,
            Err(message) if records.len() > 1 => return Attempt::Done(Outcome::Split { reason: "damaged", message }),
            Err(message) => return Attempt::Done(Outcome::Drop { reason: "damaged", message }),
        };
        let mut request = Request::post(self.url.clone(), body).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
        request.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        request.headers.insert(
            HeaderName::from_bytes(VERSION_HEADER.as_bytes()).expect("a header of the specification"),
            HeaderValue::from_static(version.version()),
        );
        if attempt > 1 {
            // As Prometheus' sender, so that receivers can tell first attempts from repeated ones.
            request.headers.insert("retry-attempt", HeaderValue::from(attempt - 1));
        }
        match self.client.send(request).await {
            Ok(response) => self.judge(response, version, records.len()).await,
            Err(error) if error.is_retryable() => Attempt::Done(retry(error.kind().as_str(), error.to_string())),
            Err(error) => {
                Attempt::Done(Outcome::Drop { reason: error.kind().as_str(), message: error.to_string() })
            }
        }
    }

    async fn judge(&self, response: Response, version: Message, records: usize) -> Attempt {
        let status = response.status();
        if status.is_success() {
            // As the specification: a 2xx without any of these headers comes from a receiver that took a
            // version 2 body for version 1 and found nothing in it.
            if version == Message::V2 && !tells_written(response.headers()) {
                return Attempt::FallBack;
            }
            return Attempt::Done(Outcome::Delivered);
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE && version == Message::V2 {
            return Attempt::FallBack;
        }
        let after = response.header(RETRY_AFTER).and_then(|v| retry_after(v, jiff::Timestamp::now()));
        let message = describe(status, response).await;
        Attempt::Done(match status.as_u16() {
            429 => Outcome::Retry { reason: "http_429", message, after, limited: true },
            500..=599 => Outcome::Retry { reason: "http_5xx", message, after, limited: false },
            // One bad sample makes a receiver refuse a request: the others must not go with it.
            400 | 413 | 422 if records > 1 => Outcome::Split { reason: reason(status), message },
            _ => Outcome::Drop { reason: reason(status), message },
        })
    }
}

fn retry(reason: &'static str, message: String) -> Outcome {
    Outcome::Retry { reason, message, after: None, limited: false }
}

fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "http_400",
        401 => "http_401",
        403 => "http_403",
        404 => "http_404",
        413 => "http_413",
        415 => "http_415",
        422 => "http_422",
        300..=399 => "http_3xx",
        _ => "http_4xx",
    }
}

fn tells_written(headers: &HeaderMap) -> bool {
    [SAMPLES_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, EXEMPLARS_WRITTEN_HEADER]
        .iter()
        .any(|name| headers.contains_key(*name))
}

async fn describe(status: StatusCode, mut response: Response) -> String {
    let mut text = Vec::new();
    while text.len() < ERROR_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    text.truncate(ERROR_BODY);
    let text = String::from_utf8_lossy(&text);
    format!("server answered {status}: {}", text.lines().next().unwrap_or_default())
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2015-10-21T07:27:00Z".parse().expect("a time");
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:26:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
    }
}

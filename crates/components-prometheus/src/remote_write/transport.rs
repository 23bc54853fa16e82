//! One attempt at an endpoint: the request as the remote-write specifications want it, and what its answer
//! means.
//!
//! Invariant: records are given up only where the endpoint itself refuses them (4xx); whatever goes wrong on
//! the way there keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use component::OnceAMinute;
use delivery::{BoxFuture, Handover, Outcome, Record, Transport};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net::{Poster, Request, Response, Url, describe};
use tokio::time::Instant;
use wire::remote_write::{
    CONTENT_ENCODING as SNAPPY, Counts, EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, Message,
    SAMPLES_WRITTEN_HEADER, VERSION_HEADER,
};

use super::metrics::Counters;
use super::record::{KIND_METADATA, body, message, total};
use super::sift::{Allowance, MOST_PARTS, halves};

/// How much of an error answer is read for its message.
const ERROR_BODY: usize = 512;

/// What outlives a change of the client: what has been learned about the endpoint.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// The endpoint has refused version 2: version 1 from now on.
    pub v1_only: AtomicBool,
    /// It has answered as one that knows version 2: what it refuses, it refuses for another reason.
    knows_v2: AtomicBool,
    /// It has refused every part of a record, and taken nothing since: to cut records up helps nobody.
    refuses_all: AtomicBool,
    /// What may still be spent on parts.
    allowance: Allowance,
    /// When a refusal of a part was last told.
    told: OnceAMinute,
}

/// Sends to one URL.
pub(super) struct HttpTransport {
    pub client: Poster,
    pub url: Url,
    /// User-Agent and the user's headers.
    pub headers: HeaderMap,
    pub timeout: Duration,
    /// Whether records are kept when the endpoint answers 429.
    pub retry_limited: bool,
    pub learned: Arc<Learned>,
    pub counters: Arc<Counters>,
    pub handover: Arc<Handover>,
    /// For log lines; carries no credentials.
    pub name: String,
}

impl Transport for HttpTransport {
    fn send<'a>(&'a self, records: &'a [Record], attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.handover.or(records, self.deliver_all(records, attempt)))
    }
}

/// What an attempt came to.
struct Done {
    outcome: Outcome,
    /// What the endpoint says it has written of a request that it refuses.
    written: Counts,
    /// Bytes of the body.
    bytes: usize,
}

enum Attempt {
    Done(Done),
    /// Again as version 1.
    FallBack,
    /// Again as version 1 to see whether the version is what was refused; if it is not, this stands.
    Ask(Done),
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, written: Counts::default(), bytes: 0 }
    }
}

impl HttpTransport {
    /// Samples share a request; metadata goes as it was cut, for its requests have a size of their own.
    async fn deliver_all(&self, records: &[Record], attempt: u32) -> Outcome {
        if records[0].kind != KIND_METADATA {
            return self.deliver(records, attempt).await;
        }
        for record in records {
            let outcome = self.deliver(std::slice::from_ref(record), attempt).await;
            if outcome != Outcome::Delivered {
                return outcome;
            }
        }
        Outcome::Delivered
    }

    async fn deliver(&self, records: &[Record], attempt: u32) -> Outcome {
        let as_v1 = self.learned.v1_only.load(Ordering::Relaxed);
        let done = match self.attempt(records, attempt, as_v1).await {
            Attempt::Done(done) => done,
            Attempt::FallBack => {
                self.v1_from_now_on();
                match self.attempt(records, attempt, true).await {
                    Attempt::Done(done) | Attempt::Ask(done) => done,
                    Attempt::FallBack => Done::from(Outcome::Drop {
                        reason: "http_415",
                        message: "the endpoint refuses both versions of the protocol".into(),
                    }),
                }
            }
            Attempt::Ask(refused) => match self.attempt(records, attempt, true).await {
                Attempt::Done(done) if done.outcome == Outcome::Delivered => {
                    self.v1_from_now_on();
                    done
                }
                Attempt::Done(done) if matches!(done.outcome, Outcome::Retry { .. }) => done,
                _ => refused,
            },
        };
        if let [only] = records
            && self.is_worth_sifting(&done)
            && let Some(parts) = halves(only)
        {
            return self.sift(parts, attempt, done.outcome).await;
        }
        self.tell(records, &done);
        done.outcome
    }

    fn v1_from_now_on(&self) {
        if !self.learned.v1_only.swap(true, Ordering::Relaxed) {
            tracing::warn!(remote_name = %self.name, "the endpoint does not know remote write 2.0: using 1.0 from now on");
        }
    }

    /// Whether what was refused together may be taken in parts.
    fn is_worth_sifting(&self, done: &Done) -> bool {
        let Outcome::Drop { reason: "http_400" | "http_413" | "http_422", message } = &done.outcome else {
            return false;
        };
        // These have stored all that they can of a request that they refuse: who says how much, and Mimir.
        let is_stored = done.written != Counts::default() || message.contains("err-mimir-");
        !is_stored && !self.learned.refuses_all.load(Ordering::Relaxed) && self.learned.allowance.is_left()
    }

    fn tell(&self, records: &[Record], done: &Done) {
        self.counters.tell(&done.outcome, total(records), done.written);
        if done.outcome == Outcome::Delivered {
            self.learned.refuses_all.store(false, Ordering::Relaxed);
            self.counters.sent_bytes(records[0].kind == KIND_METADATA, done.bytes);
        }
    }

    /// Sends a refused record in parts; only parts that are refused as well, and cannot be cut or not any more,
    /// are given up.
    async fn sift(&self, parts: [Record; 2], attempt: u32, refusal: Outcome) -> Outcome {
        let started = Instant::now();
        let [first, second] = parts;
        // What is sent next is at the end.
        let (mut waiting, mut requests) = (vec![second, first], 0);
        let (mut given_up, mut last, mut any_taken) = (Vec::new(), refusal, false);
        while let Some(part) = waiting.pop() {
            // The engine would end an attempt that takes for ever, and begin it again.
            if requests == MOST_PARTS || started.elapsed() > self.timeout || !self.learned.allowance.take() {
                given_up.push(part);
                continue;
            }
            requests += 1;
            let as_v1 = self.learned.v1_only.load(Ordering::Relaxed);
            let answer = self.attempt(std::slice::from_ref(&part), attempt, as_v1).await;
            let (Attempt::Done(done) | Attempt::Ask(done)) = answer else {
                // It takes version 1 only, which the record as a whole learns best.
                return retry("http_415", "the endpoint has ceased to take remote write 2.0".to_owned());
            };
            match done.outcome {
                Outcome::Delivered => {
                    any_taken = true;
                    self.tell(std::slice::from_ref(&part), &done);
                }
                Outcome::Retry { .. } => {
                    self.tell(std::slice::from_ref(&part), &done);
                    return done.outcome;
                }
                Outcome::Drop { .. } | Outcome::Split { .. } => {
                    last = done.outcome;
                    match halves(&part) {
                        Some([earlier, later]) => waiting.extend([later, earlier]),
                        None => given_up.push(part),
                    }
                }
            }
        }
        self.give_up(&given_up, last, any_taken)
    }

    /// What is left of a record that was sent in parts.
    fn give_up(&self, parts: &[Record], refusal: Outcome, any_taken: bool) -> Outcome {
        if parts.is_empty() {
            return Outcome::Delivered;
        }
        let counts = total(parts);
        self.counters.tell(&refusal, counts, Counts::default());
        self.learned.refuses_all.store(!any_taken, Ordering::Relaxed);
        match &refusal {
            // The rest has arrived: what has not is counted here, for the queue knows whole records only.
            Outcome::Drop { reason, message } if any_taken => {
                self.counters.dropped(reason, counts);
                if self.learned.told.now() {
                    tracing::warn!(remote_name = %self.name, reason, error = message, samples = counts.items(), "the endpoint refused a part of a request; the rest was sent without it");
                }
                Outcome::Delivered
            }
            _ => refusal,
        }
    }

    async fn attempt(&self, records: &[Record], attempt: u32, as_v1: bool) -> Attempt {
        let version = if as_v1 { Message::V1 } else { message(records[0].kind) };
        let body = match body(records, as_v1) {
            Ok(body) => body,
            Err(message) => return Attempt::Done(Outcome::Split { reason: "damaged", message }.into()),
        };
        let bytes = body.len();
        let mut request = Request::post(self.url.clone(), body).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
        request.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(SNAPPY));
        request.headers.insert(
            HeaderName::from_bytes(VERSION_HEADER.as_bytes()).expect("a header of the specification"),
            HeaderValue::from_static(version.version()),
        );
        if attempt > 1 {
            // As Prometheus' sender, so that receivers can tell first attempts from repeated ones.
            request.headers.insert("retry-attempt", HeaderValue::from(attempt - 1));
        }
        match self.client.post(request).await {
            Ok(response) => match self.judge(response, version, records.len()).await {
                Attempt::Done(done) => Attempt::Done(Done { bytes, ..done }),
                other => other,
            },
            // A name, certificate or token that does not work says nothing about the records, and the next
            // configuration may mend it: they are kept.
            Err(error) => Attempt::Done(retry(error.kind().as_str(), error.to_string()).into()),
        }
    }

    async fn judge(&self, response: Response, version: Message, records: usize) -> Attempt {
        let status = response.status();
        let written = written(response.headers());
        if version == Message::V2 && written.is_some() {
            self.learned.knows_v2.store(true, Ordering::Relaxed);
        }
        if status.is_success() {
            // As the specification, "Required Written Response Headers": a 2xx without any of them comes from
            // a receiver that took a version 2 body for version 1 and found nothing in it.
            if version == Message::V2 && written.is_none() {
                return Attempt::FallBack;
            }
            response.finish().await;
            return Attempt::Done(Outcome::Delivered.into());
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE && version == Message::V2 {
            return Attempt::FallBack;
        }
        let after = response.retry_after();
        let redirect = response.location().map(str::to_owned);
        let message = describe(status, &response.excerpt(ERROR_BODY).await);
        let outcome = match status.as_u16() {
            429 if self.retry_limited => Outcome::Retry { reason: "http_429", message, after, limited: true },
            500..=599 => Outcome::Retry { reason: "http_5xx", message, after, limited: false },
            // The endpoint has moved; that it would refuse the records has not been said.
            300..=399 => retry("http_3xx", moved(&message, redirect.as_deref())),
            // One bad sample makes a receiver refuse a request: the others must not go with it.
            400 | 413 | 422 if records > 1 => Outcome::Split { reason: reason(status), message },
            _ => Outcome::Drop { reason: reason(status), message },
        };
        // As the specification, "Unsupported Request Content": a receiver of version 1 may answer 400 to what it does not
        // know. One of version 2 would have said how much it has written.
        let may_be_the_version = status == StatusCode::BAD_REQUEST
            && version == Message::V2
            && !self.learned.knows_v2.load(Ordering::Relaxed);
        let done = Done { outcome, written: written.unwrap_or_default(), bytes: 0 };
        match may_be_the_version && self.learned.allowance.take() {
            true => Attempt::Ask(done),
            false => Attempt::Done(done),
        }
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
        429 => "http_429",
        _ => "http_4xx",
    }
}

fn moved(message: &str, to: Option<&str>) -> String {
    match to {
        Some(to) => format!("{message}; it redirects to {to}: set url to where it wants samples posted"),
        None => message.to_owned(),
    }
}

/// What the `…-Written` headers say; `None` without any of them.
fn written(headers: &HeaderMap) -> Option<Counts> {
    let number = |name: &str| headers.get(name).map(|v| v.to_str().ok().and_then(|v| v.trim().parse().ok()));
    let [samples, histograms, exemplars] =
        [SAMPLES_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, EXEMPLARS_WRITTEN_HEADER].map(number);
    if [samples, histograms, exemplars].iter().all(Option::is_none) {
        return None;
    }
    let count = |number: Option<Option<usize>>| number.flatten().unwrap_or(0);
    Some(Counts {
        samples: count(samples),
        histograms: count(histograms),
        exemplars: count(exemplars),
        metadata: 0,
    })
}

/// The headers that every request of an endpoint has.
pub(super) fn fixed_headers(user_agent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::try_from(user_agent).expect("name and version of the program are plain text");
    headers.insert(USER_AGENT, agent);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_headers_count_only_if_one_of_them_is_there() {
        let mut headers = HeaderMap::new();
        assert_eq!(written(&headers), None);
        headers.insert("x-prometheus-remote-write-histograms-written", HeaderValue::from_static("3"));
        headers.insert("x-prometheus-remote-write-samples-written", HeaderValue::from_static("many"));
        assert_eq!(written(&headers), Some(Counts { histograms: 3, ..Counts::default() }));
    }
}

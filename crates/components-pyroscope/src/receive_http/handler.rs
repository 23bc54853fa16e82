//! Requests: which path, the body, its profiles, the answer.
//!
//! Data path: body → (Push API) decompressed, cut into profiles → one batch → `forward_to` → answer. Nothing is
//! acknowledged before all of `forward_to` has it. Answers are those that make clients keep what can be taken later:
//! 503, or `unavailable`.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use bytestring::ByteString;
use component::metrics::{GaugeVec, IntCounter, IntCounterVec};
use component::{BoxFuture, BuildCx, Fanout, OnceAMinute, heavy};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use net::server::{Budget, Refusal, RequestBody, RequestMetrics, ResponseBody, StreamHandler, full, taken};
use signal::profiles::{Ingest, Profile, ProfileBody, SERVICE_NAME};
use signal::{Labels, LabelsBuilder, METRIC_NAME, Profiles};
use wire::compress::{self, Encoding, decompress};
use wire::pyroscope::connect::{self, Code};
use wire::pyroscope::{self as protocol, DecodeError, INGEST_PATH, PUSH_PATH};

/// Bytes of a body as it comes. Pyroscope takes profiles of 4 MiB unless it is told otherwise.
pub(super) const MAX_BODY: usize = 64 << 20;
/// Bytes of a body of the Push API after decompression. What is in it is compressed itself as a rule.
const MAX_UNPACKED: usize = 128 << 20;
/// Bytes of bodies, as they come, that all requests together may hold; more wait.
const BODIES: usize = 128 << 20;
/// The same of what is made of them. A request waits for this one while it holds the other, so that none waits for
/// itself.
const UNPACKED: usize = 256 << 20;
/// Bytes that the profiles of a request may take at least beside its body, however small that is: an empty profile is
/// two bytes there and hundreds in memory.
const MIN_MEMORY: usize = 1 << 20;
/// Work from this size on, in bytes, is not done between other tasks.
const LARGE: usize = 256 << 10;

/// What lives as long as the component.
pub(super) struct Shared {
    pub(super) forward_to: ArcSwap<Fanout<Profiles>>,
    bodies: Budget,
    unpacked: Budget,
    pub(super) requests: RequestMetrics,
    limits: GaugeVec,
    profiles: IntCounter,
    refused: IntCounterVec,
    warned: OnceAMinute,
    cx: BuildCx,
}

impl Shared {
    pub(super) fn new(forward_to: ArcSwap<Fanout<Profiles>>, cx: &BuildCx) -> Self {
        let metrics = cx.metrics();
        Self {
            forward_to,
            bodies: Budget::new(BODIES),
            unpacked: Budget::new(UNPACKED),
            requests: RequestMetrics::new(&metrics, "pyroscope_receive_http"),
            limits: metrics.gauge_vec(
                "pyroscope_receive_http_tcp_connections_limit",
                "Connections that are let in.",
                &["protocol"],
            ),
            profiles: metrics.counter(
                "pyroscope_receive_http_profiles_total",
                "Profiles that were taken by all of forward_to.",
            ),
            refused: metrics.counter_vec(
                "pyroscope_receive_http_dropped_profiles_total",
                "Profiles that were refused for good, by reason.",
                &["reason"],
            ),
            warned: OnceAMinute::default(),
            cx: cx.clone(),
        }
    }

    pub(super) fn tell(&self, limit: usize) {
        self.limits.with_label_values(&["http"]).set(limit as f64);
    }
}

/// The handler of one server; all of them share the state.
pub(super) struct Answering(pub(super) Arc<Shared>);

impl StreamHandler for Answering {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let started = Instant::now();
            let (head, body) = request.into_parts();
            let Some(api) = Api::of(head.uri.path()) else {
                let why = format!("nothing is here; post to {INGEST_PATH} or {PUSH_PATH}\n");
                return component::http::text_response(StatusCode::NOT_FOUND, why).map(full);
            };
            let metrics = &self.0.requests;
            let _inflight = metrics.begun(&head.method, api.route());
            let mut size = 0;
            let answer = self.0.serve(api, &head, body, &mut size).await;
            metrics.answered(&head.method, api.route(), size, &answer, started.elapsed());
            answer.map(full)
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    Ingest,
    Push,
}

impl Api {
    fn of(path: &str) -> Option<Self> {
        match path {
            INGEST_PATH => Some(Self::Ingest),
            PUSH_PATH => Some(Self::Push),
            _ => None,
        }
    }

    /// Its name in metrics, as Alloy's.
    fn route(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Push => "push_v1_pusherservice_push",
        }
    }
}

impl Shared {
    async fn serve(
        &self,
        api: Api,
        head: &request::Parts,
        body: RequestBody,
        size: &mut usize,
    ) -> Response<Bytes> {
        if head.method != Method::POST {
            let mut answer = component::http::text_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "only POST is answered here\n",
            );
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        match api {
            Api::Ingest => match self.ingest(head, body, size).await {
                Ok(()) => Response::new(Bytes::new()),
                Err(refusal) => refusal.response(),
            },
            Api::Push => match Codec::of(&head.headers) {
                Ok(codec) => match self.push(codec, head, body, size).await {
                    Ok(()) => codec.success(),
                    Err(failure) => failure.response(),
                },
                Err(failure) => failure.response(),
            },
        }
    }

    async fn ingest(
        &self,
        head: &request::Parts,
        body: RequestBody,
        size: &mut usize,
    ) -> Result<(), Refusal> {
        let query = protocol::parse_query(head.uri.query().unwrap_or_default());
        let query = query.map_err(|error| {
            self.drop_one("bad_query", &error.to_string());
            Refusal::bad(error.to_string())
        })?;
        let mut room = self.bodies.room();
        let raw = body.within(&mut room).await?;
        *size = raw.len();
        let ingest = Ingest {
            parameters: query.parameters,
            content_type: header(&head.headers, &CONTENT_TYPE)?,
            content_encoding: header(&head.headers, &CONTENT_ENCODING)?,
            raw,
        };
        let labels = with_service_name(&query.labels);
        self.forward(vec![Profile { labels, body: ProfileBody::Ingest(ingest) }]).await
    }

    async fn push(
        &self,
        codec: Codec,
        head: &request::Parts,
        body: RequestBody,
        size: &mut usize,
    ) -> Result<(), Failure> {
        let encoding = encoding(&head.headers)?;
        let mut room = self.bodies.room();
        let packed = body.within(&mut room).await?;
        *size = packed.len();
        // Room is found before it is needed, for the worst that the client may have sent: what comes out of the body,
        // and what is made of that.
        let most = compress::most(encoding, &packed, MAX_UNPACKED);
        let out = if encoding == Encoding::Identity { 0 } else { most };
        let mut unpacked_room = self.unpacked.room();
        unpacked_room.at_least(out + most + MIN_MEMORY).await?;
        let large = packed.len() > LARGE || most > LARGE;
        let read = heavy(large, || read(encoding, codec, packed, MAX_UNPACKED))?;
        unpacked_room.at_most(read.iter().map(|profile| profile.raw().len() + size_of::<Profile>()).sum());
        let mut bad = None;
        let profiles = read.into_iter().filter_map(|profile| {
            let labels = with_service_name(&profile.labels);
            match protocol::check_labels(&labels) {
                Ok(()) => Some(Profile { labels, ..profile }),
                Err(error) => {
                    self.drop_one("invalid_labels", &error.to_string());
                    bad.get_or_insert(format!("{error}: {}", profile.labels));
                    None
                }
            }
        });
        let profiles: Vec<_> = profiles.collect();
        self.forward(profiles).await?;
        match bad {
            None => Ok(()),
            // The others are taken: the client must not repeat them, and is told what became of this one.
            Some(why) => Err(Failure { code: Code::InvalidArgument, why, refusal: None }),
        }
    }

    async fn forward(&self, profiles: Vec<Profile>) -> Result<(), Refusal> {
        let count = profiles.len() as u64;
        if count == 0 {
            return Ok(());
        }
        self.cx.live_debug(|| {
            let labels: Vec<_> = profiles.iter().map(|profile| profile.labels.to_string()).collect();
            format!("{count} profiles received: {}", labels.join(", "))
        });
        let batch = Profiles::new(profiles, jiff::Timestamp::now().as_millisecond());
        let forward_to = self.forward_to.load_full();
        match taken(forward_to.send(batch)).await {
            Ok(()) => {
                self.profiles.inc_by(count);
                Ok(())
            }
            Err(refusal) => {
                if refusal.status == StatusCode::BAD_REQUEST {
                    self.refused.with_label_values(&["refused"]).inc_by(count);
                    if self.warned.now() {
                        tracing::warn!(
                            error = refusal.why,
                            profiles = count,
                            "profiles of a request were refused"
                        );
                    }
                }
                Err(refusal)
            }
        }
    }

    fn drop_one(&self, reason: &str, error: &str) {
        self.refused.with_label_values(&[reason]).inc();
        if self.warned.now() {
            tracing::warn!(error, "a profile of a request was refused");
        }
    }
}

/// As Alloy (`ensureServiceName`): the application is the service where none is named, and is kept as `app_name`
/// where one is. Other than there, a label `app_name` that the client has set stays.
fn with_service_name(labels: &Labels) -> Labels {
    let name = labels.get(METRIC_NAME).unwrap_or_default();
    let label = if labels.get(SERVICE_NAME).is_none() { SERVICE_NAME } else { "app_name" };
    if labels.get(label).is_some() {
        return labels.clone();
    }
    let mut builder = LabelsBuilder::new();
    builder.reset(labels);
    builder.set(label, name);
    builder.build()
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Result<ByteString, Refusal> {
    match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(ByteString::new()),
        Some(Ok(text)) => Ok(text.into()),
        Some(Err(_)) => Err(Refusal::bad(format!("{name} is not text"))),
    }
}

/// In which form messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Proto,
    Json,
}

impl Codec {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let refuse = |why: String| {
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why.clone());
            Failure { code: Code::InvalidArgument, why, refusal: Some(refusal) }
        };
        let text = header(headers, &CONTENT_TYPE)?;
        let media = text.split(';').next().unwrap_or_default().trim();
        let codec = match media.to_ascii_lowercase().as_str() {
            connect::PROTO => Self::Proto,
            connect::JSON => Self::Json,
            other => {
                let why = format!("expected {} or {}, got {other:?}", connect::PROTO, connect::JSON);
                return Err(refuse(why));
            }
        };
        match headers.get(connect::VERSION_HEADER).map(HeaderValue::as_bytes) {
            None | Some(b"1") => Ok(codec),
            Some(_) => Err(Failure::new(Code::InvalidArgument, "expected version 1 of the Connect protocol")),
        }
    }

    fn success(self) -> Response<Bytes> {
        let (media, body) = match self {
            Self::Proto => (connect::PROTO, &b""[..]),
            Self::Json => (connect::JSON, &b"{}"[..]),
        };
        let mut response = Response::new(Bytes::from_static(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
        response
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let text = header(headers, &CONTENT_ENCODING)?;
    match Encoding::from_content_encoding(&text) {
        Some(encoding @ (Encoding::Identity | Encoding::Gzip | Encoding::Deflate | Encoding::Zstd)) => {
            Ok(encoding)
        }
        _ => {
            let why = format!("the Content-Encoding {text:?} is not supported: use gzip, deflate or zstd");
            Err(Failure::new(Code::Unimplemented, why))
        }
    }
}

/// The profiles of a body; at most `limit` bytes come out of it.
fn read(encoding: Encoding, codec: Codec, packed: Bytes, limit: usize) -> Result<Vec<Profile>, Failure> {
    let body = match encoding {
        Encoding::Identity => packed,
        encoding => {
            let mut out = Vec::new();
            decompress(encoding, &packed, limit, &mut out)
                .map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()))?;
            out.into()
        }
    };
    let memory = body.len() + MIN_MEMORY;
    let read = match codec {
        Codec::Proto => protocol::decode(&body, memory),
        Codec::Json => protocol::decode_json(&body, memory),
    };
    // Not `resource_exhausted`, even where it is too large: clients would send the same again.
    read.map_err(|error: DecodeError| Failure::new(Code::InvalidArgument, error.to_string()))
}

/// Why a call is not carried out, as Connect tells it.
#[derive(Debug)]
struct Failure {
    code: Code,
    why: String,
    /// Where the status is not the code's, or the answer asks to come again.
    refusal: Option<Refusal>,
}

impl Failure {
    fn new(code: Code, why: impl Into<String>) -> Self {
        Self { code, why: why.into(), refusal: None }
    }

    fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(connect::write_error(self.code, &self.why).into());
        let status = StatusCode::from_u16(self.code.http_status()).expect("codes have three digits");
        *response.status_mut() = self.refusal.as_ref().map_or(status, |refusal| refusal.status);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(connect::JSON));
        if let Some(refusal) = &self.refusal {
            refusal.mark(&mut response);
        }
        response
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.status {
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
            status if status.is_server_error() => Code::Internal,
            _ => Code::InvalidArgument,
        };
        Self { code, why: refusal.why.clone(), refusal: Some(refusal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_becomes_too_much_is_refused_and_not_to_be_sent_again() {
        let mut bomb = Vec::new();
        compress::compress(Encoding::Gzip, None, &[&[0; 100_000]], &mut bomb).expect("compressed");
        let mut empty = Vec::new();
        wire::proto::push_bytes_field(&mut empty, 1, &b"\x12\x00".repeat(20_000));
        let said = ["the limit of 50000 bytes", "of memory"];
        for ((encoding, body), said) in
            [(Encoding::Gzip, bomb), (Encoding::Identity, empty)].into_iter().zip(said)
        {
            let failure = read(encoding, Codec::Proto, body.into(), 50_000).expect_err("too much");
            assert!(failure.why.contains(said), "{failure:?}");
            assert_eq!(
                (failure.code, failure.response().status()),
                (Code::InvalidArgument, StatusCode::BAD_REQUEST)
            );
        }
    }

    #[test]
    fn the_application_is_the_service_unless_one_is_named() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Pairs<'_>, Pairs<'_>); 5] = [
            (&[("__name__", "app")], &[("__name__", "app"), ("service_name", "app")]),
            (
                &[("__name__", "app"), ("service_name", "s")],
                &[("__name__", "app"), ("service_name", "s"), ("app_name", "app")],
            ),
            (
                &[("service_name", "s"), ("app_name", "mine"), ("__name__", "x")],
                &[("service_name", "s"), ("app_name", "mine"), ("__name__", "x")],
            ),
            (&[("service_name", "s")], &[("service_name", "s")]),
            (&[], &[]),
        ];
        for (before, after) in cases {
            let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
            assert_eq!(with_service_name(&labels(before)), labels(after), "{before:?}");
        }
    }
}

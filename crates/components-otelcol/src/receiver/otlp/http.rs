//! The three paths over HTTP, in protobuf and JSON.
//!
//! Data path: headers → body within limit and budget → decompression → (JSON → serialised) → intake. Answers
//! are in the media type of the request, failures as `google.rpc.Status`.

use std::sync::Arc;

use bytes::Bytes;
use component::{BoxFuture, Signal};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use net::grpc::{Code, Status};
use net::server::{Refusal, RequestBody, ResponseBody, StreamHandler, full};
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, TracesSignal};
use wire::compress::Encoding;
use wire::otlp::from_json;

use super::args::HttpArgs;
use super::intake::{Config, Incoming, Shared, Taken, keep};
use crate::server::{HttpPolicy, Unpacked, media_type};

/// The `http` block at work.
pub(super) struct HttpConfig {
    /// Of traces, metrics and logs.
    paths: [String; 3],
    policy: HttpPolicy,
}

impl HttpConfig {
    pub(super) fn new(args: &HttpArgs) -> Self {
        Self { paths: args.paths(), policy: HttpPolicy::new(&args.server) }
    }
}

/// How a request and its answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Protobuf,
    Json,
}

impl Media {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match media_type(headers).as_str() {
            "application/x-protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => {
                let why = "the Content-Type must be application/x-protobuf or application/json";
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
            }
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    fn success(self) -> Bytes {
        match self {
            Self::Protobuf => Bytes::new(),
            Self::Json => Bytes::from_static(b"{\"partialSuccess\":{}}"),
        }
    }

    fn failure(self, refusal: &Refusal) -> Response<Bytes> {
        let code = match refusal.status {
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
            _ => Code::InvalidArgument,
        };
        let status = Status::new(code, refusal.why.clone());
        let body = match self {
            Self::Protobuf => status.encode(),
            Self::Json => {
                serde_json::json!({ "code": code.number(), "message": refusal.why }).to_string().into_bytes()
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = refusal.status;
        response.headers_mut().insert(CONTENT_TYPE, self.name());
        refusal.mark(&mut response);
        response
    }
}

/// The handler of one server; all of them share the state.
pub(super) struct Post(pub(super) Arc<Shared>);

impl StreamHandler for Post {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let config = self.0.config.load_full();
            let Some(http) = &config.http else {
                return Refusal::busy("the receiver is changing").response().map(full);
            };
            let (head, body) = request.into_parts();
            let mut response = match http.policy.preflight(&head) {
                Some(answer) => answer,
                None => self.post(&config, http, &head, body).await,
            };
            http.policy.finish(&head, &mut response);
            response.map(full)
        })
    }
}

impl Post {
    async fn post(
        &self,
        config: &Config,
        http: &HttpConfig,
        head: &request::Parts,
        body: RequestBody,
    ) -> Response<Bytes> {
        let fanout = &config.fanout;
        let served = [!fanout.traces.is_empty(), !fanout.metrics.is_empty(), !fanout.logs.is_empty()];
        let path = head.uri.path();
        let Some(signal) = http.paths.iter().zip(served).position(|(p, served)| served && p == path) else {
            return Refusal::new(StatusCode::NOT_FOUND, format!("{path} is not served here")).response();
        };
        if head.method != Method::POST {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "OTLP requests are posted");
            let mut response = refusal.response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        if let Err(refusal) = http.policy.admit(&head.headers).await {
            let media = Media::of(&head.headers);
            return media.map_or_else(|_| refusal.response(), |media| media.failure(&refusal));
        }
        let (media, encoding) = match (Media::of(&head.headers), http.policy.encoding(&head.headers)) {
            (Ok(media), Ok(encoding)) => (media, encoding),
            (Err(refusal), _) => return refusal.response(),
            (Ok(media), Err(refusal)) => return media.failure(&refusal),
        };
        let read = Read { config, http, head, media, encoding };
        let result = match signal {
            0 => self.receive::<TracesSignal>(read, body).await,
            1 => self.receive::<MetricsSignal>(read, body).await,
            _ => self.receive::<LogsSignal>(read, body).await,
        };
        match result {
            Err(refusal) => media.failure(&refusal),
            Ok(()) => {
                let mut response = Response::new(media.success());
                response.headers_mut().insert(CONTENT_TYPE, media.name());
                response
            }
        }
    }

    async fn receive<S: Taken>(&self, read: Read<'_>, body: RequestBody) -> Result<(), Refusal>
    where
        Otlp<S>: Signal,
    {
        let Read { config, http, head, media, encoding: (word, encoding) } = read;
        let mut room = self.0.budget.room();
        let Unpacked { body, packed } = http.policy.read(body, encoding, &mut room).await?;
        let kept = packed.as_ref().map_or(0, Bytes::len);
        let (body, packed) = match media {
            Media::Protobuf => (body, packed.and_then(|bytes| keep(word, bytes))),
            Media::Json => {
                // At worst a list of one-digit numbers, two characters for eight bytes.
                room.at_least(kept + body.len().saturating_mul(5)).await?;
                let mut bytes = from_json::<S>(&body).map_err(|e| {
                    Refusal::bad(format!("the body is not an OTLP {} request in JSON: {e}", S::NAME))
                })?;
                bytes.shrink_to_fit();
                (Bytes::from(bytes), None)
            }
        };
        room.at_most(body.len() + packed.as_ref().map_or(0, |p| p.bytes.len()));
        let client = http.policy.client(head);
        self.0.take::<S>(config, Incoming { transport: "http", body, packed, client }).await
    }
}

/// What is known of a request before its body.
struct Read<'a> {
    config: &'a Config,
    http: &'a HttpConfig,
    head: &'a request::Parts,
    media: Media,
    encoding: (&'static str, Encoding),
}

//! The three paths over HTTP, in protobuf and JSON.
//!
//! Data path: headers → body within limit and budget → decompression → (JSON → serialised) → intake. Answers
//! are in the media type of the request, failures as `google.rpc.Status`.

use std::sync::Arc;

use bytes::Bytes;
use component::{BoxFuture, Signal};
use http::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use net::grpc::{Code, Status};
use net::server::{Peer, Refusal, RequestBody, ResponseBody, Room, StreamHandler, full};
use signal::otlp::{LogsSignal, MetricsSignal, Otlp, TracesSignal};
use wire::compress::{self, Encoding, decompress, most};
use wire::otlp::from_json;

use super::args::HttpArgs;
use super::intake::{Config, Incoming, Shared, Taken, admit, client, keep};
use crate::auth::Handler;
use crate::server::CorsPolicy;

/// The `http` block at work.
pub(super) struct HttpConfig {
    /// Of traces, metrics and logs.
    paths: [String; 3],
    encodings: Vec<String>,
    cors: Option<CorsPolicy>,
    max_body: usize,
    /// Who may post; everybody where it is absent.
    auth: Option<Handler>,
    include_metadata: bool,
    keep_alives: bool,
}

impl HttpConfig {
    pub(super) fn new(args: &HttpArgs) -> Self {
        Self {
            paths: args.paths(),
            encodings: args.server.compression_algorithms.iter().map(|a| a.to_ascii_lowercase()).collect(),
            cors: args.server.cors.as_ref().and_then(CorsPolicy::new),
            max_body: args.server.max_body(),
            auth: args.server.auth.clone(),
            include_metadata: args.server.include_metadata,
            keep_alives: args.server.keep_alives_enabled,
        }
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
        let given = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
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

/// The word of Content-Encoding as a constant, and what it stands for; `None` where it is not known.
fn encoding(word: &str) -> Option<(&'static str, Encoding)> {
    const KNOWN: [(&str, Encoding); 7] = [
        ("", Encoding::Identity),
        ("gzip", Encoding::Gzip),
        ("zstd", Encoding::Zstd),
        ("zlib", Encoding::Deflate),
        ("deflate", Encoding::Deflate),
        ("snappy", Encoding::Snappy),
        ("x-snappy-framed", Encoding::Snappy),
    ];
    KNOWN.into_iter().find(|(name, _)| *name == word)
}

impl HttpConfig {
    fn encoding(&self, headers: &HeaderMap) -> Result<(&'static str, Encoding), Refusal> {
        let refuse = |why: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        let given = match headers.get(CONTENT_ENCODING) {
            None => String::new(),
            Some(value) => {
                let text = value.to_str().map_err(|_| refuse("the Content-Encoding is not text".into()))?;
                text.trim().to_ascii_lowercase()
            }
        };
        let word = match given.as_str() {
            "identity" => "",
            "x-gzip" => "gzip",
            word => word,
        };
        let listed = if word == "x-snappy-framed" { "snappy" } else { word };
        if !self.encodings.iter().any(|e| e == listed) && !word.is_empty() {
            return Err(refuse(format!("the Content-Encoding {given:?} is not accepted here")));
        }
        encoding(word).ok_or_else(|| refuse(format!("the Content-Encoding {given:?} is not supported")))
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
            let mut response = match http.cors.as_ref().and_then(|c| c.preflight(&head.method, &head.headers))
            {
                Some(answer) => answer,
                None => {
                    let mut response = self.post(&config, http, &head, body).await;
                    if let Some(cors) = &http.cors {
                        cors.mark(&head.headers, response.headers_mut());
                    }
                    response
                }
            };
            let unread =
                [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&response.status());
            if head.version < Version::HTTP_2 && (unread || !http.keep_alives) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
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
        if let Err(refusal) = admit(http.auth.as_ref(), &head.headers).await {
            let media = Media::of(&head.headers);
            return media.map_or_else(|_| refusal.response(), |media| media.failure(&refusal));
        }
        let (media, encoding) = match (Media::of(&head.headers), http.encoding(&head.headers)) {
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
        let received = body.within(&mut room).await?;
        let (body, packed) = if encoding == Encoding::Identity {
            (received, None)
        } else {
            (unpack(encoding, &received, http.max_body, &mut room).await?, Some(received))
        };
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
        let client = http.include_metadata.then(|| client(&head.headers, head.extensions.get::<Peer>()));
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

async fn unpack(encoding: Encoding, packed: &Bytes, limit: usize, room: &mut Room) -> Result<Bytes, Refusal> {
    room.at_least(packed.len() + most(encoding, packed, limit)).await?;
    let mut body = Vec::new();
    decompress(encoding, packed, limit, &mut body).map_err(|error| {
        let status = match error {
            compress::Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            compress::Error::Corrupt { .. } => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error.to_string())
    })?;
    body.shrink_to_fit();
    room.at_most(packed.len() + body.len());
    Ok(body.into())
}

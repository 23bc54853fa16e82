//! Requests of pages, and what becomes of a payload.
//!
//! Data path: path and method → limit → API key → body within limit and budget → payload → limit of the app → stack
//! traces → lines and spans → all consumers → 202. Invariant: a page hears of success only when everybody has its
//! data.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::{BoxFuture, BuildCx, Error, Fanout, OnceAMinute};
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use net::server::{Budget, Refusal, RequestBody, ResponseBody, StreamHandler, full, taken};
use signal::logs::{Entry, LogBuilder};
use signal::otlp::{ClientMetadata, OtlpBatch, OtlpRequest, Traces, TracesSignal};
use signal::{Labels, Logs};
use wire::faro::{self, Fields, Format, Kind, Payload};
use wire::otlp::{check, from_json};

use super::args::{Args, LogFormat, Server};
use super::limiter::Limiter;
use super::metrics::Metrics;
use super::sourcemaps::Store;
use crate::server::{CorsArgs, CorsPolicy, HttpPolicy, HttpServerArgs, Unpacked};

/// Headers that pages of other origins may set.
const CORS_HEADERS: [&str; 4] = ["Traceparent", "X-API-Key", "X-Faro-Session-Id", "X-Scope-OrgID"];
const API_KEY: &str = "x-api-key";
/// Bytes that the requests of one receiver may hold together; more wait.
pub(super) const BUDGET: usize = 512 << 20;

/// What of the arguments is the same for all requests.
pub(super) struct Config {
    logs: Fanout<Logs>,
    traces: Fanout<Traces>,
    labels: Vec<(String, String)>,
    format: Format,
    pub(super) limiter: Limiter,
    pub(super) maps: Arc<Store>,
}

impl Config {
    /// `before` keeps what it remembers where its arguments have not changed.
    pub(super) fn new(args: &Args, before: Option<(&Args, &Self)>, metrics: &Metrics) -> Result<Self, Error> {
        let traces = component::otel::Output { traces: args.output.traces.clone(), ..Default::default() };
        let same = before.filter(|(old, _)| old.sourcemaps == args.sourcemaps);
        let maps = match same {
            Some((_, config)) => config.maps.clone(),
            None => Arc::new(Store::new(&args.sourcemaps, metrics.maps.clone())?),
        };
        Ok(Self {
            logs: Fanout::new(args.output.logs.iter().filter(|receiver| !receiver.is_null()).cloned()),
            traces: traces.fanout()?.traces,
            labels: args.extra_log_labels.clone().into_iter().collect(),
            format: match args.log_format {
                LogFormat::Logfmt => Format::Logfmt,
                LogFormat::Json => Format::Json,
            },
            limiter: Limiter::new(&args.server.rate_limiting, metrics.limiter.clone()),
            maps,
        })
    }

    /// A label without a value of its own has that of the field of its name.
    fn stream(&self, fields: &Fields<'_>) -> Labels {
        Labels::from_pairs(self.labels.iter().map(|(name, value)| {
            let found =
                if value.is_empty() { fields.get(name).unwrap_or_default() } else { value.as_str().into() };
            (name.as_str(), found)
        }))
    }
}

/// What lives as long as the component.
pub(super) struct Shared {
    pub(super) config: ArcSwap<Config>,
    pub(super) budget: Budget,
    pub(super) metrics: Metrics,
    pub(super) cx: BuildCx,
    /// Of refusals in the log.
    pub(super) warned: OnceAMinute,
}

/// The handler of one server.
pub(super) struct Collect {
    shared: Arc<Shared>,
    policy: HttpPolicy,
    key: Option<Vec<u8>>,
}

impl Collect {
    pub(super) fn new(args: &Server, shared: &Arc<Shared>) -> Self {
        let cors = CorsArgs {
            allowed_origins: args.cors_allowed_origins.clone(),
            allowed_headers: CORS_HEADERS.map(String::from).to_vec(),
            exposed_headers: Vec::new(),
            max_age: 0,
        };
        let http = HttpServerArgs {
            max_request_body_size: component::eval::Size(args.max_payload() as u64),
            include_metadata: args.include_metadata,
            ..HttpServerArgs::default()
        };
        let key = args.api_key.reveal().as_bytes().to_vec();
        Self {
            shared: shared.clone(),
            policy: HttpPolicy::new(&http)
                .with_cors(CorsPolicy::new(&cors).map(CorsPolicy::without_credentials)),
            key: (!key.is_empty()).then_some(key),
        }
    }
}

impl StreamHandler for Collect {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let route = match head.uri.path() {
                "/collect" => "collect",
                "/-/ready" if head.method == Method::GET => {
                    return component::http::text_response(StatusCode::OK, "ready").map(full);
                }
                path => {
                    let why = format!("{path} is not served here");
                    return Refusal::new(StatusCode::NOT_FOUND, why).response().map(full);
                }
            };
            let metrics = &self.shared.metrics.requests;
            let (started, under_way) = (Instant::now(), metrics.begun(&head.method, route));
            let mut size = 0;
            let mut response = match self.policy.preflight(&head) {
                Some(answer) => answer,
                None => self.post(&head, body, &mut size).await,
            };
            self.policy.finish(&head, &mut response);
            drop(under_way);
            metrics.answered(&head.method, route, size, &response, started.elapsed());
            response.map(full)
        })
    }
}

impl Collect {
    async fn post(&self, head: &request::Parts, body: RequestBody, size: &mut usize) -> Response<Bytes> {
        if head.method != Method::POST {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "payloads are posted");
            let mut response = refusal.response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            return response;
        }
        match self.receive(head, body, size).await {
            Ok(()) => component::http::text_response(StatusCode::ACCEPTED, "ok"),
            Err(refusal) => refusal.response(),
        }
    }

    async fn receive(
        &self,
        head: &request::Parts,
        body: RequestBody,
        size: &mut usize,
    ) -> Result<(), Refusal> {
        let shared = &self.shared;
        let config = shared.config.load_full();
        let limited = || Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests");
        if !config.limiter.admits() {
            return Err(limited());
        }
        self.check_key(&head.headers)?;
        let (_, encoding) = self.policy.encoding(&head.headers)?;
        let mut room = shared.budget.room();
        let Unpacked { body, packed } = self.policy.read(body, encoding, &mut room).await?;
        *size = packed.as_ref().map_or(body.len(), Bytes::len);
        drop(packed);
        // The body, repaired, and what becomes of it.
        room.at_least(body.len().saturating_mul(4) + faro::memory(body.len())).await?;
        let bad = |error: faro::Error| Refusal::bad(format!("the body is not a payload of Faro: {error}"));
        let text = faro::text(&body);
        let payload = Payload::read(&text).map_err(bad)?;
        if !config.limiter.admits_app(payload.meta.app(), payload.meta.environment()) {
            return Err(limited());
        }
        let (logs, log_bytes) = self.logs(&config, &payload, text.len()).await.map_err(bad)?;
        let traces = self.traces(&payload, self.policy.client(head))?;
        room.at_most(text.len() + log_bytes + traces.as_ref().map_or(0, |(_, bytes)| *bytes));
        self.hand_over(&config, logs, traces.map(|(batch, _)| batch)).await?;
        shared.metrics.taken(&payload);
        Ok(())
    }

    /// Takes as long for a wrong key as for the right one.
    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        let given = headers.get(API_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if crate::auth::same(given, key) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "the API key is not provided or wrong"))
    }

    /// The lines of a payload, and the bytes that they take.
    async fn logs(
        &self,
        config: &Config,
        payload: &Payload<'_>,
        length: usize,
    ) -> Result<(Option<Logs>, usize), faro::Error> {
        let items: usize = Kind::ALL.iter().map(|kind| payload.count(*kind)).sum();
        if config.logs.is_empty() {
            self.shared.metrics.unserved("logs", items);
            return Ok((None, 0));
        }
        if items == 0 {
            return Ok((None, 0));
        }
        let mut exceptions = payload.exceptions()?;
        config.maps.resolve(&mut exceptions, payload.meta.release()).await;
        let now = jiff::Timestamp::now();
        let timestamp_ns = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let mut builder = LogBuilder::new(now.as_millisecond(), None);
        let mut bytes = 0;
        payload.lines(&exceptions, config.format, length, |fields, line| {
            bytes += line.len() + size_of::<Entry>();
            let stream = builder.stream(&config.stream(fields));
            builder.push(Entry { stream, timestamp_ns, line: line.into(), metadata: None });
        })?;
        Ok((Some(builder.finish()), bytes))
    }

    /// The spans of a payload, and the bytes that they take.
    fn traces(
        &self,
        payload: &Payload<'_>,
        client: Option<Arc<ClientMetadata>>,
    ) -> Result<Option<(Traces, usize)>, Refusal> {
        let Some(json) = payload.traces() else { return Ok(None) };
        let bad = |error: &dyn std::fmt::Display| {
            Refusal::bad(format!("the traces of the payload are bad: {error}"))
        };
        let wire = from_json::<TracesSignal>(json.as_bytes()).map_err(|e| bad(&e))?;
        let spans = check::<TracesSignal>(&wire).map_err(|e| bad(&e))?;
        if spans == 0 {
            return Ok(None);
        }
        let bytes = wire.len();
        let received_ms = jiff::Timestamp::now().as_millisecond();
        let mut batch = OtlpBatch { client, received_ms, ..OtlpBatch::default() };
        batch.requests.push(OtlpRequest::from_wire(wire.into(), spans, None));
        Ok(Some((Traces::new(batch), bytes)))
    }

    async fn hand_over(
        &self,
        config: &Config,
        logs: Option<Logs>,
        traces: Option<Traces>,
    ) -> Result<(), Refusal> {
        let Shared { metrics, cx, warned, .. } = &*self.shared;
        let traces = traces.filter(|batch| {
            let served = !config.traces.is_empty();
            if !served {
                metrics.unserved("traces", batch.items());
            }
            served
        });
        cx.live_debug(|| {
            let lines = logs.as_ref().map_or(0, Logs::len);
            format!("{lines} lines and {} spans received", traces.as_ref().map_or(0, Traces::items))
        });
        let lines = async {
            match logs {
                Some(logs) => taken(config.logs.send(logs)).await,
                None => Ok(()),
            }
        };
        let spans = async {
            match traces {
                Some(traces) => taken(config.traces.send(traces)).await,
                None => Ok(()),
            }
        };
        let (lines, spans) = tokio::join!(lines, spans);
        for (exporter, result) in [("logs exporter", &lines), ("traces exporter", &spans)] {
            if let Err(refusal) = result {
                metrics.failed(exporter);
                if warned.now() {
                    tracing::warn!(exporter, error = refusal.why, "a payload was not taken");
                }
            }
        }
        // What can be sent again is to be sent again, even if the other half never will be taken.
        match (lines, spans) {
            (Err(a), Err(b)) => Err(if a.status == StatusCode::SERVICE_UNAVAILABLE { a } else { b }),
            (Err(refusal), Ok(())) | (Ok(()), Err(refusal)) => Err(refusal),
            (Ok(()), Ok(())) => Ok(()),
        }
    }
}

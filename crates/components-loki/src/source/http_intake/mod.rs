//! What sources that take logs over HTTP share: server, limits, labels, hand-over, answers.
//!
//! Data path: server → [`Protocol::read`] → labels and rules → `forward_to` → answer. Invariants: a client gets
//! a success only when all of `forward_to` has its entries; a change of arguments refuses no request; what all
//! requests hold together is bounded.

#[cfg(test)]
pub(crate) mod bench;
mod handler;
#[cfg(test)]
mod tests;
mod tunnel;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use component::eval::Arguments;
use component::metrics::{IntCounter, IntCounterVec, NodeMetrics};
use component::{BuildCx, Component, Error, Exports, Fanout, Receiver, RelabelRules, RunCx, Stability};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, request};
use net::args::{GrpcServerArgs, HttpServerArgs};
use net::server::serving::{self, Serving};
use net::server::{Budget, Refusal, RequestMetrics, StreamHandler};
use parking_lot::Mutex;
use signal::logs::LogBatch;
use signal::{Labels, Logs};
use wire::compress::{self, Encoding, decompress};

use crate::intake::{Fixed, Intake};
use handler::Requests;
use tunnel::Tunnel;

/// Bytes that all requests of a component hold together, as they come, decompressed, and as entries: each of
/// the three. A request waits for the next while it holds the ones before, so that none waits for itself.
const BUDGET: usize = 256 << 20;
/// Bytes that the entries of a request may take at least, however small its body may be.
const MIN_MEMORY: usize = 64 << 20;

/// The arguments of the server itself.
#[derive(Clone, Debug, PartialEq, component::Arguments)]
pub struct ServerArgs {
    /// How long requests under way may take when the server stops or moves.
    #[arg(default = Duration::from_secs(30))]
    pub graceful_shutdown_timeout: Duration,
    /// Where to listen; port 8080 of all addresses where the block is absent.
    #[arg(block)]
    pub http: Option<HttpServerArgs>,
    /// Where to listen for gRPC, which carries the same requests in the service `httpgrpc.HTTP`; nowhere
    /// where the block is absent.
    #[arg(block)]
    pub grpc: Option<GrpcServerArgs>,
}

impl Default for ServerArgs {
    fn default() -> Self {
        Arguments::defaults()
    }
}

/// Nothing: entries go to `forward_to`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct NoExports {}

/// What all these sources have among their arguments.
pub struct Common<'a> {
    /// The server.
    pub server: &'a ServerArgs,
    /// Where entries go.
    pub forward_to: &'a [Receiver<Logs>],
    /// The component's own labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Rules for labels.
    pub relabel_rules: Option<&'a RelabelRules>,
    /// Bytes of a body, as it comes and decompressed.
    pub max_body: [usize; 2],
}

/// A path that is answered.
#[derive(Debug)]
pub struct Route {
    /// The path.
    pub path: &'static str,
    /// Its name in metrics.
    pub name: &'static str,
    /// What is done there.
    pub action: Action,
}

/// What is done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `POST`: logs are taken; the number tells a protocol its own paths apart.
    Take(u8),
    /// `GET`: this text.
    Tell(&'static str),
}

impl Action {
    fn method(self) -> Method {
        match self {
            Self::Take(_) => Method::POST,
            Self::Tell(_) => Method::GET,
        }
    }
}

/// One request, its body decompressed.
pub struct Taken<'a> {
    /// Its head.
    pub head: &'a request::Parts,
    /// Which of the protocol's paths it was sent to.
    pub path: u8,
    /// The body.
    pub body: Bytes,
    /// When it came, Unix nanoseconds.
    pub now_ns: i64,
    /// Bytes that entries may take in memory beside the body: an entry of two bytes there is one of dozens.
    pub memory: usize,
}

impl Taken<'_> {
    /// When it came, Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ns / 1_000_000
    }
}

/// What a request held. Streams have the labels that were found; internal ones included.
#[derive(Default)]
pub struct Found {
    /// The good entries.
    pub batch: LogBatch,
    /// Whether labels come as they are: own labels are added, but no rule is applied.
    pub unruled: bool,
    /// Why others are not among them; told to the client after the good ones are forwarded.
    pub refused: Option<Refusal>,
}

/// How one kind of client talks.
pub trait Protocol: Sized + Send + Sync + 'static {
    /// Name of the component.
    const NAME: &'static str;
    /// Its page in the reference.
    const DOCS: &'static str;
    /// What stands before the names of the requests' metrics.
    const NAMESPACE: &'static str;
    /// The counter of entries.
    const ENTRIES: &'static str;
    /// The paths that are answered.
    const ROUTES: &'static [Route];
    /// Where the component's own labels come in.
    const FIXED: Fixed;
    /// Its arguments.
    type Args: Arguments + Clone + PartialEq + Sync;

    /// Registers its own metrics.
    fn new(metrics: &NodeMetrics) -> Self;

    /// The arguments that all sources have.
    fn common(args: &Self::Args) -> Common<'_>;

    /// Whether a request may come in at all; its body has not been read.
    fn admit(&self, _head: &request::Parts, _args: &Self::Args) -> Result<(), Refusal> {
        Ok(())
    }

    /// Bytes of entries, at most, that a byte of a decompressed body can become.
    const GROWTH: usize = size_of::<signal::logs::Entry>();

    /// The most that can come out of a body, and lie in memory beside it.
    fn most(&self, head: &request::Parts, body: &[u8], limit: usize) -> usize {
        let encoding = head.headers.get(http::header::CONTENT_ENCODING).map_or(Ok(""), HeaderValue::to_str);
        let encoding = encoding.ok().and_then(Encoding::from_content_encoding);
        encoding.map_or(0, |encoding| compress::most(encoding, body, limit))
    }

    /// Decompresses a body; at most `limit` bytes come out.
    fn unpack(&self, head: &request::Parts, body: Bytes, limit: usize) -> Result<Bytes, Refusal>;

    /// Reads the entries of a request.
    fn read(&self, taken: &Taken<'_>, args: &Self::Args) -> Result<Found, Refusal>;

    /// The answer: `Ok` when all of `forward_to` has all entries.
    fn answer(&self, _head: &request::Parts, result: Result<(), &Refusal>) -> Response<Bytes> {
        match result {
            Ok(()) => status(StatusCode::NO_CONTENT),
            Err(refusal) => refusal.response(),
        }
    }
}

/// A tenant as it is written in a header; empty is none.
pub(super) fn plain_tenant<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    match headers.get(name).map(HeaderValue::to_str) {
        None | Some(Ok("")) => Ok(None),
        Some(Ok(tenant)) => Ok(Some(tenant)),
        Some(Err(_)) => Err(Refusal::bad(format!("{name} is not text"))),
    }
}

/// A body as its `Content-Encoding` says; at most `limit` bytes come out.
pub(super) fn unpacked(encoding: Option<&HeaderValue>, body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
    let named = encoding.map_or(Ok(""), HeaderValue::to_str).ok().and_then(Encoding::from_content_encoding);
    let Some(encoding) = named else {
        return Err(Refusal::bad("the Content-Encoding is not one that is supported"));
    };
    if encoding == Encoding::Identity && body.len() <= limit {
        return Ok(body);
    }
    unpack_as(encoding, &body, limit)
}

/// Decompresses a body; at most `limit` bytes come out.
pub(super) fn unpack_as(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let mut out = Vec::new();
    decompress(encoding, body, limit, &mut out).map_err(|error| match error {
        compress::Error::TooLarge { .. } => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        compress::Error::Corrupt { .. } => Refusal::bad(error.to_string()),
    })?;
    Ok(out.into())
}

/// An answer without a body.
fn status(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// A source that takes logs over HTTP.
pub struct HttpSource<P: Protocol> {
    args: P::Args,
    shared: Arc<Shared<P>>,
}

/// What lives as long as the component.
struct Shared<P: Protocol> {
    protocol: P,
    config: ArcSwap<Config<P>>,
    bodies: Budget,
    unpacked: Budget,
    entries_room: Budget,
    requests: RequestMetrics,
    entries: IntCounter,
    dropped: IntCounterVec,
    warned: component::OnceAMinute,
    cx: BuildCx,
}

/// What of the arguments can change while requests are under way.
pub struct Config<P: Protocol> {
    args: P::Args,
    forward_to: Fanout<Logs>,
    /// Own labels and rules.
    intake: Mutex<Intake>,
    /// Own labels only.
    unruled: Mutex<Intake>,
    max_body: [usize; 2],
}

impl<P: Protocol> Config<P> {
    fn new(args: &P::Args) -> Result<Self, Error> {
        let common = P::common(args);
        let fixed = common.labels.map_or_else(Labels::empty, Labels::from_pairs);
        Ok(Self {
            forward_to: Fanout::new(common.forward_to.iter().cloned()),
            intake: Mutex::new(Intake::placing(P::FIXED, fixed.clone(), common.relabel_rules)?),
            unruled: Mutex::new(Intake::placing(P::FIXED, fixed, None)?),
            max_body: common.max_body,
            args: args.clone(),
        })
    }
}

impl<P: Protocol> Component for HttpSource<P> {
    const NAME: &'static str = P::NAME;
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = P::DOCS;
    type Args = P::Args;
    type Exports = NoExports;

    fn build(args: P::Args, cx: &BuildCx) -> Result<(Self, NoExports), Error> {
        serving::check::<Self>(&args)?;
        let metrics = cx.metrics();
        let shared = Arc::new(Shared {
            protocol: P::new(&metrics),
            config: ArcSwap::from_pointee(Config::new(&args)?),
            bodies: Budget::new(BUDGET),
            unpacked: Budget::new(BUDGET),
            entries_room: Budget::new(BUDGET),
            requests: RequestMetrics::new(&metrics, P::NAMESPACE),
            entries: metrics.counter(P::ENTRIES, "Entries that were taken by all of forward_to."),
            dropped: metrics.counter_vec(
                &format!("{}_dropped_entries_total", P::NAME.replace('.', "_")),
                "Entries that were dropped, by reason.",
                &["reason"],
            ),
            warned: component::OnceAMinute::default(),
            cx: cx.clone(),
        });
        Ok((Self { args, shared }, NoExports {}))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let args = self.args.clone();
        serving::serve(&self, args, cx).await
    }
}

impl<P: Protocol> Serving for HttpSource<P> {
    type Config = Config<P>;

    fn http(args: &P::Args) -> Option<&HttpServerArgs> {
        P::common(args).server.http.as_ref()
    }

    fn grpc(args: &P::Args) -> Option<&GrpcServerArgs> {
        P::common(args).server.grpc.as_ref()
    }

    fn max_body(args: &P::Args) -> usize {
        P::common(args).max_body[0]
    }

    fn grace(args: &P::Args) -> Duration {
        P::common(args).server.graceful_shutdown_timeout
    }

    fn handler(&self) -> Arc<dyn StreamHandler> {
        Arc::new(Requests(self.shared.clone()))
    }

    fn grpc_handler(&self) -> Arc<dyn StreamHandler> {
        Arc::new(Tunnel(self.shared.clone()))
    }

    fn config(args: &P::Args) -> Result<Config<P>, Error> {
        Config::new(args)
    }

    fn apply(&self, config: Config<P>) {
        self.shared.config.store(Arc::new(config));
    }

    fn requests(&self) -> &RequestMetrics {
        &self.shared.requests
    }
}

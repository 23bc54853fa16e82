//! `otelcol.receiver.zipkin` takes spans from Zipkin's clients: version 1 in JSON and Thrift, version 2 in JSON and
//! protobuf.
//!
//! Data path: server → [`super::posts`] → `wire::zipkin` → `output`. Invariants: a client is told success only when
//! every consumer of traces has its spans; a change of arguments refuses no request.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, RunCx, Stability};
use http::request;
use net::Server;
use net::server::Refusal;
use wire::spans::Converted;
use wire::zipkin::{self, Options};

use super::check_debug_metrics;
use super::posts::{Format, Posts};
use super::spans::{Spans, Target};
use crate::server::{HttpPolicy, HttpServerArgs, media_type};

/// How long requests under way may take when the server stops or moves.
const GRACE: Duration = Duration::from_secs(30);

/// `otelcol.receiver.zipkin`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Makes numbers and booleans of tags and binary annotations that look like them.
    #[arg(default)]
    pub parse_string_tags: bool,
    /// The server.
    #[arg(squash, default = HttpServerArgs { endpoint: "0.0.0.0:9411".to_string(), ..HttpServerArgs::default() })]
    pub server: HttpServerArgs,
    /// What the component tells of itself.
    #[arg(block, default = DebugMetrics::default())]
    pub debug_metrics: DebugMetrics,
    /// Where spans go. Without a consumer of traces nothing is served; the other signals never get anything.
    #[arg(block, required)]
    pub output: Output,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate()?;
        check_debug_metrics(&self.debug_metrics)
    }
}

/// Nothing: data goes to `output`.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct ZipkinReceiverExports {}

/// The component.
pub struct ZipkinReceiver {
    args: Args,
    spans: Arc<Spans>,
}

/// What is the same for all requests.
struct Zipkin {
    parse_string_tags: bool,
}

impl Format for Zipkin {
    type Body = zipkin::Format;

    /// Clients are told a base URL that may have a path; as zipkinreceiver, all of them are served.
    fn serves(&self, _path: &str) -> bool {
        true
    }

    fn body(&self, head: &request::Parts) -> Result<(zipkin::Format, &'static str), Refusal> {
        let media = media_type(&head.headers);
        // As zipkinreceiver: what is not said to be something else is JSON.
        Ok(match (head.uri.path().contains("api/v1/spans"), media.as_str()) {
            (true, "application/x-thrift") => (zipkin::Format::V1Thrift, "http_v1_thrift"),
            (true, _) => (zipkin::Format::V1Json, "http_v1_json"),
            (false, "application/x-protobuf") => (zipkin::Format::V2Proto, "http_v2_proto"),
            (false, _) => (zipkin::Format::V2Json, "http_v2_json"),
        })
    }

    fn read(&self, what: zipkin::Format, body: &[u8]) -> Result<Converted, String> {
        let now_ns = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
        let options = Options { parse_string_tags: self.parse_string_tags, now_ns };
        zipkin::decode(body, what, options)
            .map_err(|e| format!("the body is not a list of Zipkin spans: {e}"))
    }
}

async fn bind(args: &Args, spans: &Arc<Spans>) -> Result<Server, Error> {
    let posts = Posts {
        spans: spans.clone(),
        policy: HttpPolicy::new(&args.server),
        format: Zipkin { parse_string_tags: args.parse_string_tags },
    };
    args.server.bind(spans.cx.id(), Arc::new(posts)).await
}

fn tell(args: &Args) {
    if args.output.traces.is_empty() {
        tracing::warn!("nothing is served: output has no consumer of traces");
    }
}

impl Component for ZipkinReceiver {
    const NAME: &'static str = "otelcol.receiver.zipkin";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ZipkinReceiverExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ZipkinReceiverExports), Error> {
        args.server.options()?;
        let spans = Spans::new("zipkin", Target::new(&args.output, &args.debug_metrics)?, cx);
        Ok((Self { args, spans }, ZipkinReceiverExports {}))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let Self { mut args, spans } = self;
        let mut server = bind(&args, &spans).await?;
        tell(&args);
        loop {
            match cx.event().await {
                Event::Stop => {
                    server.shutdown(GRACE).await;
                    return Ok(());
                }
                Event::Update(update) => {
                    let new = update.args().clone();
                    let result = change(&mut server, &args, &new, &spans, &cx).await;
                    if result.is_ok() {
                        tell(&new);
                        args = new;
                    }
                    update.answer(result);
                }
            }
        }
    }
}

/// Puts new arguments into force. The old server answers what it has begun.
async fn change(
    server: &mut Server,
    old: &Args,
    new: &Args,
    spans: &Arc<Spans>,
    cx: &RunCx<ZipkinReceiver>,
) -> Result<(), Error> {
    let target = Target::new(&new.output, &new.debug_metrics)?;
    if (&new.server, new.parse_string_tags) != (&old.server, old.parse_string_tags) {
        let before = std::mem::replace(server, bind(new, spans).await?);
        cx.spawn(async move {
            before.shutdown(GRACE).await;
        });
    }
    spans.aim(target);
    Ok(())
}

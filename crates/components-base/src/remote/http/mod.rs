//! `remote.http` offers what an HTTP server answers and asks again every `poll_frequency`.
//!
//! Invariant: an answer that cannot be had, or is not 200, leaves the last content in place.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use component::eval::{Invalid, OptionalSecret};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, Health, RunCx, Stability};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request, Url};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, MissedTickBehavior};

/// Contents larger than this are a mistake: they would be copied into the configuration.
const MAX_SIZE: usize = 32 << 20;

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Where to ask.
    pub url: String,
    /// How often.
    #[arg(default = "1m")]
    pub poll_frequency: Duration,
    /// How long an answer may take.
    #[arg(default = "10s")]
    pub poll_timeout: Duration,
    /// The content is a secret.
    #[arg(default)]
    pub is_secret: bool,
    /// Method of the request.
    #[arg(default = "GET")]
    pub method: String,
    /// Headers of the request.
    #[arg(default)]
    pub headers: BTreeMap<String, String>,
    /// Body of the request.
    #[arg(default)]
    pub body: String,
    /// How to reach the server.
    #[arg(block, default)]
    pub client: HttpClientArgs,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let url =
            Url::parse(&self.url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if url.is_none() {
            return Err(Invalid::field("url", "url must be an http or https URL"));
        }
        if self.poll_frequency.is_zero() {
            return Err(Invalid::field("poll_frequency", "poll_frequency must be longer than 0"));
        }
        if self.poll_timeout.is_zero() {
            return Err(Invalid::field("poll_timeout", "poll_timeout must be longer than 0"));
        }
        if self.poll_timeout >= self.poll_frequency {
            return Err(Invalid::field("poll_timeout", "poll_timeout must be shorter than poll_frequency"));
        }
        if Method::from_bytes(self.method.as_bytes()).is_err() {
            return Err(Invalid::field("method", format!("{:?} is not an HTTP method", self.method)));
        }
        let bad = |(name, value): (&String, &String)| {
            HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err()
        };
        match self.headers.iter().find(|h| bad(*h)) {
            Some((name, _)) => Err(Invalid::field("headers", format!("header {name:?} cannot be sent"))),
            None => Ok(()),
        }
    }
}

/// Exports.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct HttpExports {
    /// The body of the answer, without white space around it.
    pub content: OptionalSecret,
}

/// The component.
pub struct Http {
    poll: Poll,
    /// What `build` has found, with when.
    first: Option<Instant>,
}

/// What to ask, and how.
struct Poll {
    args: Args,
    client: Client,
    request: Request,
}

impl Component for Http {
    const NAME: &'static str = "remote.http";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = HttpExports;

    /// Asks once, where a runtime is there to do it: what depends on the content is evaluated before `run`.
    fn build(args: Args, cx: &BuildCx) -> Result<(Self, HttpExports), Error> {
        let poll = Poll::new(args, cx)?;
        let runtime = Handle::try_current().ok().filter(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
        let Some(runtime) = runtime.filter(|_| !cx.is_trial()) else {
            let exports = HttpExports { content: poll.content(String::new()) };
            return Ok((Self { poll, first: None }, exports));
        };
        // Other tasks of this worker are moved away; the wait is at most `poll_timeout`.
        let exports = tokio::task::block_in_place(|| runtime.block_on(poll.ask()))?;
        Ok((Self { poll, first: Some(Instant::now()) }, exports))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let mut tick = tokio::time::interval(self.poll.args.poll_frequency);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some(first) = self.first {
            tick.reset_at(first + self.poll.args.poll_frequency);
        }
        loop {
            let asked = async {
                tick.tick().await;
                self.poll.ask().await
            };
            tokio::select! {
                event = cx.event() => match event {
                    Event::Stop => return Ok(()),
                    Event::Update(update) => {
                        // As the first one, the new arguments' content is there before dependants look.
                        let next = match Poll::new(update.args().clone(), &cx) {
                            Ok(next) => next.ask().await.map(|exports| (next, exports)),
                            Err(error) => Err(error),
                        };
                        update.answer(next.map(|(next, exports)| {
                            cx.export(&exports);
                            cx.report(Health::healthy("polled the server"));
                            tick = tokio::time::interval(next.args.poll_frequency);
                            tick.reset();
                            self.poll = next;
                        }));
                    }
                },
                answer = asked => match answer {
                    Ok(exports) => {
                        cx.export(&exports);
                        cx.report(Health::healthy("polled the server"));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the last content stays in place");
                        cx.report(Health::unhealthy(error.to_string()));
                    }
                },
            }
        }
    }
}

impl Poll {
    fn new(args: Args, cx: &BuildCx) -> Result<Self, Error> {
        let url = Url::parse(&args.url).map_err(|e| Error::argument("url", format!("url: {e}")))?;
        let method = Method::from_bytes(args.method.as_bytes())
            .map_err(|_| Error::argument("method", "not an HTTP method"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &args.headers {
            let unusable = || Error::argument("headers", format!("header {name:?} cannot be sent"));
            let name = HeaderName::try_from(name).map_err(|_| unusable())?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| unusable())?);
        }
        let client = Client::new(&args.client, ClientOptions::new(cx.services().user_agent()))?;
        let request = Request {
            headers,
            body: Bytes::from(args.body.clone()),
            ..Request::new(method, url).timeout(args.poll_timeout)
        };
        Ok(Self { args, client, request })
    }

    async fn ask(&self) -> Result<HttpExports, Error> {
        let response = self.client.send(self.request.clone()).await?;
        if response.status() != http::StatusCode::OK {
            return Err(response.into_status_error(&self.request.url).await.into());
        }
        let text = response.text(MAX_SIZE).await?;
        Ok(HttpExports { content: self.content(text) })
    }

    fn content(&self, text: String) -> OptionalSecret {
        match self.args.is_secret {
            true => OptionalSecret::secret(text.trim()),
            false => OptionalSecret::plain(text.trim()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

    use component::eval::Value;
    use component::testkit::{Harness, Names, Refused};
    use component::{BoxFuture, ComponentDef, HealthState};
    use net::server::{Handler, whole};
    use net::{Server, ServerOptions};

    use super::*;

    const DEF: ComponentDef = ComponentDef::of::<Http>();

    /// Answers with a status of choice and how often it was asked.
    #[derive(Default, Clone)]
    struct Fake {
        status: Arc<AtomicU16>,
        asked: Arc<AtomicUsize>,
    }

    impl Handler for Fake {
        fn handle(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>> {
            let n = self.asked.fetch_add(1, Ordering::SeqCst);
            let given = request.headers().get("x-a").map_or("", |v| v.to_str().unwrap_or("?"));
            let body =
                format!(" {n} {} {given} {} \n", request.method(), String::from_utf8_lossy(request.body()));
            let mut response = http::Response::new(Bytes::from(body));
            let status = self.status.load(Ordering::SeqCst);
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
            Box::pin(std::future::ready(response))
        }
    }

    async fn fake() -> (Fake, Server) {
        net::install_provider();
        let fake = Fake::default();
        let handler = whole(fake.clone());
        let server = Server::bind("fake", "127.0.0.1", 0, ServerOptions::default(), handler).await.unwrap();
        (fake, server)
    }

    fn content(exports: &Value) -> String {
        match exports.as_object().unwrap().get("content") {
            Some(Value::OptionalSecret(s)) => s.reveal().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_first_answer_is_there_when_the_component_is_built_and_later_ones_follow() {
        let (_fake, server) = fake().await;
        let body = format!(
            "url = \"http://{}/\"\npoll_frequency = \"1s\"\npoll_timeout = \"999ms\"\nmethod = \"POST\"\n\
             headers = {{\"x-a\" = \"b\"}}\nbody = \"data\"",
            server.address()
        );
        let harness = Harness::start(DEF, &body, Names::default()).await;
        assert_eq!(content(&harness.node.exports()), "0 POST b data");
        harness.until_exports(|e| content(e).starts_with("1 ")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_refusal_keeps_the_content_and_new_arguments_that_fail_are_refused() {
        let (fake, server) = fake().await;
        let url = format!("http://{}/", server.address());
        let body =
            format!("url = {url:?}\npoll_frequency = \"1s\"\npoll_timeout = \"999ms\"\nis_secret = true");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        fake.status.store(404, Ordering::SeqCst);
        while harness.node.health().state != HealthState::Unhealthy {
            tokio::task::yield_now().await;
        }
        assert!(content(&harness.node.exports()).ends_with("GET"));
        assert!(harness.node.health().message.contains("404"), "{}", harness.node.health().message);
        let refused = harness.update(&format!("url = {url:?}")).await.unwrap_err();
        assert!(matches!(refused, Refused::Error(_)));
        fake.status.store(200, Ordering::SeqCst);
        harness.update(&format!("url = {url:?}\nmethod = \"PUT\"")).await.unwrap();
        assert!(content(&harness.node.exports()).ends_with("PUT"));
        assert_eq!(harness.node.health().state, HealthState::Healthy);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn arguments_that_cannot_work_are_refused_where_they_stand() {
        for body in [
            "url = \"ftp://a\"",
            "url = \"http://a\"\npoll_frequency = \"5s\"",
            "url = \"http://a\"\nmethod = \"A B\"",
            "url = \"http://a\"\nclient {\n bearer_token = \"a\"\n basic_auth { }\n}",
        ] {
            let services = component::Services::for_tests(std::env::temp_dir());
            let harness = Harness::new(DEF, Names::default(), services);
            let refused = harness.update(body).await.unwrap_err();
            assert!(matches!(refused, Refused::Diagnostics(_)), "{body}: {refused:?}");
        }
    }
}

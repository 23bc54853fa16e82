//! `discovery.http` asks an HTTP server for targets, in the JSON of Prometheus' HTTP service discovery.

use std::time::Duration;

use component::eval::Invalid;
use component::metrics::IntCounter;
use component::{Arguments, BuildCx, Component, Error, RunCx, Stability, Target};
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue};
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request, Url};

use crate::discovery::{self, Found, Look};
use crate::groups;

/// Largest answer; a hundred thousand targets fit well.
const MAX_ANSWER: usize = 64 << 20;
const REFRESH_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// How to reach the server.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// How often to ask.
    #[arg(default = "1m")]
    pub refresh_interval: Duration,
    /// Where to ask.
    #[arg(code_type = "string(URL)")]
    pub url: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let url =
            Url::parse(&self.url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if url.is_none() {
            return Err(Invalid::field("url", "url must be an http or https URL with a host"));
        }
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        self.client.validate()
    }
}

/// The component.
pub struct Http(Server);

struct Server {
    client: Client,
    url: Url,
    /// As the user wrote it, for `__meta_url`.
    text: String,
    interval: Duration,
    failures: IntCounter,
}

impl Server {
    fn new(args: Args, cx: &BuildCx, failures: IntCounter) -> Result<Self, Error> {
        let url = Url::parse(&args.url).map_err(|e| Error::argument("url", format!("url: {e}")))?;
        let client = Client::new(&args.client, ClientOptions::new(cx.services().user_agent()))?;
        Ok(Self { client, url, text: args.url, interval: args.refresh_interval, failures })
    }

    async fn ask(&self) -> Result<Vec<Target>, Error> {
        let interval = HeaderValue::from(self.interval.as_secs());
        let request = Request::get(self.url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(REFRESH_HEADER, interval)
            // As Prometheus: an answer that comes after the next question is of no use.
            .timeout(self.interval);
        let response = self.client.send(request).await?;
        if response.status() != http::StatusCode::OK {
            return Err(response.into_status_error(&self.url).await.into());
        }
        let json = response.content_type().is_some_and(is_json);
        if !json {
            let got = response.content_type().unwrap_or("none").to_owned();
            return Err(Error::other(format!(
                "{} answered with Content-Type {got}, expected application/json",
                net::shown_url(&self.url)
            )));
        }
        let body = response.bytes(MAX_ANSWER).await?;
        let groups = groups::from_json(&body).map_err(|e| {
            Error::other(format!("{} answered with no list of target groups: {e}", net::shown_url(&self.url)))
        })?;
        Ok(groups.iter().flat_map(|g| g.targets(("__meta_url", &self.text))).collect())
    }
}

/// `application/json`, alone or in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|p| p.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some("application/json")
        && parts.all(|p| matches!(p.as_str(), "charset=utf-8" | "charset=\"utf-8\""))
}

impl Look for Server {
    async fn look(&mut self) -> Result<Vec<Target>, Error> {
        self.ask().await.inspect_err(|_| self.failures.inc())
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

impl Component for Http {
    const NAME: &'static str = "discovery.http";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Found;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, Found), Error> {
        let help = "Number of HTTP service discovery refresh failures.";
        let failures = cx.metrics().counter("prometheus_sd_http_failures_total", help);
        Ok((Self(Server::new(args, cx, failures)?), Found::default()))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        let failures = self.0.failures.clone();
        discovery::run(cx, self.0, |args, cx| Server::new(args, cx, failures.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use component::testkit::{Harness, Names, Refused};
    use component::{BoxFuture, ComponentDef, HealthState};
    use net::ServerOptions;
    use net::server::{Handler, whole};
    use parking_lot::Mutex;

    use super::*;
    use crate::discovery::{exported, target};

    const DEF: ComponentDef = ComponentDef::of::<Http>();

    /// Answers with status, type and body of choice.
    #[derive(Clone)]
    struct Fake(Arc<Mutex<(u16, &'static str, &'static str)>>);

    impl Handler for Fake {
        fn handle(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>> {
            let (status, kind, body) = *self.0.lock();
            let headers = request.headers();
            let polite = headers["accept"] == "application/json"
                && headers["x-prometheus-refresh-interval-seconds"] == "60"
                && headers["authorization"] == "Bearer t"
                && headers["user-agent"].to_str().is_ok_and(|a| a.starts_with("Ferroalloy/"));
            let response = http::Response::builder().status(if polite { status } else { 400 });
            let response = response.header("content-type", kind).body(Bytes::from(body));
            Box::pin(std::future::ready(response.expect("a good answer")))
        }
    }

    async fn fake(answer: (u16, &'static str, &'static str)) -> (Fake, net::Server) {
        net::install_provider();
        let fake = Fake(Arc::new(Mutex::new(answer)));
        let options = ServerOptions::default();
        let server = net::Server::bind("fake", "127.0.0.1", 0, options, whole(fake.clone())).await.unwrap();
        (fake, server)
    }

    const GOOD: &str = r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#;

    #[tokio::test]
    async fn targets_carry_the_url_and_failures_are_counted() {
        let (fake, server) = fake((200, "application/json; charset=utf-8", GOOD)).await;
        let url = format!("http://{}/sd?x=1", server.address());
        let body = format!("url = {url:?}\nbearer_token = \"t\"");
        let harness = Harness::start(DEF, &body, Names::default()).await;
        let exports = harness.until_exports(|e| !exported(e).is_empty()).await;
        let expected = target(&[("__address__", "a:1"), ("x", "y"), ("__meta_url", &url)]);
        assert_eq!(exported(&exports), [expected]);

        for bad in
            [(500, "application/json", "down"), (200, "text/html", GOOD), (200, "application/json", "{")]
        {
            *fake.0.lock() = bad;
            // Other arguments are looked at at once.
            harness.update(&format!("{body}\nfollow_redirects = {}", bad.0 == 500)).await.unwrap();
            harness.update(&format!("{body}\nhttp_headers = {{\"n\" = [{:?}]}}", bad.1)).await.unwrap();
            while harness.node.health().state != HealthState::Unhealthy {
                tokio::task::yield_now().await;
            }
            assert_eq!(exported(&harness.node.exports()).len(), 1, "the last targets stay");
            *fake.0.lock() = (200, "application/json", GOOD);
            harness.update(&body).await.unwrap();
            while harness.node.health().state != HealthState::Healthy {
                tokio::task::yield_now().await;
            }
        }
        let metrics = harness.services.metrics.text();
        let counted = metrics.lines().find(|l| l.starts_with("prometheus_sd_http_failures_total{")).unwrap();
        assert!(!counted.ends_with(" 0"), "{counted}");
    }

    #[tokio::test]
    async fn arguments_that_cannot_work_are_refused() {
        let services = component::Services::for_tests(std::env::temp_dir());
        let harness = Harness::new(DEF, Names::default(), services);
        for body in [
            "url = \"/targets\"",
            "url = \"http://a\"\nrefresh_interval = \"0\"",
            "url = \"http://a\"\nbearer_token = \"a\"\nbearer_token_file = \"b\"",
        ] {
            let refused = harness.update(body).await.unwrap_err();
            assert!(matches!(refused, Refused::Diagnostics(_)), "{body}: {refused:?}");
        }
    }

    #[test]
    fn only_json_in_utf8_is_json() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; Charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/jsonp", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_json(kind), json, "{kind}");
        }
    }
}

//! Routes and answers. Paths, texts and status codes are Alloy's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::http::{Handler, Request, Response, text_response};
use component::{BoxFuture, Services};
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::profile;

/// The longest CPU profile.
const LONGEST_PROFILE: u64 = 300;

/// What the API needs to know of the program that it belongs to.
pub trait Host: Send + Sync + 'static {
    /// Whether a configuration has been loaded.
    fn is_ready(&self) -> bool;

    /// Unhealthy nodes of the root module with their reasons.
    fn unhealthy(&self) -> Vec<(String, String)>;

    /// Loads the configuration again; the text of its warnings, empty without any, or of all diagnostics.
    fn reload(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Summaries of the components of a module (`""`: the root); `None` if there is no such module.
    fn components(&self, module: &str) -> Option<Value>;

    /// A component in detail, by global ID.
    fn component(&self, id: &str) -> Option<Value>;

    /// The live heap in pprof's format; `None` if the program's allocator keeps no profile. May take a while.
    fn heap_profile(&self) -> Option<Result<Vec<u8>, String>> {
        None
    }
}

/// An answer: whole, or sent in parts as they come.
pub enum Reply {
    /// A whole answer.
    Whole(Response),
    /// Texts of a component's live debugging, each followed by `|;|`, and the share of them that is wanted.
    Stream(broadcast::Receiver<Arc<str>>, f64),
}

/// The routes.
pub struct Api {
    host: Arc<dyn Host>,
    services: Arc<Services>,
    settings: Settings,
}

struct Settings {
    prefix: String,
    profiles: bool,
}

impl Api {
    /// `prefix` is where the web API lives (`--server.http.ui-path-prefix`); `profiles` turns
    /// `/debug/pprof` on.
    pub fn new(host: Arc<dyn Host>, services: Arc<Services>, prefix: &str, profiles: bool) -> Self {
        let prefix = format!("/{}", prefix.trim_matches('/'));
        let prefix = if prefix == "/" { String::new() } else { prefix };
        Self { host, services, settings: Settings { prefix, profiles } }
    }

    /// Answers a request; components answer below their own paths.
    pub async fn answer(&self, request: Request) -> Reply {
        let path = request.uri().path().to_string();
        if let Some((handler, rest)) = self.services.handlers.component(&path) {
            return Reply::Whole(handler.handle(rest, request).await);
        }
        if path.starts_with(component::http::COMPONENT_PREFIX) {
            return Reply::Whole(text_response(
                StatusCode::NOT_FOUND,
                "there is no such component, or it answers no requests\n",
            ));
        }
        if let Some(rest) = path.strip_prefix(&format!("{}/api/v0/web/debug/", self.settings.prefix)) {
            return self.debug(rest, &request);
        }
        Reply::Whole(self.whole(&path, &request).await)
    }

    async fn whole(&self, path: &str, request: &Request) -> Response {
        match path {
            "/metrics" => metrics(&self.services),
            "/-/ready" if self.host.is_ready() => text_response(StatusCode::OK, "Ferroalloy is ready.\n"),
            "/-/ready" => text_response(StatusCode::SERVICE_UNAVAILABLE, "Ferroalloy is not ready.\n"),
            "/-/healthy" => self.healthy(),
            "/-/reload" if matches!(*request.method(), Method::GET | Method::POST) => self.reload().await,
            "/-/reload" => text_response(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST\n"),
            "/debug/pprof/profile" if self.settings.profiles => cpu_profile(request).await,
            "/debug/pprof/heap" if self.settings.profiles => self.heap_profile().await,
            _ => self.web(path),
        }
    }

    fn healthy(&self) -> Response {
        let unhealthy = self.host.unhealthy();
        if unhealthy.is_empty() {
            return text_response(StatusCode::OK, "All Ferroalloy components are healthy.\n");
        }
        let lines: Vec<_> = unhealthy.iter().map(|(id, why)| format!("{id}: {why}\n")).collect();
        text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("unhealthy components:\n{}", lines.concat()))
    }

    async fn reload(&self) -> Response {
        match self.host.reload().await {
            Ok(warnings) => text_response(StatusCode::OK, format!("config reloaded\n{warnings}")),
            Err(diagnostics) => text_response(StatusCode::BAD_REQUEST, diagnostics),
        }
    }

    async fn heap_profile(&self) -> Response {
        let host = self.host.clone();
        let taken = tokio::task::spawn_blocking(move || host.heap_profile()).await;
        match taken {
            Ok(Some(Ok(profile))) => attachment(profile, "heap"),
            Ok(Some(Err(error))) => text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            Ok(None) => {
                let help =
                    "this build's allocator keeps no profile of the heap: build with --features jemalloc\n";
                text_response(StatusCode::NOT_IMPLEMENTED, help)
            }
            Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn web(&self, path: &str) -> Response {
        let Some(rest) =
            path.strip_prefix(&self.settings.prefix).and_then(|p| p.strip_prefix("/api/v0/web/"))
        else {
            return text_response(StatusCode::NOT_FOUND, format!("there is nothing at {path}\n"));
        };
        let decoded = percent_decode_str(rest).decode_utf8_lossy();
        let found = if decoded == "components" {
            self.host.components("")
        } else if let Some(id) = decoded.strip_prefix("components/") {
            self.host.component(id)
        } else if let Some(module) =
            decoded.strip_prefix("modules/").and_then(|m| m.strip_suffix("/components"))
        {
            self.host.components(module)
        } else {
            None
        };
        match found {
            Some(json) => json_response(&json),
            None => text_response(StatusCode::NOT_FOUND, format!("there is nothing at {path}\n")),
        }
    }

    fn debug(&self, id: &str, request: &Request) -> Reply {
        let share = query(request, "sampleProb").map_or(Ok(1.0), str::parse::<f64>);
        let Some(share) = share.ok().filter(|share| (0.0..=1.0).contains(share)) else {
            let help = "sampleProb must be a number from 0 to 1: the share of the texts that is shown\n";
            return Reply::Whole(text_response(StatusCode::BAD_REQUEST, help));
        };
        let id = percent_decode_str(id).decode_utf8_lossy();
        if self.host.component(&id).is_none() {
            return Reply::Whole(text_response(
                StatusCode::NOT_FOUND,
                format!("there is no component {id}\n"),
            ));
        }
        match self.services.live_debug.watch(&id) {
            Some(texts) => Reply::Stream(texts, share),
            None => {
                let help =
                    "live debugging is off: add `livedebugging { enabled = true }` to the configuration\n";
                Reply::Whole(text_response(StatusCode::INTERNAL_SERVER_ERROR, help))
            }
        }
    }
}

impl Handler for Api {
    /// As reached without the network: streams are not served there.
    fn handle<'a>(&'a self, path: &'a str, request: Request) -> BoxFuture<'a, Response> {
        Box::pin(async move { self.whole(path, &request).await })
    }
}

fn metrics(services: &Services) -> Response {
    let mut response = Response::new(Bytes::from(services.metrics.text()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn json_response(json: &Value) -> Response {
    let mut response = Response::new(Bytes::from(json.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn cpu_profile(request: &Request) -> Response {
    let asked = query(request, "seconds").map(str::parse::<u64>).unwrap_or(Ok(30));
    let seconds = match asked {
        Ok(seconds) if (1..=LONGEST_PROFILE).contains(&seconds) => seconds,
        _ => {
            let help = format!("seconds must be a whole number from 1 to {LONGEST_PROFILE}\n");
            return text_response(StatusCode::BAD_REQUEST, help);
        }
    };
    match profile::cpu(Duration::from_secs(seconds)).await {
        Ok(profile) => attachment(profile, "profile"),
        Err(error) => text_response(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn attachment(body: Vec<u8>, name: &str) -> Response {
    let mut response = Response::new(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let disposition = format!("attachment; filename=\"{name}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).expect("a plain name"));
    response
}

fn query<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Default)]
    struct Fake {
        ready: bool,
        warnings: &'static str,
    }

    impl Host for Fake {
        fn is_ready(&self) -> bool {
            self.ready
        }

        fn unhealthy(&self) -> Vec<(String, String)> {
            if self.ready { Vec::new() } else { vec![("local.file.a".into(), "no such file".into())] }
        }

        fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
            let result =
                if self.ready { Ok(self.warnings.into()) } else { Err("a.alloy:1:1: wrong".to_string()) };
            Box::pin(std::future::ready(result))
        }

        fn components(&self, module: &str) -> Option<Value> {
            ["", "mod.a"].contains(&module).then(|| json!([module]))
        }

        fn component(&self, id: &str) -> Option<Value> {
            (id == "mod.a/local.file.b").then(|| json!({ "localID": "local.file.b" }))
        }
    }

    async fn get(api: &Api, path: &str) -> (u16, String) {
        let request = http::Request::builder().uri(path).body(Bytes::new()).expect("a request");
        match api.answer(request).await {
            Reply::Whole(response) => {
                (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
            }
            Reply::Stream(_, share) => (200, format!("stream {share}")),
        }
    }

    fn api(ready: bool, prefix: &str) -> Api {
        Api::new(Arc::new(Fake { ready, ..Fake::default() }), Services::for_tests("unused"), prefix, true)
    }

    #[tokio::test]
    async fn readiness_health_and_reload_tell_what_is_wrong() {
        let (good, bad) = (api(true, "/"), api(false, "/"));
        assert_eq!(get(&good, "/-/ready").await.0, 200);
        assert_eq!(get(&bad, "/-/ready").await.0, 503);
        assert_eq!(get(&good, "/-/healthy").await.0, 200);
        let (status, body) = get(&bad, "/-/healthy").await;
        assert!(status == 500 && body.contains("local.file.a: no such file"), "{body}");
        assert_eq!(get(&good, "/-/reload").await, (200, "config reloaded\n".into()));
        assert_eq!(get(&bad, "/-/reload").await, (400, "a.alloy:1:1: wrong".into()));
    }

    #[tokio::test]
    async fn a_reload_with_warnings_succeeds_and_tells_them() {
        let host = Fake { ready: true, warnings: "warning: a.alloy:1:1: odd\n" };
        let api = Api::new(Arc::new(host), Services::for_tests("unused"), "/", true);
        let told = "config reloaded\nwarning: a.alloy:1:1: odd\n".to_string();
        assert_eq!(get(&api, "/-/reload").await, (200, told));
    }

    #[tokio::test]
    async fn components_are_found_by_module_and_id_below_the_prefix() {
        let api = api(true, "/ui/");
        assert_eq!(get(&api, "/ui/api/v0/web/components").await, (200, r#"[""]"#.into()));
        assert_eq!(get(&api, "/ui/api/v0/web/modules/mod.a/components").await, (200, r#"["mod.a"]"#.into()));
        assert_eq!(get(&api, "/ui/api/v0/web/components/mod.a/local.file.b").await.0, 200);
        assert_eq!(get(&api, "/ui/api/v0/web/components/mod.a%2Flocal.file.b").await.0, 200);
        for path in [
            "/api/v0/web/components",
            "/ui/api/v0/web/components/none",
            "/ui/api/v0/web/modules/none/components",
            "/",
        ] {
            assert_eq!(get(&api, path).await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn live_debugging_is_served_only_when_it_is_on() {
        let api = api(true, "/");
        let path = "/api/v0/web/debug/mod.a/local.file.b";
        assert_eq!(get(&api, path).await.0, 500);
        api.services.live_debug.set_enabled(true);
        assert_eq!(get(&api, path).await.1, "stream 1");
        assert_eq!(get(&api, &format!("{path}?sampleProb=0.25")).await.1, "stream 0.25");
        for bad in ["2", "-1", "x", "NaN"] {
            assert_eq!(get(&api, &format!("{path}?sampleProb={bad}")).await.0, 400, "{bad}");
        }
        assert_eq!(get(&api, "/api/v0/web/debug/none").await.0, 404);
    }

    #[tokio::test]
    async fn profiles_can_be_turned_off_and_are_bounded() {
        let api = api(true, "/");
        let (status, help) = get(&api, "/debug/pprof/heap").await;
        assert!(status == 501 && help.contains("--features jemalloc"), "{help}");
        assert_eq!(get(&api, "/debug/pprof/profile?seconds=0").await.0, 400);
        assert_eq!(get(&api, "/debug/pprof/profile?seconds=x").await.0, 400);
        let off = Api::new(
            Arc::new(Fake { ready: true, ..Fake::default() }),
            Services::for_tests("unused"),
            "/",
            false,
        );
        assert_eq!(get(&off, "/debug/pprof/profile?seconds=1").await.0, 404);
    }
}

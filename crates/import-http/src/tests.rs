//! Fetches from a server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use component::Services;
use component::eval::syntax::{self, Diagnostic, Source};
use component::eval::{self, Scope};
use component::testkit::Names;
use net::server::{Handler, whole};
use net::{Server, ServerOptions};

use super::*;

fn decode(body: &str) -> Result<Args, Vec<Diagnostic>> {
    let source = Source::new("t", body);
    let (file, _) = syntax::parse(&source);
    match eval::decode::<Args>(&source, &file.body, None, &Scope::new(&Names::default())) {
        (Some(args), _) => Ok(args),
        (None, problems) => Err(problems),
    }
}

/// Answers with a status of choice and what it was asked, or with modules; `/large` is more than is read.
#[derive(Default, Clone)]
struct Fake {
    status: Arc<AtomicU16>,
}

impl Handler for Fake {
    fn handle(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>> {
        let header = |name: &str| request.headers().get(name).map_or("", |v| v.to_str().unwrap());
        let body = match request.uri().path() {
            "/large" => "x".repeat(MAX_BYTES + 1),
            "/good.alloy" => "declare \"d\" {\n export \"path\" {\n value = module_path\n }\n}".to_string(),
            "/bad.alloy" => "import.file \"f\" {\n filename = \"/etc/hostname\"\n}".to_string(),
            _ => format!(
                "{} {} {} {}",
                request.method(),
                header("x-a"),
                header("authorization"),
                String::from_utf8_lossy(request.body())
            ),
        };
        let mut response = http::Response::new(Bytes::from(body));
        let status = self.status.load(Ordering::SeqCst);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        Box::pin(std::future::ready(response))
    }
}

async fn fake() -> (Fake, Server) {
    net::install_provider();
    let fake = Fake::default();
    let server = Server::bind("fake", "127.0.0.1", 0, ServerOptions::default(), whole(fake.clone()));
    (fake, server.await.unwrap())
}

fn cx() -> FetchCx {
    let data_path = std::env::temp_dir();
    FetchCx { services: Services::for_tests(&data_path), data_path }
}

#[tokio::test]
async fn the_request_is_made_as_written_and_the_answer_is_the_module() {
    let (_fake, server) = fake().await;
    let body = format!(
        "url = \"http://{}/m/a.alloy\"\nmethod = \"POST\"\nheaders = {{\"x-a\" = \"b\"}}\nbody = \"data\"\n\
         client {{\nbearer_token = \"token\"\n}}",
        server.address()
    );
    let texts = decode(&body).unwrap().fetch(&cx()).await.unwrap();
    let name = format!("http://{}/m/a.alloy", server.address());
    assert_eq!(texts, [ModuleText { name, text: "POST b Bearer token data".to_string(), is_secret: false }]);
}

#[tokio::test]
async fn anything_but_200_is_an_error_with_the_status_and_without_secrets() {
    let (fake, server) = fake().await;
    let url = format!("http://user:hunter2@{}/a?token=hunter2", server.address());
    let args = decode(&format!("url = {url:?}")).unwrap();
    for status in [204, 404, 503] {
        fake.status.store(status, Ordering::SeqCst);
        let error = args.fetch(&cx()).await.unwrap_err();
        assert!(error.contains(&status.to_string()), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    fake.status.store(200, Ordering::SeqCst);
    let texts = args.fetch(&cx()).await.unwrap();
    assert!(!texts[0].name.contains("hunter2"), "{}", texts[0].name);
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_and_a_server_that_is_away_are_errors() {
    let (_fake, server) = fake().await;
    let address = server.address();
    let large = decode(&format!("url = \"http://{address}/large\"")).unwrap();
    let error = large.fetch(&cx()).await.unwrap_err();
    assert!(error.contains("larger"), "{error}");
    // A listener that was closed: its port answers nobody.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = decode(&format!("url = \"http://{gone}/\"")).unwrap();
    assert!(away.fetch(&cx()).await.is_err());
}

#[test]
fn module_path_is_the_parent_of_the_address() {
    for (url, parent) in [
        ("https://h/m/a.alloy", "https://h/m/"),
        ("https://h/a.alloy", "https://h/"),
        ("https://h/m/a.alloy?x=/y/z#/w", "https://h/m/"),
        ("https://h/m/", "https://h/m/"),
    ] {
        let args = decode(&format!("url = {url:?}")).unwrap();
        assert_eq!(args.module_path("inherited", &cx()), parent, "{url}");
    }
}

#[test]
fn defaults_are_those_of_alloy_and_a_short_frequency_is_allowed() {
    let args = decode("url = \"http://h\"").unwrap();
    assert_eq!(args.poll(), Some(Duration::from_secs(60)));
    assert_eq!((args.poll_timeout, args.method.as_str()), (Duration::from_secs(10), "GET"));
    let often = decode("url = \"http://h\"\npoll_frequency = \"5s\"").unwrap();
    assert_eq!(often.poll(), Some(Duration::from_secs(5)));
}

#[test]
fn arguments_that_cannot_work_are_refused() {
    for body in [
        "url = \"ftp://a\"",
        "url = \"/a\"",
        "url = \"http://a\"\npoll_frequency = \"0s\"",
        "url = \"http://a\"\npoll_timeout = \"0s\"",
        "url = \"http://a\"\nmethod = \"A B\"",
        "url = \"http://a\"\nheaders = {\"a b\" = \"c\"}",
        "url = \"http://a\"\nclient {\nbearer_token = \"a\"\nbasic_auth { }\n}",
    ] {
        assert!(decode(body).is_err(), "{body}");
    }
}

#[tokio::test]
async fn a_running_configuration_takes_modules_that_keep_off_this_machines_files() {
    let (_fake, server) = fake().await;
    let dir = std::env::temp_dir();
    let runtime = || {
        runtime::Runtime::new(runtime::Options {
            registry: component::Registry::new(&[]),
            blocks: Vec::new(),
            imports: vec![IMPORT],
            services: Services::for_tests(&dir),
        })
    };
    let base = format!("http://{}/", server.address());
    let good = format!("import.http \"m\" {{\n url = \"{base}good.alloy\"\n}}\nm.d \"x\" {{ }}");
    let running = runtime();
    running.load(vec![Source::new("c", &*good)]).await.unwrap();
    let snapshot = running.snapshot();
    let exports = eval::items_to_json(&snapshot.component("m.d.x").unwrap().exports).to_string();
    assert!(exports.contains(&base), "{exports}");
    running.shutdown(Duration::from_secs(1)).await;

    let bad = format!("import.http \"m\" {{\n url = \"{base}bad.alloy\"\n}}");
    let error = runtime().load(vec![Source::new("c", &*bad)]).await.unwrap_err();
    assert!(format!("{error:?}").contains("import files of this machine"), "{error:?}");
}

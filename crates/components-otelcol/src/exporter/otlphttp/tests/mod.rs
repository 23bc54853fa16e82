//! The component against back ends in this process: what it sends, what it makes of every answer, and that
//! nothing is lost.

mod arguments;
mod faults;
mod protocol;
mod queue;

use component::ComponentDef;
use component::testkit::Names;
use net::testkit::{Backend, Posted};
use prost::Message as _;
use signal::otlp::proto::collector::logs::v1::ExportLogsServiceRequest;
use wire::compress::{Encoding, decompress};

use super::OtlpHttp;
use crate::exporter::sending::testkit;
use crate::exporter::sending::testkit::{FAST, Running, logs, message, numbers_of, request};

const DEFINITION: ComponentDef = ComponentDef::of::<OtlpHttp>();

async fn start(body: &str) -> Running {
    start_with(body, Names::default()).await
}

async fn start_with(body: &str, names: Names) -> Running {
    Running::start(DEFINITION, body, names).await
}

/// An exporter to a back end; `client` and `rest` go into the client block and beside it.
fn body(base: &str, client: &str, rest: &str) -> String {
    let fast = if rest.contains("retry_on_failure") { "" } else { FAST };
    format!("client {{\nendpoint = \"{base}\"\n{client}\n}}\n{fast}{rest}\n")
}

/// The numbers in a post.
fn numbers(posted: &Posted) -> Vec<u64> {
    let encoding = posted.headers.get("content-encoding").map_or("", String::as_str);
    let encoding = if encoding == "zlib" { "deflate" } else { encoding };
    let encoding = Encoding::from_content_encoding(encoding).expect("a known encoding");
    let mut bytes = Vec::new();
    decompress(encoding, &posted.body, 1 << 28, &mut bytes).expect("compressed so");
    let request = match posted.headers["content-type"].as_str() {
        "application/json" => serde_json::from_slice(&bytes).expect("OTLP JSON"),
        _ => ExportLogsServiceRequest::decode(&bytes[..]).expect("a request"),
    };
    numbers_of(request)
}

/// The numbers of posts that were taken, sorted.
fn taken_of(posted: &[Posted]) -> Vec<u64> {
    let mut taken: Vec<_> = posted.iter().filter(|p| p.status / 100 == 2).flat_map(numbers).collect();
    taken.sort_unstable();
    taken
}

fn taken(backend: &Backend) -> Vec<u64> {
    taken_of(&backend.all())
}

fn refused(body: &str) -> String {
    testkit::refused(DEFINITION, body, Names::default())
}

//! The component against back ends of gRPC in this process: what it sends, what it makes of every outcome, and
//! that nothing is lost.

mod arguments;
mod faults;
mod protocol;
mod storage;

use component::ComponentDef;
use component::testkit::Names;

use super::OtlpExporter;
use crate::exporter::sending::testkit::{FAST, Running};

const DEFINITION: ComponentDef = ComponentDef::of::<OtlpExporter>();

/// An exporter to a back end; `client` and `rest` go into the client block and beside it.
fn body(endpoint: &str, client: &str, rest: &str) -> String {
    let fast = if rest.contains("retry_on_failure") { "" } else { FAST };
    let tls = if client.contains("tls") { "" } else { "tls {\ninsecure = true\n}" };
    format!("client {{\nendpoint = \"{endpoint}\"\n{tls}\n{client}\n}}\n{fast}{rest}\n")
}

async fn start(body: &str) -> Running {
    Running::start(DEFINITION, body, Names::default()).await
}

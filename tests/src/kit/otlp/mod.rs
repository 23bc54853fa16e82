//! OTLP as the tests speak it: numbered items, clients of both protocols that retry as the specification says, a
//! back end of both protocols that can be told to fail.

mod backend;
mod client;
mod items;
mod load;

use std::sync::OnceLock;

use tokio::runtime::Runtime;

pub use backend::{Backend, Behaviour};
pub use client::{Client, Outcome, Trust, authority};
pub use items::{Content, Kind, request};
pub use load::{Load, Sent, Shape};

/// What clients and back ends run on; tests themselves are threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("threads")
    })
}

/// gRPC's prefix of a message.
fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(compressed)];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// As gzip has it.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::compress::compress(wire::compress::Encoding::Gzip, Some(1), &[body], &mut out).expect("memory");
    out
}

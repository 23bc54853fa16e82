//! A scrape target that mints a number for every scrape: what arrives can be checked without a gap.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::http::{Answer, Reply, Server};

/// Serves `minted{series="0"} n` … with a new `n` at every scrape.
pub struct Target {
    server: Server,
    minted: Arc<AtomicU64>,
}

impl Target {
    /// With so many series.
    pub fn start(series: usize) -> Self {
        let minted = Arc::new(AtomicU64::new(0));
        let next = minted.clone();
        let server = Server::start(None, move |_| {
            let number = next.fetch_add(1, Ordering::SeqCst) + 1;
            let mut page = String::from("# HELP minted A number for every scrape.\n# TYPE minted gauge\n");
            for i in 0..series {
                let _ = writeln!(page, "minted{{series=\"{i}\"}} {number}");
            }
            Reply::Answer(Answer::text(page, "text/plain; version=0.0.4"))
        });
        Self { server, minted }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The last number given out.
    pub fn minted(&self) -> u64 {
        self.minted.load(Ordering::SeqCst)
    }
}

//! What the tests are made of: the program, targets that mint numbers, back ends that can be told to fail.

mod files;
mod http;
mod journal;
mod loki;
pub mod otlp;
mod process;
pub mod pyroscope;
pub mod sdk;
mod sink;
mod target;

use std::io::Write;
use std::time::{Duration, Instant};

pub use files::{SmallDisk, files};
pub use http::{Answer, get, post, post_body};
pub use journal::{Journal, Open, number_of};
pub use loki::Loki;
pub use process::{Peer, Program, binary, free_address, kept_waiting};
pub use sink::{Mode, Sink};
pub use target::Target;

/// The longest that anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Says that a test ends without having tested anything, past the harness, which shows nothing of a test that passes.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Waits for a condition, looking often.
///
/// # Panics
/// If it does not come true within [`PATIENCE`]; `what` is then told with the last state.
pub fn eventually<T: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if start.elapsed() > PATIENCE => {
                panic!("not within {PATIENCE:?}: {what}; last seen: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

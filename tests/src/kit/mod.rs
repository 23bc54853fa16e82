//! What the tests are made of: the program, targets that mint numbers, back ends that can be told to fail.

mod files;
mod http;
mod journal;
mod loki;
pub mod otlp;
mod process;
pub mod pyroscope;
mod sink;
mod target;

use std::time::{Duration, Instant};

pub use files::{Small, files};
pub use http::{Answer, get, post, post_body};
pub use journal::{Journal, Open, number_of};
pub use loki::Loki;
pub use process::{Peer, Program, binary, free_address};
pub use sink::{Mode, Sink};
pub use target::Target;

/// The longest that anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

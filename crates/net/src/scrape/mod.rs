//! What scrapers share, whatever they scrape: a target's address as a URL, its place within the interval, its answer
//! over the network or from a component of this process, and what is shown of it.
//!
//! Invariants: an answer is never longer than its limit, packed or not; a fetch has one deadline that covers all of it.

mod fetch;
mod place;
mod shown;
mod url;

pub use fetch::{Failed, Fetch, Page, Pool};
pub use place::{Places, first_within, wait_for_place};
pub use shown::{Last, Status};
pub use url::{PARAM_PREFIX, SCHEME, check_address, target_url};

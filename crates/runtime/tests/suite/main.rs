//! Tests of the runtime through its public API, with components made for the purpose.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod diagnostics;
mod invariants;
mod load;
mod metrics;
mod modules;
mod storm;
mod watching;
mod world;

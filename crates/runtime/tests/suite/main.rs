//! Tests of the runtime through its public API, with components made for the purpose.

mod diagnostics;
mod invariants;
mod load;
mod metrics;
mod modules;
mod storm;
mod watching;
mod world;

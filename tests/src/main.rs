//! End-to-end tests: the built program, real sockets on loopback, real peers, real signals.
//!
//! Every test starts its own program and its own back ends. The oracle mints a number for every scrape
//! and every log line; what a test looks for is that each number arrives. Peers come from the distribution's packages; `.ci/run`
//! installs them.

mod kit;

mod delivery;
mod lifecycle;
mod logs;
mod otlp;
mod peers;
mod profiles;
mod reload;

//! The HTTP API: readiness, health, reload, own metrics, components, profiles.
//!
//! It reads snapshots and asks for reloads through [`Host`]; it holds no state of its own.
//! Invariant: nothing here shows a secret, because snapshots carry values that cannot print one.

mod api;
mod profile;

pub use api::{Api, Host, Reply};

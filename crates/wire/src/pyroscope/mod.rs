//! Pyroscope's two protocols: the Push API (`push.v1.PusherService` over Connect, in protobuf and in JSON), and the
//! older `/ingest`, which its SDKs speak.
//!
//! A profile's bytes are never looked into: readers cut them out of the body, writers put them behind a head.

pub mod connect;
mod decode;
mod ingest;
mod json;
mod push;

use signal::profiles::SERVICE_NAME;
use signal::{Labels, METRIC_NAME};

pub use decode::{DecodeError, decode};
pub use ingest::{IngestQuery, QueryError, parse_name, parse_query, write_query};
pub use json::decode_json;
pub use push::{push_series, series_len};

/// The path of the Push API below a Pyroscope's address.
pub const PUSH_PATH: &str = "/push.v1.PusherService/Push";
/// The path of the older API below a Pyroscope's address.
pub const INGEST_PATH: &str = "/ingest";
/// The header that names the tenant.
pub const TENANT_HEADER: &str = "X-Scope-OrgID";

/// Labels of one profile that readers take. Far above what any Pyroscope stores; a name and a value can be two bytes
/// in a body, and dozens in memory.
const MAX_LABELS: usize = 10_000;

/// Why a label set is none that Pyroscope takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsProblem {
    /// No label at all.
    #[error("the profile has no labels: Pyroscope needs service_name at least")]
    None,
    /// Nothing that says what program it is of.
    #[error("the profile has neither service_name nor __name__")]
    NoName,
    /// A name with characters that Pyroscope does not take.
    #[error(
        "the label name {0:?} is none of Pyroscope's: letters, digits, `_` and `.` are what it may be made of"
    )]
    Name(String),
}

/// Whether Pyroscope takes a profile with these labels. As `labelset.ValidateLabelName` of Pyroscope's API.
///
/// # Errors
/// If it would refuse them.
pub fn check_labels(labels: &Labels) -> Result<(), LabelsProblem> {
    if labels.is_empty() {
        return Err(LabelsProblem::None);
    }
    if labels.get(SERVICE_NAME).is_none() && labels.metric_name().is_none() {
        return Err(LabelsProblem::NoName);
    }
    match labels.iter().find(|(name, _)| *name != METRIC_NAME && !is_label_name(name)) {
        Some((name, _)) => Err(LabelsProblem::Name(name.chars().take(80).collect())),
        None => Ok(()),
    }
}

/// Whether a label may have this name.
pub fn is_label_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

/// Whether an application may have this name.
fn is_service_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/');
    !name.is_empty() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_pyroscope_would_refuse_are_named() {
        let check = |pairs: &[(&str, &str)]| check_labels(&Labels::from_pairs(pairs.iter().copied()));
        assert_eq!(check(&[("__name__", "cpu"), ("service.name", "a"), ("_x1", "ü")]), Ok(()));
        assert_eq!(check(&[]), Err(LabelsProblem::None));
        assert_eq!(check(&[("a", "1")]), Err(LabelsProblem::NoName));
        for name in ["a-b", "ä"] {
            let refused = check(&[(name, "1"), ("service_name", "x")]);
            assert_eq!(refused, Err(LabelsProblem::Name(name.into())));
        }
    }
}

//! Headers that users give to the requests of an endpoint.
//!
//! Invariant: what is wrong with one is told without its value, which may be a credential.

use std::collections::BTreeMap;

use component::Error;
use component::eval::Invalid;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Those that the protocol and the connection set.
const OURS: [HeaderName; 7] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT];

/// A header as the user gives it: a name and a value that a request can have.
///
/// # Errors
/// The sentence for the user; the value is not in it.
pub fn request_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed =
        HeaderName::try_from(name).map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    let value = HeaderValue::try_from(value)
        .map_err(|_| format!("header {name:?} has a value that a header cannot have"))?;
    Ok((parsed, value))
}

/// Checks the argument `headers`.
///
/// # Errors
/// If one of them cannot be a header.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    for (name, value) in headers {
        request_header(name, value).map_err(|message| Invalid::field("headers", message))?;
    }
    Ok(())
}

/// What every request of an endpoint has: who asks, and the argument `headers`. As in Alloy, the user's do not replace
/// the protocol's.
///
/// # Errors
/// As [`check_headers`].
pub fn request_headers(headers: &BTreeMap<String, String>, user_agent: &str) -> Result<HeaderMap, Error> {
    let mut all = HeaderMap::new();
    let agent = HeaderValue::try_from(user_agent).expect("name and version of the program are plain text");
    all.insert(USER_AGENT, agent);
    for (name, value) in headers {
        let (name, value) = request_header(name, value).map_err(|m| Error::argument("headers", m))?;
        if OURS.contains(&name) {
            tracing::warn!(header = %name, "headers cannot set this header; it is left out");
            continue;
        }
        all.insert(name, value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> BTreeMap<String, String> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn users_headers_come_beside_those_of_the_protocol_and_replace_none() {
        let given =
            of(&[("X-Scope-OrgID", "me"), ("Host", "other"), ("content-TYPE", "text"), ("User-Agent", "me")]);
        check_headers(&given).expect("they can be headers");
        let all = request_headers(&given, "ferroalloy/1").expect("they can be headers");
        let shown: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(shown, [("user-agent", &b"ferroalloy/1"[..]), ("x-scope-orgid", b"me")]);
    }

    #[test]
    fn what_cannot_be_a_header_is_told_without_its_value() {
        for given in [of(&[("a b", "secret")]), of(&[("a", "secret\n")])] {
            let told = format!("{:?}", check_headers(&given).expect_err("refused"));
            assert!(!told.contains("secret") && told.contains('a'), "{told}");
            assert!(request_headers(&given, "x").is_err());
        }
    }
}

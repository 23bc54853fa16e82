//! Requests of Amazon Data Firehose to an HTTP endpoint, and the CloudWatch Logs messages in them.
//!
//! As "HTTP endpoint delivery request and response specifications" of AWS. A record is base64; what is gzip
//! inside is an envelope of CloudWatch Logs, anything else was put by the user's own program.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::compress::{self, Encoding, decompress};

/// Log events of one envelope that are read. CloudWatch sends at most 10,000.
const MAX_EVENTS: usize = 100_000;

/// A request.
#[derive(Debug, Deserialize)]
pub struct Request<'a> {
    /// When it was made, Unix milliseconds.
    #[serde(default)]
    pub timestamp: i64,
    /// What it carries.
    #[serde(default, borrow, deserialize_with = "nullable")]
    pub records: Vec<Record<'a>>,
}

/// One record.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// Base64.
    #[serde(default, borrow)]
    pub data: Cow<'a, str>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// What somebody has put into the stream.
    Direct(Vec<u8>),
    /// An envelope of CloudWatch Logs, decompressed.
    CloudWatch(Vec<u8>),
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not base64.
    #[error("the record is not base64")]
    Base64,
    /// Not gzip all the way, or too large.
    #[error("{0}")]
    Gzip(compress::Error),
    /// Not an envelope of CloudWatch Logs.
    #[error("the record is not a message of CloudWatch Logs: {0}")]
    Json(String),
}

impl RecordError {
    /// The reason's name in metrics, as Alloy's.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Base64 => "base64-decode",
            Self::Gzip(_) => "gzip-deflate",
            Self::Json(_) => "cw-json-decode",
        }
    }
}

/// An envelope of CloudWatch Logs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatch<'a> {
    /// Account that owns the logs.
    #[serde(default, borrow)]
    pub owner: Cow<'a, str>,
    /// Group.
    #[serde(default, borrow)]
    pub log_group: Cow<'a, str>,
    /// Stream.
    #[serde(default, borrow)]
    pub log_stream: Cow<'a, str>,
    /// Filters that chose the events.
    #[serde(default, deserialize_with = "nullable")]
    pub subscription_filters: Vec<String>,
    /// `DATA_MESSAGE` or `CONTROL_MESSAGE`.
    #[serde(default, borrow)]
    pub message_type: Cow<'a, str>,
    /// The events.
    #[serde(default, borrow, deserialize_with = "events")]
    pub log_events: Vec<Event<'a>>,
}

/// One log event.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    /// Unix milliseconds.
    #[serde(default)]
    pub timestamp: i64,
    /// The text.
    #[serde(default, borrow)]
    pub message: Cow<'a, str>,
}

/// Reads a request's body.
///
/// # Errors
/// If it is not JSON of this form.
pub fn request(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    serde_json::from_slice(body)
}

/// Decodes a record; at most `limit` bytes come out of it.
///
/// # Errors
/// If it is not what it looks like.
pub fn record(data: &str, limit: usize) -> Result<Data, RecordError> {
    let data = STANDARD.decode(data).map_err(|_| RecordError::Base64)?;
    // RFC 1952: two magic bytes and the one compression method there is.
    if !data.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(Data::Direct(data));
    }
    let mut out = Vec::new();
    decompress(Encoding::Gzip, &data, limit, &mut out).map_err(RecordError::Gzip)?;
    Ok(Data::CloudWatch(out))
}

/// Reads an envelope.
///
/// # Errors
/// If it is not JSON of this form.
pub fn cloud_watch(data: &[u8]) -> Result<CloudWatch<'_>, RecordError> {
    serde_json::from_slice(data).map_err(|e| RecordError::Json(e.to_string()))
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of events that does not grow without bound: `{}` is two bytes there and dozens here.
fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event<'de>>, D::Error> {
    struct Bounded;
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Event<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_EVENTS} log events")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while let Some(event) = list.next_element()? {
                if events.len() == MAX_EVENTS {
                    return Err(serde::de::Error::invalid_length(events.len() + 1, &self));
                }
                events.push(event);
            }
            Ok(events)
        }
    }
    deserializer.deserialize_any(Bounded)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn records_are_told_apart_by_what_is_in_them() {
        for (bytes, expected) in [
            (b"plain".to_vec(), Ok(Data::Direct(b"plain".to_vec()))),
            (b"".to_vec(), Ok(Data::Direct(vec![]))),
            (b"\x1f".to_vec(), Ok(Data::Direct(vec![0x1f]))),
            (gzip(b"{}"), Ok(Data::CloudWatch(b"{}".to_vec()))),
            (gzip(b"{}")[..12].to_vec(), Err("gzip-deflate")),
            (gzip(&[b' '; 5000]), Err("gzip-deflate")),
        ] {
            let got = record(&STANDARD.encode(&bytes), 1000);
            assert_eq!(got.map_err(|e| e.reason()), expected);
        }
        assert_eq!(record("no base64", 1000).map_err(|e| e.reason()), Err("base64-decode"));
    }

    #[test]
    fn a_request_and_an_envelope_are_read() {
        let body = br#"{"requestId": "x", "timestamp": 1578090903599, "records": [{"data": "aGVs\/bG8="}], "more": 1}"#;
        let request = request(body).expect("valid");
        assert_eq!((request.timestamp, request.records.len()), (1_578_090_903_599, 1));
        assert_eq!(request.records[0].data, "aGVs/bG8=");
        let envelope = br#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s",
            "subscriptionFilters":["a","b"],"logEvents":[{"id":"3","timestamp":1432826855000,"message":"tab\there"}]}"#;
        let cw = cloud_watch(envelope).expect("valid");
        assert_eq!((&*cw.log_group, &*cw.log_stream, cw.subscription_filters.len()), ("g", "s", 2));
        assert_eq!(
            (cw.log_events[0].timestamp, &*cw.log_events[0].message),
            (1_432_826_855_000, "tab\there")
        );
        let bare = cloud_watch(br#"{"logEvents": null, "subscriptionFilters": null}"#).expect("valid");
        assert!(bare.log_events.is_empty() && bare.subscription_filters.is_empty());
    }

    #[test]
    fn an_envelope_of_nothing_but_brackets_is_refused() {
        let events = vec!["{}"; MAX_EVENTS + 1].join(",");
        let error = cloud_watch(format!("{{\"logEvents\":[{events}]}}").as_bytes()).expect_err("too many");
        assert_eq!(error.reason(), "cw-json-decode");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = request(&bytes);
            let _ = cloud_watch(&bytes);
            let _ = record(&STANDARD.encode(&bytes), 1000);
            let _ = record(&String::from_utf8_lossy(&bytes), 1000);
        }
    }
}

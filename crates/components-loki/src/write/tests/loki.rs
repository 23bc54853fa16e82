//! A Loki in this process: what it has been sent, read apart from our own codec.

use std::collections::BTreeMap;

use net::testkit::{Backend, Posted};
use prost::Message as _;
use wire::compress::{Encoding, decompress};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stream {
    #[prost(string, tag = "1")]
    pub labels: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub line: String,
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What a request holds.
pub(super) fn request(posted: &Posted) -> PushRequest {
    let mut out = Vec::new();
    decompress(Encoding::Snappy, &posted.body, 1 << 28, &mut out).expect("a snappy block");
    PushRequest::decode(&out[..]).expect("a push request")
}

/// The tenant that a request is for.
pub(super) fn tenant(posted: &Posted) -> &str {
    posted.headers.get("x-scope-orgid").map_or("", String::as_str)
}

/// The numbers of the lines of a stream in a request.
pub(super) fn numbers(posted: &Posted, stream: &str) -> Vec<u32> {
    let wanted = format!("s=\"{stream}\"");
    let streams = request(posted).streams.into_iter().filter(|s| s.labels.contains(&wanted));
    streams.flat_map(|s| s.entries).map(|e| e.line.parse().expect("a number")).collect()
}

/// The numbers of a stream in requests that were taken, in the order of arrival.
pub(super) fn taken_of(posted: &[Posted], stream: &str) -> Vec<u32> {
    posted.iter().filter(|p| p.status / 100 == 2).flat_map(|p| numbers(p, stream)).collect()
}

/// As [`taken_of`], of all that this Loki has got.
pub(super) fn taken(loki: &Backend, stream: &str) -> Vec<u32> {
    taken_of(&loki.all(), stream)
}

/// The numbers of every label set in requests that were taken, in the order of arrival.
pub(super) fn taken_by_labels(loki: &Backend) -> BTreeMap<String, Vec<u32>> {
    let mut all: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for posted in loki.all().iter().filter(|p| p.status / 100 == 2) {
        for stream in request(posted).streams {
            let numbers = stream.entries.into_iter().map(|e| e.line.parse::<u32>().expect("a number"));
            all.entry(stream.labels).or_default().extend(numbers);
        }
    }
    all
}

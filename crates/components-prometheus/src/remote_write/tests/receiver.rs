//! A remote-write back end in this process: [`Backend`], and what its requests say.

use std::collections::VecDeque;

use prost::Message as _;
use wire::compress::{Encoding, decompress};

use super::schema::{v1, v2};

pub(super) use net::testkit::{Backend, Posted, Reply, status};

/// A sample as a test compares it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Got {
    /// As `name{label="value", …}`.
    pub series: String,
    pub timestamp: i64,
    pub value: u64,
}

/// A request read as one of remote write.
pub(super) trait RemoteWrite {
    fn is_v2(&self) -> bool;
    fn v1(&self) -> v1::WriteRequest;
    fn v2(&self) -> v2::Request;
    /// All samples in the order of the request.
    fn samples(&self) -> Vec<Got>;
    /// Values of all samples in the order of the request.
    fn values(&self) -> Vec<f64>;
}

impl RemoteWrite for Posted {
    fn is_v2(&self) -> bool {
        self.headers.get("content-type").is_some_and(|t| t.contains("write.v2"))
    }

    fn v1(&self) -> v1::WriteRequest {
        assert!(!self.is_v2(), "version 1 was expected");
        v1::WriteRequest::decode(&message(self)[..]).expect("a write request")
    }

    fn v2(&self) -> v2::Request {
        assert!(self.is_v2(), "version 2 was expected");
        v2::Request::decode(&message(self)[..]).expect("a write request")
    }

    fn samples(&self) -> Vec<Got> {
        let mut all = Vec::new();
        let mut add = |labels: Vec<(String, String)>, samples: &[super::schema::Sample]| {
            let series = signal::Labels::from_pairs(labels).to_string();
            all.extend(samples.iter().map(|s| Got {
                series: series.clone(),
                timestamp: s.timestamp,
                value: s.value.to_bits(),
            }));
        };
        if self.is_v2() {
            let request = self.v2();
            for series in &request.timeseries {
                add(super::labels(&request.symbols, &series.labels_refs), &series.samples);
            }
        } else {
            for series in self.v1().timeseries {
                let pairs = series.labels.iter().map(|l| (l.name.clone(), l.value.clone()));
                add(pairs.collect(), &series.samples);
            }
        }
        all
    }

    fn values(&self) -> Vec<f64> {
        self.samples().iter().map(|s| f64::from_bits(s.value)).collect()
    }
}

fn message(posted: &Posted) -> Vec<u8> {
    let mut out = Vec::new();
    decompress(Encoding::Snappy, &posted.body, 1 << 28, &mut out).expect("a snappy block");
    out
}

/// What a receiver that knows both versions answers.
pub(super) fn written(posted: &Posted) -> Reply {
    let mut headers = Vec::new();
    if posted.is_v2() {
        headers.push(("X-Prometheus-Remote-Write-Samples-Written", posted.samples().len().to_string()));
    }
    Reply::Answer { status: 204, headers, body: String::new() }
}

/// What it answers when it knows both versions and refuses: in version 2, that nothing was written.
pub(super) fn refused(posted: &Posted, status: u16) -> Reply {
    let mut headers = Vec::new();
    if posted.is_v2() {
        headers.push(("X-Prometheus-Remote-Write-Samples-Written", "0".to_string()));
    }
    Reply::Answer { status, headers, body: String::new() }
}

/// The back end.
#[derive(Clone)]
pub(super) struct Receiver(Backend);

impl std::ops::Deref for Receiver {
    type Target = Backend;
    fn deref(&self) -> &Backend {
        &self.0
    }
}

impl Receiver {
    pub(super) async fn start(script: impl FnMut(&Posted) -> Reply + Send + 'static) -> Self {
        Self(Backend::start(script).await)
    }

    /// Takes everything.
    pub(super) async fn good() -> Self {
        Self::start(written).await
    }

    /// Answers the first requests with these, then takes everything.
    pub(super) async fn first(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        Self::start(move |posted| replies.pop_front().unwrap_or_else(|| written(posted))).await
    }

    pub(super) fn url(&self) -> String {
        format!("{}/write", self.base())
    }

    /// The values of all samples in requests that were taken, in the order of arrival.
    pub(super) fn taken(&self) -> Vec<f64> {
        taken(&self.all())
    }
}

/// The values of all samples in requests that were taken, in the order of arrival.
pub(super) fn taken(posted: &[Posted]) -> Vec<f64> {
    posted.iter().filter(|p| p.status / 100 == 2).flat_map(Posted::values).collect()
}

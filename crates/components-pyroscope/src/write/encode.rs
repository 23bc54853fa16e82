//! From profiles to records of the queues, and from a record to what is posted.
//!
//! Layout of a record: for the Push API the request itself, `push.v1.PushRequest`; for `/ingest` query, content type
//! and content encoding, each behind its length, and then the body. A record holds one profile, so that none is
//! refused, or repeated, for the sake of another.

use std::collections::BTreeMap;

use bytes::Bytes;
use delivery::Record;
use signal::profiles::{DELTA, Ingest, Pprof, Profile, ProfileBody};
use signal::{Labels, LabelsBuilder, METRIC_NAME, Profiles};
use wire::proto::{Reader, push_varint};
use wire::pyroscope::{LabelsProblem, check_labels, push_series, series_len, write_query};

/// By which API a profile came, and is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Push,
    Ingest,
}

impl Kind {
    pub(super) fn of(body: &ProfileBody) -> Self {
        match body {
            ProfileBody::Pprof(_) => Self::Push,
            ProfileBody::Ingest(_) => Self::Ingest,
        }
    }

    /// As a record's tag; stands on disk.
    fn tag(self) -> u8 {
        match self {
            Self::Push => 1,
            Self::Ingest => 2,
        }
    }

    pub(super) fn of_record(record: &Record) -> Option<Self> {
        [Self::Push, Self::Ingest].into_iter().find(|kind| kind.tag() == record.kind)
    }

    /// The word in the types of `pyroscope_write_latency`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Ingest => "ingest",
        }
    }
}

/// A profile that Pyroscope would not take.
pub(super) struct Refused {
    pub why: LabelsProblem,
    pub labels: Labels,
    pub bytes: usize,
}

/// Makes records.
pub(super) struct Encoder {
    external_labels: BTreeMap<String, String>,
}

impl Encoder {
    pub(super) fn new(external_labels: BTreeMap<String, String>) -> Self {
        Self { external_labels }
    }

    /// A record a profile, or why there is none.
    pub(super) fn encode(&self, batch: &Profiles) -> impl Iterator<Item = Result<Record, Refused>> {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let created_ms = if batch.received_ms > 0 { batch.received_ms } else { now_ms };
        let mut scratch = LabelsBuilder::new();
        batch.items.iter().map(move |profile| self.record(profile, created_ms, &mut scratch))
    }

    fn record(
        &self,
        profile: &Profile,
        created_ms: i64,
        scratch: &mut LabelsBuilder,
    ) -> Result<Record, Refused> {
        let kind = Kind::of(&profile.body);
        let labels = self.labels(&profile.labels, kind, scratch);
        if let Err(why) = check_labels(&labels) {
            return Err(Refused { why, labels, bytes: profile.raw().len() });
        }
        let body = match &profile.body {
            ProfileBody::Pprof(pprof) => push_body(&labels, pprof),
            ProfileBody::Ingest(ingest) => ingest_body(&labels, ingest),
        };
        Ok(Record {
            body: body.into(),
            items: 1,
            key: labels.hash(),
            group: 0,
            created_ms,
            newest_ms: created_ms,
            kind: kind.tag(),
        })
    }

    /// The labels that are sent. As Alloy, internal ones are not pushed, and of a request to `/ingest` all are passed
    /// on; Pyroscope itself knows what to do with them there.
    fn labels(&self, labels: &Labels, kind: Kind, scratch: &mut LabelsBuilder) -> Labels {
        scratch.reset(labels);
        if kind == Kind::Push {
            scratch.retain(|name, _| !name.starts_with("__") || name == METRIC_NAME || name == DELTA);
        }
        for (name, value) in &self.external_labels {
            scratch.set(name, value);
        }
        scratch.build()
    }
}

fn push_body(labels: &Labels, pprof: &Pprof) -> Vec<u8> {
    let samples = std::iter::once(pprof);
    let mut body = Vec::with_capacity(series_len(labels, samples.clone()));
    push_series(&mut body, labels, samples);
    body
}

fn ingest_body(labels: &Labels, ingest: &Ingest) -> Vec<u8> {
    let query = write_query(labels, &ingest.parameters);
    let head = [&*query, &*ingest.content_type, &*ingest.content_encoding];
    let mut body =
        Vec::with_capacity(head.iter().map(|text| text.len() + 10).sum::<usize>() + ingest.raw.len());
    for text in head {
        push_varint(&mut body, text.len() as u64);
        body.extend_from_slice(text.as_bytes());
    }
    body.extend_from_slice(&ingest.raw);
    body
}

/// A request to `/ingest`, as it was put into a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IngestRequest<'a> {
    pub query: &'a str,
    pub content_type: &'a str,
    pub content_encoding: &'a str,
    pub body: Bytes,
}

impl<'a> IngestRequest<'a> {
    /// Opens a record.
    pub(super) fn open(record: &'a Record) -> Result<Self, &'static str> {
        let mut reader = Reader::new(&record.body);
        let mut text = || reader.delimited().ok().and_then(|text| std::str::from_utf8(text).ok());
        let head = (text(), text(), text());
        let (Some(query), Some(content_type), Some(content_encoding)) = head else {
            return Err("the record is no request to /ingest");
        };
        let body = record.body.slice_ref(reader.rest());
        Ok(Self { query, content_type, content_encoding, body })
    }
}

/// Reads any bytes as a record of a queue; for `tests/fuzz/fuzz_targets/queue_records.rs` only.
pub(super) fn read_arbitrary(kind: u8, body: Bytes) {
    let record = Record { body, items: 1, key: 0, group: 0, created_ms: 0, newest_ms: 0, kind };
    let _ = (Kind::of_record(&record), IngestRequest::open(&record).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(external: &[(&str, &str)]) -> Encoder {
        Encoder::new(external.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    fn one(encoder: &Encoder, profile: Profile) -> Result<Record, Refused> {
        encoder.encode(&profile.into()).next().expect("one profile")
    }

    fn ingest(pairs: &[(&str, &str)]) -> Profile {
        let body = ProfileBody::Ingest(Ingest {
            parameters: [("from".into(), "1".into())].into(),
            content_type: "binary/octet-stream".into(),
            content_encoding: "gzip".into(),
            raw: Bytes::from_static(b"\x00body"),
        });
        Profile { labels: Labels::from_pairs(pairs.iter().copied()), body }
    }

    #[test]
    fn a_pprof_is_pushed_with_external_labels_and_without_internal_ones() {
        let labels = Labels::from_pairs([
            ("__name__", "process_cpu"),
            ("__delta__", "false"),
            ("__meta_x", "1"),
            ("__session_id__", "2"),
            ("service_name", "shop"),
            ("env", "dev"),
        ]);
        let profile = Profile::pprof(labels, &b"\x1f\x8braw"[..]);
        let record = one(&encoder(&[("env", "prod")]), profile).ok().expect("good labels");
        assert_eq!(Kind::of_record(&record), Some(Kind::Push));
        let read = wire::pyroscope::decode(&record.body, 1 << 20).expect("a push request");
        let expected =
            [("__name__", "process_cpu"), ("__delta__", "false"), ("service_name", "shop"), ("env", "prod")];
        assert_eq!(read, [Profile::pprof(Labels::from_pairs(expected), &b"\x1f\x8braw"[..])]);
    }

    #[test]
    fn a_request_to_ingest_comes_out_of_its_record_as_it_went_in() {
        let profile = ingest(&[("__name__", "app"), ("service_name", "app"), ("__session_id__", "2")]);
        let record = one(&encoder(&[("env", "prod")]), profile).ok().expect("good labels");
        assert_eq!(Kind::of_record(&record), Some(Kind::Ingest));
        let request = IngestRequest::open(&record).expect("whole");
        let name = "name=app%7B__session_id__%3D2%2Cenv%3Dprod%2Cservice_name%3Dapp%7D&from=1";
        assert_eq!(
            (request.query, request.content_type, request.content_encoding),
            (name, "binary/octet-stream", "gzip")
        );
        assert_eq!(&request.body[..], b"\x00body");
        let cut = Record { body: record.body.slice(..20), ..record };
        assert!(IngestRequest::open(&cut).is_err());
    }

    #[test]
    fn labels_that_pyroscope_refuses_cost_their_profile_only() {
        let bad = Profile::pprof(Labels::from_pairs([("__name__", "cpu"), ("a-b", "1")]), &b"12345"[..]);
        let good = Profile::pprof(Labels::from_pairs([("__name__", "cpu")]), &b"1"[..]);
        let encoder = encoder(&[]);
        let all: Vec<_> = encoder.encode(&Profiles::new([bad, good], 7)).collect();
        assert!(
            matches!(&all[0], Err(refused) if refused.bytes == 5 && refused.why.to_string().contains("a-b"))
        );
        assert!(matches!(&all[1], Ok(record) if record.created_ms == 7));
    }
}

//! `loki.source.awsfirehose` takes logs from Amazon Data Firehose, also those of CloudWatch Logs.
//!
//! Invariant: a record that cannot be read is counted and costs itself only: Firehose would send the request
//! again and again.

mod labels;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use component::eval::Secret;
use component::metrics::{Histogram, IntCounterVec, NodeMetrics};
use component::{Arguments, Receiver, RelabelRules};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, request};
use net::server::Refusal;
use signal::logs::{Entry, LogBuilder};
use signal::{Labels, LabelsBuilder, Logs};
use wire::firehose::{self, CloudWatch, Data, RecordError};

use super::http_intake::{Action, Common, Found, HttpSource, Protocol, Route, ServerArgs, Taken, unpacked};
use crate::intake::Fixed;

/// The component.
pub type AwsFirehose = HttpSource<Delivery>;

/// `loki.source.awsfirehose`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// The server.
    #[arg(squash, default = ServerArgs::default())]
    pub server: ServerArgs,
    /// The access key that Firehose has to send; any request is taken where it is empty.
    #[arg(default)]
    pub access_key: Secret,
    /// Keeps the times that Firehose and CloudWatch send; otherwise entries get the time at which they come in.
    #[arg(default)]
    pub use_incoming_timestamp: bool,
    /// Where entries go.
    pub forward_to: Vec<Receiver<Logs>>,
    /// Rules that make labels of what is known of a record.
    pub relabel_rules: Option<RelabelRules>,
}

/// Bytes of a request. As AWS limits it.
const MAX_PACKED: usize = 64 << 20;
/// Bytes of a request after decompression.
const MAX_UNPACKED: usize = 128 << 20;
/// Bytes of a record after decompression; AWS limits one before it to a megabyte.
const MAX_RECORD: usize = 32 << 20;

const KEY_HEADER: &str = "X-Amz-Firehose-Access-Key";
const REQUEST_HEADER: &str = "X-Amz-Firehose-Request-Id";
const SOURCE_HEADER: &str = "X-Amz-Firehose-Source-Arn";

/// Firehose' deliveries to an HTTP endpoint.
pub struct Delivery {
    request_errors: IntCounterVec,
    record_errors: IntCounterVec,
    records: IntCounterVec,
    label_errors: IntCounterVec,
    batch_size: Histogram,
}

impl Protocol for Delivery {
    const NAME: &'static str = "loki.source.awsfirehose";
    const DOCS: &'static str = include_str!("docs.md");
    const NAMESPACE: &'static str = "loki_source_awsfirehose";
    const ENTRIES: &'static str = "loki_source_awsfirehose_entries_written";
    const FIXED: Fixed = Fixed::Under;
    const ROUTES: &'static [Route] = &[Route {
        path: "/awsfirehose/api/v1/push",
        name: "awsfirehose_api_v1_push",
        action: Action::Take(0),
    }];
    /// A record may be compressed, and is then as much more as gzip can make of it.
    const GROWTH: usize = 1032;
    type Args = Args;

    fn new(metrics: &NodeMetrics) -> Self {
        const RECORDS: [f64; 11] = [1.0, 5.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4];
        let vec = |what: &str, help: &str, labels: &[&str]| {
            metrics.counter_vec(&format!("loki_source_awsfirehose_{what}"), help, labels)
        };
        Self {
            request_errors: vec("request_errors", "Requests that could not be read.", &["reason"]),
            record_errors: vec("record_errors", "Records that could not be read.", &["reason"]),
            records: vec("records_received", "Records, by where they come from.", &["type"]),
            label_errors: vec(
                "invalid_static_labels_errors",
                "Labels in the header of common attributes that could not be used.",
                &["reason", "tenant_id"],
            ),
            batch_size: metrics.histogram(
                "loki_source_awsfirehose_batch_size",
                "Records of a request.",
                &RECORDS,
            ),
        }
    }

    fn common(args: &Args) -> Common<'_> {
        Common {
            server: &args.server,
            forward_to: &args.forward_to,
            labels: None,
            relabel_rules: args.relabel_rules.as_ref(),
            max_body: [MAX_PACKED, MAX_UNPACKED],
        }
    }

    fn admit(&self, head: &request::Parts, args: &Args) -> Result<(), Refusal> {
        let key = args.access_key.reveal().as_bytes();
        let given = head.headers.get(KEY_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        if !key.is_empty() && !equal(key, given) {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "access key not provided or incorrect"));
        }
        labels::tenant(&head.headers)?;
        Ok(())
    }

    fn unpack(&self, head: &request::Parts, body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
        let count = |refusal| {
            self.request_errors.with_label_values(&["pre_read"]).inc();
            refusal
        };
        unpacked(head.headers.get(CONTENT_ENCODING), body, limit).map_err(count)
    }

    fn read(&self, taken: &Taken<'_>, args: &Args) -> Result<Found, Refusal> {
        let request = firehose::request(&taken.body).map_err(|error| {
            self.request_errors.with_label_values(&["read_or_format"]).inc();
            Refusal::bad(format!("the body is not a request of Firehose: {error}"))
        })?;
        self.batch_size.observe(request.records.len() as f64);
        let mut reading = Reading {
            common: self.common_labels(&taken.head.headers)?,
            builder: LogBuilder::new(taken.now_ms(), None),
            scratch: LabelsBuilder::new(),
            time: if args.use_incoming_timestamp { Time::Theirs } else { Time::Ours(taken.now_ns) },
            left: taken.memory,
        };
        for record in &request.records {
            if let Err(error) = self.record(&record.data, request.timestamp, &mut reading)? {
                self.record_errors.with_label_values(&[error.reason()]).inc();
            }
        }
        Ok(Found { batch: reading.builder.finish().into_batch(), ..Found::default() })
    }

    fn answer(&self, head: &request::Parts, result: Result<(), &Refusal>) -> Response<Bytes> {
        let id = head.headers.get(REQUEST_HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let timestamp = jiff::Timestamp::now().as_millisecond();
        let mut body = serde_json::json!({"requestId": id, "timestamp": timestamp});
        if let Err(refusal) = result {
            body["errorMessage"] = refusal.why.as_str().into();
        }
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = result.map_or_else(|refusal| refusal.status, |()| StatusCode::OK);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Err(refusal) = result {
            refusal.mark(&mut response);
        }
        response
    }
}

/// Which time entries get.
#[derive(Clone, Copy)]
enum Time {
    Ours(i64),
    Theirs,
}

impl Time {
    fn of(self, millis: i64) -> i64 {
        match self {
            Self::Ours(now) => now,
            Self::Theirs => millis.saturating_mul(1_000_000),
        }
    }
}

/// One request being read.
struct Reading {
    common: Labels,
    builder: LogBuilder,
    scratch: LabelsBuilder,
    time: Time,
    /// Bytes that entries may still take.
    left: usize,
}

impl Reading {
    fn push(&mut self, labels: &Labels, timestamp_ms: i64, line: String) -> Result<(), Refusal> {
        let cost = line.len() + size_of::<Entry>();
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the records of the request take too much memory")
        })?;
        let stream = self.builder.stream(labels);
        let timestamp_ns = self.time.of(timestamp_ms);
        self.builder.push(Entry { stream, timestamp_ns, line: line.into(), metadata: None });
        Ok(())
    }
}

impl Delivery {
    /// Reads a record. The outer error refuses the whole request.
    fn record(
        &self,
        data: &str,
        timestamp_ms: i64,
        reading: &mut Reading,
    ) -> Result<Result<(), RecordError>, Refusal> {
        let data = match firehose::record(data, MAX_RECORD.min(reading.left)) {
            Ok(data) => data,
            Err(error) => return Ok(Err(error)),
        };
        match data {
            Data::Direct(bytes) => {
                self.records.with_label_values(&["direct-put"]).inc();
                let line = String::from_utf8_lossy(super::trim_line_end(&bytes)).into_owned();
                let labels = reading.common.clone();
                reading.push(&labels, timestamp_ms, line)?;
            }
            Data::CloudWatch(bytes) => {
                self.records.with_label_values(&["cloudwatch-logs"]).inc();
                let envelope = match firehose::cloud_watch(&bytes) {
                    Ok(envelope) => envelope,
                    Err(error) => return Ok(Err(error)),
                };
                events(envelope, reading)?;
            }
        }
        Ok(Ok(()))
    }
}

fn events(envelope: CloudWatch<'_>, reading: &mut Reading) -> Result<(), Refusal> {
    let filters = envelope.subscription_filters.join(",");
    reading.scratch.reset(&reading.common);
    for (name, value) in [
        ("__aws_owner", &*envelope.owner),
        ("__aws_cw_log_group", &*envelope.log_group),
        ("__aws_cw_log_stream", &*envelope.log_stream),
        ("__aws_cw_matched_filters", &*filters),
        ("__aws_cw_msg_type", &*envelope.message_type),
    ] {
        reading.scratch.set(name, value);
    }
    let labels = reading.scratch.build();
    for event in envelope.log_events {
        reading.push(&labels, event.timestamp, event.message.into_owned())?;
    }
    Ok(())
}

/// Compares in a time that does not tell where the two differ.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (x, y)| std::hint::black_box(differs | (x ^ y)));
    a.len() == b.len() && differs == 0
}

impl Delivery {
    /// What the headers say about all records.
    fn common_labels(&self, headers: &HeaderMap) -> Result<Labels, Refusal> {
        let tenant = labels::tenant(headers)?;
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut labels = LabelsBuilder::new();
        labels.set("__aws_firehose_request_id", text(REQUEST_HEADER));
        labels.set("__aws_firehose_source_arn", text(SOURCE_HEADER));
        labels.set(crate::intake::TENANT_LABEL, tenant.unwrap_or_default());
        let bad = |reason: &str| {
            self.label_errors.with_label_values(&[reason, tenant.unwrap_or_default()]).inc();
        };
        labels::common_attributes(headers, &mut labels, bad);
        Ok(labels.build())
    }
}

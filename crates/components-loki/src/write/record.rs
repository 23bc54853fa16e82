//! What the queue of an endpoint holds: the tenant, then an uncompressed push request.
//!
//! Layout: length of the tenant's name as a varint, the name, `logproto.PushRequest`. Requests of several records
//! are joined stream by stream without looking at entries; compression comes last, once a request.

use bytes::Bytes;
use delivery::Record;
use wire::compress::SnappyEncoder;
use wire::proto::{Reader, push_varint};

/// A request's buffers, used again and again.
#[derive(Default)]
pub(super) struct Scratch {
    joined: Vec<u8>,
    compressed: Vec<u8>,
    snappy: SnappyEncoder,
}

/// Buffers above this size are given back after use.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// Begins a record's body.
pub(super) fn put_head(tenant: &str, out: &mut Vec<u8>) {
    push_varint(out, tenant.len() as u64);
    out.extend_from_slice(tenant.as_bytes());
}

/// Bytes that the head takes.
pub(super) fn head_len(tenant: &str) -> usize {
    wire::proto::varint_len(tenant.len() as u64) + tenant.len()
}

/// A record's tenant and its push request.
pub(super) fn open(record: &Record) -> Result<(&str, &[u8]), String> {
    let mut reader = Reader::new(&record.body);
    let tenant = reader.delimited().ok().and_then(|name| std::str::from_utf8(name).ok());
    Ok((tenant.ok_or("the record does not tell its tenant")?, reader.rest()))
}

impl Scratch {
    /// The compressed body of one request for records of one tenant.
    pub(super) fn body(&mut self, records: &[Record], tenant: &str) -> Result<Bytes, String> {
        let mut requests = Vec::with_capacity(records.len());
        for record in records {
            let (name, request) = open(record)?;
            if name != tenant {
                return Err("records of two tenants have met".into());
            }
            requests.push(request);
        }
        self.joined.clear();
        let message = match requests[..] {
            [only] => only,
            _ => {
                wire::loki::merge(requests, &mut self.joined).map_err(|e| e.to_string())?;
                &self.joined
            }
        };
        self.compressed.clear();
        self.snappy.compress(message, &mut self.compressed).map_err(|e| e.to_string())?;
        let body = Bytes::copy_from_slice(&self.compressed);
        for buffer in [&mut self.joined, &mut self.compressed] {
            if buffer.capacity() > MAX_KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        Ok(body)
    }
}

/// Reads any bytes as records of a queue; for `tests/fuzz/fuzz_targets/queue_records.rs` only.
pub(super) fn read_arbitrary(body: Bytes) {
    let record = Record { body, items: 1, key: 1, group: 0, created_ms: 0, newest_ms: 0, kind: 0 };
    let Ok((tenant, _)) = open(&record) else { return };
    let mut scratch = Scratch::default();
    for records in [&[record.clone()][..], &[record.clone(), record.clone()][..]] {
        let _ = scratch.body(records, tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tenant: &str, request: &[u8]) -> Record {
        let mut body = Vec::new();
        put_head(tenant, &mut body);
        assert_eq!(body.len(), head_len(tenant));
        body.extend_from_slice(request);
        Record { body: body.into(), items: 1, key: 1, group: 0, created_ms: 0, newest_ms: 0, kind: 0 }
    }

    #[test]
    fn a_record_gives_back_its_tenant_and_its_request() {
        for tenant in ["", "t", &"long".repeat(100)] {
            assert_eq!(open(&record(tenant, b"rest")), Ok((tenant, &b"rest"[..])));
        }
    }

    #[test]
    fn a_record_that_is_cut_or_of_another_tenant_is_an_error_and_not_a_request() {
        let good = record("tenant", b"");
        let cut = Record { body: good.body.slice(..4), ..good.clone() };
        let mut scratch = Scratch::default();
        assert!(scratch.body(std::slice::from_ref(&cut), "tenant").is_err());
        assert!(scratch.body(&[good.clone(), cut], "tenant").is_err());
        assert!(scratch.body(&[good, record("other", b"")], "tenant").is_err());
    }
}

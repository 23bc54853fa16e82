//! `/raw`: a body of plain lines.

use http::StatusCode;
use net::server::Refusal;
use signal::Labels;
use signal::logs::{Entry, LogBatch};

use super::super::http_intake::{Found, Taken};
use crate::intake::TENANT_LABEL;

/// Each line is an entry that has the component's labels and the time of now. Empty lines are left out.
pub(super) fn read(taken: &Taken<'_>, tenant: Option<&str>) -> Result<Found, Refusal> {
    let labels = Labels::from_pairs(tenant.map(|tenant| (TENANT_LABEL, tenant)));
    let mut entries = Vec::new();
    // A line of one byte becomes an entry of dozens.
    let most = taken.memory / size_of::<Entry>();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &taken.body).chain([taken.body.len()]) {
        let line = taken.body.slice(start..end);
        start = end + 1;
        let length = line.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
        if length == 0 {
            continue;
        }
        if entries.len() == most {
            let why = format!("more than {most} lines in a request");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let line = crate::source::text(line.slice(..length));
        entries.push(Entry { stream: 0, timestamp_ns: taken.now_ns, line, metadata: None });
    }
    let batch = LogBatch { streams: vec![labels], entries, ..LogBatch::default() };
    Ok(Found { batch, unruled: true, refused: None })
}

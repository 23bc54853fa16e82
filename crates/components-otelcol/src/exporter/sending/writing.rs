//! How requests are written for the back end: joined, as protobuf or JSON, compressed.

use bytes::Bytes;
use prost::Message;
use signal::otlp::{LogsSignal, MetricsSignal, OtlpSignal, TracesSignal};
use smallvec::SmallVec;
use wire::compress::{Encoding, compress, is_framed};

use super::record::Part;
use crate::signals::Kind;

/// How requests are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Writing {
    pub json: bool,
    pub encoding: Encoding,
    /// `Content-Encoding` or `grpc-encoding`.
    pub word: Option<&'static str>,
    pub level: Option<i32>,
}

impl Writing {
    /// Whether a body that its client has compressed may go out as it came in.
    pub(crate) fn takes(&self, word: &str, body: &[u8]) -> bool {
        // One word for two formats: HTTP has blocks, gRPC has frames.
        let snappy = match self.encoding {
            Encoding::Snappy => !is_framed(body),
            Encoding::SnappyFramed => is_framed(body),
            _ => true,
        };
        !self.json && self.word == Some(word) && snappy
    }

    /// The body of requests that go together.
    pub(crate) fn body(&self, kind: Kind, parts: &[Part]) -> Result<Bytes, String> {
        if let ([only], Encoding::Identity, false) = (parts, self.encoding, self.json) {
            return Ok(only.bytes.clone());
        }
        let plain: SmallVec<[Bytes; 1]> = match self.json {
            true => SmallVec::from_iter([json(kind, parts)?]),
            false => parts.iter().map(|part| part.bytes.clone()).collect(),
        };
        let slices: SmallVec<[&[u8]; 1]> = plain.iter().map(|bytes| &bytes[..]).collect();
        let mut out = Vec::new();
        compress(self.encoding, self.level, &slices, &mut out).map_err(|e| e.to_string())?;
        Ok(out.into())
    }
}

fn json(kind: Kind, parts: &[Part]) -> Result<Bytes, String> {
    fn write<S: OtlpSignal>(bytes: &[u8]) -> Result<Vec<u8>, String>
    where
        S::Request: serde::Serialize,
    {
        let request = S::Request::decode(bytes).map_err(|e| e.to_string())?;
        serde_json::to_vec(&request).map_err(|e| e.to_string())
    }
    let joined;
    let bytes = match parts {
        [only] => &only.bytes[..],
        _ => {
            joined = parts.iter().map(|part| &part.bytes[..]).collect::<Vec<_>>().concat();
            &joined
        }
    };
    let text = match kind {
        Kind::Traces => write::<TracesSignal>(bytes),
        Kind::Metrics => write::<MetricsSignal>(bytes),
        Kind::Logs => write::<LogsSignal>(bytes),
    };
    text.map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_formats_of_snappy_are_not_taken_for_each_other() {
        let writing = |encoding| Writing { json: false, encoding, word: Some("snappy"), level: None };
        let parts = [Part { items: 1, bytes: Bytes::from_static(b"hello hello hello") }];
        for encoding in [Encoding::Snappy, Encoding::SnappyFramed] {
            let body = writing(encoding).body(Kind::Logs, &parts).expect("written");
            for other in [Encoding::Snappy, Encoding::SnappyFramed] {
                assert_eq!(
                    writing(other).takes("snappy", &body),
                    encoding == other,
                    "{encoding:?} {other:?}"
                );
            }
            assert!(!writing(encoding).takes("gzip", &body));
            assert!(!Writing { json: true, ..writing(encoding) }.takes("snappy", &body));
        }
    }
}

//! What the back end's answer means, as the OTLP specification says (OTLP/HTTP Response).

use component::BoxFuture;
use net::{Response, describe};
use prost::Message;

use crate::exporter::sending::{Verdict, partial_success};

/// How much of an answer is read.
const LARGEST: usize = 64 << 10;

/// Reads an answer.
pub(super) fn judge(response: Response) -> BoxFuture<'static, Verdict> {
    Box::pin(async move {
        let status = response.status();
        if status.is_success() {
            let is_json =
                response.content_type().is_some_and(|t| t.trim_start().starts_with("application/json"));
            // Whatever comes after a success is no reason to send the same again.
            let body = response.bytes(LARGEST).await.unwrap_or_default();
            let (rejected, message) = partial(&body, is_json).unwrap_or_default();
            return Verdict::Taken { rejected, message };
        }
        let after = response.retry_after();
        let to = response.location().map(str::to_owned);
        let text = match response.content_type() {
            // `google.rpc.Status`: what is readable in it is the message.
            Some(kind) if kind.contains("protobuf") => {
                let body = response.bytes(LARGEST).await.unwrap_or_default();
                status_message(&body)
            }
            _ => response.excerpt(LARGEST).await,
        };
        let message = describe(status, &text);
        match status.as_u16() {
            429 => Verdict::Later { reason: "rate_limited", message, after, limited: true },
            502..=504 => Verdict::Later { reason: "unavailable", message, after, limited: false },
            // It has moved; that it would refuse the data has not been said.
            300..=399 => {
                let to = to.map(|to| format!("; it redirects to {to}: set endpoint to where it wants data"));
                let message = message + &to.unwrap_or_default();
                Verdict::Later { reason: "redirected", message, after, limited: false }
            }
            code => Verdict::Refused { message, in_parts: matches!(code, 400 | 413 | 422) },
        }
    })
}

/// Rejected items and the message of a partial success; the three signals have the same fields.
fn partial(body: &[u8], is_json: bool) -> Option<(u64, String)> {
    if !is_json {
        return partial_success(body);
    }
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let success = answer.get("partialSuccess")?;
    let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];
    let rejected = names.iter().find_map(|name| {
        let value = success.get(*name)?;
        // 64-bit numbers are texts in the JSON of protobuf.
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    });
    let message = success.get("errorMessage").and_then(|m| m.as_str()).unwrap_or_default();
    Some((rejected.unwrap_or(0), message.to_owned()))
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn status_message(body: &[u8]) -> String {
    Status::decode(body).map(|status| status.message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};

    use super::*;

    #[test]
    fn a_partial_success_is_read_in_both_encodings() {
        let partial_success =
            Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "late".into() });
        let proto = ExportLogsServiceResponse { partial_success }.encode_to_vec();
        assert_eq!(partial(&proto, false), Some((3, "late".into())));
        for (json, expected) in [
            (
                r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"late"}}"#,
                Some((3, "late".into())),
            ),
            (r#"{"partialSuccess":{"rejectedSpans":2}}"#, Some((2, String::new()))),
            (r#"{"partialSuccess":{}}"#, Some((0, String::new()))),
            ("{}", None),
            ("", None),
            ("ok", None),
        ] {
            assert_eq!(partial(json.as_bytes(), true), expected, "{json}");
        }
        assert_eq!(partial(b"", false), None);
        assert_eq!(partial(b"ok, thanks", false), None);
    }
}

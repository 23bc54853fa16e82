//! Labels that a user gives a Firehose stream: parameters of its HTTP endpoint whose names begin with `lbl_`.

use std::collections::BTreeMap;

use http::HeaderMap;
use net::server::Refusal;
use serde::Deserialize;
use signal::LabelsBuilder;
use signal::names::is_legacy_label;
use wire::loki::TENANT_HEADER;

use crate::source::http_intake::plain_tenant;

const HEADER: &str = "X-Amz-Firehose-Common-Attributes";
const PREFIX: &str = "lbl_";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default)]
    common_attributes: BTreeMap<String, String>,
}

/// Who sends.
pub(super) fn tenant(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    plain_tenant(headers, TENANT_HEADER)
}

/// Sets the labels of the header; `bad` is told why one, or all, cannot be used.
pub(super) fn common_attributes(headers: &HeaderMap, labels: &mut LabelsBuilder, bad: impl Fn(&str)) {
    let Some(value) = headers.get(HEADER).filter(|value| !value.is_empty()) else { return };
    let Ok(attributes) = serde_json::from_slice::<Attributes>(value.as_bytes()) else {
        return bad("invalid_json_format");
    };
    for (name, value) in &attributes.common_attributes {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        if is_legacy_label(name) {
            labels.set(name, value);
            continue;
        }
        let mended = mended(name);
        match is_legacy_label(&mended) {
            true => labels.set(&mended, value),
            false => bad("invalid_label_name"),
        }
    }
}

/// A name made of one that is no label's: `fooBar-baz` → `foo_bar_baz`. As the CloudWatch exporter's
/// `PromString`.
fn mended(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    for c in name.chars() {
        match c {
            ' ' | ',' | '\t' | '/' | '\\' | '.' | '-' | ':' | '=' | '“' | '@' | '<' | '>' | '(' | ')' => {
                out.push('_')
            }
            '%' => out.push_str("_percent"),
            'A'..='Z' => {
                if before.is_ascii_lowercase() || before.is_ascii_digit() {
                    out.push('_');
                }
                out.push(c.to_ascii_lowercase());
            }
            c => out.extend(c.to_lowercase()),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use http::HeaderValue;

    use super::*;

    fn read(header: &str) -> (String, Vec<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(header.as_bytes()).expect("a header"));
        let (mut labels, bad) = (LabelsBuilder::new(), RefCell::new(Vec::new()));
        common_attributes(&headers, &mut labels, |reason| bad.borrow_mut().push(reason.to_owned()));
        (labels.build().to_string(), bad.into_inner())
    }

    #[test]
    fn attributes_with_the_prefix_become_labels() {
        for (header, labels, bad) in [
            (
                r#"{"commonAttributes":{"lbl_a":"1","other":"2","lbl_fooBar-baz":"3"}}"#,
                r#"{a="1", foo_bar_baz="3"}"#,
                None,
            ),
            (r#"{"commonAttributes":{"lbl_0a":"1","lbl_b":"2"}}"#, r#"{b="2"}"#, Some("invalid_label_name")),
            ("{}", "{}", None),
            ("no json", "{}", Some("invalid_json_format")),
            (r#"{"commonAttributes":{"lbl_a":1}}"#, "{}", Some("invalid_json_format")),
        ] {
            let (got, why) = read(header);
            assert_eq!((got.as_str(), why.first().map(String::as_str)), (labels, bad), "{header}");
        }
    }
}

//! AWS Signature Version 4, as in the AWS General Reference ("Create a signed AWS API request"). Pure.

use aws_lc_rs::{digest, hmac};
use component::eval::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use url::Url;

use super::Outgoing;
use crate::error::Error;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Keys of an AWS principal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    /// Of temporary credentials.
    pub(super) session_token: Option<Secret>,
}

/// Adds date, session token and `Authorization` to a request.
pub(super) fn sign(
    request: &mut Outgoing,
    keys: &Keys,
    region: &str,
    service: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let ascii = |text: &str| {
        HeaderValue::try_from(text)
            .map_err(|_| Error::config("the AWS keys have characters that a header cannot have"))
    };
    request.headers.insert(DATE, ascii(&time)?);
    if let Some(token) = &keys.session_token {
        let mut value = ascii(token.reveal())?;
        value.set_sensitive(true);
        request.headers.insert(SESSION, value);
    }
    request.headers.remove(AUTHORIZATION);
    let (canonical, signed) = canonical_request(request);
    let day = &time[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let key = signing_key(keys.secret_key.reveal(), day, region, service);
    let signature = hex(hmac_sha256(key.as_ref(), to_sign.as_bytes()).as_ref());
    let access_key = &keys.access_key;
    let value =
        format!("{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}");
    request.headers.insert(AUTHORIZATION, ascii(&value)?);
    Ok(())
}

/// The canonical request and the list of signed headers.
fn canonical_request(request: &Outgoing) -> (String, String) {
    let host = host(&request.url);
    let mut headers: Vec<(&str, String)> = request
        .headers
        .keys()
        .filter(|name| **name == CONTENT_TYPE || name.as_str().starts_with("x-amz-"))
        .map(|name| {
            let values = request.headers.get_all(name).iter();
            let values: Vec<_> = values.map(|v| trimmed(&String::from_utf8_lossy(v.as_bytes()))).collect();
            (name.as_str(), values.join(","))
        })
        .collect();
    if !request.headers.contains_key(HOST) {
        headers.push(("host", host));
    }
    headers.sort_unstable();
    let signed: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let signed = signed.join(";");
    let mut out = format!("{}\n{}\n{}\n", request.method, path(&request.url), query(&request.url));
    for (name, value) in &headers {
        out.push_str(&format!("{name}:{value}\n"));
    }
    out.push_str(&format!("\n{signed}\n{}", sha256_hex(&request.body)));
    (out, signed)
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Runs of spaces are one space.
fn trimmed(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The path as it is sent, encoded once more: what every service but S3 does.
fn path(url: &Url) -> String {
    match url.path() {
        "" => "/".to_owned(),
        path => path.split('/').map(encode).collect::<Vec<_>>().join("/"),
    }
}

fn query(url: &Url) -> String {
    let mut pairs: Vec<_> = url.query_pairs().map(|(k, v)| (encode(&k), encode(&v))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

/// `UriEncode` of the specification: everything but unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> hmac::Tag {
    let key = hmac_sha256(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    [region, service, "aws4_request"].iter().fold(key, |key, part| hmac_sha256(key.as_ref(), part.as_bytes()))
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

fn sha256_hex(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(method: &str, url: &str, headers: &[(&'static str, &str)], body: &'static str) -> String {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        };
        let mut request = Outgoing {
            method: method.parse().unwrap(),
            url: Url::parse(url).unwrap(),
            headers: headers.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect(),
            body: body.into(),
        };
        let service = if url.contains("iam.") { "iam" } else { "service" };
        sign(&mut request, &keys, "us-east-1", service, "2015-08-30T12:36:00Z".parse().unwrap()).unwrap();
        let value = request.headers[AUTHORIZATION].to_str().unwrap();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// AWS' published test suite (aws4_testsuite) and the example of the General Reference.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        for (name, method, url, headers, body, expected) in [
            (
                "get-vanilla",
                "GET",
                "https://example.amazonaws.com/",
                &[][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-vanilla",
                "POST",
                "https://example.amazonaws.com/",
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "https://example.amazonaws.com/",
                &[FORM],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "General Reference: ListUsers",
                "GET",
                "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
                "",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            assert_eq!(signature(method, url, headers, body), expected, "{name}");
        }
    }

    #[test]
    fn the_signing_key_is_that_of_the_general_reference() {
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
        assert_eq!(hex(key.as_ref()), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}

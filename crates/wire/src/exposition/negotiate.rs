//! Which format a target is asked for, and which one it says that it answers in.
//!
//! As prometheus/scrape (`acceptHeader`) and prometheus/model/textparse (`extractMediaType`).

use std::fmt::Write;

use signal::Escaping;

use super::Format;

/// What `scrape_protocols` may list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`
    PrometheusText1_0_0,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::PrometheusProto,
        Self::PrometheusText0_0_4,
        Self::PrometheusText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::OpenMetricsText1_0_0,
    ];
    /// The default order. As prometheus/config: `DefaultScrapeProtocols`.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];
    /// The default order where native histograms are wanted. As `DefaultProtoFirstScrapeProtocols`.
    pub const PROTO_FIRST: [Self; 5] = [
        Self::PrometheusProto,
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];

    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// From the name in a configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// The media type that asks for it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// The format that it is read as.
    pub fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::PrometheusProto,
            Self::PrometheusText0_0_4 | Self::PrometheusText1_0_0 => Format::PrometheusText,
            Self::OpenMetricsText0_0_1 | Self::OpenMetricsText1_0_0 => Format::OpenMetricsText,
        }
    }

    /// Only the newer text formats know the `escaping` parameter.
    fn knows_escaping(self) -> bool {
        matches!(self, Self::PrometheusText1_0_0 | Self::OpenMetricsText1_0_0)
    }
}

/// The `Accept` header for a list of protocols, most wanted first.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: Escaping) -> String {
    let mut out = String::new();
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for protocol in protocols {
        out.push_str(protocol.media_type());
        if protocol.knows_escaping() {
            let _ = write!(out, ";escaping={}", escaping.word());
        }
        let _ = write!(out, ";q=0.{weight},");
        weight = weight.saturating_sub(1);
    }
    let _ = write!(out, "*/*;q=0.{weight}");
    out
}

/// The answer to "how is this body written".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// How to read it.
    pub format: Format,
    /// To be logged: why the fallback had to be used.
    pub warning: Option<String>,
}

/// Reads a `Content-Type`. Where it is absent, broken or unknown, `fallback` is used with a warning; without
/// a fallback the scrape fails with the reason.
pub fn format_of(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Negotiated, String> {
    let reason = if content_type.is_empty() {
        "the target sent no Content-Type".to_owned()
    } else {
        match media_type(content_type).as_deref() {
            Some("application/openmetrics-text") => return Ok(known(Format::OpenMetricsText)),
            Some("application/vnd.google.protobuf") => return Ok(known(Format::PrometheusProto)),
            Some("text/plain") => return Ok(known(Format::PrometheusText)),
            Some(_) => format!("the target sent the unsupported Content-Type {content_type:?}"),
            None => format!("the target sent a Content-Type that cannot be parsed: {content_type:?}"),
        }
    };
    match fallback {
        Some(protocol) => Ok(Negotiated {
            format: protocol.format(),
            warning: Some(format!(
                "{reason}; reading it as {}, the fallback scrape protocol",
                protocol.name()
            )),
        }),
        None => Err(format!("{reason}; correct the target or set a fallback scrape protocol")),
    }
}

fn known(format: Format) -> Negotiated {
    Negotiated { format, warning: None }
}

/// The media type in lower case, if the whole value is well formed (RFC 9110, 8.3.1; a trailing semicolon
/// is taken, as Go does).
fn media_type(value: &str) -> Option<String> {
    let (media, mut params) = value.split_once(';').unwrap_or((value, ""));
    let media = media.trim().to_ascii_lowercase();
    let (main, sub) = media.split_once('/').unwrap_or((&media, ""));
    if !is_token(main) || (media.contains('/') && !is_token(sub)) {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    loop {
        params = params.trim_start();
        if params.is_empty() {
            return Some(media);
        }
        let (name, rest) = params.split_once('=')?;
        let name = name.trim_end().to_ascii_lowercase();
        if !is_token(&name) || names.contains(&name) {
            return None;
        }
        names.push(name);
        params = skip_value(rest.trim_start())?.trim_start();
        params = match params.strip_prefix(';') {
            Some(rest) => rest,
            None if params.is_empty() => "",
            None => return None,
        };
    }
}

/// What follows a parameter value: a token or a quoted string.
fn skip_value(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut escaped = false;
        for (i, c) in quoted.char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => return Some(&quoted[i + 1..]),
                _ => escaped = false,
            }
        }
        return None;
    }
    let end = text.find(|c| !is_token_char(c)).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_accept_header_is_that_of_prometheus() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, Escaping::Underscores),
            "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=underscores;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept_header(&[ScrapeProtocol::PrometheusProto], Escaping::AllowUtf8),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.5"
        );
        assert!(accept_header(&ScrapeProtocol::PROTO_FIRST, Escaping::AllowUtf8).ends_with(
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        ));
    }

    #[test]
    fn content_types_are_recognised_whatever_their_parameters() {
        let cases = [
            ("text/plain", Format::PrometheusText),
            ("Text/Plain; version=0.0.4; charset=utf-8", Format::PrometheusText),
            ("text/plain;", Format::PrometheusText),
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=\"under;scores\"",
                Format::OpenMetricsText,
            ),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Format::PrometheusProto,
            ),
        ];
        for (value, format) in cases {
            assert_eq!(format_of(value, None), Ok(known(format)), "{value}");
        }
    }

    #[test]
    fn other_content_types_need_a_fallback_and_say_so() {
        for value in [
            "",
            "application/json",
            "text/html; charset=utf-8",
            "text/plain; version",
            "text/plain; a=b c",
            "text/plain;a=\"b",
            "te xt/plain",
            "text/plain;a=1;a=1",
        ] {
            let message = format_of(value, None).unwrap_err();
            assert!(message.contains("fallback"), "{message}");
            let answer = format_of(value, Some(ScrapeProtocol::PrometheusText0_0_4)).unwrap();
            assert_eq!(answer.format, Format::PrometheusText);
            assert!(answer.warning.unwrap().contains("PrometheusText0.0.4"));
        }
    }

    #[test]
    fn protocols_are_known_by_the_names_of_the_configuration() {
        for protocol in ScrapeProtocol::ALL {
            assert_eq!(ScrapeProtocol::from_name(protocol.name()), Some(protocol));
        }
        assert_eq!(ScrapeProtocol::from_name("prometheusproto"), None);
    }
}

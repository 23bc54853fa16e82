//! Why a request, a connection or a listener failed, and whether trying again makes sense.
//!
//! Invariant: no message carries a secret; URLs are shown without user, password and query.

use std::error::Error as StdError;
use std::fmt;

use url::Url;

/// What kind of failure it is; for metrics, health and decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The configuration cannot work: a bad URL, PEM text or name.
    Config,
    /// A credential, certificate or key file cannot be read or used now.
    Credentials,
    /// A token endpoint or metadata server did not give a token.
    Token,
    /// The host name could not be resolved.
    Dns,
    /// No connection to the peer or the proxy.
    Connect,
    /// The TLS handshake failed: certificate, name, version.
    Tls,
    /// The deadline passed.
    Timeout,
    /// The peer closed or broke the exchange.
    Protocol,
    /// A redirect that cannot be followed.
    Redirect,
    /// The answer is larger than the limit of the caller.
    BodyTooLarge,
    /// The answer's status is not a success; see [`Error::status`].
    Status(u16),
    /// An address cannot be listened on.
    Bind,
}

impl Kind {
    /// A short name for metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::Token => "token",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::BodyTooLarge => "body_too_large",
            Self::Status(_) => "status",
            Self::Bind => "bind",
        }
    }
}

/// A failure with its kind and one sentence that says what to do where that is known.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A configuration that cannot work.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// A status that is not a success, with the start of the body as the reason.
    pub fn status_error(status: http::StatusCode, url: &Url, body: &str) -> Self {
        let reason = first_line(body);
        let sep = if reason.is_empty() { "" } else { ": " };
        Self::new(Kind::Status(status.as_u16()), format!("{} answered {status}{sep}{reason}", shown_url(url)))
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The HTTP status, where that is what failed.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the same request may work later. A status is retryable as for Prometheus: 5xx and 429.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            Kind::Config | Kind::Redirect | Kind::BodyTooLarge => false,
            Kind::Status(status) => status == 429 || status >= 500,
            Kind::Credentials
            | Kind::Token
            | Kind::Dns
            | Kind::Connect
            | Kind::Tls
            | Kind::Timeout
            | Kind::Protocol
            | Kind::Bind => true,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

impl From<Error> for component::Error {
    fn from(error: Error) -> Self {
        component::Error::other(error.to_string())
    }
}

/// The URL that a writer posts to.
///
/// # Errors
/// The sentence for the user if it is none, or one of another protocol.
pub fn post_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("{text:?} is not a URL: {e}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("scheme {scheme:?} cannot be posted to: use http or https")),
    }
}

/// A URL as it may be shown: scheme, host, port and path.
pub fn shown_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}{}", url.scheme(), url.path()),
        None => format!("{}://{host}{}", url.scheme(), url.path()),
    }
}

/// The causes of an error, outermost first, without repeating what the one above already said.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Whether an error of a type is somewhere in the chain.
pub(crate) fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error made from another error shows that one's source as its own, not that one.
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find::<E>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn first_line(body: &str) -> String {
    // 512 bytes are what Prometheus' clients keep of an error body.
    body.lines().next().unwrap_or_default().trim().chars().take(512).collect()
}

/// Why an address cannot be listened on, with what to do about it.
pub(crate) fn bind_error(address: std::net::SocketAddr, error: std::io::Error) -> Error {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    };
    // The system's reason stands in the sentence, for those who show no more than that: as a source it would be shown twice.
    Error::new(Kind::Bind, format!("cannot listen on {address}: {error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_user_password_or_query() {
        let url = Url::parse("https://bob:hunter2@example.com:9009/api?token=abc#x").unwrap();
        assert_eq!(shown_url(&url), "https://example.com:9009/api");
    }

    #[test]
    fn only_what_may_work_later_is_retryable() {
        let url = Url::parse("http://a/").unwrap();
        for (status, retry) in [(400, false), (404, false), (429, true), (500, true), (503, true)] {
            let error =
                Error::status_error(http::StatusCode::from_u16(status).unwrap(), &url, "too much\nmore");
            assert_eq!(error.is_retryable(), retry, "{status}");
            assert!(error.to_string().ends_with(": too much"), "{error}");
        }
        assert!(!Error::config("x").is_retryable());
        assert!(Error::new(Kind::Dns, "x").is_retryable());
    }

    #[test]
    fn an_address_that_is_taken_is_told_once_with_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
        let address = taken.local_addr().expect("bound");
        let reason = std::net::TcpListener::bind(address).expect_err("taken");
        let error = bind_error(address, reason);
        let told = error.to_string();
        assert!(told.starts_with(&format!("cannot listen on {address}: Address already in use")), "{told}");
        assert!(told.ends_with("; another program listens there: stop it, or choose another port"), "{told}");
        assert!(error.source().is_none(), "a chain of causes would repeat the reason");
    }

    #[test]
    fn causes_inside_an_io_error_are_found() {
        let inner = Error::new(Kind::Tls, "inner");
        let io = std::io::Error::other(inner);
        assert_eq!(find::<Error>(&io).map(Error::kind), Some(Kind::Tls));
    }
}

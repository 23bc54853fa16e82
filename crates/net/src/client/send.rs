//! One request with everything that belongs to it: credentials, signature, redirects, errors.

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;
use url::Url;

use super::dns::Unresolved;
use super::plain::Failure;
use super::pool::Connects;
use super::{Inner, Request, Response, stand_in};
use crate::auth;
use crate::error::{Error, Kind, causes, find, shown_url};
use crate::sign::Outgoing;

/// As Go's client.
const MAX_REDIRECTS: usize = 10;

impl Inner {
    pub(super) async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let deadline = Instant::now() + request.timeout;
        let url = shown_url(&request.url);
        let timeout = request.timeout;
        let span = component::span!(
            "HTTP request",
            "client",
            otel.name = format!("HTTP {}", request.method),
            http.request.method = %request.method,
            url.full = url,
            http.response.status_code = Empty,
            error = Empty,
        );
        if let Some(parent) = component::trace::traceparent(&span) {
            self.trace.put(&parent, &mut request.headers);
        }
        let sending = self.follow(request, deadline).instrument(span.clone());
        let result = match tokio::time::timeout_at(deadline, sending).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Timeout, format!("{url} did not answer within {timeout:?}"))),
        };
        match &result {
            Ok(response) => span.record("http.response.status_code", response.status().as_u16()),
            Err(error) => span.record("error", error.to_string()),
        };
        result
    }

    async fn follow(&self, request: Request, deadline: Instant) -> Result<Response, Error> {
        let asked = request.url.clone();
        let Request { mut method, mut url, mut headers, mut body, .. } = request;
        for name in self.headers.keys() {
            // The request's own headers win, one name at a time.
            if !headers.contains_key(name) {
                for value in self.headers.get_all(name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        for _ in 0..=MAX_REDIRECTS {
            check(&url)?;
            let trusted = same_host(&asked, &url);
            let response = self.once(&method, &url, &headers, &body, trusted, deadline).await?;
            let Some(next) = self.redirect(&response)? else { return Ok(response) };
            if !keeps_method(response.status(), &method) {
                method = Method::GET;
                body = Bytes::new();
                for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
                    headers.remove(name);
                }
            }
            if !same_host(&asked, &next) {
                // Credentials are for the host that was asked for.
                for name in self.headers.keys().chain([&AUTHORIZATION, &COOKIE]) {
                    if name != http::header::USER_AGENT {
                        headers.remove(name);
                    }
                }
            }
            url = next;
        }
        let message = format!("{} redirects more than {MAX_REDIRECTS} times", shown_url(&asked));
        Err(Error::new(Kind::Redirect, message))
    }

    /// One exchange. `trusted`: this is the host that credentials are for.
    async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
        trusted: bool,
        deadline: Instant,
    ) -> Result<Response, Error> {
        if let Some(answer) = stand_in::answer(method, url, headers, body) {
            return Ok(Response::ready(answer?, url.clone(), deadline));
        }
        let mut outgoing = Outgoing {
            method: method.clone(),
            url: url.clone(),
            headers: headers.clone(),
            body: body.clone(),
        };
        if let Some(basic) = auth::from_url(&mut outgoing.url)
            && !outgoing.headers.contains_key(AUTHORIZATION)
        {
            outgoing.headers.insert(AUTHORIZATION, basic);
        }
        if trusted {
            self.auth.apply(&mut outgoing.headers).await?;
            if let Some(signer) = &self.signer {
                signer.sign(&mut outgoing).await?;
            }
        }
        let route = self.pool.route(&outgoing.url)?;
        if let Some(host) = route.host {
            let host =
                HeaderValue::try_from(host).map_err(|_| Error::config("the URL's host cannot be sent"))?;
            outgoing.headers.insert(HOST, host);
        }
        let client = match route.client {
            Connects::Any(client) => client,
            Connects::Plain(plain) => {
                let sent = plain.send(outgoing.method, &route.url, outgoing.headers, outgoing.body).await;
                return match sent {
                    Ok(response) => Ok(Response::plain(response, outgoing.url, deadline)),
                    Err(Failure::Url) => Err(Error::config("the URL cannot be asked for")),
                    Err(failure) => {
                        let connects = matches!(failure, Failure::Connect(_));
                        Err(broken(url, failure, connects))
                    }
                };
            }
        };
        let mut wire = reqwest::Request::new(outgoing.method, route.url);
        *wire.headers_mut() = outgoing.headers;
        if !outgoing.body.is_empty() {
            *wire.body_mut() = Some(outgoing.body.into());
        }
        match client.execute(wire).await {
            Ok(response) => Ok(Response::new(response, outgoing.url, deadline)),
            Err(error) => Err(transport_error(url, error)),
        }
    }

    fn redirect(&self, response: &Response) -> Result<Option<Url>, Error> {
        let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        if !redirects || !self.follow_redirects {
            return Ok(None);
        }
        let Some(location) = response.header(LOCATION) else { return Ok(None) };
        let next = response.url().join(location).map_err(|e| {
            let message = format!("{} redirects to what is not a URL: {e}", shown_url(response.url()));
            Error::new(Kind::Redirect, message)
        })?;
        Ok(Some(next))
    }
}

/// Whether credentials for one URL may go to another: the same host, and not from TLS into the open.
fn same_host(asked: &Url, other: &Url) -> bool {
    asked.host() == other.host() && (asked.scheme() != "https" || other.scheme() == "https")
}

/// Whether the next request of a chain is like the last: always for 307 and 308; otherwise for methods that
/// only ask.
fn keeps_method(status: StatusCode, method: &Method) -> bool {
    matches!(status.as_u16(), 307 | 308) || matches!(*method, Method::GET | Method::HEAD)
}

fn check(url: &Url) -> Result<(), Error> {
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        "http" | "https" => Err(Error::config(format!("{} has no host", shown_url(url)))),
        scheme => Err(Error::config(format!("scheme {scheme:?} cannot be fetched: use http or https"))),
    }
}

/// What reqwest's error means, told without user, password and query of the URL.
pub(super) fn transport_error(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let connects = error.is_connect();
    broken(url, error, connects)
}

/// What an error on the way means; `connects` says that there was no connection yet.
pub(super) fn broken(url: &Url, error: impl StdError + Send + Sync + 'static, connects: bool) -> Error {
    let place = shown_url(url);
    if let Some(unresolved) = find::<Unresolved>(&error) {
        return Error::new(Kind::Dns, format!("{place}: {unresolved}"));
    }
    if let Some(tls) = find::<rustls::Error>(&error) {
        return Error::new(Kind::Tls, format!("{place}: TLS: {tls}{}", tls_advice(tls)));
    }
    let timed_out = find::<reqwest::Error>(&error).is_some_and(reqwest::Error::is_timeout)
        || find::<std::io::Error>(&error).is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut);
    let (kind, what) = if timed_out {
        let what = if connects { "no connection in time" } else { "no answer in time" };
        (Kind::Timeout, what)
    } else if connects {
        (Kind::Connect, "no connection")
    } else {
        (Kind::Protocol, "the exchange broke off")
    };
    let mut cause: &(dyn StdError + 'static) = &error;
    if let Some(inner) = error.source() {
        cause = inner;
    }
    Error::new(kind, format!("{place}: {what}: {}", causes(cause))).with_source(error)
}

fn tls_advice(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Cert;
    match error {
        rustls::Error::InvalidCertificate(Cert::UnknownIssuer | Cert::BadSignature) => {
            "; set tls_config's ca_file to the authority that signed the server's certificate"
        }
        rustls::Error::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. }) => {
            "; set tls_config's server_name to a name that the certificate carries"
        }
        rustls::Error::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. }) => {
            "; the server's certificate has expired, or this machine's clock is wrong"
        }
        _ => "",
    }
}

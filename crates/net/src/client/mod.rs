//! The HTTP client: one a component and argument set, cheap to clone.
//!
//! Data path: [`Request`] → headers, credentials and signature → proxy and TLS (built from the files as they
//! are now) → redirects → [`Response`], whose body is read only through a limit and never decoded.
//! Invariants: making a client does no I/O; a changed certificate, key or authority file is in force with
//! the next request; credentials leave only to the host that was asked for.

mod dns;
mod message;
mod plain;
mod pool;
mod poster;
mod send;
mod stand_in;
mod trace_headers;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::args::{HttpClientArgs, OAuth2Args, ProxyFields};
use crate::auth::Auth;
use crate::error::Error;
use crate::proxy::ProxyRules;
use crate::sign::Sign;
use crate::tls::{ClientTls, TlsExtras};
pub use message::{Request, Response};
use pool::Pool;
pub use poster::{Poster, describe};
pub use stand_in::{StandIn, StandInGuard, stand_in};
pub use trace_headers::TraceHeaders;

/// What a component decides about its client besides the user's arguments.
#[derive(Clone)]
pub struct ClientOptions {
    /// `User-Agent`.
    pub user_agent: String,
    /// How long a connection may take, handshakes included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Unused connections kept a host.
    pub max_idle_per_host: usize,
    /// Connects to a random one of a name's addresses instead of the first that answers.
    pub round_robin_dns: bool,
    /// Signs each request last, instead of or on top of the user's credentials.
    pub signer: Option<Arc<dyn Sign>>,
    /// Connects to this Unix socket, whatever the URL's host is.
    pub unix_socket: Option<std::path::PathBuf>,
    /// What is asked of TLS beyond the arguments that all clients share.
    pub tls: TlsExtras,
    /// An HTTP/2 connection that has been silent for the first time is asked for a sign of life, and closed when
    /// none comes within the second.
    pub http2_ping: Option<(Duration, Duration)>,
    /// How requests tell of the program's own trace, where it has one.
    pub trace: TraceHeaders,
}

impl ClientOptions {
    /// Defaults, as Prometheus' clients have them (idle connections live five minutes).
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            max_idle_per_host: 64,
            round_robin_dns: false,
            signer: None,
            unix_socket: None,
            tls: TlsExtras::default(),
            http2_ping: None,
            trace: TraceHeaders::default(),
        }
    }

    /// Connects to a random address of a name.
    #[must_use]
    pub fn round_robin_dns(mut self, on: bool) -> Self {
        self.round_robin_dns = on;
        self
    }

    /// Signs requests.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Sign>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Connects to a Unix socket.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }
}

/// An HTTP client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    headers: HeaderMap,
    auth: Auth,
    signer: Option<Arc<dyn Sign>>,
    follow_redirects: bool,
    trace: TraceHeaders,
    pool: Pool,
}

impl Client {
    /// A client for a user's arguments. Reads no file and opens no connection; what is wrong with files
    /// comes up with the first request.
    pub fn new(args: &HttpClientArgs, options: ClientOptions) -> Result<Self, Error> {
        let proxy = ProxyFields {
            url: args.proxy_url.as_deref(),
            no_proxy: &args.no_proxy,
            from_environment: args.proxy_from_environment,
            connect_header: &args.proxy_connect_header,
        };
        let mut headers = HeaderMap::new();
        for (name, values) in &args.http_headers {
            let name = header_name(name)?;
            if matches!(
                name,
                http::header::HOST | http::header::CONTENT_LENGTH | http::header::TRANSFER_ENCODING
            ) {
                // Go's client, which Alloy uses, leaves these out of http_headers as well.
                tracing::warn!(header = %name, "http_headers cannot set this header; it is left out");
                continue;
            }
            for value in values {
                headers.append(name.clone(), secret_value(&name, value.reveal())?);
            }
        }
        if !options.user_agent.is_empty() {
            let agent = HeaderValue::try_from(options.user_agent.as_str())
                .map_err(|_| Error::config("the User-Agent has characters that a header cannot have"))?;
            headers.entry(http::header::USER_AGENT).or_insert(agent);
        }
        Ok(Self(Arc::new(Inner {
            headers,
            auth: Auth::new(args, &options)?,
            signer: options.signer.clone(),
            trace: options.trace,
            follow_redirects: args.follow_redirects,
            pool: Pool::new(
                ClientTls::new(&args.tls_config, args.enable_http2)?.with(&options.tls)?,
                ProxyRules::from_args(proxy)?,
                connect_headers(proxy)?,
                options,
            ),
        })))
    }

    /// The client that token requests of `oauth2` go through.
    pub(crate) fn for_tokens(args: &OAuth2Args, options: &ClientOptions) -> Result<Self, Error> {
        let client = HttpClientArgs {
            proxy_url: args.proxy_url.clone(),
            no_proxy: args.no_proxy.clone(),
            proxy_from_environment: args.proxy_from_environment,
            proxy_connect_header: args.proxy_connect_header.clone(),
            tls_config: args.tls_config.clone().unwrap_or_default(),
            ..HttpClientArgs::default()
        };
        Self::new(&client, ClientOptions::new(options.user_agent.clone()))
    }

    /// Sends a request and gives the head of the answer, whatever its status. The deadline of the request
    /// covers credentials, redirects and the reading of the body.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        // Boxed: what a request needs on its way is several kilobytes, which everyone who asks now and then would have
        // room for in between, a scraper once a target.
        Box::pin(self.0.send(request)).await
    }

    /// As [`Client::send`], but a status that is no success is an error with the start of the body.
    pub async fn send_ok(&self, request: Request) -> Result<Response, Error> {
        let url = request.url.clone();
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(response.into_status_error(&url).await)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

pub(crate) fn header_name(name: &str) -> Result<HeaderName, Error> {
    HeaderName::try_from(name).map_err(|_| Error::config(format!("{name:?} cannot be the name of a header")))
}

/// A header value that `Debug` does not show.
pub(crate) fn secret_value(name: &HeaderName, value: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        Error::config(format!("the value of header {name} has characters that a header cannot have"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn connect_headers(proxy: ProxyFields<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, values) in proxy.connect_header {
        let name = header_name(name)?;
        for value in values {
            headers.append(name.clone(), secret_value(&name, value.reveal())?);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_now_and_then_holds_no_more_than_the_request_in_between() {
        let client = Client::new(&HttpClientArgs::default(), ClientOptions::new("test")).expect("defaults");
        let request = Request::get("http://127.0.0.1:1/".parse().expect("a URL"));
        let most = 2 * size_of::<Request>() + size_of::<Result<Response, Error>>();
        let sending = client.send(request);
        assert!(size_of_val(&sending) < most, "{} bytes", size_of_val(&sending));
    }
}

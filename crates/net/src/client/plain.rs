//! Requests over plain HTTP/1.1 without a proxy: most scrapes, and back ends behind a sidecar.
//!
//! They go by `hyper-util`'s client instead of `reqwest`, which stands on it: that lets a connection's read
//! buffer be bounded. An idle connection keeps its buffer, and with the default it becomes as large as the
//! pages that it brings (400 KiB), for each of hundreds of targets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;
use url::Url;

use super::ClientOptions;
use super::dns::{SystemDns, Unresolved};

/// Largest read buffer of a connection, and with it the largest head of an answer. More would save few system
/// calls, and what is read a little at a time is still in the processor's cache when it is copied.
const READ_BUFFER: usize = 16 << 10;

/// The connections of a client.
#[derive(Clone)]
pub(super) struct Plain(Client<HttpConnector<SystemDns>, Full<Bytes>>);

impl Plain {
    pub(super) fn new(options: &ClientOptions, dns: SystemDns) -> Self {
        let mut connector = HttpConnector::new_with_resolver(dns);
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        let mut client = Client::builder(TokioExecutor::new());
        client
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.max_idle_per_host)
            .http1_max_buf_size(READ_BUFFER);
        Self(client.build(connector))
    }

    /// Sends a request. `None`: the URL is one that this client cannot ask for.
    pub(super) fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Option<impl Future<Output = Result<http::Response<Incoming>, Error>> + use<>> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(&url[..url::Position::AfterQuery]).ok()?;
        *request.headers_mut() = headers;
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Some(self.0.request(request))
    }
}

impl Service<Name> for SystemDns {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.addresses(name.as_str());
        Box::pin(async move { Ok(found.await?.into_iter()) })
    }
}

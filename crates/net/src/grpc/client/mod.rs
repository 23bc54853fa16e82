//! The client's half: unary calls over the connections to one endpoint, any number of them at once.
//!
//! Data path: message → credentials → a connection that is ready (`peers`) → a stream of it → the frames and
//! trailers of the answer (`answer`). Invariants: making a channel does no I/O; a call ends at its deadline
//! whatever the peer does; a call that the peer has certainly not seen is made once more by itself.

mod answer;
mod connect;
mod peers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::status::{Code, Status};
use super::{ACCEPTED, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GRPC_TIMEOUT, MEDIA_TYPE, PREFIX};
use crate::args::TlsConfigArgs;
use crate::error::Error;
use crate::proxy::ProxyRules;
use crate::sign::{Outgoing, Sign};
use crate::tls::TlsExtras;
use answer::{read, unprocessed};
pub use connect::Endpoint;
use connect::{Connection, Connector};
use peers::Peers;

/// What a channel is made of.
#[derive(Clone)]
pub struct ChannelOptions {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// TLS; `None` speaks without.
    pub tls: Option<(TlsConfigArgs, TlsExtras)>,
    /// `:authority`, and the name that a certificate must carry; that of the endpoint where it is empty.
    pub authority: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Which of several addresses of the endpoint are used.
    pub balancing: Balancing,
    /// How a silent connection is asked for a sign of life.
    pub keepalive: Option<Keepalive>,
    /// A call waits for a connection until its deadline, rather than failing when there is none to be had.
    pub wait_for_ready: bool,
    /// Bytes read from a connection at a time; 0 leaves it to the protocol.
    pub read_buffer: usize,
    /// Bytes of a message that are taken over by a connection before its peer has taken them; 0 for the least.
    pub write_buffer: usize,
    /// Largest answer, as it comes and unpacked.
    pub max_answer: usize,
    /// Longest time that a connection may take, handshakes included.
    pub connect_timeout: Duration,
    /// Signs calls.
    pub signer: Option<Arc<dyn Sign>>,
    /// The way to addresses that are behind a proxy.
    pub proxy: ProxyRules,
}

/// Which of several addresses of an endpoint are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// All, in turn.
    RoundRobin,
    /// The first that answers.
    PickFirst,
}

/// How a silent connection is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before it is asked.
    pub after: Duration,
    /// How long the sign may take.
    pub patience: Duration,
    /// Whether a connection without calls is asked too.
    pub while_idle: bool,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Unary {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// Metadata of the call.
    pub metadata: HeaderMap,
    /// The message, compressed if `encoding` says so.
    pub message: Bytes,
    /// `grpc-encoding` of the message.
    pub encoding: Option<&'static str>,
    /// How long the call may take.
    pub timeout: Duration,
}

/// What a call that ended well has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message, unpacked; empty where there was none.
    pub message: Bytes,
    /// Bytes of it, as it came.
    pub bytes: usize,
}

/// How a call has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The outcome.
    pub status: Status,
    /// The service itself has said so, rather than something on the way.
    pub said: bool,
    /// When the service wants to be asked again (`google.rpc.RetryInfo`).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Something on the way has failed; nothing is known of the service.
    pub(super) fn on_the_way(code: Code, message: impl Into<String>) -> Self {
        Self { status: Status::new(code, message.into()), said: false, retry_after: None }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status.fmt(f)
    }
}

/// The connections to an endpoint; cheap to clone.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    peers: Arc<Peers>,
    /// Scheme and authority of every call.
    base: Uri,
    user_agent: HeaderValue,
    signer: Option<Arc<dyn Sign>>,
    max_answer: usize,
}

impl Channel {
    /// Reads no file and opens no connection.
    ///
    /// # Errors
    /// If the options cannot work together.
    pub fn new(options: ChannelOptions) -> Result<Self, Error> {
        let user_agent = HeaderValue::try_from(options.user_agent.as_str())
            .map_err(|_| Error::config("the User-Agent has characters that a header cannot have"))?;
        let (signer, max_answer) = (options.signer.clone(), options.max_answer);
        let connector = Connector::new(options)?;
        let base = connector.base()?;
        let peers = Peers::new(connector);
        Ok(Self(Arc::new(Inner { peers, base, user_agent, signer, max_answer })))
    }

    /// Makes a call.
    ///
    /// # Errors
    /// If it does not end well.
    pub async fn call(&self, call: Unary) -> Result<Answer, Failure> {
        let deadline = Instant::now() + call.timeout;
        let timeout = call.timeout;
        // Boxed: who calls now and then needs no room for a call in between.
        let calling = Box::pin(self.0.call(call, deadline));
        timeout_at(deadline, calling).await.unwrap_or_else(|_| {
            let mut message = format!("no answer within {timeout:?}");
            if let Some(trouble) = self.0.peers.trouble() {
                message = format!("{message}: {trouble}");
            }
            Err(Failure::on_the_way(Code::DeadlineExceeded, message))
        })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({})", self.0.base)
    }
}

impl Inner {
    async fn call(&self, call: Unary, deadline: Instant) -> Result<Answer, Failure> {
        let Ok(length) = u32::try_from(call.message.len()) else {
            let message = "a message of 4 GiB or more cannot be sent";
            return Err(Failure { said: true, ..Failure::on_the_way(Code::ResourceExhausted, message) });
        };
        let headers = self.headers(&call).await?;
        let mut prefix = BytesMut::with_capacity(PREFIX);
        prefix.put_u8(u8::from(call.encoding.is_some()));
        prefix.put_u32(length);
        let body = Framed { prefix: prefix.freeze(), message: call.message };
        let uri = self.uri(call.method);
        let mut again = true;
        loop {
            let connection = self.peers.ready().await?;
            let mut headers = headers.clone();
            headers.insert(GRPC_TIMEOUT, timeout_value(deadline.saturating_duration_since(Instant::now())));
            match self.exchange(&connection, uri.clone(), headers, body.clone()).await {
                // The peer has not begun with it, so that it is not made twice.
                Err(error) if again && unprocessed(&error) => again = false,
                Err(error) => return Err(answer::broken(&error)),
                Ok(response) => return read(response, self.max_answer).await,
            }
        }
    }

    async fn exchange(
        &self,
        connection: &Connection,
        uri: Uri,
        headers: HeaderMap,
        body: Framed,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        connection.sender.clone().send_request(request).await
    }

    fn uri(&self, method: &'static str) -> Uri {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static(method));
        Uri::from_parts(parts).expect("scheme, authority and path are there")
    }

    async fn headers(&self, call: &Unary) -> Result<HeaderMap, Failure> {
        let mut headers = call.metadata.clone();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
        headers.entry(http::header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        if let Some(encoding) = call.encoding {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static(encoding));
        }
        let Some(signer) = &self.signer else { return Ok(headers) };
        let url = Url::parse(&self.uri(call.method).to_string())
            .map_err(|e| Failure::on_the_way(Code::Internal, format!("the address cannot be signed: {e}")))?;
        let body = call.message.clone();
        let mut outgoing = Outgoing { method: Method::POST, url, headers, body };
        match signer.sign(&mut outgoing).await {
            Ok(()) => Ok(outgoing.headers),
            Err(error) => Err(Failure::on_the_way(Code::Unavailable, error.to_string())),
        }
    }
}

/// At most eight digits and a unit, as the protocol says, and never longer than what is left.
fn timeout_value(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm')];
    let (number, unit) = units
        .into_iter()
        .find(|(number, _)| *number <= MOST)
        .unwrap_or((u128::from(left.as_secs()).min(MOST), 'S'));
    HeaderValue::try_from(format!("{number}{unit}")).expect("digits and a letter")
}

/// Headers that belong to the protocol: what a user sets of them is not sent.
pub fn is_reserved(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("grpc-")
        || matches!(
            *name,
            CONTENT_TYPE
                | TE
                | http::header::CONNECTION
                | http::header::CONTENT_LENGTH
                | http::header::HOST
                | http::header::TRANSFER_ENCODING
                | http::header::UPGRADE
        )
}

/// A message behind its prefix; neither is copied.
#[derive(Clone)]
pub(super) struct Framed {
    prefix: Bytes,
    message: Bytes,
}

impl hyper::body::Body for Framed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = match (self.prefix.is_empty(), self.message.is_empty()) {
            (false, _) => std::mem::take(&mut self.prefix),
            (true, false) => std::mem::take(&mut self.message),
            (true, true) => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.message.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.prefix.len() + self.message.len()) as u64)
    }
}

/// Reads any bytes as what a peer answers; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(frame: Bytes, encoding: &[u8], details: &[u8], limit: usize) {
    answer::read_arbitrary(frame, encoding, details, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_in_eight_digits_and_never_more_than_it_is() {
        for (left, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(3_000_000), "3000000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(timeout_value(left), expected);
        }
    }

    #[test]
    fn headers_of_the_protocol_are_not_the_users() {
        for (name, ours) in [("grpc-timeout", true), ("te", true), ("x-scope-orgid", false)] {
            assert_eq!(is_reserved(&HeaderName::from_static(name)), ours, "{name}");
        }
    }
}

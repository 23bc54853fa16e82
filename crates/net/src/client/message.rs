//! Requests and answers.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use url::Url;

use super::plain::Answer;
use super::send::{broken, transport_error};
use crate::error::{Error, Kind, shown_url};

/// What to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to. User and password in it become basic authentication.
    pub url: Url,
    /// Headers; they win over those of the client.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long everything may take, the reading of the answer included.
    pub timeout: Duration,
}

impl Request {
    /// A `GET` with a deadline of 30 seconds.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A `POST` with a deadline of 30 seconds.
    pub fn post(url: Url, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, url) }
    }

    /// Any method, with a deadline of 30 seconds.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), timeout: Duration::from_secs(30) }
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Where the rest of a body comes from.
enum Chunks {
    Any(Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>),
    Plain(Answer),
    Ready(Option<Bytes>),
}

impl Chunks {
    async fn next(&mut self, url: &Url) -> Option<Result<Bytes, Error>> {
        match self {
            Self::Ready(body) => body.take().map(Ok),
            Self::Any(chunks) => Some(chunks.next().await?.map_err(|e| transport_error(url, e))),
            Self::Plain(body) => loop {
                match body.frame().await? {
                    // Trailers are of no use to anybody here.
                    Ok(frame) => {
                        if let Ok(chunk) = frame.into_data() {
                            return Some(Ok(chunk));
                        }
                    }
                    Err(error) => return Some(Err(broken(url, error, false))),
                }
            },
        }
    }
}

/// The head of an answer; its body comes on demand.
pub struct Response {
    status: StatusCode,
    version: http::Version,
    headers: HeaderMap,
    url: Url,
    length: Option<u64>,
    chunks: Chunks,
    deadline: Instant,
}

impl Response {
    pub(super) fn new(response: reqwest::Response, url: Url, deadline: Instant) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers().clone(),
            url,
            length: response.content_length(),
            chunks: Chunks::Any(Box::pin(response.bytes_stream())),
            deadline,
        }
    }

    pub(super) fn plain(response: http::Response<Answer>, url: Url, deadline: Instant) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            version: head.version,
            headers: head.headers,
            url,
            length: body.size_hint().exact(),
            chunks: Chunks::Plain(body),
            deadline,
        }
    }

    /// An answer that is whole.
    pub(super) fn ready(response: http::Response<Bytes>, url: Url, deadline: Instant) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            version: head.version,
            headers: head.headers,
            url,
            length: Some(body.len() as u64),
            chunks: Chunks::Ready(Some(body).filter(|body| !body.is_empty())),
            deadline,
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The protocol version.
    pub fn version(&self) -> http::Version {
        self.version
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header as text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Content-Encoding`: the body is given as it came.
    pub fn content_encoding(&self) -> Option<&str> {
        self.header(http::header::CONTENT_ENCODING)
    }

    /// `Content-Type`.
    pub fn content_type(&self) -> Option<&str> {
        self.header(http::header::CONTENT_TYPE)
    }

    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The next part of the body, `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout_at(self.deadline, self.chunks.next(&self.url)).await {
            Err(_) => {
                let message = format!("{} did not send its whole answer in time", shown_url(&self.url));
                Err(Error::new(Kind::Timeout, message))
            }
            Ok(None) => Ok(None),
            Ok(Some(chunk)) => chunk.map(Some),
        }
    }

    /// Appends the body to a buffer of the caller. More than `limit` bytes are an error, known before
    /// reading where the peer tells the length.
    pub async fn read_into(mut self, into: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(self.too_large(limit));
        }
        if let Some(length) = self.length {
            // What a peer says is not worth more than this before it has sent it. The length is known, so that nothing
            // is put by for growth but a little in a large buffer: those are used again for answers about as long.
            let length = length.min(1 << 20) as usize;
            into.reserve_exact(if length < 64 << 10 { length } else { length.next_multiple_of(16 << 10) });
        }
        let mut read = 0;
        while let Some(chunk) = self.chunk().await? {
            read += chunk.len();
            if read > limit {
                return Err(self.too_large(limit));
            }
            into.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// The body, at most `limit` bytes.
    pub async fn bytes(self, limit: usize) -> Result<Bytes, Error> {
        let mut body = Vec::new();
        self.read_into(&mut body, limit).await?;
        Ok(body.into())
    }

    /// The body as text, at most `limit` bytes; what is not UTF-8 becomes replacement characters.
    pub async fn text(self, limit: usize) -> Result<String, Error> {
        let body = self.bytes(limit).await?;
        Ok(String::from_utf8(body.into())
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// The error that this status is, with the first line of the body.
    pub async fn into_status_error(mut self, url: &Url) -> Error {
        let mut start = Vec::new();
        while start.len() < 1024 {
            match self.chunk().await {
                Ok(Some(chunk)) => start.extend_from_slice(&chunk[..chunk.len().min(1024)]),
                _ => break,
            }
        }
        Error::status_error(self.status, url, &String::from_utf8_lossy(&start))
    }

    fn too_large(&self, limit: usize) -> Error {
        let message =
            format!("the answer of {} is larger than the limit of {limit} bytes", shown_url(&self.url));
        Error::new(Kind::BodyTooLarge, message)
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({} of {})", self.status, shown_url(&self.url))
    }
}

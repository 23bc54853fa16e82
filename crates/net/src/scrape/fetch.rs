//! Gets an answer: over the network, or from a component of this process; decompressed, within its limit.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use ::url::Url;
use bytes::Bytes;
use component::Services;
use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use wire::compress::{Encoding, decompress};

use crate::client::{Client, Request, describe};
use crate::error::{Error, Kind};

/// Buffers kept for the next scrape, and the most bytes that each may keep.
const SPARE_BUFFERS: usize = 4;
const SPARE_BYTES: usize = 8 << 20;
/// Bytes of an error's page that are read for its message.
const EXCERPT: usize = 1024;

/// An answer's body.
#[derive(Default)]
pub struct Page {
    /// As it is read.
    pub body: Vec<u8>,
    /// As it came.
    packed: Vec<u8>,
}

impl Page {
    /// Empties the buffers; very large ones are given back.
    pub fn clear(&mut self) {
        for buffer in [&mut self.body, &mut self.packed] {
            buffer.clear();
            if buffer.capacity() > SPARE_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// Buffers of scrapes that are done.
pub struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Buffers, used before or new.
    pub fn take(&self) -> T {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Keeps buffers, unless there are enough.
    pub fn put(&self, buffers: T) {
        let mut spare = self.0.lock();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failed {
    /// For the user.
    pub message: String,
    /// It is larger than it may be.
    pub too_large: bool,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self { message, too_large: false }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { too_large: error.kind() == Kind::BodyTooLarge, message: error.to_string() }
    }
}

/// What is asked of a target.
pub struct Fetch<'a> {
    /// How it is reached over the network.
    pub client: &'a Client,
    /// The process, part of which may answer.
    pub services: &'a Services,
    /// Where.
    pub url: &'a Url,
    /// With these headers.
    pub headers: HeaderMap,
    /// How long all of it may take.
    pub timeout: Duration,
    /// Most bytes of the answer, before and after decompression.
    pub limit: usize,
    /// Any 2xx is an answer, and other statuses are told with the first line of their page; otherwise only 200 is.
    pub lenient: bool,
}

impl Fetch<'_> {
    /// Puts the answer into `page.body` and gives its content type.
    ///
    /// # Errors
    /// If there is none in time, or it is too large, refused or broken.
    pub async fn into(self, page: &mut Page) -> Result<String, Failed> {
        let limit = self.limit;
        let (encoding, content_type) = if self.in_memory() {
            let timeout = self.timeout;
            let call = self.call(&mut page.packed);
            tokio::time::timeout(timeout, call)
                .await
                .map_err(|_| format!("no answer within {timeout:?}"))??
        } else {
            self.get(&mut page.packed).await?
        };
        let encoding = Encoding::from_content_encoding(&encoding)
            .ok_or_else(|| format!("the page has the unknown Content-Encoding {encoding:?}"))?;
        if encoding == Encoding::Identity {
            std::mem::swap(&mut page.body, &mut page.packed);
        } else {
            page.body.clear();
            decompress(encoding, &page.packed, limit, &mut page.body).map_err(|error| Failed {
                too_large: matches!(error, wire::compress::Error::TooLarge { .. }),
                message: error.to_string(),
            })?;
        }
        Ok(content_type)
    }

    fn in_memory(&self) -> bool {
        let Some((host, port)) = self.services.memory_address.rsplit_once(':') else { return false };
        self.url.scheme() == "http"
            && self.url.host_str() == Some(host)
            && self.url.port_or_known_default().is_some_and(|p| port.parse() == Ok(p))
    }

    /// Whether a status is an answer.
    fn takes(&self, status: StatusCode) -> bool {
        if self.lenient { status.is_success() } else { status == StatusCode::OK }
    }

    fn refused(&self, status: StatusCode, page: &str) -> Failed {
        Failed::from(if self.lenient {
            describe(status, page)
        } else {
            format!("server returned HTTP status {status}")
        })
    }

    /// Over the network; the request's deadline covers the body.
    async fn get(self, into: &mut Vec<u8>) -> Result<(String, String), Failed> {
        let mut request = Request::get(self.url.clone()).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        let response = self.client.send(request).await?;
        let status = response.status();
        if !self.takes(status) {
            let page = if self.lenient { response.excerpt(EXCERPT).await } else { String::new() };
            return Err(self.refused(status, &page));
        }
        let encoding = response.content_encoding().unwrap_or_default().to_owned();
        let content_type = response.content_type().unwrap_or_default().to_owned();
        into.clear();
        response.read_into(into, self.limit).await?;
        Ok((encoding, content_type))
    }

    /// From this process.
    async fn call(self, into: &mut Vec<u8>) -> Result<(String, String), Failed> {
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let mut request = http::Request::get(path).body(Bytes::new()).map_err(|e| e.to_string())?;
        request.headers_mut().clone_from(&self.headers);
        if let Ok(agent) = HeaderValue::try_from(self.services.user_agent()) {
            request.headers_mut().insert(USER_AGENT, agent);
        }
        let response = AssertUnwindSafe(self.services.handlers.call(request)).catch_unwind().await;
        let response = response.map_err(|_| "the component that answers there panicked".to_owned())?;
        if !self.takes(response.status()) {
            let page = &response.body()[..response.body().len().min(EXCERPT)];
            return Err(self.refused(response.status(), &String::from_utf8_lossy(page)));
        }
        let header = |name| {
            let value = response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let limit = self.limit;
        if response.body().len() > limit {
            let message = format!("the page is larger than the limit of {limit} bytes");
            return Err(Failed { message, too_large: true });
        }
        into.clear();
        into.extend_from_slice(response.body());
        Ok((header(CONTENT_ENCODING), header(CONTENT_TYPE)))
    }
}

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
const SPARE_BUFFERS: usize = 2;
const SPARE_BYTES: usize = 8 << 20;
/// Bytes of an error's page that are read for its message.
const EXCERPT: usize = 1024;

/// An answer's body.
#[derive(Default)]
pub struct Page {
    /// As it is read.
    pub body: Vec<u8>,
    /// As it came, if that is compressed.
    packed: Vec<u8>,
}

impl Page {
    /// Where an answer goes as it comes: targets that compress nothing need one buffer, not two.
    fn incoming(&mut self, encoding: Encoding) -> &mut Vec<u8> {
        let into = if encoding == Encoding::Identity { &mut self.body } else { &mut self.packed };
        into.clear();
        into
    }

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For the user.
    pub message: String,
    /// A short name for metric labels; those of [`Kind::as_str`] among others.
    pub reason: &'static str,
}

impl Failed {
    /// Of a kind that [`Kind`] does not know.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), reason }
    }

    /// Whether the answer is larger than it may be.
    pub fn is_too_large(&self) -> bool {
        self.reason == Kind::BodyTooLarge.as_str()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { reason: error.kind().as_str(), message: error.to_string() }
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
        let answer = if self.in_memory() {
            let timeout = self.timeout;
            let call = self.call(page);
            tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
                Err(Failed::new(Kind::Timeout.as_str(), format!("no answer within {timeout:?}")))
            })
        } else {
            self.get(page).await
        };
        // A part of an answer is none.
        let (encoding, content_type) = answer.inspect_err(|_| page.body.clear())?;
        if encoding != Encoding::Identity {
            page.body.clear();
            decompress(encoding, &page.packed, limit, &mut page.body).map_err(|error| {
                let reason = match error {
                    wire::compress::Error::TooLarge { .. } => Kind::BodyTooLarge.as_str(),
                    _ => "encoding",
                };
                Failed::new(reason, error.to_string())
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
        let message = match self.lenient {
            true => describe(status, page),
            false => format!("server returned HTTP status {status}"),
        };
        Failed::new(Kind::Status(status.as_u16()).as_str(), message)
    }

    /// Over the network; the request's deadline covers the body.
    async fn get(self, page: &mut Page) -> Result<(Encoding, String), Failed> {
        let mut request = Request::get(self.url.clone()).timeout(self.timeout);
        request.headers.clone_from(&self.headers);
        let response = self.client.send(request).await?;
        let status = response.status();
        if !self.takes(status) {
            let page = if self.lenient { response.excerpt(EXCERPT).await } else { String::new() };
            return Err(self.refused(status, &page));
        }
        let encoding = encoding(response.content_encoding().unwrap_or_default())?;
        let content_type = response.content_type().unwrap_or_default().to_owned();
        response.read_into(page.incoming(encoding), self.limit).await?;
        Ok((encoding, content_type))
    }

    /// From this process.
    async fn call(self, page: &mut Page) -> Result<(Encoding, String), Failed> {
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let request = http::Request::get(path).body(Bytes::new());
        let mut request = request.map_err(|e| Failed::new(Kind::Config.as_str(), e.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        if let Ok(agent) = HeaderValue::try_from(self.services.user_agent()) {
            request.headers_mut().insert(USER_AGENT, agent);
        }
        let response = AssertUnwindSafe(self.services.handlers.call(request)).catch_unwind().await;
        let response =
            response.map_err(|_| Failed::new("panic", "the component that answers there panicked"))?;
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
            return Err(Failed::new(Kind::BodyTooLarge.as_str(), message));
        }
        let encoding = encoding(&header(CONTENT_ENCODING))?;
        page.incoming(encoding).extend_from_slice(response.body());
        Ok((encoding, header(CONTENT_TYPE)))
    }
}

fn encoding(name: &str) -> Result<Encoding, Failed> {
    Encoding::from_content_encoding(name)
        .ok_or_else(|| Failed::new("encoding", format!("the page has the unknown Content-Encoding {name:?}")))
}

#[cfg(test)]
mod tests {
    use component::BoxFuture;
    use component::http::{Handler, Request, Response};
    use wire::compress::compress;

    use super::{
        CONTENT_ENCODING, Client, Duration, Encoding, Fetch, HeaderMap, HeaderValue, Page, Services,
    };
    use crate::args::HttpClientArgs;
    use crate::client::ClientOptions;

    /// Answers `/gzip` packed, `/plain` as it is, and everything else by an encoding that nobody knows.
    struct Pages;

    const PAGE: &[u8] = b"a 1\nb 2\n";

    impl Handler for Pages {
        fn handle<'a>(&'a self, path: &'a str, _: Request) -> BoxFuture<'a, Response> {
            let mut packed = Vec::new();
            let (name, body) = match path {
                "/gzip" => {
                    compress(Encoding::Gzip, None, &[PAGE], &mut packed).expect("packed");
                    ("gzip", packed)
                }
                "/plain" => ("", PAGE.to_vec()),
                _ => ("br", PAGE.to_vec()),
            };
            let mut response = Response::new(body.into());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
            Box::pin(std::future::ready(response))
        }
    }

    #[tokio::test]
    async fn a_page_that_is_not_compressed_needs_one_buffer_and_one_that_fails_leaves_nothing() {
        let services = Services::for_tests("unused");
        services.handlers.set_main(std::sync::Arc::new(Pages));
        let client = Client::new(&HttpClientArgs::default(), ClientOptions::new("test")).expect("defaults");
        let mut page = Page::default();
        for (path, limit, good, packs) in [
            ("plain", 100, true, false),
            ("br", 100, false, false),
            ("plain", 4, false, false),
            ("gzip", 100, true, true),
            ("gzip", 4, false, true),
            ("plain", 100, true, true),
        ] {
            let url = format!("http://{}/{path}", services.memory_address).parse().expect("a URL");
            let fetch = Fetch {
                client: &client,
                services: &services,
                url: &url,
                headers: HeaderMap::new(),
                timeout: Duration::from_secs(5),
                limit,
                lenient: false,
            };
            let got = fetch.into(&mut page).await;
            assert_eq!(got.is_ok(), good, "{path}: {got:?}");
            assert_eq!(page.body, if good { PAGE } else { b"" }, "{path}");
            assert_eq!(page.packed.capacity() > 0, packs, "{path}");
        }
    }
}

//! What a receiver does with an HTTP request before it knows what is in it: CORS, credentials, compression, limits,
//! memory.
//!
//! Data path: headers → [`HttpPolicy::admit`] → [`HttpPolicy::encoding`] → body within limit and budget →
//! decompression within both. Invariant: nothing of a body is read before its client is known.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, request};
use net::server::{Peer, Refusal, RequestBody, Room};
use signal::otlp::ClientMetadata;
use wire::compress::{self, Encoding, decompress, most};

use super::{CorsPolicy, HttpServerArgs};
use crate::auth::{Denied, Handler};

/// An `http` block at work.
pub struct HttpPolicy {
    encodings: Vec<String>,
    cors: Option<CorsPolicy>,
    /// Bytes of a body, as it is sent and decompressed.
    pub max_body: usize,
    /// Who may post; everybody where it is absent.
    auth: Option<Handler>,
    include_metadata: bool,
    keep_alives: bool,
}

/// A body that has been read.
pub struct Unpacked {
    /// Decompressed.
    pub body: Bytes,
    /// As it came, where it was compressed.
    pub packed: Option<Bytes>,
}

impl HttpPolicy {
    /// That of arguments.
    pub fn new(args: &HttpServerArgs) -> Self {
        Self {
            encodings: args.compression_algorithms.iter().map(|a| a.to_ascii_lowercase()).collect(),
            cors: args.cors.as_ref().and_then(CorsPolicy::new),
            max_body: args.max_body(),
            auth: args.auth.clone(),
            include_metadata: args.include_metadata,
            keep_alives: args.keep_alives_enabled,
        }
    }

    /// With another policy for pages of other origins.
    #[must_use]
    pub fn with_cors(mut self, cors: Option<CorsPolicy>) -> Self {
        self.cors = cors;
        self
    }

    /// The answer to a browser's question before it sends; `None` where the request is none.
    pub fn preflight(&self, head: &request::Parts) -> Option<Response<Bytes>> {
        self.cors.as_ref()?.preflight(&head.method, &head.headers)
    }

    /// Adds to an answer what pages and connections have to know.
    pub fn finish(&self, head: &request::Parts, response: &mut Response<Bytes>) {
        let is_preflight = self.preflight(head).is_some();
        if let Some(cors) = self.cors.as_ref().filter(|_| !is_preflight) {
            cors.mark(&head.headers, response.headers_mut());
        }
        // What is left of the body will not be read.
        let unread =
            [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&response.status());
        if head.version < Version::HTTP_2 && (unread || !self.keep_alives) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether a client may send.
    ///
    /// # Errors
    /// As [`admit`].
    pub async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        admit(self.auth.as_ref(), headers).await
    }

    /// What is known of the client, where that is asked for.
    pub fn client(&self, head: &request::Parts) -> Option<Arc<ClientMetadata>> {
        self.include_metadata.then(|| client(&head.headers, head.extensions.get::<Peer>()))
    }

    /// The compression of a body: the word for it as a constant, and what it stands for.
    ///
    /// # Errors
    /// 415 where it is not known or not accepted.
    pub fn encoding(&self, headers: &HeaderMap) -> Result<(&'static str, Encoding), Refusal> {
        let refuse = |why: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        let given = match headers.get(CONTENT_ENCODING) {
            None => String::new(),
            Some(value) => {
                let text = value.to_str().map_err(|_| refuse("the Content-Encoding is not text".into()))?;
                text.trim().to_ascii_lowercase()
            }
        };
        let word = match given.as_str() {
            "identity" => "",
            "x-gzip" => "gzip",
            word => word,
        };
        let listed = if word == "x-snappy-framed" { "snappy" } else { word };
        if !self.encodings.iter().any(|e| e == listed) && !word.is_empty() {
            return Err(refuse(format!("the Content-Encoding {given:?} is not accepted here")));
        }
        known(word).ok_or_else(|| refuse(format!("the Content-Encoding {given:?} is not supported")))
    }

    /// Reads and decompresses a body.
    ///
    /// # Errors
    /// If it cannot be had, is too large before or after, or there is no room for it in time.
    pub async fn read(
        &self,
        body: RequestBody,
        encoding: Encoding,
        room: &mut Room,
    ) -> Result<Unpacked, Refusal> {
        let received = body.within(room).await?;
        if encoding == Encoding::Identity {
            return Ok(Unpacked { body: received, packed: None });
        }
        let body = unpack(encoding, &received, self.max_body, room).await?;
        Ok(Unpacked { body, packed: Some(received) })
    }
}

/// The word of Content-Encoding as a constant, and what it stands for; `None` where it is not known.
fn known(word: &str) -> Option<(&'static str, Encoding)> {
    const KNOWN: [(&str, Encoding); 7] = [
        ("", Encoding::Identity),
        ("gzip", Encoding::Gzip),
        ("zstd", Encoding::Zstd),
        ("zlib", Encoding::Deflate),
        ("deflate", Encoding::Deflate),
        ("snappy", Encoding::Snappy),
        ("x-snappy-framed", Encoding::Snappy),
    ];
    KNOWN.into_iter().find(|(name, _)| *name == word)
}

async fn unpack(encoding: Encoding, packed: &Bytes, limit: usize, room: &mut Room) -> Result<Bytes, Refusal> {
    room.at_least(packed.len() + most(encoding, packed, limit)).await?;
    let mut body = Vec::new();
    decompress(encoding, packed, limit, &mut body).map_err(|error| {
        let status = match error {
            compress::Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            compress::Error::Corrupt { .. } => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error.to_string())
    })?;
    body.shrink_to_fit();
    room.at_most(packed.len() + body.len());
    Ok(body.into())
}

/// Whether a client may send.
///
/// # Errors
/// 401 where it is not known, 500 where that cannot be found out now.
pub async fn admit(auth: Option<&Handler>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(auth) = auth else { return Ok(()) };
    auth.check(headers).await.map_err(|denied| match denied {
        Denied::Unauthenticated(why) => Refusal::new(StatusCode::UNAUTHORIZED, why),
        Denied::Broken(why) => {
            tracing::warn!(error = why, "clients cannot be checked");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "clients cannot be checked now")
        }
    })
}

/// What a request says of its client. Values that are not text are left out.
pub fn client(headers: &HeaderMap, peer: Option<&Peer>) -> Arc<ClientMetadata> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    Arc::new(ClientMetadata {
        headers: headers.iter().filter_map(text).collect(),
        peer: peer.map(|p| p.remote.to_string()).unwrap_or_default(),
    })
}

/// The media type of a body, in lower case and without parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

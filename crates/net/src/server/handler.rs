//! What answers requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use component::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use super::body::{BodyError, RequestBody};

/// The body of an answer; may be sent in parts.
pub type ResponseBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Who sent a request; an extension of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other end.
    pub remote: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// Over TLS.
    pub tls: bool,
}

/// Answers requests whose bodies are read as a whole, within the server's limit.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<Bytes>>;
}

/// Answers requests and reads their bodies itself; also for answers that are sent in parts.
pub trait StreamHandler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>>;
}

/// Turns a [`Handler`] into what a server takes. A body that is too large, too slow or broken off is answered
/// here.
pub fn whole(handler: impl Handler) -> Arc<dyn StreamHandler> {
    Arc::new(Whole(handler))
}

struct Whole<H>(H);

impl<H: Handler> StreamHandler for Whole<H> {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            match body.whole().await {
                Ok(body) => self.0.handle(Request::from_parts(head, body)).await.map(full),
                Err(error) => refused(&error),
            }
        })
    }
}

/// The answer to a request whose body cannot be had.
fn refused(error: &BodyError) -> Response<ResponseBody> {
    let mut response = text(error.status(), format!("{error}\n"));
    if error.status() != StatusCode::BAD_REQUEST {
        // What is left of the body will not be read.
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that is there as a whole.
pub fn full(body: impl Into<Bytes>) -> ResponseBody {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> ResponseBody {
    full(Bytes::new())
}

/// A plain text answer.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    component::http::text_response(status, body).map(full)
}

//! Foreign spans over HTTP: one handler for all formats.
//!
//! Data path: path and method → credentials → what is the body? → body within limit and budget → spans → consumers →
//! 202. Failures are answered in plain text.

use std::sync::Arc;

use bytes::Bytes;
use component::BoxFuture;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use net::server::{Refusal, RequestBody, ResponseBody, StreamHandler, full};
use wire::spans::{Converted, memory};

use super::spans::Spans;
use crate::server::{HttpPolicy, Unpacked};

/// How the requests of one kind of client are read.
pub(super) trait Format: Send + Sync + 'static {
    /// What a body is.
    type Body: Copy + Send + Sync;

    /// Whether a path is served.
    fn serves(&self, path: &str) -> bool;

    /// What a request's body is, by its head, and what its metrics call that.
    ///
    /// # Errors
    /// If it is nothing that can be read.
    fn body(&self, head: &request::Parts) -> Result<(Self::Body, &'static str), Refusal>;

    /// The spans of a body.
    ///
    /// # Errors
    /// One sentence.
    fn read(&self, what: Self::Body, body: &[u8]) -> Result<Converted, String>;
}

/// The handler of one server.
pub(super) struct Posts<F> {
    pub(super) spans: Arc<Spans>,
    pub(super) policy: HttpPolicy,
    pub(super) format: F,
}

impl<F: Format> StreamHandler for Posts<F> {
    fn handle(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<ResponseBody>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut response = match self.policy.preflight(&head) {
                Some(answer) => answer,
                None => self.post(&head, body).await,
            };
            self.policy.finish(&head, &mut response);
            response.map(full)
        })
    }
}

impl<F: Format> Posts<F> {
    async fn post(&self, head: &request::Parts, body: RequestBody) -> Response<Bytes> {
        let path = head.uri.path();
        if !self.spans.is_served() || !self.format.serves(path) {
            return Refusal::new(StatusCode::NOT_FOUND, format!("{path} is not served here")).response();
        }
        if head.method != Method::POST {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "spans are posted");
            let mut response = refusal.response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        match self.receive(head, body).await {
            Err(refusal) => refusal.response(),
            Ok(()) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
        }
    }

    async fn receive(&self, head: &request::Parts, body: RequestBody) -> Result<(), Refusal> {
        self.policy.admit(&head.headers).await?;
        let (what, transport) = self.format.body(head)?;
        let (_, encoding) = self.policy.encoding(&head.headers)?;
        let mut room = self.spans.budget.room();
        let Unpacked { body, packed } = self.policy.read(body, encoding, &mut room).await?;
        drop(packed);
        room.at_least(body.len() + memory(body.len())).await?;
        let converted = self.format.read(what, &body).map_err(Refusal::bad)?;
        drop(body);
        room.at_most(converted.memory);
        let client = self.policy.client(head);
        match self.spans.batch(transport, converted, client) {
            Some(batch) => self.spans.take(transport, batch).await,
            None => Ok(()),
        }
    }
}

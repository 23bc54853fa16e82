//! HTTP handlers that components offer under `/api/v0/component/<global id>/…`, reachable on the main
//! server and, without the network, at the in-memory address.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::port::BoxFuture;

/// A request with its body read (and bounded) by the server.
pub type Request = ::http::Request<Bytes>;
/// An answer.
pub type Response = ::http::Response<Bytes>;

/// Answers requests below a component's path.
pub trait Handler: Send + Sync + 'static {
    /// `path` is what follows the component's ID, with its leading slash.
    fn handle<'a>(&'a self, path: &'a str, request: Request) -> BoxFuture<'a, Response>;
}

/// A plain-text answer.
pub fn text_response(status: ::http::StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let value = ::http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(::http::header::CONTENT_TYPE, value);
    response
}

/// The path below which components answer.
pub const COMPONENT_PREFIX: &str = "/api/v0/component/";

/// The handlers of all running components and of the main server, by path.
#[derive(Default)]
pub struct Handlers {
    components: RwLock<HashMap<String, Arc<dyn Handler>>>,
    main: RwLock<Option<Arc<dyn Handler>>>,
}

impl Handlers {
    pub(crate) fn register(&self, global_id: &str, handler: Arc<dyn Handler>) {
        self.components.write().insert(global_id.to_string(), handler);
    }

    pub(crate) fn remove(&self, global_id: &str) {
        self.components.write().remove(global_id);
    }

    /// Sets what answers paths that are no component's (the main server's own routes).
    pub fn set_main(&self, handler: Arc<dyn Handler>) {
        *self.main.write() = Some(handler);
    }

    /// Finds the component that a path below [`COMPONENT_PREFIX`] belongs to; IDs may contain slashes, so
    /// the longest registered one wins.
    pub fn component<'p>(&self, path: &'p str) -> Option<(Arc<dyn Handler>, &'p str)> {
        let rest = path.strip_prefix(COMPONENT_PREFIX)?;
        let components = self.components.read();
        let mut end = rest.len();
        loop {
            if let Some(handler) = components.get(&rest[..end]) {
                return Some((handler.clone(), &rest[end..]));
            }
            end = rest[..end].rfind('/')?;
        }
    }

    /// Answers a request as the main server would, without the network.
    pub async fn call(&self, request: Request) -> Response {
        let path = request.uri().path().to_string();
        if let Some((handler, rest)) = self.component(&path) {
            return handler.handle(rest, request).await;
        }
        let main = self.main.read().clone();
        match main {
            Some(handler) => handler.handle(&path, request).await,
            None => text_response(::http::StatusCode::NOT_FOUND, format!("no handler for {path}\n")),
        }
    }
}

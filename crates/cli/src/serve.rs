//! The main HTTP server: the API behind authentication and TLS, both of which a reload may change.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use component::{BoxFuture, Error};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use net::args::ServiceHttpArgs;
use net::server::{BasicFilter, RequestBody, ResponseBody, StreamHandler, full, text};
use net::{Server, ServerOptions, ServerTls};
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use web::{Api, Reply};

/// Bytes of a request to the API.
const MOST_BODY: usize = 4 << 20;
/// How long requests may go on when the program ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The server. Clones share it.
#[derive(Clone)]
pub struct MainServer(Arc<Shared>);

struct Shared {
    front: Arc<Front>,
    host: String,
    port: u16,
    bound: Mutex<Option<Server>>,
}

/// What every request meets first.
struct Front {
    api: Arc<Api>,
    filter: ArcSwapOption<BasicFilter>,
}

impl MainServer {
    /// Listens on `host:port` without TLS until a configuration says otherwise.
    pub async fn bind(address: &str, api: Arc<Api>) -> anyhow::Result<Self> {
        let (host, port) =
            address.rsplit_once(':').context("--server.http.listen-addr is written as host:port")?;
        let port = port.parse().with_context(|| format!("--server.http.listen-addr: {port:?} is no port"))?;
        let front = Arc::new(Front { api, filter: ArcSwapOption::empty() });
        let server = Self(Arc::new(Shared { front, host: host.into(), port, bound: Mutex::new(None) }));
        server.rebind(None).await?;
        Ok(server)
    }

    /// Where it listens.
    pub async fn address(&self) -> Option<std::net::SocketAddr> {
        self.0.bound.lock().await.as_ref().map(Server::address)
    }

    async fn rebind(&self, tls: Option<Arc<ServerTls>>) -> Result<(), net::Error> {
        let mut bound = self.0.bound.lock().await;
        // Port 0 means any free port, but the same one from then on.
        let port = bound.as_ref().map_or(self.0.port, |b| b.address().port());
        let options = ServerOptions { tls, ..ServerOptions::default() }.max_body(MOST_BODY);
        let server =
            Server::bind("the main server", &self.0.host, port, options, self.0.front.clone()).await?;
        *bound = Some(server);
        Ok(())
    }

    /// Takes an `http` block. Certificates are read here, so that a bad one is refused; the change of the
    /// listener follows at once, in the background.
    pub fn apply(&self, args: &ServiceHttpArgs) -> Result<(), Error> {
        let tls = match &args.tls {
            None => None,
            Some(args) => {
                let refused = |e: net::Error| Error::argument("tls", e.to_string());
                let tls = ServerTls::for_service(args).map_err(refused)?;
                tls.config().map_err(refused)?;
                Some(Arc::new(tls))
            }
        };
        self.0.front.filter.store(args.auth.as_ref().and_then(BasicFilter::new).map(Arc::new));
        let server = self.clone();
        tokio::spawn(async move {
            if let Err(error) = server.rebind(tls).await {
                tracing::error!(%error, "the HTTP server keeps its old settings");
            }
        });
        Ok(())
    }

    /// Answers what is under way and stops.
    pub async fn shutdown(&self) {
        if let Some(server) = self.0.bound.lock().await.take() {
            server.shutdown(DRAIN).await;
        }
    }
}

impl StreamHandler for Front {
    fn handle(&self, request: http::Request<RequestBody>) -> BoxFuture<'_, http::Response<ResponseBody>> {
        Box::pin(async move {
            if let Some(filter) = self.filter.load_full()
                && let Some(refusal) = filter.refuse(request.uri().path(), request.headers())
            {
                return refusal;
            }
            let (head, body) = request.into_parts();
            let body = match body.whole().await {
                Ok(body) => body,
                Err(error) => return text(error.status(), format!("{error}\n")),
            };
            match self.api.answer(http::Request::from_parts(head, body)).await {
                Reply::Whole(response) => response.map(full),
                Reply::Stream(texts, share) => http::Response::new(parts(texts, share)),
            }
        })
    }
}

/// A share of the texts as they come, each with the mark that Alloy's UI splits at.
fn parts(texts: broadcast::Receiver<Arc<str>>, share: f64) -> ResponseBody {
    let frames = stream::unfold(texts, move |mut texts| async move {
        loop {
            match texts.recv().await {
                // From 0 to below 1: a share of 1 is all of them.
                Ok(_) if fastrand::f64() >= share => {}
                Ok(text) => {
                    let frame = Frame::data(Bytes::from(format!("{text}|;|")));
                    return Some((Ok(frame), texts));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

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
use tokio_util::task::TaskTracker;
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
    /// TLS of the configuration that was loaded last.
    wanted: ArcSwapOption<ServerTls>,
    /// Changes of the listener that are under way.
    changes: TaskTracker,
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
        let server = Self(Arc::new(Shared {
            front,
            host: host.into(),
            port,
            bound: Mutex::new(None),
            wanted: ArcSwapOption::empty(),
            changes: TaskTracker::new(),
        }));
        server.rebind().await.context("--server.http.listen-addr")?;
        Ok(server)
    }

    /// Where it listens.
    pub async fn address(&self) -> Option<std::net::SocketAddr> {
        self.0.bound.lock().await.as_ref().map(Server::address)
    }

    /// Brings the listener to what is wanted by the time that it is this call's turn: of several changes the last
    /// one stays, whichever comes to its turn last.
    async fn rebind(&self) -> Result<(), net::Error> {
        let mut bound = self.0.bound.lock().await;
        let tls = self.0.wanted.load_full();
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
        self.0.wanted.store(tls);
        let server = self.clone();
        self.0.changes.spawn(async move {
            if let Err(error) = server.rebind().await {
                tracing::error!(%error, "the HTTP server keeps its old settings");
            }
        });
        Ok(())
    }

    /// Answers what is under way and stops.
    pub async fn shutdown(&self) {
        // One that is under way would listen again afterwards.
        self.0.changes.close();
        self.0.changes.wait().await;
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
                Reply::Stream(texts, share) => http::Response::new(parts(texts, share, fastrand::Rng::new())),
            }
        })
    }
}

/// A share of the texts as they come, each with the mark that Alloy's UI splits at.
fn parts(texts: broadcast::Receiver<Arc<str>>, share: f64, chance: fastrand::Rng) -> ResponseBody {
    let frames = stream::unfold((texts, chance), move |(mut texts, mut chance)| async move {
        loop {
            match texts.recv().await {
                // From 0 to below 1: a share of 1 is all of them.
                Ok(_) if chance.f64() >= share => {}
                Ok(text) => {
                    let frame = Frame::data(Bytes::from(format!("{text}|;|")));
                    return Some((Ok(frame), (texts, chance)));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of as many texts are shown.
    async fn shown(texts: usize, share: f64, seed: u64) -> Vec<usize> {
        let (sender, receiver) = broadcast::channel(texts);
        for number in 0..texts {
            sender.send(Arc::from(number.to_string())).expect("there is a receiver");
        }
        drop(sender);
        let body = parts(receiver, share, fastrand::Rng::with_seed(seed)).collect().await.expect("it ends");
        let body = String::from_utf8(body.to_bytes().into()).expect("text");
        body.split_terminator("|;|").map(|text| text.parse().expect("a number")).collect()
    }

    #[tokio::test]
    async fn a_stream_shows_the_share_of_the_texts_that_was_asked_for() {
        assert_eq!(shown(1000, 1.0, 1).await, (0..1000).collect::<Vec<_>>());
        assert_eq!(shown(1000, 0.0, 1).await, [] as [usize; 0]);
        for (share, seed) in [(0.25, 1), (0.25, 2), (0.5, 3), (0.9, 4)] {
            let numbers = shown(10_000, share, seed).await;
            // Four standard deviations of so many draws are below 200.
            assert!((numbers.len() as f64 - share * 10_000.0).abs() < 200.0, "{share}: {}", numbers.len());
            assert!(numbers.is_sorted(), "they come in their order");
            // Of each part of the stream, not of its beginning only.
            for part in numbers.chunk_by(|a, b| a / 1000 == b / 1000) {
                assert!((part.len() as f64 - share * 1000.0).abs() < 100.0, "{share}: {}", part.len());
            }
        }
    }

    /// Whether the server answers without TLS.
    async fn answers_plainly(server: &MainServer) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = server.address().await.expect("it listens");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        stream
            .write_all(b"GET /-/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .expect("written");
        let mut answer = Vec::new();
        // One that speaks TLS says so in an alert, or hangs up.
        let _ = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1")
    }

    /// One worker runs what was spawned last first: the changes come to their turn in the wrong order.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn of_two_quick_changes_of_tls_the_last_one_stays() {
        net::install_provider();
        let services = component::Services::for_tests("unused");
        let host: Arc<dyn web::Host> = Arc::new(crate::run::LateHost::default());
        let api = Arc::new(Api::new(host, services, "/", false));
        let server = MainServer::bind("127.0.0.1:0", api).await.expect("bound");
        assert!(answers_plainly(&server).await);
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let text = format!(
            "tls {{\ncert_pem = {:?}\nkey_pem = {:?}\n}}",
            key.cert.pem(),
            key.signing_key.serialize_pem()
        );
        let args = |text: &str| {
            let source = syntax::Source::new("http", text);
            let (file, _) = syntax::parse(&source);
            let names = component::testkit::Names::default();
            let scope = eval::Scope::new(&names);
            let (args, found) = eval::decode::<ServiceHttpArgs>(&source, &file.body, None, &scope);
            args.unwrap_or_else(|| panic!("{found:?}"))
        };
        for (order, plain) in [([&text[..], ""], true), (["", &text], false)] {
            let (both, to) = (order.map(args), server.clone());
            tokio::spawn(async move { both.iter().try_for_each(|args| to.apply(args)) })
                .await
                .expect("no panic")
                .expect("good arguments");
            server.0.changes.close();
            server.0.changes.wait().await;
            assert_eq!(answers_plainly(&server).await, plain);
        }
        server.shutdown().await;
    }

    #[tokio::test]
    async fn texts_that_were_missed_do_not_end_the_stream() {
        let (sender, receiver) = broadcast::channel(2);
        for number in 0..5 {
            sender.send(Arc::from(number.to_string())).expect("there is a receiver");
        }
        drop(sender);
        let body = parts(receiver, 1.0, fastrand::Rng::with_seed(1)).collect().await.expect("it ends");
        assert_eq!(body.to_bytes(), "3|;|4|;|");
    }
}

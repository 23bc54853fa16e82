//! Servers, certificates and clients for the tests.

use std::sync::Arc;

use bytes::Bytes;
use component::BoxFuture;
use http::{Request, Response, StatusCode};
use net::args::HttpClientArgs;
use net::server::{Handler, whole};
use net::{Client, ClientOptions, Server, ServerOptions, Url};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A handler made of a closure.
pub struct Answer<F>(pub F);

impl<F> Handler for Answer<F>
where
    F: Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
{
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(std::future::ready((self.0)(request)))
    }
}

/// A server on a free port of the loopback.
pub async fn serve(f: impl Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Server {
    serve_with(ServerOptions::default(), f).await
}

/// As [`serve`], with options.
pub async fn serve_with(
    options: ServerOptions,
    f: impl Fn(Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> Server {
    net::install_provider();
    Server::bind("test", "127.0.0.1", 0, options, whole(Answer(f))).await.expect("loopback is free")
}

/// What a server was asked.
pub type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A server that answers 200 and keeps what it was asked.
pub async fn recorder() -> (Server, Seen) {
    let seen = Seen::default();
    let inner = seen.clone();
    let server = serve(move |request| {
        inner.lock().push(request);
        reply(200, "ok")
    })
    .await;
    (server, seen)
}

pub fn reply(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub fn url(server: &Server, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address())).unwrap()
}

pub fn client(args: &HttpClientArgs) -> Client {
    net::install_provider();
    Client::new(args, ClientOptions::new("test/1")).unwrap()
}

/// A header of a request that was seen.
pub fn header(seen: &Seen, index: usize, name: &str) -> Option<String> {
    let seen = seen.lock();
    seen[index].headers().get(name).map(|v| v.to_str().unwrap().to_owned())
}

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Each has a name of its own, as real ones do.
        let name = format!("authority of {:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(&self, names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|n| (*n).to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

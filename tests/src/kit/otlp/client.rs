//! A client of either protocol. It tells apart what the specification has clients retry from what it does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::items::Kind;
use super::{framed, gzip};

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Taken,
    /// Answered with what the specification has a client retry.
    Later(String),
    /// There was no answer: nobody listens, or the connection ended. Clients retry that.
    NoAnswer(String),
    /// Answered with what is final: the client has lost its data.
    Refused(String),
}

/// Whom a client with TLS trusts.
#[derive(Clone)]
pub struct Trust(Arc<rustls::ClientConfig>);

/// An authority: its certificate, and what makes certificates for `localhost` by it, each with its key.
pub fn authority() -> (String, impl Fn() -> (String, String)) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed").pem();
    let issuer = Issuer::new(params, key);
    (certificate, move || {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        (params.signed_by(&key, &issuer).expect("signed").pem(), key.serialize_pem())
    })
}

impl Trust {
    /// In those whom this authority has signed for.
    pub fn in_authority(pem: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes());
        roots.add(certificate.expect("a certificate")).expect("an authority");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self(Arc::new(config))
    }
}

/// A client with one connection, made anew when it has ended.
pub struct Client {
    grpc: bool,
    pub address: SocketAddr,
    /// Bodies are compressed.
    pub gzip: bool,
    pub trust: Option<Trust>,
    connection: Option<Connection>,
    /// Certificate of the server, as it was shown last.
    pub shown: Option<Vec<u8>>,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The longest that an answer may take; above what the program gives its consumers.
const PATIENCE: Duration = Duration::from_secs(40);

impl Client {
    pub fn http(address: SocketAddr) -> Self {
        Self { grpc: false, address, gzip: false, trust: None, connection: None, shown: None }
    }

    pub fn grpc(address: SocketAddr) -> Self {
        Self { grpc: true, ..Self::http(address) }
    }

    /// Ends the connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends a serialised request.
    pub async fn send(&mut self, kind: Kind, body: &[u8]) -> Outcome {
        let body = if self.gzip { gzip(body) } else { body.to_vec() };
        self.send_packed(kind, &body).await
    }

    /// Sends bytes as they are; `gzip` says what the headers tell of them.
    pub async fn send_packed(&mut self, kind: Kind, body: &[u8]) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.exchange(kind, body)).await {
            Ok(outcome) => {
                if matches!(outcome, Outcome::NoAnswer(_)) {
                    self.connection = None;
                }
                outcome
            }
            Err(_) => {
                self.connection = None;
                Outcome::NoAnswer("nothing came in time".into())
            }
        }
    }

    async fn exchange(&mut self, kind: Kind, body: &[u8]) -> Outcome {
        // A request that was not sent at all may be sent over a new connection, as every client does.
        for _ in 0..2 {
            if let Err(error) = self.connect().await {
                return Outcome::NoAnswer(format!("connecting: {error}"));
            }
            let request = self.request(kind, body);
            let sent = match self.connection.as_mut().expect("connected") {
                Connection::Http1(sender) => sender.send_request(request).await,
                Connection::Http2(sender) => sender.send_request(request).await,
            };
            match sent {
                Ok(response) => return self.judge(response).await,
                Err(error) if error.is_canceled() => self.connection = None,
                Err(error) => return Outcome::NoAnswer(format!("{error:?}")),
            }
        }
        Outcome::NoAnswer("connections end before a request is sent".into())
    }

    fn request(&self, kind: Kind, body: &[u8]) -> Request<Full<Bytes>> {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        if self.grpc {
            let request = Request::post(format!("{scheme}://localhost{}", kind.method()))
                .version(Version::HTTP_2)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-encoding", if self.gzip { "gzip" } else { "identity" });
            return request.body(Full::new(framed(self.gzip, body).into())).expect("a request");
        }
        let mut request = Request::post(kind.path())
            .header("host", "localhost")
            .header("content-type", "application/x-protobuf");
        if self.gzip {
            request = request.header("content-encoding", "gzip");
        }
        request.body(Full::new(body.to_vec().into())).expect("a request")
    }

    async fn connect(&mut self) -> Result<(), String> {
        let alive = match &mut self.connection {
            Some(Connection::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Connection::Http2(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if alive {
            return Ok(());
        }
        let told = |e: std::io::Error| e.to_string();
        let stream = TcpStream::connect(self.address).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        self.connection = Some(match &self.trust {
            None => self.shake(stream).await?,
            Some(Trust(config)) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let mut config = (**config).clone();
                config.alpn_protocols = vec![if self.grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                let stream = connector.connect(name, stream).await.map_err(told)?;
                let shown = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
                self.shown = shown.map(|c| c.as_ref().to_vec());
                self.shake(stream).await?
            }
        });
        Ok(())
    }

    async fn shake<S>(&self, stream: S) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let told = |e: hyper::Error| format!("{e:?}");
        if self.grpc {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(told)?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }

    async fn judge(&self, response: http::Response<Incoming>) -> Outcome {
        let (head, body) = response.into_parts();
        let collected = match body.collect().await {
            Ok(collected) => collected,
            Err(error) => return Outcome::NoAnswer(format!("in the middle of an answer: {error:?}")),
        };
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = head.status.as_u16();
        if self.grpc && status == 200 {
            return grpc_outcome(&head.headers, &trailers);
        }
        let text = format!("{status} {}", String::from_utf8_lossy(&collected.to_bytes()));
        match status {
            200 => Outcome::Taken,
            // As OTLP says for HTTP, and gRPC for answers that are not its own.
            429 | 502 | 503 | 504 => Outcome::Later(text),
            _ => Outcome::Refused(text),
        }
    }
}

fn grpc_outcome(headers: &HeaderMap, trailers: &HeaderMap) -> Outcome {
    let find = |name: &str| {
        let value = trailers.get(name).or_else(|| headers.get(name));
        value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (code, message) = (find("grpc-status"), find("grpc-message"));
    let text = format!("grpc-status {code} {message}");
    match code.as_str() {
        "0" => Outcome::Taken,
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        "1" | "4" | "10" | "11" | "14" | "15" => Outcome::Later(text),
        // Resource exhausted, where the server says when to come back.
        "8" if !find("grpc-status-details-bin").is_empty() => Outcome::Later(text),
        _ => Outcome::Refused(text),
    }
}

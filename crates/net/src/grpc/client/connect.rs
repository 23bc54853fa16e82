//! One connection: address → proxy → TLS → HTTP/2.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use url::Url;

use super::{Balancing, ChannelOptions, Framed};
use crate::error::{Error, Kind, causes};
use crate::tls::ClientTls;

/// Largest head of an answer, trailers as well; more is refused by the protocol itself.
const MAX_HEAD: u32 = 64 << 10;
/// Largest answer of a proxy.
const MAX_PROXY_ANSWER: usize = 8 << 10;
/// Asked more often for signs of life than that, servers close connections; Go's clients have the same.
const LEAST_SILENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// Where calls go, as it is written in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A name or an address, and a port.
    Host {
        /// Without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `host:port`, also behind `dns:///`, `passthrough:///`, `http://` and `https://`, or `unix:path`.
    ///
    /// # Errors
    /// If it is neither; the text says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(format!("{text:?} names no socket")),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let mut rest = text;
        for scheme in ["http://", "https://", "dns:///", "dns://", "dns:", "passthrough:///"] {
            if let Some(after) = text.strip_prefix(scheme) {
                rest = after;
                break;
            }
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Err("is empty: write host:port".into());
        }
        if let Some((scheme, _)) = rest.split_once("://") {
            return Err(format!("scheme {scheme:?} is not supported: write host:port"));
        }
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(format!("{text:?} has no port: write host:port"));
        };
        let port = port.parse().map_err(|_| format!("{port:?} is not a port: write host:port"))?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if bare.is_none() && (host.contains(':') || host.contains('/')) {
            return Err(format!("{text:?} is not host:port; an IPv6 address stands in brackets"));
        }
        // As in Go, no host is this one.
        let host = Some(bare.unwrap_or(host)).filter(|host| !host.is_empty()).unwrap_or("localhost");
        Ok(Self::Host { host: host.to_owned(), port })
    }

    /// `host:port`, or the path of a socket.
    pub fn shown(&self) -> String {
        match self {
            Self::Host { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Host { host, port } => format!("{host}:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Where one connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Socket(SocketAddr),
    Unix(PathBuf),
    /// Through a proxy, which resolves the endpoint's name.
    Proxied(Url),
}

/// A connection that calls can be made on.
pub(super) struct Connection {
    pub sender: http2::SendRequest<Framed>,
}

/// What runs a connection until it ends.
pub(super) type Driving = std::pin::Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// Makes connections to an endpoint.
pub(super) struct Connector {
    pub options: ChannelOptions,
    tls: Option<ClientTls>,
    /// How often a peer has complained of being asked for signs of life.
    complaints: AtomicU32,
}

/// What connections are made of: TCP, Unix sockets, TLS over them.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    pub(super) fn new(options: ChannelOptions) -> Result<Self, Error> {
        let tls = match &options.tls {
            Some((args, extras)) => Some(ClientTls::new(args, true)?.with(extras)?),
            None => None,
        };
        Ok(Self { options, tls, complaints: AtomicU32::new(0) })
    }

    /// Scheme and authority.
    pub(super) fn base(&self) -> Result<Uri, Error> {
        let own = match &self.options.endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            host => host.shown(),
        };
        // As grpc-go: the name that is expected in the certificate is the authority too.
        let named = self.tls.as_ref().and_then(|tls| tls.sni()).unwrap_or(&own);
        let authority = Some(self.options.authority.as_str()).filter(|a| !a.is_empty()).unwrap_or(named);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().map_err(|_| {
            Error::config(format!("authority {authority:?} is neither a host name nor an address"))
        })
    }

    /// The addresses of the endpoint as of now; at least one.
    pub(super) async fn resolve(&self) -> Result<Vec<Address>, Error> {
        let (host, port) = match &self.options.endpoint {
            Endpoint::Unix(path) => return Ok(vec![Address::Unix(path.clone())]),
            Endpoint::Host { host, port } => (host, *port),
        };
        if let Some(proxy) = self.proxy() {
            return Ok(vec![Address::Proxied(proxy)]);
        }
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found = found.map_err(|e| Error::new(Kind::Dns, format!("{host} cannot be resolved: {e}")))?;
        let mut all: Vec<_> = found.map(Address::Socket).collect();
        all.dedup();
        match all.is_empty() {
            true => Err(Error::new(Kind::Dns, format!("{host} has no address"))),
            false => Ok(all),
        }
    }

    /// As grpc-go, which asks for the proxy of `https` whatever the connection is.
    fn proxy(&self) -> Option<Url> {
        let url = Url::parse(&format!("https://{}", self.options.endpoint.shown())).ok()?;
        self.options.proxy.select(&url)
    }

    /// Opens a connection.
    pub(super) async fn connect(&self, address: &Address) -> Result<(Connection, Driving), Error> {
        let limit = self.options.connect_timeout;
        let shown = self.options.endpoint.shown();
        timeout(limit, self.open(address)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("no connection to {shown} within {limit:?}")))
        })
    }

    async fn open(&self, address: &Address) -> Result<(Connection, Driving), Error> {
        let shown = self.options.endpoint.shown();
        let failed =
            |to: &str, e: &std::io::Error| Error::new(Kind::Connect, format!("no connection to {to}: {e}"));
        let stream: Box<dyn Stream> = match address {
            Address::Socket(address) => {
                let to = if shown == address.to_string() { shown } else { format!("{shown} ({address})") };
                Box::new(tcp(address).await.map_err(|e| failed(&to, &e))?)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(|e| failed(&shown, &e))?),
            Address::Proxied(proxy) => Box::new(tunnel(proxy, &shown).await?),
        };
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(self.secure(tls, stream).await?),
            None => stream,
        };
        match self.options.read_buffer {
            0 => self.handshake(stream).await,
            bytes => self.handshake(BufReader::with_capacity(bytes, stream)).await,
        }
    }

    async fn secure(&self, tls: &ClientTls, stream: Box<dyn Stream>) -> Result<impl Stream + use<>, Error> {
        // From the files as they are now.
        let mut config = tls.config(false)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let base = self.base()?;
        let name = base.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::config(format!("{name:?} cannot be the name of a TLS server")))?;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        connector.connect(name, stream).await.map_err(|e| {
            let shown = self.options.endpoint.shown();
            Error::new(Kind::Tls, format!("no TLS with {shown}: {}", causes(&e)))
        })
    }

    async fn handshake(&self, stream: impl Stream + 'static) -> Result<(Connection, Driving), Error> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD)
            .max_send_buf_size(self.options.write_buffer.max(1));
        if let Some(keepalive) = self.options.keepalive.filter(|k| !k.after.is_zero()) {
            let doubled = 1 << self.complaints.load(Ordering::Relaxed).min(10);
            let patience = Some(keepalive.patience).filter(|p| !p.is_zero()).unwrap_or(PATIENCE);
            builder
                .keep_alive_interval(keepalive.after.max(LEAST_SILENCE) * doubled)
                .keep_alive_timeout(patience)
                .keep_alive_while_idle(keepalive.while_idle);
        }
        let (sender, driving) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| {
            let shown = self.options.endpoint.shown();
            Error::new(Kind::Protocol, format!("no HTTP/2 with {shown}: {}", causes(&e)))
        })?;
        Ok((Connection { sender }, Box::pin(driving)))
    }

    /// A connection has ended. Who was told to calm down asks for signs of life half as often, as grpc-go.
    pub(super) fn ended(&self, error: Option<&hyper::Error>) {
        if error.and_then(super::answer::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM) {
            self.complaints.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn uses_all(&self) -> bool {
        self.options.balancing == Balancing::RoundRobin
    }
}

async fn tcp(address: &SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks a proxy for a tunnel (RFC 9110, section 9.3.6).
async fn tunnel(proxy: &Url, to: &str) -> Result<TcpStream, Error> {
    let host = proxy.host_str().unwrap_or_default();
    let failed =
        |why: String| Error::new(Kind::Connect, format!("no connection through the proxy {host}: {why}"));
    if proxy.scheme() != "http" {
        let scheme = proxy.scheme();
        return Err(failed(format!("gRPC goes through http:// proxies, not through {scheme}://")));
    }
    let port = proxy.port_or_known_default().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((bare, port)).await.map_err(|e| failed(e.to_string()))?;
    stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if !proxy.username().is_empty() {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(proxy.username()), decoded(proxy.password().unwrap_or_default()));
        let value = STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| failed(e.to_string()))?;
    let mut answer = Vec::new();
    // Byte by byte: what comes after the head belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_PROXY_ANSWER {
            return Err(failed("its answer has no end".into()));
        }
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(e) => return Err(failed(e.to_string())),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if line.starts_with("HTTP/1.") && status.starts_with('2') => Ok(stream),
        _ => Err(failed(format!("it answered {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_a_port_or_a_socket() {
        for (text, expected) in [
            ("otel:4317", Ok("otel:4317")),
            ("http://otel:4317", Ok("otel:4317")),
            ("https://otel:443/", Ok("otel:443")),
            ("dns:///otel:4317", Ok("otel:4317")),
            ("dns:otel:4317", Ok("otel:4317")),
            ("passthrough:///127.0.0.1:1", Ok("127.0.0.1:1")),
            ("[::1]:4317", Ok("[::1]:4317")),
            (":4317", Ok("localhost:4317")),
            ("unix:///run/otel.sock", Ok("unix:/run/otel.sock")),
            ("unix:otel.sock", Ok("unix:otel.sock")),
            ("", Err("is empty")),
            ("http://", Err("is empty")),
            ("otel", Err("has no port")),
            ("otel:http", Err("is not a port")),
            ("otel:70000", Err("is not a port")),
            ("::1:4317", Err("in brackets")),
            ("https://otel:443/v1/traces", Err("is not a port")),
            ("xds:///otel:4317", Err("not supported")),
            ("unix:", Err("names no socket")),
        ] {
            match (Endpoint::parse(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.shown(), expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}

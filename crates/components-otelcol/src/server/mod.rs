//! The `grpc`, `http`, `tls`, `cors` and `keepalive` blocks that receivers of the family share, and the servers
//! that they stand for.
//!
//! Invariant: an argument is honoured or refused; every limit of a server is finite, also where 0 or an absent
//! argument means "none" in Alloy.

mod cors;
mod policy;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Size};
use component::{Arguments, Error};
use net::grpc::PREFIX;
use net::server::StreamHandler;
use net::{Server, ServerOptions};

use crate::auth::Handler;

pub use cors::{CorsArgs, CorsPolicy};
pub use policy::{HttpPolicy, Unpacked, admit, client, media_type};
pub use tls::TlsServerArgs;

/// How long an idle connection is kept where nothing is said: gRPC's own keepalive.
const IDLE: Duration = Duration::from_secs(7200);
/// How long a request may take to arrive where nothing is said.
const READ: Duration = Duration::from_secs(120);

/// The `grpc` block of a receiver.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct GrpcServerArgs {
    /// Address to listen on, `host:port`; an empty host stands for all addresses.
    #[arg(default = "0.0.0.0:4317".to_string())]
    pub endpoint: String,
    /// Only `tcp`.
    #[arg(default = "tcp".to_string())]
    pub transport: String,
    /// Largest message, both as it is sent and decompressed.
    #[arg(default = Size::mib(4))]
    pub max_recv_msg_size: Size,
    /// Calls at one time on one connection; 0 means 1000.
    #[arg(default)]
    pub max_concurrent_streams: u64,
    /// Bytes of a call that may be on their way before they are read (the HTTP/2 window).
    #[arg(default = Size::kib(512))]
    pub read_buffer_size: Size,
    /// Bytes of answers that may wait for the client to take them; the HTTP/2 library's own limit where it is 0.
    #[arg(default)]
    pub write_buffer_size: Size,
    /// Who may send: the handler of an `otelcol.auth` component that checks clients. Everybody where it is absent.
    pub auth: Option<Handler>,
    /// Notes the metadata of calls for the components below.
    #[arg(default)]
    pub include_metadata: bool,
    /// TLS.
    #[arg(block)]
    pub tls: Option<TlsServerArgs>,
    /// When connections end.
    #[arg(block)]
    pub keepalive: Option<KeepaliveArgs>,
}

/// `keepalive`
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct KeepaliveArgs {
    /// What the server does.
    #[arg(block)]
    pub server_parameters: Option<KeepaliveServer>,
    /// What clients may do.
    #[arg(block, no_effect = "clients may always ask whether the server is there, as often as they like")]
    pub enforcement_policy: Option<KeepalivePolicy>,
}

/// `keepalive > server_parameters`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct KeepaliveServer {
    /// How long a connection may be without a call; 0 means two hours.
    #[arg(default)]
    pub max_connection_idle: Duration,
    /// After how long a connection is told to go; 0 never.
    #[arg(default)]
    pub max_connection_age: Duration,
    /// How long its calls may go on then; 0 without end.
    #[arg(default)]
    pub max_connection_age_grace: Duration,
    /// After how long without a frame a client is asked whether it is there.
    #[arg(default = Duration::from_secs(7200))]
    pub time: Duration,
    /// How long it may take to answer that.
    #[arg(default = Duration::from_secs(20))]
    pub timeout: Duration,
}

/// `keepalive > enforcement_policy`. Clients may ask whether the server is there as often as they like, so that
/// the block, which is written to permit that, has nothing left to permit.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct KeepalivePolicy {
    /// How often clients may ask at most. More than the default cannot be enforced and is refused.
    #[arg(default = Duration::from_secs(300))]
    pub min_time: Duration,
    /// Whether they may ask on connections without a call; they always may.
    #[arg(default)]
    pub permit_without_stream: bool,
}

/// The part of an `http` block that all receivers have.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct HttpServerArgs {
    /// Address to listen on, `host:port`; an empty host stands for all addresses.
    #[arg(default = "0.0.0.0:4318".to_string())]
    pub endpoint: String,
    /// Who may send: the handler of an `otelcol.auth` component that checks clients. Everybody where it is absent.
    pub auth: Option<Handler>,
    /// Largest body, both as it is sent and decompressed; 0 means 20MiB.
    #[arg(default = Size::mib(20))]
    pub max_request_body_size: Size,
    /// Notes the headers of requests for the components below.
    #[arg(default)]
    pub include_metadata: bool,
    /// Values of Content-Encoding that are accepted; `""` stands for bodies that are not compressed. `lz4` may be
    /// named but is answered with 415.
    #[arg(default = ENCODINGS.map(String::from).to_vec())]
    pub compression_algorithms: Vec<String>,
    /// Keeps HTTP/1 connections open for more than one request.
    #[arg(default = true)]
    pub keep_alives_enabled: bool,
    /// How long a connection may be without a request; 0 means one minute.
    #[arg(default = Duration::from_secs(60))]
    pub idle_timeout: Duration,
    /// How long a request may take to arrive; 0 means two minutes.
    #[arg(default)]
    pub read_timeout: Duration,
    /// How long a client may take none of its answer; 0 means 30 seconds.
    #[arg(default = Duration::from_secs(30))]
    pub write_timeout: Duration,
    /// How long the first request's head may take; 0 means as long as the whole.
    #[arg(default = Duration::from_secs(60))]
    pub read_header_timeout: Duration,
    /// TLS.
    #[arg(block)]
    pub tls: Option<TlsServerArgs>,
    /// What pages of other sites may send.
    #[arg(block)]
    pub cors: Option<CorsArgs>,
}

/// The encodings of HTTP that otelcol knows.
const ENCODINGS: [&str; 7] = ["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4"];

impl Default for GrpcServerArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

impl Default for HttpServerArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

impl KeepalivePolicy {
    fn validate(&self) -> Result<(), Invalid> {
        if self.min_time > Duration::from_secs(300) {
            let message = "min_time above 5m cannot be enforced: clients may ask as often as they like";
            return Err(Invalid::field("min_time", message).with_help("remove the argument"));
        }
        Ok(())
    }
}

/// Host and port of an endpoint.
pub fn endpoint(text: &str) -> Result<(&str, u16), Invalid> {
    let refuse = |why: &str| {
        let message = format!("{text:?} is not an address to listen on: {why}");
        Invalid::field("endpoint", message).with_help("write host:port, such as \"0.0.0.0:4317\"")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| refuse("it has no port"))?;
    if host.contains("//") {
        return Err(refuse("it is a URL"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(refuse("an IPv6 address stands in brackets"));
    }
    let port = port.parse().map_err(|_| refuse("the port is no number from 0 to 65535"))?;
    Ok((host, port))
}

async fn bind(
    owner: &str,
    address: &str,
    options: ServerOptions,
    handler: Arc<dyn StreamHandler>,
) -> Result<Server, Error> {
    let (host, port) = endpoint(address).map_err(|e| Error::argument("endpoint", e.message))?;
    Ok(Server::bind(owner, host, port, options, handler).await?)
}

fn for_servers(auth: Option<&Handler>) -> Result<(), Error> {
    match auth.filter(|handler| !handler.is_for_servers()) {
        None => Ok(()),
        Some(handler) => {
            let message = format!("{} cannot check requests of clients", handler.owner());
            Err(Error::argument("auth", message))
        }
    }
}

fn some(value: Duration) -> Option<Duration> {
    (!value.is_zero()).then_some(value)
}

/// Windows of HTTP/2 end at 2^31-1 (RFC 9113, section 6.9.1).
fn window(size: Size, least: u64) -> u32 {
    size.bytes().clamp(least, i32::MAX as u64) as u32
}

impl GrpcServerArgs {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        endpoint(&self.endpoint)?;
        if self.transport != "tcp" {
            let message = format!("the transport {:?} is not supported", self.transport);
            return Err(Invalid::field("transport", message).with_help("use \"tcp\" or remove the argument"));
        }
        if self.max_recv_msg_size.bytes() > u64::from(u32::MAX) {
            let message = "max_recv_msg_size must be below 4GiB: gRPC has no longer messages";
            return Err(Invalid::field("max_recv_msg_size", message));
        }
        Ok(())
    }

    /// Bytes of a message. 0 is Alloy's way to say "the default".
    pub fn max_message(&self) -> usize {
        match self.max_recv_msg_size.bytes() {
            0 => 4 << 20,
            given => usize::try_from(given).unwrap_or(usize::MAX),
        }
    }

    /// Binds the server; `owner` names it in the log.
    ///
    /// # Errors
    /// If the arguments do not work together or the address cannot be had.
    pub async fn bind(&self, owner: &str, handler: Arc<dyn StreamHandler>) -> Result<Server, Error> {
        bind(owner, &self.endpoint, self.options()?, handler).await
    }

    /// The server. Reads no file.
    ///
    /// # Errors
    /// If the TLS arguments do not work together, or `auth` is one for clients.
    pub fn options(&self) -> Result<ServerOptions, Error> {
        for_servers(self.auth.as_ref())?;
        let keepalive = self
            .keepalive
            .clone()
            .unwrap_or_default()
            .server_parameters
            .unwrap_or_else(component::eval::Arguments::defaults);
        let stream_window = window(self.read_buffer_size, 65_535);
        Ok(ServerOptions {
            tls: self.tls.as_ref().map(TlsServerArgs::server).transpose()?,
            max_body: self.max_message().saturating_add(PREFIX),
            // As grpc-go gives a connection to begin.
            head_timeout: Some(Duration::from_secs(120)),
            idle_timeout: some(keepalive.max_connection_idle).unwrap_or(IDLE),
            max_age: some(keepalive.max_connection_age),
            max_age_grace: some(keepalive.max_connection_age_grace),
            max_streams: match self.max_concurrent_streams {
                0 => 1000,
                given => u32::try_from(given).unwrap_or(u32::MAX),
            },
            stream_window: Some(stream_window),
            connection_window: Some(stream_window.max(1 << 20)),
            send_buffer: usize::try_from(self.write_buffer_size.bytes())
                .ok()
                .filter(|size| (1..=u32::MAX as usize).contains(size)),
            ping: some(keepalive.time)
                .map(|after| (after, some(keepalive.timeout).unwrap_or(Duration::from_secs(20)))),
            ..ServerOptions::default()
        })
    }
}

impl HttpServerArgs {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        endpoint(&self.endpoint)?;
        if let Some(unknown) = self.compression_algorithms.iter().find(|a| !ENCODINGS.contains(&a.as_str())) {
            let message = format!("{unknown:?} is not a compression: use {}", ENCODINGS[1..].join(", "));
            return Err(Invalid::field("compression_algorithms", message));
        }
        if self.max_request_body_size.bytes() > u64::from(u32::MAX) {
            return Err(Invalid::field("max_request_body_size", "max_request_body_size must be below 4GiB"));
        }
        Ok(())
    }

    /// Bytes of a body.
    pub fn max_body(&self) -> usize {
        match self.max_request_body_size.bytes() {
            0 => 20 << 20,
            given => usize::try_from(given).unwrap_or(usize::MAX),
        }
    }

    /// Binds the server; `owner` names it in the log.
    ///
    /// # Errors
    /// If the arguments do not work together or the address cannot be had.
    pub async fn bind(&self, owner: &str, handler: Arc<dyn StreamHandler>) -> Result<Server, Error> {
        bind(owner, &self.endpoint, self.options()?, handler).await
    }

    /// The server. Reads no file.
    ///
    /// # Errors
    /// If the TLS arguments do not work together, or `auth` is one for clients.
    pub fn options(&self) -> Result<ServerOptions, Error> {
        for_servers(self.auth.as_ref())?;
        Ok(ServerOptions {
            tls: self.tls.as_ref().map(TlsServerArgs::server).transpose()?,
            max_body: self.max_body(),
            read_timeout: some(self.read_timeout).unwrap_or(READ),
            head_timeout: some(self.read_header_timeout),
            write_timeout: some(self.write_timeout).unwrap_or(Duration::from_secs(30)),
            idle_timeout: some(self.idle_timeout).unwrap_or(Duration::from_secs(60)),
            ..ServerOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (text, expected) in [
            ("0.0.0.0:4317", Some(("0.0.0.0", 4317))),
            (":4317", Some(("", 4317))),
            ("localhost:0", Some(("localhost", 0))),
            ("[::1]:1", Some(("[::1]", 1))),
            ("::1:4317", None),
            ("localhost", None),
            ("http://localhost:4318", None),
            ("x:65536", None),
            ("x:", None),
        ] {
            assert_eq!(endpoint(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn keepalive_and_limits_reach_the_server() {
        let server = KeepaliveServer {
            max_connection_idle: Duration::from_secs(1),
            max_connection_age: Duration::from_secs(2),
            max_connection_age_grace: Duration::from_secs(3),
            time: Duration::from_secs(4),
            timeout: Duration::from_secs(5),
        };
        let keepalive = KeepaliveArgs { server_parameters: Some(server), enforcement_policy: None };
        let args = GrpcServerArgs {
            keepalive: Some(keepalive),
            max_concurrent_streams: 7,
            read_buffer_size: Size::mib(2),
            write_buffer_size: Size::kib(64),
            ..GrpcServerArgs::default()
        };
        let options = args.options().expect("no TLS");
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(Some(options.idle_timeout), seconds(1));
        assert_eq!((options.max_age, options.max_age_grace), (seconds(2), seconds(3)));
        assert_eq!(options.ping, Some((Duration::from_secs(4), Duration::from_secs(5))));
        assert_eq!((options.max_streams, options.max_body), (7, (4 << 20) + PREFIX));
        assert_eq!((options.stream_window, options.send_buffer), (Some(2 << 20), Some(64 << 10)));
        let options = GrpcServerArgs::default().options().expect("no TLS");
        assert_eq!((options.idle_timeout, options.max_age, options.max_streams), (IDLE, None, 1000));
        let options = HttpServerArgs::default().options().expect("no TLS");
        assert_eq!((options.read_timeout, options.head_timeout), (READ, seconds(60)));
        assert_eq!((options.idle_timeout, options.max_body), (Duration::from_secs(60), 20 << 20));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let grpc = |change: fn(&mut GrpcServerArgs)| {
            let mut args = GrpcServerArgs::default();
            change(&mut args);
            args.validate().map_err(|e| e.field)
        };
        assert_eq!(grpc(|_| {}), Ok(()));
        assert_eq!(grpc(|a| a.transport = "unix".into()), Err(Some("transport")));
        assert_eq!(grpc(|a| a.max_recv_msg_size = Size(1 << 33)), Err(Some("max_recv_msg_size")));
        let policy = KeepalivePolicy { min_time: Duration::from_secs(301), permit_without_stream: true };
        assert_eq!(policy.validate().map_err(|e| e.field), Err(Some("min_time")));
        let http = HttpServerArgs { compression_algorithms: vec!["br".into()], ..HttpServerArgs::default() };
        assert_eq!(http.validate().map_err(|e| e.field), Err(Some("compression_algorithms")));
    }
}

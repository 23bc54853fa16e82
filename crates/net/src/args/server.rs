//! The argument sets of servers: the `http` and `grpc` blocks of receivers, and the `http` block of the
//! program's own server.

use std::time::Duration;

use component::Arguments;
use component::eval::{Invalid, Secret};

use super::tls::{TlsVersion, certificate_pair, exclusive};
use crate::tls::ClientAuth;

/// The `http` block of a receiver.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct HttpServerArgs {
    /// Address to listen on; all addresses where it is empty.
    #[arg(default)]
    pub listen_address: String,
    /// Port to listen on; 0 takes any free one.
    #[arg(default = 8080)]
    pub listen_port: i64,
    /// Connections at one time; 0 means 16384.
    #[arg(default)]
    pub conn_limit: i64,
    /// How long a request may take to arrive.
    #[arg(default = Duration::from_secs(30))]
    pub server_read_timeout: Duration,
    /// How long a client may take none of its response.
    #[arg(default = Duration::from_secs(30))]
    pub server_write_timeout: Duration,
    /// How long a connection may be idle between requests.
    #[arg(default = Duration::from_secs(120))]
    pub server_idle_timeout: Duration,
    /// TLS.
    #[arg(block)]
    pub tls: Option<ServerTlsArgs>,
    /// HTTP/2.
    #[arg(block)]
    pub http2: Option<Http2Args>,
}

impl Default for HttpServerArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// The `http2` block of a receiver's `http` block. HTTP/2 is always spoken, with and without TLS; the
/// block changes its limits.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Http2Args {
    /// Whether the limits of this block are in force; without it HTTP/2 is spoken with default limits.
    #[arg(default)]
    pub enabled: bool,
    /// Requests handled at one time over all connections; 0 leaves it to the other limits.
    #[arg(default)]
    pub max_handlers: i64,
    /// Requests at one time on one connection.
    #[arg(default = 100)]
    pub max_concurrent_streams: u64,
    /// Size of the header table that peers may use.
    #[arg(default = 4096)]
    pub max_decoder_header_table_size: u64,
    /// Size of the header table that is used towards peers.
    #[arg(default = 4096)]
    pub max_encoder_header_table_size: u64,
    /// Largest frame accepted, from 16384 to 16777215.
    #[arg(default)]
    pub max_read_frame_size: u64,
    /// Permits ciphers that HTTP/2 prohibits.
    #[arg(default, no_effect = "ciphers that HTTP/2 prohibits are not part of this program")]
    pub permit_prohibited_ciphers: bool,
    /// How long a connection may be idle; the block around it decides where it is 0.
    #[arg(default)]
    pub idle_timeout: Duration,
    /// After how long without a frame the peer is asked whether it is there.
    #[arg(default)]
    pub read_idle_timeout: Duration,
    /// How long the peer may take to answer that.
    #[arg(default = Duration::from_secs(15))]
    pub ping_timeout: Duration,
    /// How long a peer may take no byte; the block around it decides where it is 0.
    #[arg(default)]
    pub write_byte_timeout: Duration,
    /// Bytes a connection may have on its way to a handler.
    #[arg(default)]
    pub max_upload_buffer_per_connection: i64,
    /// Bytes a request may have on its way to a handler.
    #[arg(default)]
    pub max_upload_buffer_per_stream: i64,
}

impl Default for Http2Args {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// The `grpc` block of a receiver.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct GrpcServerArgs {
    /// Address to listen on; all addresses where it is empty.
    #[arg(default)]
    pub listen_address: String,
    /// Port to listen on; 0 takes any free one.
    #[arg(default)]
    pub listen_port: i64,
    /// Connections at one time; 0 means 16384.
    #[arg(default)]
    pub conn_limit: i64,
    /// After how long a connection is told to go; 0 never.
    #[arg(default)]
    pub max_connection_age: Duration,
    /// How long its requests may go on then; 0 without end.
    #[arg(default)]
    pub max_connection_age_grace: Duration,
    /// How long a connection may be without requests; 0 without end.
    #[arg(default)]
    pub max_connection_idle: Duration,
    /// Largest message accepted, in bytes.
    #[arg(default = 4_194_304)]
    pub server_max_recv_msg_size: i64,
    /// Largest message sent, in bytes.
    #[arg(default = 4_194_304)]
    pub server_max_send_msg_size: i64,
    /// Requests at one time on one connection.
    #[arg(default = 100)]
    pub server_max_concurrent_streams: u64,
    /// TLS.
    #[arg(block)]
    pub tls: Option<ServerTlsArgs>,
}

impl Default for GrpcServerArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// The `tls` block of a receiver's `http` or `grpc` block.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct ServerTlsArgs {
    /// The server's certificate chain (PEM).
    #[arg(default)]
    pub cert_pem: String,
    /// The server's private key (PEM).
    #[arg(default)]
    pub key_pem: Secret,
    /// File with the certificate chain; read again when it changes.
    #[arg(default)]
    pub cert_file: String,
    /// File with the private key; read again when it changes.
    #[arg(default)]
    pub key_file: String,
    /// What is asked of clients.
    #[arg(default, code_type = "string")]
    pub client_auth_type: ClientAuth,
    /// File with the certificates of the authorities that may have signed those of clients.
    #[arg(default)]
    pub client_ca_file: String,
    /// Such certificates (PEM).
    #[arg(default)]
    pub client_ca: String,
    /// Cipher suites of TLS 1.2, separated by commas, by their IANA names.
    #[arg(default)]
    pub cipher_suites: String,
    /// Oldest version accepted: `VersionTLS12` or `VersionTLS13`; the older two mean 1.2.
    #[arg(default)]
    pub min_version: String,
}

impl Default for ServerTlsArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// The top-level `http` block.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct ServiceHttpArgs {
    /// Who may use the server.
    #[arg(block)]
    pub auth: Option<ServiceAuth>,
    /// TLS.
    #[arg(block)]
    pub tls: Option<ServiceTlsArgs>,
}

/// `http > auth`.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct ServiceAuth {
    /// User name and password.
    #[arg(block)]
    pub basic: Option<ServiceBasicAuth>,
    /// Which paths are protected; every path where the block is absent.
    #[arg(block, default = ServiceFilter::default())]
    pub filter: ServiceFilter,
}

/// `http > auth > basic`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ServiceBasicAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// `http > auth > filter`. Absent, it protects everything; written empty, nothing.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ServiceFilter {
    /// Prefixes of paths.
    #[arg(default)]
    pub paths: Vec<String>,
    /// Whether the paths listed are protected, or all others.
    #[arg(default = true)]
    pub authenticate_matching_paths: bool,
}

impl Default for ServiceFilter {
    /// As when the block is absent: no path is left out.
    fn default() -> Self {
        Self { paths: Vec::new(), authenticate_matching_paths: false }
    }
}

/// `http > tls`.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct ServiceTlsArgs {
    /// The server's certificate chain (PEM).
    #[arg(default)]
    pub cert_pem: String,
    /// File with the certificate chain; read again when it changes.
    #[arg(default)]
    pub cert_file: String,
    /// The server's private key (PEM).
    #[arg(default)]
    pub key_pem: Secret,
    /// File with the private key; read again when it changes.
    #[arg(default)]
    pub key_file: String,
    /// Certificates (PEM) of the authorities that may have signed those of clients.
    #[arg(default)]
    pub client_ca_pem: String,
    /// File with such certificates.
    #[arg(default)]
    pub client_ca_file: String,
    /// What is asked of clients.
    #[arg(default, code_type = "string(ClientAuth)")]
    pub client_auth_type: ClientAuth,
    /// Cipher suites of TLS 1.2 by their IANA names.
    #[arg(default, code_type = "list(string(TLSCipher))")]
    pub cipher_suites: Vec<String>,
    /// Curves for the key exchange: `CurveP256`, `CurveP384`, `X25519`, `X25519MLKEM768`.
    #[arg(default, code_type = "list(string(TLSCurve))")]
    pub curve_preferences: Vec<String>,
    /// Oldest version accepted. 1.2 is the oldest there is.
    #[arg(code_type = "string(TLSVersion)")]
    pub min_version: Option<TlsVersion>,
    /// Newest version accepted.
    #[arg(code_type = "string(TLSVersion)")]
    pub max_version: Option<TlsVersion>,
    /// The Windows certificate store. Refused: this program does not run there.
    #[arg(block)]
    pub windows_certificate_filter: Option<WindowsCertificateFilter>,
}

/// `http > tls > windows_certificate_filter`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct WindowsCertificateFilter {
    /// Selection of the server's certificate.
    #[arg(block, required)]
    pub server: WindowsCertificateServer,
    /// Selection of clients' certificates.
    #[arg(block, required)]
    pub client: WindowsCertificateClient,
}

/// `http > tls > windows_certificate_filter > server`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct WindowsCertificateServer {
    /// Name of the store.
    #[arg(default)]
    pub store: String,
    /// Name of the system store.
    #[arg(default)]
    pub system_store: String,
    /// Common names of issuers.
    #[arg(default)]
    pub issuer_common_names: Vec<String>,
    /// Template ID.
    #[arg(default)]
    pub template_id: String,
    /// How often the store is read.
    #[arg(default = Duration::from_secs(300))]
    pub refresh_interval: Duration,
}

/// `http > tls > windows_certificate_filter > client`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct WindowsCertificateClient {
    /// Common names of issuers.
    #[arg(default)]
    pub issuer_common_names: Vec<String>,
    /// Expression for subjects.
    #[arg(default)]
    pub subject_regex: String,
    /// Template ID.
    #[arg(default)]
    pub template_id: String,
}

impl HttpServerArgs {
    /// The port, once validated.
    pub fn port(&self) -> u16 {
        u16::try_from(self.listen_port).unwrap_or_default()
    }

    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        listener(self.listen_port, self.conn_limit)?;
        for (name, value) in [
            ("server_read_timeout", self.server_read_timeout),
            ("server_write_timeout", self.server_write_timeout),
            ("server_idle_timeout", self.server_idle_timeout),
        ] {
            if value.is_zero() {
                return Err(Invalid::field(name, format!("{name} must be longer than 0"))
                    .with_help("a server without this limit can be held up by one slow client"));
            }
        }
        Ok(())
    }
}

impl GrpcServerArgs {
    /// The port, once validated.
    pub fn port(&self) -> u16 {
        u16::try_from(self.listen_port).unwrap_or_default()
    }

    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        listener(self.listen_port, self.conn_limit)?;
        for (name, value) in [
            ("server_max_recv_msg_size", self.server_max_recv_msg_size),
            ("server_max_send_msg_size", self.server_max_send_msg_size),
        ] {
            if value <= 0 {
                return Err(Invalid::field(name, format!("{name} must be more than 0")));
            }
        }
        Ok(())
    }
}

fn listener(port: i64, connections: i64) -> Result<(), Invalid> {
    if u16::try_from(port).is_err() {
        return Err(Invalid::field("listen_port", "listen_port must be from 0 to 65535"));
    }
    if connections < 0 {
        return Err(Invalid::field("conn_limit", "conn_limit must not be negative"));
    }
    Ok(())
}

impl Http2Args {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (name, value) in [
            ("max_handlers", self.max_handlers),
            ("max_upload_buffer_per_connection", self.max_upload_buffer_per_connection),
            ("max_upload_buffer_per_stream", self.max_upload_buffer_per_stream),
        ] {
            // RFC 9113, section 6.9.1: windows end at 2^31-1.
            if !(0..=i64::from(i32::MAX)).contains(&value) {
                return Err(Invalid::field(name, format!("{name} must be from 0 to {}", i32::MAX)));
            }
        }
        // RFC 9113, section 6.5.2.
        if self.max_read_frame_size != 0 && !(16_384..=16_777_215).contains(&self.max_read_frame_size) {
            return Err(Invalid::field("max_read_frame_size", "must be 0 or from 16384 to 16777215"));
        }
        for (name, value) in [
            ("max_decoder_header_table_size", self.max_decoder_header_table_size),
            ("max_encoder_header_table_size", self.max_encoder_header_table_size),
        ] {
            if value != 4096 {
                return Err(Invalid::field(name, "only 4096 is supported").with_help("remove the argument"));
            }
        }
        Ok(())
    }
}

impl ServerTlsArgs {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        server_certificate(
            [!self.cert_pem.is_empty(), !self.cert_file.is_empty()],
            [!self.key_pem.is_empty(), !self.key_file.is_empty()],
        )?;
        let ca =
            [("client_ca", !self.client_ca.is_empty()), ("client_ca_file", !self.client_ca_file.is_empty())];
        client_authorities(self.client_auth_type, &ca)
    }
}

impl ServiceTlsArgs {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.windows_certificate_filter.is_some() {
            let message = "the Windows certificate store exists only on Windows";
            return Err(
                Invalid::field("windows_certificate_filter", message).with_help("use cert_file and key_file")
            );
        }
        server_certificate(
            [!self.cert_pem.is_empty(), !self.cert_file.is_empty()],
            [!self.key_pem.is_empty(), !self.key_file.is_empty()],
        )?;
        if let (Some(min), Some(max)) = (self.min_version, self.max_version)
            && min > max
        {
            return Err(Invalid::field("max_version", "max_version is older than min_version"));
        }
        if self.max_version.is_some_and(|max| max < TlsVersion::Tls12) {
            return Err(Invalid::field("max_version", "nothing below TLS 1.2 is spoken")
                .with_help("use TLS12 or TLS13, or remove max_version"));
        }
        let ca = [
            ("client_ca_pem", !self.client_ca_pem.is_empty()),
            ("client_ca_file", !self.client_ca_file.is_empty()),
        ];
        client_authorities(self.client_auth_type, &ca)
    }
}

fn server_certificate(cert: [bool; 2], key: [bool; 2]) -> Result<(), Invalid> {
    certificate_pair(cert, key)?;
    if !cert.contains(&true) {
        return Err(Invalid::body("a TLS server needs a certificate and a key")
            .with_help("add cert_file and key_file, or cert_pem and key_pem"));
    }
    Ok(())
}

fn client_authorities(auth: ClientAuth, ca: &[(&'static str, bool)]) -> Result<(), Invalid> {
    exclusive(ca)?;
    if auth.verifies() && ca.iter().all(|(_, set)| !set) {
        let message = "client certificates are to be verified, but no authority is given";
        return Err(Invalid::field("client_auth_type", message).with_help("add client_ca_file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_filter_protects_everything_and_an_empty_one_nothing() {
        assert!(!ServiceFilter::default().authenticate_matching_paths);
        assert!(<ServiceFilter as component::eval::Arguments>::defaults().authenticate_matching_paths);
    }

    #[test]
    fn a_tls_server_without_certificate_or_authority_is_refused() {
        let certs = ServerTlsArgs { cert_file: "c".into(), key_file: "k".into(), ..Default::default() };
        assert_eq!(certs.validate(), Ok(()));
        assert!(ServerTlsArgs::default().validate().is_err());
        let auth = ServerTlsArgs { client_auth_type: ClientAuth::RequireAndVerifyClientCert, ..certs };
        assert_eq!(auth.validate().unwrap_err().field, Some("client_auth_type"));
    }

    #[test]
    fn a_port_out_of_range_is_refused_not_cut_off() {
        for port in [-1, 65_536] {
            let args = HttpServerArgs { listen_port: port, ..Default::default() };
            assert_eq!(args.validate().unwrap_err().field, Some("listen_port"));
            let args = GrpcServerArgs { listen_port: port, ..Default::default() };
            assert_eq!(args.validate().unwrap_err().field, Some("listen_port"));
        }
    }

    #[test]
    fn a_header_table_of_another_size_is_refused_not_ignored() {
        let args = Http2Args { max_decoder_header_table_size: 1, ..Default::default() };
        assert_eq!(args.validate().unwrap_err().field, Some("max_decoder_header_table_size"));
    }
}

//! The server's side: which certificate to show and what to ask of clients.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::files::{Fingerprint, Pem};
use super::{ClientAuth, parse_go_version, provider, versions};
use crate::args::{ServerTlsArgs, ServiceTlsArgs, TlsConfigArgs, TlsVersion};
use crate::error::{Error, Kind};

/// A connection with TLS.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// A server's TLS arguments and the configuration made of them, kept up to date with the files.
#[derive(Debug)]
pub struct ServerTls {
    cert: Pem,
    key: Pem,
    client_ca: Pem,
    client_auth: ClientAuth,
    cipher_suites: Vec<String>,
    curves: Vec<String>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    /// Whether HTTP is spoken inside: its versions are negotiated then.
    http: bool,
    current: ArcSwapOption<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    files: Fingerprint,
}

impl ServerTls {
    /// From the `tls` block of a receiver; reads no file.
    pub fn new(args: &ServerTlsArgs) -> Result<Self, Error> {
        let suites = args.cipher_suites.split(',').map(str::trim).filter(|s| !s.is_empty());
        let tls = Self {
            cert: Pem::new(&args.cert_pem, &args.cert_file),
            key: Pem::new(args.key_pem.reveal(), &args.key_file),
            client_ca: Pem::new(&args.client_ca, &args.client_ca_file),
            client_auth: args.client_auth_type,
            cipher_suites: suites.map(str::to_owned).collect(),
            curves: Vec::new(),
            min_version: parse_go_version(&args.min_version)?,
            max_version: None,
            http: true,
            current: ArcSwapOption::empty(),
        };
        tls.provider()?;
        Ok(tls)
    }

    /// From the `tls` block of the top-level `http` block; reads no file.
    pub fn for_service(args: &ServiceTlsArgs) -> Result<Self, Error> {
        let tls = Self {
            cert: Pem::new(&args.cert_pem, &args.cert_file),
            key: Pem::new(args.key_pem.reveal(), &args.key_file),
            client_ca: Pem::new(&args.client_ca_pem, &args.client_ca_file),
            client_auth: args.client_auth_type,
            cipher_suites: args.cipher_suites.clone(),
            curves: args.curve_preferences.clone(),
            min_version: args.min_version,
            max_version: args.max_version,
            http: true,
            current: ArcSwapOption::empty(),
        };
        tls.provider()?;
        Ok(tls)
    }

    /// From a `tls_config` block that a listener has, for a protocol other than HTTP; reads no file. `None`
    /// where it names neither certificate nor authority. With an authority, clients must show a certificate
    /// that it has signed.
    pub fn for_listener(args: &TlsConfigArgs) -> Result<Option<Self>, Error> {
        let (ca, cert) = (Pem::new(&args.ca_pem, &args.ca_file), Pem::new(&args.cert_pem, &args.cert_file));
        let verify = !args.ca_pem.is_empty() || !args.ca_file.is_empty();
        if args.cert_pem.is_empty() && args.cert_file.is_empty() {
            let message = "a listener with TLS needs a certificate and its key: add cert_file and key_file";
            return if verify { Err(Error::config(message)) } else { Ok(None) };
        }
        Ok(Some(Self {
            cert,
            key: Pem::new(args.key_pem.reveal(), &args.key_file),
            client_ca: ca,
            client_auth: if verify {
                ClientAuth::RequireAndVerifyClientCert
            } else {
                ClientAuth::NoClientCert
            },
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            min_version: args.min_version,
            max_version: None,
            http: false,
            current: ArcSwapOption::empty(),
        }))
    }

    /// The handshake with a client that has connected, with the certificate that is in force now. The caller
    /// limits its time.
    pub async fn accept(&self, stream: TcpStream) -> Result<ServerStream, Error> {
        let accept = TlsAcceptor::from(self.config()?).accept(stream);
        accept.await.map_err(|e| Error::new(Kind::Tls, format!("TLS handshake failed: {e}")).with_source(e))
    }

    /// The configuration for the next handshake. Files that changed are read again; if they do not work
    /// the last good configuration stays and the log says why.
    pub fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let files = Fingerprint::of(self.files());
        let current = self.current.load_full();
        if let Some(loaded) = current.as_ref().filter(|l| l.files == files) {
            return Ok(loaded.config.clone());
        }
        match (self.load(), current) {
            (Ok(config), _) => {
                let config = Arc::new(config);
                self.current.store(Some(Arc::new(Loaded { config: config.clone(), files })));
                Ok(config)
            }
            (Err(error), Some(loaded)) => {
                tracing::warn!(%error, "changed TLS files do not work; the certificate from before stays in force");
                self.current.store(Some(Arc::new(Loaded { config: loaded.config.clone(), files })));
                Ok(loaded.config.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key, &self.client_ca].into_iter().filter_map(|p| p.path())
    }

    fn provider(&self) -> Result<Arc<CryptoProvider>, Error> {
        let suites: Vec<_> = self.cipher_suites.iter().map(String::as_str).collect();
        let curves: Vec<_> = self.curves.iter().map(String::as_str).collect();
        provider(&suites, &curves)
    }

    fn load(&self) -> Result<ServerConfig, Error> {
        let provider = self.provider()?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(self.min_version, self.max_version))
            .map_err(|e| Error::config(format!("TLS versions and cipher suites: {e}")))?;
        let builder = match self.client_auth {
            ClientAuth::NoClientCert => builder.with_no_client_auth(),
            auth if !auth.verifies() => {
                builder.with_client_cert_verifier(Arc::new(Unchecked { auth, provider: provider.clone() }))
            }
            auth => {
                let roots = Arc::new(self.client_ca.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                let verifier = if auth.mandatory() { verifier } else { verifier.allow_unauthenticated() };
                let verifier = verifier
                    .build()
                    .map_err(|e| Error::config(format!("client certificate authorities: {e}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(self.cert.certificates()?, self.key.key()?).map_err(|e| {
                Error::new(Kind::Credentials, format!("the certificate and its key do not work: {e}"))
            })?;
        if self.client_auth.verifies() {
            // A resumed session would outlive the authority that vouched for it.
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        if self.http {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(config)
    }
}

/// Takes any client certificate, or none, but checks that the client holds the key.
#[derive(Debug)]
struct Unchecked {
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Unchecked {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! The client's side: whom to trust, who to be, and which name to expect.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::files::{Fingerprint, Pem};
use super::{provider, versions};
use crate::args::{TlsConfigArgs, TlsVersion};
use crate::error::{Error, Kind};

/// A client's TLS arguments, ready to be turned into a configuration whenever their files change.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    ca: Pem,
    cert: Pem,
    key: Pem,
    server_name: Option<ServerName<'static>>,
    insecure: bool,
    min_version: Option<TlsVersion>,
    http2: bool,
    extras: TlsExtras,
}

/// What some clients may ask of TLS beside [`TlsConfigArgs`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsExtras {
    /// Newest version offered.
    pub max_version: Option<TlsVersion>,
    /// Suites of TLS 1.2 that are offered, by their IANA names; empty for all.
    pub cipher_suites: Vec<String>,
    /// Curves that are offered, by Go's names; empty for all.
    pub curves: Vec<String>,
    /// Trusts the system's authorities beside those of the arguments.
    pub system_authorities_too: bool,
}

impl TlsExtras {
    fn provider(&self) -> Result<Arc<CryptoProvider>, Error> {
        let suites: Vec<&str> = self.cipher_suites.iter().map(String::as_str).collect();
        let curves: Vec<&str> = self.curves.iter().map(String::as_str).collect();
        provider(&suites, &curves)
    }
}

impl ClientTls {
    /// From arguments; reads no file.
    pub(crate) fn new(args: &TlsConfigArgs, http2: bool) -> Result<Self, Error> {
        let server_name = match args.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|_| {
                Error::config(format!("server_name {name:?} is neither a host name nor an address"))
            })?),
        };
        Ok(Self {
            ca: Pem::new(&args.ca_pem, &args.ca_file),
            cert: Pem::new(&args.cert_pem, &args.cert_file),
            key: Pem::new(args.key_pem.reveal(), &args.key_file),
            server_name,
            insecure: args.insecure_skip_verify,
            min_version: args.min_version,
            http2,
            extras: TlsExtras::default(),
        })
    }

    /// With more wishes; those that nothing can fulfil are refused here.
    pub(crate) fn with(self, extras: &TlsExtras) -> Result<Self, Error> {
        extras.provider()?;
        if versions(self.min_version, extras.max_version).is_empty() {
            return Err(Error::config(
                "no TLS version that is supported lies between min_version and max_version",
            ));
        }
        Ok(Self { extras: extras.clone(), ..self })
    }

    /// The name to expect and to send, where the arguments give one that is not an address.
    pub(crate) fn sni(&self) -> Option<&str> {
        match &self.server_name {
            Some(ServerName::DnsName(name)) => Some(name.as_ref()),
            _ => None,
        }
    }

    /// Whether certificates or keys are read for it: what can be wrong with them is not known before.
    pub(crate) fn reads(&self) -> bool {
        [&self.ca, &self.cert, &self.key].into_iter().any(Pem::is_given)
    }

    /// The state of the files it is made from.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.files())
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca, &self.cert, &self.key].into_iter().filter_map(|p| p.path())
    }

    /// The configuration from the files as they are now. `http1_only` offers no HTTP/2.
    pub(crate) fn config(&self, http1_only: bool) -> Result<ClientConfig, Error> {
        let provider = self.extras.provider()?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions(self.min_version, self.extras.max_version))
            .map_err(|e| Error::config(format!("TLS versions: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(&provider)?);
        let mut config = if self.cert.is_given() {
            builder.with_client_auth_cert(self.cert.certificates()?, self.key.key()?).map_err(|e| {
                Error::new(Kind::Credentials, format!("the client certificate and its key do not work: {e}"))
            })?
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = if self.http2 && !http1_only {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(config)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        if self.insecure {
            return Ok(Arc::new(AnyCertificate(provider.clone())));
        }
        let checked: Arc<dyn ServerCertVerifier> = if self.ca.is_given() {
            let mut roots = self.ca.roots()?;
            if self.extras.system_authorities_too {
                roots.extend(system_roots().roots.iter().cloned());
            }
            let roots = Arc::new(roots);
            WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|e| Error::config(format!("certificate authorities: {e}")))?
        } else {
            Arc::new(SystemAuthorities { provider: provider.clone(), load: system_roots })
        };
        Ok(match &self.server_name {
            Some(name) => Arc::new(FixedName { inner: checked, name: name.clone() }),
            None => checked,
        })
    }
}

/// The operating system's authorities, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

/// Trusts whom the system trusts. Reads that only when there is a certificate to check, so that machines
/// without any authorities can still speak plain HTTP.
#[derive(Debug)]
struct SystemAuthorities {
    provider: Arc<CryptoProvider>,
    load: fn() -> Arc<RootCertStore>,
}

impl ServerCertVerifier for SystemAuthorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider((self.load)(), self.provider.clone()).build();
        // It fails for want of authorities only.
        let verifier = verifier.map_err(|_| {
            let advice = "the system has no certificate authorities: install ca-certificates, or set ca_file";
            rustls::Error::General(advice.into())
        })?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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

/// Expects one name, whatever the URL's host is.
#[derive(Debug)]
struct FixedName {
    inner: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for FixedName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: any certificate will do, but the peer must still hold its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_any_authorities_a_handshake_says_what_to_install() {
        let provider = provider(&[], &[]).unwrap();
        let verifier = SystemAuthorities { provider, load: || Arc::new(RootCertStore::empty()) };
        let name = ServerName::try_from("a").unwrap();
        let certificate = CertificateDer::from(vec![0]);
        let error = verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).unwrap_err();
        assert!(error.to_string().contains("install ca-certificates"), "{error}");
    }
}

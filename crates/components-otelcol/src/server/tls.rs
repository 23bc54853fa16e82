//! The `tls` block of servers.

use std::sync::Arc;

use component::Arguments;
use component::eval::{Invalid, Secret};
use net::args::ServiceTlsArgs;
use net::{ClientAuth, ServerTls};

use crate::tls::{Tpm, version};

/// `tls` of a receiver.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct TlsServerArgs {
    /// Refused: a server has no use for it. `client_ca_file` names those who sign for clients.
    #[arg(default)]
    pub ca_pem: String,
    /// Refused: a server has no use for it.
    #[arg(default)]
    pub ca_file: String,
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
    /// Oldest version accepted, `1.2` or `1.3`; the two before them mean 1.2.
    #[arg(default = "TLS 1.2".to_string())]
    pub min_version: String,
    /// Newest version accepted.
    #[arg(default = "TLS 1.3".to_string())]
    pub max_version: String,
    /// How old the contents of files may get.
    #[arg(default, no_effect = "files are looked at with every connection, so that they are never older")]
    pub reload_interval: std::time::Duration,
    /// Cipher suites of TLS 1.2 by their IANA names.
    #[arg(default)]
    pub cipher_suites: Vec<String>,
    /// Permits suites that are not safe.
    #[arg(default, no_effect = "suites that are not safe are not part of this program")]
    pub include_insecure_cipher_suites: bool,
    /// Refused: a server has no use for it.
    #[arg(default)]
    pub include_system_ca_certs_pool: bool,
    /// Curves for the key exchange: `X25519`, `P256`, `P384`, `P521`, `X25519MLKEM768`.
    #[arg(default)]
    pub curve_preferences: Vec<String>,
    /// File with the certificates of the authorities that must have signed those of clients.
    #[arg(default)]
    pub client_ca_file: String,
    /// A key in a TPM. Refused where it is enabled.
    #[arg(block)]
    pub tpm: Option<Tpm>,
}

impl Default for TlsServerArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// Go's names are `CurveP256` and `P256` by turns.
fn curve(name: &str) -> String {
    if name.starts_with('P') { format!("Curve{name}") } else { name.to_owned() }
}

impl TlsServerArgs {
    fn validate(&self) -> Result<(), Invalid> {
        Tpm::check(self.tpm.as_ref())?;
        for (field, given) in [
            ("ca_pem", !self.ca_pem.is_empty()),
            ("ca_file", !self.ca_file.is_empty()),
            ("include_system_ca_certs_pool", self.include_system_ca_certs_pool),
        ] {
            if given {
                return Err(Invalid::field(field, "a server does not look for authorities of servers")
                    .with_help("to ask clients for certificates use client_ca_file; otherwise remove it"));
            }
        }
        self.service()?.validate().map_err(|invalid| match invalid.field {
            // What is asked of clients follows from client_ca_file here.
            Some("client_auth_type") => Invalid { field: Some("client_ca_file"), ..invalid },
            _ => invalid,
        })
    }

    fn service(&self) -> Result<ServiceTlsArgs, Invalid> {
        let verify = !self.client_ca_file.is_empty();
        Ok(ServiceTlsArgs {
            cert_pem: self.cert_pem.clone(),
            cert_file: self.cert_file.clone(),
            key_pem: self.key_pem.clone(),
            key_file: self.key_file.clone(),
            client_ca_file: self.client_ca_file.clone(),
            client_auth_type: if verify {
                ClientAuth::RequireAndVerifyClientCert
            } else {
                ClientAuth::NoClientCert
            },
            cipher_suites: self.cipher_suites.clone(),
            curve_preferences: self.curve_preferences.iter().map(|name| curve(name)).collect(),
            min_version: version("min_version", &self.min_version)?,
            max_version: version("max_version", &self.max_version)?,
            ..ServiceTlsArgs::default()
        })
    }

    /// The server's TLS; reads no file.
    ///
    /// # Errors
    /// If suites, curves or versions leave nothing to offer.
    pub fn server(&self) -> Result<Arc<ServerTls>, net::Error> {
        let args = self.service().map_err(|invalid| net::Error::config(invalid.message))?;
        ServerTls::for_service(&args).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut TlsServerArgs)) -> Result<(), Option<&'static str>> {
        let mut args =
            TlsServerArgs { cert_file: "c".into(), key_file: "k".into(), ..TlsServerArgs::default() };
        change(&mut args);
        args.validate().map_err(|e| e.field)
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|a| a.min_version = "1.3".into()), Ok(()));
        assert_eq!(with(|a| a.min_version = "SSL3".into()), Err(Some("min_version")));
        assert_eq!(with(|a| a.max_version = "1.1".into()), Err(Some("max_version")));
        assert_eq!(with(|a| a.tpm = Some(Tpm { enabled: true, ..Tpm::default() })), Err(Some("tpm")));
        assert!(with(|a| a.cert_file = String::new()).is_err());
        assert_eq!(with(|a| a.ca_file = "ca".into()), Err(Some("ca_file")));
        assert_eq!(with(|a| a.ca_pem = "ca".into()), Err(Some("ca_pem")));
        assert_eq!(
            with(|a| a.include_system_ca_certs_pool = true),
            Err(Some("include_system_ca_certs_pool"))
        );
    }

    #[test]
    fn an_authority_for_clients_makes_their_certificates_mandatory() {
        let args = TlsServerArgs { client_ca_file: "ca".into(), ..TlsServerArgs::default() };
        let service = args.service().expect("valid");
        assert_eq!(service.client_auth_type, ClientAuth::RequireAndVerifyClientCert);
        let service = TlsServerArgs::default().service().expect("valid");
        assert_eq!(service.client_auth_type, ClientAuth::NoClientCert);
    }
}

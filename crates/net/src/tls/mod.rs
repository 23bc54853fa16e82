//! TLS: the one place that names the provider, reads certificates and keys, and builds configurations.
//!
//! Invariants: nothing below TLS 1.2; ALPN is set here and nowhere else; a certificate or key file that
//! changes is in force with the next connection, and one that has become unreadable leaves the last good
//! one in force.

mod client;
mod files;
mod server;

use std::sync::Arc;

use component::ArgEnum;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};

use crate::args::TlsVersion;
use crate::error::Error;

pub(crate) use client::ClientTls;
pub use client::TlsExtras;
pub(crate) use files::Fingerprint;
pub use server::{ServerStream, ServerTls};

/// Makes aws-lc-rs the provider of every TLS connection of the process. Call it first thing in `main`;
/// more calls do nothing.
pub fn install_provider() {
    // Fails only if one is installed already, which is what is wanted.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// What a server asks of its clients, by Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ArgEnum)]
pub enum ClientAuth {
    /// No certificate.
    #[default]
    #[arg(name = "NoClientCert")]
    NoClientCert,
    /// A certificate if there is one; it is not checked.
    #[arg(name = "RequestClientCert")]
    RequestClientCert,
    /// Some certificate; it is not checked.
    #[arg(name = "RequireAnyClientCert")]
    RequireAnyClientCert,
    /// A certificate if there is one; it must be good.
    #[arg(name = "VerifyClientCertIfGiven")]
    VerifyClientCertIfGiven,
    /// A good certificate.
    #[arg(name = "RequireAndVerifyClientCert")]
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    /// Whether authorities are needed.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }

    /// Whether a connection without a certificate is refused.
    pub const fn mandatory(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }
}

/// The provider with fewer cipher suites and groups; empty lists change nothing.
pub(crate) fn provider(cipher_suites: &[&str], curves: &[&str]) -> Result<Arc<CryptoProvider>, Error> {
    let mut provider = aws_lc_rs::default_provider();
    if !cipher_suites.is_empty() {
        let wanted: Vec<CipherSuite> = cipher_suites.iter().filter_map(|name| cipher_suite(name)).collect();
        if let Some(unknown) = cipher_suites.iter().find(|n| !n.starts_with("TLS_")) {
            return Err(Error::config(format!("{unknown:?} is not the name of a cipher suite")));
        }
        // As in Go, the list is about TLS 1.2; the suites of 1.3 are all good and stay.
        provider.cipher_suites.retain(|s| s.tls13().is_some() || wanted.contains(&s.suite()));
        if !provider.cipher_suites.iter().any(|s| s.tls13().is_none()) && wanted.is_empty() {
            let message = format!(
                "none of the cipher suites {} is safe enough to be supported; use ECDHE suites with AES-GCM or ChaCha20",
                cipher_suites.join(", ")
            );
            return Err(Error::config(message));
        }
    }
    if !curves.is_empty() {
        let wanted: Vec<NamedGroup> =
            curves.iter().map(|name| named_group(name)).collect::<Result<_, _>>()?;
        provider.kx_groups.retain(|g: &&'static dyn SupportedKxGroup| wanted.contains(&g.name()));
        if provider.kx_groups.is_empty() {
            let message =
                format!("none of the curves {} is supported; use X25519 or CurveP256", curves.join(", "));
            return Err(Error::config(message));
        }
    }
    Ok(Arc::new(provider))
}

/// The suites of TLS 1.2 that are supported, by their IANA names; Go uses the same.
fn cipher_suite(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_AES_128_GCM_SHA256" => CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

fn named_group(name: &str) -> Result<NamedGroup, Error> {
    Ok(match name {
        "CurveP256" => NamedGroup::secp256r1,
        "CurveP384" => NamedGroup::secp384r1,
        "CurveP521" => NamedGroup::secp521r1,
        "X25519" => NamedGroup::X25519,
        "X25519MLKEM768" => NamedGroup::X25519MLKEM768,
        _ => {
            let message = format!(
                "{name:?} is not a curve: use CurveP256, CurveP384, CurveP521, X25519 or X25519MLKEM768"
            );
            return Err(Error::config(message));
        }
    })
}

/// The versions between two; TLS 1.0 and 1.1 are read as 1.2.
pub(crate) fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
        .into_iter()
        .filter(|(v, _)| min.is_none_or(|min| *v >= min) && max.is_none_or(|max| *v <= max))
        .map(|(_, v)| v)
        .collect()
}

/// Go's name of a version in a server's `tls` block.
pub(crate) fn parse_go_version(name: &str) -> Result<Option<TlsVersion>, Error> {
    Ok(match name {
        "" => None,
        "VersionTLS10" | "TLS10" => Some(TlsVersion::Tls10),
        "VersionTLS11" | "TLS11" => Some(TlsVersion::Tls11),
        "VersionTLS12" | "TLS12" => Some(TlsVersion::Tls12),
        "VersionTLS13" | "TLS13" => Some(TlsVersion::Tls13),
        _ => {
            let message = format!("{name:?} is not a TLS version: use VersionTLS12 or VersionTLS13");
            return Err(Error::config(message));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_mean_the_oldest_that_is_safe() {
        assert_eq!(versions(None, None).len(), 2);
        assert_eq!(versions(Some(TlsVersion::Tls10), None).len(), 2);
        assert_eq!(versions(Some(TlsVersion::Tls13), None), [&rustls::version::TLS13]);
        assert_eq!(versions(None, Some(TlsVersion::Tls12)), [&rustls::version::TLS12]);
    }

    #[test]
    fn a_list_without_any_supported_suite_or_curve_is_refused() {
        assert!(provider(&["TLS_RSA_WITH_RC4_128_SHA"], &[]).is_err());
        assert!(provider(&["AES"], &[]).is_err());
        let few =
            provider(&["TLS_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &[]).unwrap();
        assert_eq!(few.cipher_suites.iter().filter(|s| s.tls13().is_none()).count(), 1);
        assert!(provider(&[], &["CurveP999"]).is_err());
        assert_eq!(provider(&[], &["X25519"]).unwrap().kx_groups.len(), 1);
    }
}

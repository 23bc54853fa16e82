//! `tls_config` of clients.

use component::eval::{Invalid, Secret};
use component::{ArgEnum, Arguments};

/// A TLS version as configurations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ArgEnum)]
pub enum TlsVersion {
    /// TLS 1.0. Nothing below 1.2 is spoken, so this means "1.2 or newer".
    #[arg(name = "TLS10")]
    Tls10,
    /// TLS 1.1. Nothing below 1.2 is spoken, so this means "1.2 or newer".
    #[arg(name = "TLS11")]
    Tls11,
    /// TLS 1.2.
    #[arg(name = "TLS12")]
    Tls12,
    /// TLS 1.3.
    #[arg(name = "TLS13")]
    Tls13,
}

/// How a client checks its peer and who it says it is.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct TlsConfigArgs {
    /// Certificates (PEM) of the authorities that may have signed the server's; the system's otherwise.
    #[arg(default)]
    pub ca_pem: String,
    /// File with such certificates; read again when it changes.
    #[arg(default)]
    pub ca_file: String,
    /// The client's certificate chain (PEM).
    #[arg(default)]
    pub cert_pem: String,
    /// File with the client's certificate chain; read again when it changes.
    #[arg(default)]
    pub cert_file: String,
    /// The client's private key (PEM).
    #[arg(default)]
    pub key_pem: Secret,
    /// File with the client's private key; read again when it changes.
    #[arg(default)]
    pub key_file: String,
    /// Name that the server's certificate must carry, where it is not the host of the URL; it is also sent
    /// to the server (SNI).
    #[arg(default)]
    pub server_name: String,
    /// Accepts any certificate. The connection is encrypted, but with nobody knows whom.
    #[arg(default)]
    pub insecure_skip_verify: bool,
    /// Oldest version accepted. 1.2 is the oldest there is.
    #[arg(code_type = "string(TLSVersion)")]
    pub min_version: Option<TlsVersion>,
}

impl TlsConfigArgs {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        exclusive(&[("ca_pem", !self.ca_pem.is_empty()), ("ca_file", !self.ca_file.is_empty())])?;
        certificate_pair(
            [!self.cert_pem.is_empty(), !self.cert_file.is_empty()],
            [!self.key_pem.is_empty(), !self.key_file.is_empty()],
        )
    }
}

/// At most one of the fields is written.
pub(crate) fn exclusive(fields: &[(&'static str, bool)]) -> Result<(), Invalid> {
    let written: Vec<_> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match written.as_slice() {
        [] | [_] => Ok(()),
        [first, second, ..] => {
            let message = format!("{first} and {second} exclude each other");
            Err(Invalid::field(second, message).with_help(format!("remove {first} or {second}")))
        }
    }
}

/// A certificate and a key, each from one place, or neither. The pairs are (text, file).
pub(crate) fn certificate_pair(cert: [bool; 2], key: [bool; 2]) -> Result<(), Invalid> {
    exclusive(&[("cert_pem", cert[0]), ("cert_file", cert[1])])?;
    exclusive(&[("key_pem", key[0]), ("key_file", key[1])])?;
    match (cert.contains(&true), key.contains(&true)) {
        (true, false) => Err(Invalid::field(
            if cert[0] { "cert_pem" } else { "cert_file" },
            "a certificate is of no use without its key",
        )
        .with_help("add key_file or key_pem")),
        (false, true) => Err(Invalid::field(
            if key[0] { "key_pem" } else { "key_file" },
            "a key is of no use without its certificate",
        )
        .with_help("add cert_file or cert_pem")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_sources_exclude_each_other_and_come_in_pairs() {
        let set = |edit: fn(&mut TlsConfigArgs)| {
            let mut args = TlsConfigArgs::default();
            edit(&mut args);
            args.validate().err().and_then(|e| e.field)
        };
        for (edit, at) in [
            ((|_| {}) as fn(&mut TlsConfigArgs), None),
            (|a| (a.ca_pem, a.ca_file) = ("x".into(), "y".into()), Some("ca_file")),
            (|a| (a.cert_pem, a.cert_file) = ("x".into(), "y".into()), Some("cert_file")),
            (
                |a| (a.cert_file, a.key_pem, a.key_file) = ("c".into(), "x".into(), "y".into()),
                Some("key_file"),
            ),
            (|a| a.cert_file = "c".into(), Some("cert_file")),
            (|a| a.key_pem = "k".into(), Some("key_pem")),
            (|a| (a.cert_file, a.key_pem) = ("c".into(), "k".into()), None),
        ] {
            assert_eq!(set(edit), at);
        }
    }
}

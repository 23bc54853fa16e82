//! What the `tls` blocks of clients and of servers have in common.

use component::Arguments;
use component::eval::Invalid;
use net::args::TlsVersion;

/// `tls > tpm`: a key inside a trusted platform module, which is not supported.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Tpm {
    /// Use it. Refused.
    #[arg(default)]
    pub enabled: bool,
    /// The device.
    #[arg(default, no_effect = "keys inside a trusted platform module are not supported")]
    pub path: String,
    /// The owner's password.
    #[arg(default, no_effect = "keys inside a trusted platform module are not supported")]
    pub owner_auth: String,
    /// The key's password.
    #[arg(default, no_effect = "keys inside a trusted platform module are not supported")]
    pub auth: String,
}

impl Tpm {
    /// Refuses a block that is in use.
    pub(crate) fn check(block: Option<&Self>) -> Result<(), Invalid> {
        match block {
            Some(tpm) if tpm.enabled => {
                Err(Invalid::field("tpm", "keys inside a trusted platform module are not supported")
                    .with_help("use key_file, or remove the block"))
            }
            _ => Ok(()),
        }
    }
}

/// `TLS 1.2`, or `1.2` as the OpenTelemetry Collector writes it; empty is no wish.
pub(crate) fn version(field: &'static str, text: &str) -> Result<Option<TlsVersion>, Invalid> {
    Ok(match text.trim_start_matches("TLS").trim() {
        "" => None,
        "1.0" => Some(TlsVersion::Tls10),
        "1.1" => Some(TlsVersion::Tls11),
        "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        _ => {
            let message = format!("{text:?} is not a TLS version: use \"TLS 1.2\" or \"TLS 1.3\"");
            return Err(Invalid::field(field, message));
        }
    })
}

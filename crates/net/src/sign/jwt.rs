//! A signed JSON Web Token (RFC 7519) by an RSA key, as token endpoints take it for a token.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use component::eval::Secret;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::error::{Error, Kind};

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
}

impl Algorithm {
    /// Of its name; empty for the first.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            _ => None,
        }
    }

    fn parts(self) -> (&'static str, &'static dyn RsaEncoding) {
        match self {
            Self::Rs256 => ("RS256", &RSA_PKCS1_SHA256),
            Self::Rs384 => ("RS384", &RSA_PKCS1_SHA384),
            Self::Rs512 => ("RS512", &RSA_PKCS1_SHA512),
        }
    }
}

/// Header, claims and signature. The key is PKCS#8 or PKCS#1 in PEM; without an ID the header names none.
pub(crate) fn signed(
    algorithm: Algorithm,
    key_id: &str,
    claims: &serde_json::Value,
    key: &Secret,
) -> Result<Secret, Error> {
    let bad = |why: &str| Error::new(Kind::Credentials, format!("the private key in the credentials {why}"));
    let der = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|_| bad("is no PEM"))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(bad("is not an RSA key")),
    };
    let pair = pair.map_err(|_| bad("is not an RSA key"))?;
    let (name, encoding) = algorithm.parts();
    let mut header = serde_json::json!({ "alg": name, "typ": "JWT" });
    if !key_id.is_empty() {
        header["kid"] = key_id.into();
    }
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| bad("does not sign"))?;
    Ok(Secret::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

//! A signed JSON Web Token (RFC 7519) with RS256, as Google takes it for a token.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use component::eval::Secret;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use crate::error::{Error, Kind};

/// Header, claims and signature. The key is PKCS#8 in PEM.
pub(super) fn rs256(key_id: &str, claims: &serde_json::Value, key: &Secret) -> Result<Secret, Error> {
    let bad = |why: &str| Error::new(Kind::Credentials, format!("the private key in the credentials {why}"));
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|_| bad("is not PEM with a PKCS#8 key"))?;
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| bad("is not an RSA key"))?;
    let header = serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| bad("does not sign"))?;
    Ok(Secret::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

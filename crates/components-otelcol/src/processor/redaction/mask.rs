//! What takes the place of what is not to be seen.

use component::eval::Secret;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;
use signal::Regex;

/// How texts are masked.
#[derive(Debug)]
pub(super) enum Mask {
    Stars,
    Md5,
    Sha1,
    Sha3,
    HmacSha256(Secret),
    HmacSha512(Secret),
}

impl Mask {
    pub(super) fn new(function: &str, key: &Secret) -> Self {
        match function {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha3" => Self::Sha3,
            "hmac-sha256" => Self::HmacSha256(key.clone()),
            "hmac-sha512" => Self::HmacSha512(key.clone()),
            _ => Self::Stars,
        }
    }

    /// In the place of a text.
    pub(super) fn of(&self, text: &str) -> String {
        match self {
            Self::Stars => "****".to_string(),
            Self::Md5 => const_hex::encode(Md5::digest(text.as_bytes())),
            Self::Sha1 => const_hex::encode(Sha1::digest(text.as_bytes())),
            Self::Sha3 => const_hex::encode(Sha3_256::digest(text.as_bytes())),
            Self::HmacSha256(key) => hmac::<Sha256>(64, key.reveal().as_bytes(), text.as_bytes()),
            Self::HmacSha512(key) => hmac::<Sha512>(128, key.reveal().as_bytes(), text.as_bytes()),
        }
    }

    /// In the place of everything that a pattern matches; `None` where that is nothing.
    pub(super) fn matches(&self, pattern: &Regex, text: &str) -> Option<String> {
        let (mut out, mut done, mut from) = (String::new(), 0, 0);
        let mut found = false;
        while let Some(range) = pattern.find_at(text, from) {
            // As Go: nothing is matched directly behind a match.
            if !(range.is_empty() && found && range.start == done) {
                out.push_str(&text[done..range.start]);
                out.push_str(&self.of(&text[range.clone()]));
                (done, found) = (range.end, true);
            }
            from = match range.is_empty() {
                false => range.end,
                true => match text[range.end..].chars().next() {
                    Some(next) => range.end + next.len_utf8(),
                    None => break,
                },
            };
        }
        out.push_str(&text[done..]);
        found.then_some(out)
    }
}

/// HMAC (RFC 2104) in hexadecimal; `block` is the hash's block size.
fn hmac<D: Digest>(block: usize, key: &[u8], text: &[u8]) -> String {
    let mut padded = if key.len() > block { D::digest(key).to_vec() } else { key.to_vec() };
    padded.resize(block, 0);
    let pad = |with: u8| padded.iter().map(|byte| byte ^ with).collect::<Vec<_>>();
    let inner = D::new().chain_update(pad(0x36)).chain_update(text).finalize();
    const_hex::encode(D::new().chain_update(pad(0x5c)).chain_update(inner).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_matches_is_masked() {
        let mask = Mask::Stars;
        for (pattern, text, expected) in [
            ("4[0-9]{3}", "a 4111 b 4222", Some("a **** b ****")),
            ("x", "abc", None),
            (".*", "abc", Some("****")),
            (".*", "", Some("****")),
            ("b*", "abc", Some("****a****c****")),
            ("é", "é", Some("****")),
        ] {
            let pattern = Regex::new(pattern).expect("compiles");
            assert_eq!(mask.matches(&pattern, text).as_deref(), expected, "{pattern:?} {text}");
        }
    }

    #[test]
    fn hashes_are_those_of_the_standards() {
        let key = Secret::from("Jefe");
        let text = "what do ya want for nothing?";
        // RFC 4231, test case 2.
        assert_eq!(
            Mask::new("hmac-sha256", &key).of(text),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(
            Mask::new("hmac-sha512", &key)
                .of(text)
                .starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")
        );
        let long = Secret::from("k".repeat(200));
        assert_ne!(Mask::new("hmac-sha256", &long).of(text), Mask::new("hmac-sha256", &key).of(text));
        assert_eq!(Mask::new("md5", &key).of("abc"), "900150983cd24fb0d6963f7d28e17f72");
        // FIPS 202.
        assert_eq!(
            Mask::new("sha3", &key).of("abc"),
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
        );
        assert_eq!(Mask::new("sha1", &key).of("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}

//! Message digests by the same provider as everything else that hashes.

use aws_lc_rs::digest::{
    Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA3_256, SHA256, SHA512, digest as provider_digest,
};

/// Which digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// SHA-1: for old formats only.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
}

impl Digest {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
            Self::Sha3_256 => &SHA3_256,
        }
    }

    /// The digest of some bytes in lower-case hexadecimal digits.
    pub fn hex(self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(128);
        for byte in provider_digest(self.algorithm(), bytes).as_ref() {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_an_empty_text_are_the_published_ones() {
        for (digest, hex) in [
            (Digest::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Digest::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Digest::Sha3_256, "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
        ] {
            assert_eq!(digest.hex(b""), hex);
        }
        assert!(Digest::Sha512.hex(b"").starts_with("cf83e1357eefb8bd"));
    }
}

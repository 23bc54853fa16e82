//! Certificates and keys from the configuration or from files, and whether the files have changed.

use std::path::{Path, PathBuf};

use component::eval::Secret;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Kind};

/// PEM text in the configuration, in a file, or not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Pem {
    /// Not given.
    #[default]
    None,
    /// In the configuration.
    Text(Secret),
    /// In a file.
    File(PathBuf),
}

impl Pem {
    pub(crate) fn new(text: &str, file: &str) -> Self {
        match (text, file) {
            ("", "") => Self::None,
            ("", file) => Self::File(file.into()),
            (text, _) => Self::Text(Secret::from(text)),
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        *self != Self::None
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// A short name for messages.
    fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            _ => "the configuration".to_owned(),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Text(text) => Ok(text.reveal().as_bytes().to_vec()),
            Self::File(path) => std::fs::read(path)
                .map_err(|e| Error::new(Kind::Credentials, format!("cannot read {}: {e}", path.display()))),
        }
    }

    /// All certificates in it, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let bytes = self.bytes()?;
        let certificates = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| self.bad(format!("a certificate in {} cannot be read: {e}", self.place())))?;
        if certificates.is_empty() {
            return Err(self.bad(format!("there is no PEM certificate in {}", self.place())));
        }
        Ok(certificates)
    }

    /// The private key in it.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let bytes = self.bytes()?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            let message = format!(
                "there is no unencrypted PEM private key (PKCS#8, PKCS#1 or SEC1) in {}",
                self.place()
            );
            self.bad(message)
        })
    }

    /// The certificates in it as authorities.
    pub(crate) fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(self.certificates()?);
        if added == 0 {
            return Err(self
                .bad(format!("none of the {ignored} certificates in {} can be an authority", self.place())));
        }
        Ok(roots)
    }

    /// What stands in the configuration stays wrong; a file may be mended.
    fn bad(&self, message: String) -> Error {
        match self {
            Self::File(_) => Error::new(Kind::Credentials, message),
            _ => Error::config(message),
        }
    }
}

/// What tells that one of some files has changed: device, inode, size and times. Rename-over and the
/// symlink swap of Kubernetes' volumes change the inode.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(Vec<Option<[i64; 7]>>);

impl Fingerprint {
    /// Of files as they are now. A `stat` each; files that are not there count too.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(
            files
                .into_iter()
                .map(|path| {
                    let meta = std::fs::metadata(path).ok()?;
                    Some([
                        meta.dev() as i64,
                        meta.ino() as i64,
                        meta.size() as i64,
                        meta.mtime(),
                        meta.mtime_nsec(),
                        meta.ctime(),
                        meta.ctime_nsec(),
                    ])
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert");
        let of = || Fingerprint::of([path.as_path()]);
        let missing = of();
        std::fs::write(&path, "one").unwrap();
        let one = of();
        assert_eq!(one, of());
        std::fs::write(folder.path().join("next"), "two").unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert!(missing != one && one != of());
    }

    #[test]
    fn text_without_a_certificate_says_so() {
        let error = Pem::new("hello", "").certificates().unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        let error = Pem::new("", "/nonexistent").certificates().unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("/nonexistent"), "{error}");
    }
}

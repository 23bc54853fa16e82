//! A secret that stands in the configuration or in a file.
//!
//! Invariant: a file is read again for every use, so that a rotated credential is in force with the next
//! request; surrounding white space is not part of it, as in Prometheus.

use std::path::PathBuf;

use component::eval::Secret;

use crate::error::{Error, Kind};

/// Files larger than this hold no credential.
const MAX_FILE: u64 = 1 << 20;

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// The configuration itself.
    Inline(Secret),
    /// A file.
    File(PathBuf),
}

impl Credential {
    /// The file if there is one, else the text.
    pub fn from_args(text: &Secret, file: &str) -> Self {
        if file.is_empty() { Self::Inline(text.clone()) } else { Self::File(file.into()) }
    }

    /// The secret as of now.
    pub async fn read(&self) -> Result<Secret, Error> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let problem = |error: std::io::Error| {
                    let message = format!("cannot read the credential file {}: {error}", path.display());
                    Error::new(Kind::Credentials, message)
                };
                let size = tokio::fs::metadata(path).await.map_err(problem)?.len();
                if size > MAX_FILE {
                    let message = format!("{} has {size} bytes; that is no credential", path.display());
                    return Err(Error::new(Kind::Credentials, message));
                }
                let text = tokio::fs::read_to_string(path).await.map_err(problem)?;
                Ok(Secret::from(text.trim()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_and_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credential = Credential::from_args(&Secret::default(), file.path().to_str().unwrap());
        for text in ["one", "two"] {
            std::fs::write(file.path(), format!(" {text}\n")).unwrap();
            assert_eq!(credential.read().await.unwrap().reveal(), text);
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let error = Credential::File("/nonexistent/token".into()).read().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Credentials);
        assert!(error.to_string().contains("/nonexistent/token"), "{error}");
    }
}

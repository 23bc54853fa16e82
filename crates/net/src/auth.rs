//! The user's credentials on a request: none, basic, a scheme with a secret, or OAuth 2.0.
//!
//! Invariant: secrets in files are read anew for every request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use component::eval::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use url::Url;

use crate::args::HttpClientArgs;
use crate::client::{ClientOptions, secret_value};
use crate::credential::Credential;
use crate::error::Error;
use crate::oauth2::OAuth2;

/// What becomes of `Authorization`.
pub(crate) enum Auth {
    /// Nothing.
    None,
    /// `Basic …`.
    Basic { username: String, password: Credential },
    /// A scheme and a secret.
    Scheme { scheme: String, credentials: Credential },
    /// A bearer token from a token endpoint.
    OAuth2(Box<OAuth2>),
}

impl Auth {
    /// From arguments that were validated.
    pub(crate) fn new(args: &HttpClientArgs, options: &ClientOptions) -> Result<Self, Error> {
        if let Some(basic) = &args.basic_auth {
            let password = Credential::from_args(&basic.password, &basic.password_file);
            return Ok(Self::Basic { username: basic.username.clone(), password });
        }
        if let Some(other) = &args.authorization {
            let credentials = Credential::from_args(&other.credentials, &other.credentials_file);
            if credentials == Credential::Inline(Secret::default()) {
                // As Prometheus: a block without credentials sends nothing.
                return Ok(Self::None);
            }
            return Ok(Self::Scheme { scheme: other.scheme().to_owned(), credentials });
        }
        if let Some(oauth2) = &args.oauth2 {
            return Ok(Self::OAuth2(Box::new(OAuth2::new(oauth2, options)?)));
        }
        if args.bearer_token.is_empty() && args.bearer_token_file.is_empty() {
            return Ok(Self::None);
        }
        let credentials = Credential::from_args(&args.bearer_token, &args.bearer_token_file);
        Ok(Self::Scheme { scheme: "Bearer".into(), credentials })
    }

    /// Sets `Authorization`, unless the request brings its own.
    pub(crate) async fn apply(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        if headers.contains_key(AUTHORIZATION) {
            return Ok(());
        }
        let value = match self {
            Self::None => return Ok(()),
            Self::Basic { username, password } => basic(username, password.read().await?.reveal()),
            Self::Scheme { scheme, credentials } => {
                let credentials = credentials.read().await?;
                secret_value(&AUTHORIZATION, &format!("{scheme} {}", credentials.reveal()))?
            }
            Self::OAuth2(oauth2) => secret_value(&AUTHORIZATION, oauth2.token().await?.reveal())?,
        };
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// `Basic …` of RFC 7617.
pub(crate) fn basic(username: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    let mut value = HeaderValue::try_from(text).expect("base64 is a header value");
    value.set_sensitive(true);
    value
}

/// Takes user and password out of a URL.
pub(crate) fn from_url(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let value = basic(&decode(url.username()), &decode(url.password().unwrap_or_default()));
    // Fails only for URLs that cannot have a user, and this one has.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_a_url_become_basic_and_vanish_from_it() {
        let mut url = Url::parse("http://bob:p%40ss@host/x").unwrap();
        let value = from_url(&mut url).unwrap();
        assert_eq!(value, basic("bob", "p@ss"));
        assert!(value.is_sensitive());
        assert_eq!(url.as_str(), "http://host/x");
        assert_eq!(from_url(&mut url), None);
    }
}

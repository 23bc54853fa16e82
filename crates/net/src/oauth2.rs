//! OAuth 2.0 client credentials (RFC 6749, section 4.4), and the reading of token answers, which other
//! token sources share.

use std::collections::BTreeMap;
use std::time::Duration;

use component::BoxFuture;
use component::eval::Secret;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded;

use crate::args::OAuth2Args;
use crate::auth::basic;
use crate::client::{Client, ClientOptions, Request};
use crate::credential::Credential;
use crate::error::{Error, Kind};
use crate::token::{Token, TokenCache, TokenSource};

/// Token answers are small.
const MAX_ANSWER: usize = 1 << 20;
/// A token endpoint that takes longer is down.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The `oauth2` block at work.
pub(crate) struct OAuth2(TokenCache);

impl OAuth2 {
    pub(crate) fn new(args: &OAuth2Args, options: &ClientOptions) -> Result<Self, Error> {
        let token_url = Url::parse(&args.token_url)
            .map_err(|e| Error::config(format!("oauth2's token_url is not a URL: {e}")))?;
        Ok(Self(TokenCache::new(ClientCredentials {
            client: Client::for_tokens(args, options)?,
            token_url,
            client_id: args.client_id.clone(),
            secret: Credential::from_args(&args.client_secret, &args.client_secret_file),
            scopes: args.scopes.join(" "),
            params: args.endpoint_params.clone(),
        })))
    }

    /// The value of `Authorization`.
    pub(crate) async fn token(&self) -> Result<Secret, Error> {
        self.0.get().await
    }
}

struct ClientCredentials {
    client: Client,
    token_url: Url,
    client_id: String,
    secret: Credential,
    scopes: String,
    params: BTreeMap<String, String>,
}

impl TokenSource for ClientCredentials {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(async move {
            let secret = self.secret.read().await?;
            // Go's oauth2 tries the header first and, if that is refused, the body; so do we.
            match self.ask(&secret, true).await {
                Err(error) if matches!(error.status(), Some(400 | 401 | 403)) => {
                    self.ask(&secret, false).await.map_err(refused)
                }
                other => other.map_err(refused),
            }
        })
    }
}

fn refused(error: Error) -> Error {
    match error.kind() {
        Kind::Status(_) => Error::new(Kind::Token, format!("no token from oauth2's token_url: {error}")),
        _ => error,
    }
}

impl ClientCredentials {
    async fn ask(&self, secret: &Secret, in_header: bool) -> Result<Token, Error> {
        let mut form = vec![("grant_type", "client_credentials")];
        if !self.scopes.is_empty() {
            form.push(("scope", &self.scopes));
        }
        form.extend(self.params.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        if !in_header {
            form.extend([("client_id", self.client_id.as_str()), ("client_secret", secret.reveal())]);
        }
        let mut request = form_request(self.token_url.clone(), &form);
        if in_header {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request =
                request.header(AUTHORIZATION, basic(&encode(&self.client_id), &encode(secret.reveal())));
        }
        fetch_token(&self.client, request).await
    }
}

/// A `POST` of a form.
pub(crate) fn form_request(url: Url, fields: &[(&str, &str)]) -> Request {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(url, body)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
        .timeout(TIMEOUT)
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// A number, or text that is one (Azure).
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn get(&self) -> Option<u64> {
        match self {
            Self::Number(n) => Some(*n as u64),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// Sends a token request and reads the answer as a whole value for `Authorization`.
pub(crate) async fn fetch_token(client: &Client, request: Request) -> Result<Token, Error> {
    let body = client.send_ok(request).await?.bytes(MAX_ANSWER).await?;
    // What serde says of a bad answer could quote it, so it is not passed on.
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| {
        Error::new(Kind::Token, "the token endpoint's answer is not JSON with an access_token")
    })?;
    let scheme = match answer.token_type.as_str() {
        "" => "Bearer",
        t if t.eq_ignore_ascii_case("bearer") => "Bearer",
        other => other,
    };
    let value = Secret::from(format!("{scheme} {}", answer.access_token));
    Ok(Token::lasting(value, answer.expires_in.and_then(|s| s.get())))
}

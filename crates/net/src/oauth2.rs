//! OAuth 2.0 client credentials (RFC 6749, section 4.4), by secret or signed assertion, and the reading of token answers, which other
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

use crate::args::{HttpClientArgs, OAuth2Args, TlsConfigArgs};
use crate::auth::basic;
use crate::client::{Client, ClientOptions, Request, secret_value};
use crate::credential::Credential;
use crate::error::{Error, Kind};
use crate::sign::jwt::{Algorithm, signed};
use crate::sign::{Outgoing, Sign};
use crate::tls::TlsExtras;
use crate::token::{Token, TokenCache, TokenSource};

/// Token answers are small.
const MAX_ANSWER: usize = 1 << 20;
/// A token endpoint that takes longer is down.
const TIMEOUT: Duration = Duration::from_secs(30);
/// `grant_type` of an assertion (RFC 7523).
const BY_ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good.
const ASSERTION_SECONDS: i64 = 30 * 60;

/// The `oauth2` block at work.
pub(crate) struct OAuth2(TokenCache);

impl OAuth2 {
    pub(crate) fn new(args: &OAuth2Args, options: &ClientOptions) -> Result<Self, Error> {
        let params = args.endpoint_params.iter().map(|(k, v)| (k.clone(), vec![v.clone()])).collect();
        Ok(Self(TokenCache::new(Asking {
            client: Client::for_tokens(args, options)?,
            token_url: token_url(&args.token_url)?,
            client_id: Credential::Inline(args.client_id.clone().into()),
            proof: Proof::Secret(Credential::from_args(&args.client_secret, &args.client_secret_file)),
            scopes: args.scopes.join(" "),
            params,
            timeout: TIMEOUT,
        })))
    }

    /// The value of `Authorization`.
    pub(crate) async fn token(&self) -> Result<Secret, Error> {
        self.0.get().await
    }
}

/// What tokens are asked with by those who have more to say than the `oauth2` block.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Where tokens come from.
    pub token_url: String,
    /// Client ID.
    pub client_id: Credential,
    /// How the client proves who it is.
    pub proof: Proof,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Further parameters.
    pub params: BTreeMap<String, Vec<String>>,
    /// How long an answer may take; zero for the usual 30 seconds.
    pub timeout: Duration,
    /// A token is not used any more so long before its end; zero for the usual ten seconds.
    pub early: Duration,
    /// TLS of the request.
    pub tls: TlsConfigArgs,
    /// More of it.
    pub tls_extras: TlsExtras,
    /// `User-Agent`.
    pub user_agent: String,
}

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a secret (RFC 6749, section 4.4).
    Secret(Credential),
    /// By a signed assertion (RFC 7523, section 2.1).
    Assertion {
        /// RSA key in PEM.
        key: Credential,
        /// `kid` of its header; empty for none.
        key_id: String,
        /// How it is signed.
        algorithm: Algorithm,
        /// `iss`; the client ID where it is empty.
        issuer: String,
        /// `aud`; the token URL where it is empty.
        audience: String,
        /// Further claims; they win.
        claims: serde_json::Map<String, serde_json::Value>,
    },
}

/// Puts bearer tokens into requests.
pub struct BearerTokens(TokenCache);

impl BearerTokens {
    /// Asks for no token before the first request.
    ///
    /// # Errors
    /// If the arguments cannot work.
    pub fn new(request: TokenRequest) -> Result<Self, Error> {
        // As Go's clients: the proxy is that of the environment.
        let client = HttpClientArgs {
            tls_config: request.tls,
            proxy_from_environment: true,
            ..HttpClientArgs::default()
        };
        let options = ClientOptions { tls: request.tls_extras, ..ClientOptions::new(request.user_agent) };
        let source = Asking {
            client: Client::new(&client, options)?,
            token_url: token_url(&request.token_url)?,
            client_id: request.client_id,
            proof: request.proof,
            scopes: request.scopes.join(" "),
            params: request.params,
            timeout: if request.timeout.is_zero() { TIMEOUT } else { request.timeout },
        };
        Ok(Self(match request.early.is_zero() {
            true => TokenCache::new(source),
            false => TokenCache::early(source, request.early),
        }))
    }
}

impl Sign for BearerTokens {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let token = self.0.get().await?;
            request.headers.insert(AUTHORIZATION, secret_value(&AUTHORIZATION, token.reveal())?);
            Ok(())
        })
    }
}

fn token_url(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|e| Error::config(format!("oauth2's token_url is not a URL: {e}")))
}

/// Asks a token endpoint.
struct Asking {
    client: Client,
    token_url: Url,
    client_id: Credential,
    proof: Proof,
    scopes: String,
    params: BTreeMap<String, Vec<String>>,
    timeout: Duration,
}

impl TokenSource for Asking {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(async move {
            let id = self.client_id.read().await?;
            match &self.proof {
                Proof::Secret(secret) => {
                    let secret = secret.read().await?;
                    // Go's oauth2 tries the header first and, if that is refused, the body; so do we.
                    match self.by_secret(&id, &secret, true).await {
                        Err(error) if matches!(error.status(), Some(400 | 401 | 403)) => {
                            self.by_secret(&id, &secret, false).await
                        }
                        other => other,
                    }
                }
                Proof::Assertion { key, .. } => self.by_assertion(&id, &key.read().await?).await,
            }
            .map_err(refused)
        })
    }
}

fn refused(error: Error) -> Error {
    match error.kind() {
        Kind::Status(_) => Error::new(Kind::Token, format!("no token from oauth2's token_url: {error}")),
        _ => error,
    }
}

impl Asking {
    async fn by_secret(&self, id: &Secret, secret: &Secret, in_header: bool) -> Result<Token, Error> {
        let mut form = self.form("client_credentials");
        if !in_header {
            form.extend([("client_id", id.reveal()), ("client_secret", secret.reveal())]);
        }
        let mut request = form_request(self.token_url.clone(), &form).timeout(self.timeout);
        if in_header {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.header(AUTHORIZATION, basic(&encode(id.reveal()), &encode(secret.reveal())));
        }
        fetch_token(&self.client, request).await
    }

    async fn by_assertion(&self, id: &Secret, key: &Secret) -> Result<Token, Error> {
        let Proof::Assertion { key_id, algorithm, issuer, audience, claims, .. } = &self.proof else {
            unreachable!("asked for with an assertion only");
        };
        let now = jiff::Timestamp::now().as_second();
        let or = |given: &str, otherwise: &str| if given.is_empty() { otherwise } else { given }.to_owned();
        let mut all = serde_json::json!({
            "iss": or(issuer, id.reveal()),
            "sub": id.reveal(),
            "aud": or(audience, self.token_url.as_str()),
            "jti": format!("{:032x}", fastrand::u128(..)),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        if !self.scopes.is_empty() {
            all["scope"] = self.scopes.clone().into();
        }
        for (name, value) in claims {
            all[name] = value.clone();
        }
        let assertion = signed(*algorithm, key_id, &all, key)?;
        let mut form = self.form(BY_ASSERTION);
        form.push(("assertion", assertion.reveal()));
        fetch_token(&self.client, form_request(self.token_url.clone(), &form).timeout(self.timeout)).await
    }

    /// `grant_type` may be among the parameters, for endpoints with a word of their own.
    fn form<'a>(&'a self, grant: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut form = Vec::new();
        if !self.params.contains_key("grant_type") {
            form.push(("grant_type", grant));
        }
        if !self.scopes.is_empty() {
            form.push(("scope", &self.scopes));
        }
        for (name, values) in &self.params {
            form.extend(values.iter().map(|value| (name.as_str(), value.as_str())));
        }
        form
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

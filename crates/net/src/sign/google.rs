//! `google_iam`: an access token of a service account, of a user, or of the machine.
//!
//! Without a credentials file it looks where Google's libraries look: `GOOGLE_APPLICATION_CREDENTIALS`,
//! gcloud's folder, the metadata server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::eval::Secret;
use component::{Arguments, BoxFuture};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::{Outgoing, Sign, Variables, jwt};
use crate::args::HttpClientArgs;
use crate::client::{Client, ClientOptions, Request, secret_value};
use crate::credential::Credential;
use crate::error::{Error, Kind};
use crate::oauth2::{fetch_token, form_request};
use crate::token::{Token, TokenCache, TokenSource};

/// What Prometheus asks for.
const SCOPE: &str = "https://www.googleapis.com/auth/monitoring.write";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The `google_iam` block.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct GoogleIamArgs {
    /// Credentials file; otherwise Google's usual places are searched.
    #[arg(default)]
    pub credentials_file: String,
}

/// Where Google is; another place for tests.
#[derive(Clone)]
pub struct GoogleEndpoints {
    /// The metadata server, with scheme.
    pub metadata: Option<String>,
    /// Where user credentials become tokens.
    pub token: String,
    /// Environment variables.
    pub variables: Variables,
}

impl Default for GoogleEndpoints {
    fn default() -> Self {
        Self {
            metadata: None,
            token: "https://oauth2.googleapis.com/token".into(),
            variables: Arc::new(|name| std::env::var(name).ok()),
        }
    }
}

/// Sends Google access tokens.
pub struct GoogleIam(TokenCache);

impl GoogleIam {
    /// A signer for a block. Nothing is read or fetched before the first request.
    pub fn new(args: &GoogleIamArgs, user_agent: &str) -> Result<Self, Error> {
        Self::with_endpoints(args, user_agent, GoogleEndpoints::default())
    }

    /// As [`GoogleIam::new`], with another Google.
    pub fn with_endpoints(
        args: &GoogleIamArgs,
        user_agent: &str,
        google: GoogleEndpoints,
    ) -> Result<Self, Error> {
        let client = Client::new(&HttpClientArgs::default(), ClientOptions::new(user_agent))?;
        Ok(Self(TokenCache::new(Source { file: args.credentials_file.clone(), client, google })))
    }
}

impl Sign for GoogleIam {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let value = secret_value(&AUTHORIZATION, self.0.get().await?.reveal())?;
            request.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }
}

struct Source {
    file: String,
    client: Client,
    google: GoogleEndpoints,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Credentials {
    ServiceAccount { client_email: String, private_key: String, private_key_id: String, token_uri: String },
    AuthorizedUser { client_id: String, client_secret: String, refresh_token: String },
}

impl TokenSource for Source {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(async move {
            let Some(file) = self.credentials_file() else { return self.metadata().await };
            let text = Credential::File(file.clone()).read().await?;
            let credentials = serde_json::from_str(text.reveal()).map_err(|_| {
                let message = format!(
                    "{} holds no service_account or authorized_user credentials of Google",
                    file.display()
                );
                Error::new(Kind::Credentials, message)
            })?;
            let request = match credentials {
                Credentials::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
                    let now = Timestamp::now().as_second();
                    let claims = serde_json::json!({
                        "iss": client_email, "scope": SCOPE, "aud": token_uri, "iat": now, "exp": now + 3600,
                    });
                    let assertion = jwt::signed(
                        jwt::Algorithm::Rs256,
                        &private_key_id,
                        &claims,
                        &Secret::from(private_key),
                    )?;
                    let url = parse(&token_uri)?;
                    form_request(url, &[("grant_type", GRANT), ("assertion", assertion.reveal())])
                }
                Credentials::AuthorizedUser { client_id, client_secret, refresh_token } => form_request(
                    parse(&self.google.token)?,
                    &[
                        ("grant_type", "refresh_token"),
                        ("client_id", &client_id),
                        ("client_secret", &client_secret),
                        ("refresh_token", &refresh_token),
                    ],
                ),
            };
            fetch_token(&self.client, request).await
        })
    }
}

impl Source {
    fn credentials_file(&self) -> Option<PathBuf> {
        if !self.file.is_empty() {
            return Some(self.file.clone().into());
        }
        let var = |name: &str| (self.google.variables)(name).filter(|v| !v.is_empty());
        if let Some(file) = var("GOOGLE_APPLICATION_CREDENTIALS") {
            return Some(file.into());
        }
        let known = PathBuf::from(var("HOME")?).join(".config/gcloud/application_default_credentials.json");
        known.is_file().then_some(known)
    }

    async fn metadata(&self) -> Result<Token, Error> {
        const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
        let host = (self.google.variables)("GCE_METADATA_HOST").map(|h| format!("http://{h}"));
        let base = self.google.metadata.clone().or(host);
        let base = base.unwrap_or_else(|| "http://metadata.google.internal".into());
        let path =
            format!("{base}/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}");
        let request = Request::get(parse(&path)?)
            .header(FLAVOR, HeaderValue::from_static("Google"))
            .timeout(Duration::from_secs(10));
        fetch_token(&self.client, request).await.map_err(|e| {
            let message = format!("no Google credentials: no credentials_file, and no metadata server ({e})");
            Error::new(Kind::Credentials, message)
        })
    }
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|e| Error::config(format!("{url:?} is not a URL: {e}")))
}

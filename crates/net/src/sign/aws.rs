//! `sigv4`: where AWS keys come from, and the signer that uses them.
//!
//! Order, as AWS' SDKs have it: keys of the block; a named profile; environment; web identity; default
//! profile; container; instance metadata (version 2). `role_arn` is assumed on top of whichever it is.

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Secret};
use component::{Arguments, BoxFuture};
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::profile::Profile;
use super::sigv4::{Keys, sign};
use super::{Outgoing, Sign, Variables};
use crate::args::HttpClientArgs;
use crate::client::{Client, ClientOptions, Request};
use crate::error::{Error, Kind};
use crate::oauth2::form_request;
use crate::token::{Token, TokenCache, TokenSource};

const MAX_ANSWER: usize = 1 << 20;
/// Metadata servers are close by or not there at all.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The `sigv4` block.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct SigV4Args {
    /// Region; otherwise that of the environment or the profile.
    #[arg(default)]
    pub region: String,
    /// Access key; otherwise AWS' usual places are searched.
    #[arg(default)]
    pub access_key: String,
    /// Secret key.
    #[arg(default)]
    pub secret_key: Secret,
    /// Profile of the shared credentials file.
    #[arg(default)]
    pub profile: String,
    /// Role to assume.
    #[arg(default)]
    pub role_arn: String,
    /// External ID for assuming the role.
    #[arg(default)]
    pub external_id: String,
    /// Assumes the role at the FIPS endpoint.
    #[arg(default)]
    pub use_fips_sts_endpoint: bool,
    /// Name of the service that is signed for.
    #[arg(default = "aps")]
    pub service_name: String,
}

impl SigV4Args {
    /// Rules across attributes.
    pub fn validate(&self) -> Result<(), Invalid> {
        match (self.access_key.is_empty(), self.secret_key.is_empty()) {
            (true, false) => Err(Invalid::field("access_key", "secret_key needs an access_key")),
            (false, true) => Err(Invalid::field("secret_key", "access_key needs a secret_key")),
            _ if !self.external_id.is_empty() && self.role_arn.is_empty() => {
                Err(Invalid::field("external_id", "external_id says nothing without a role_arn"))
            }
            _ => Ok(()),
        }
    }
}

impl Default for SigV4Args {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

/// The surroundings that keys are looked for in; another one for tests.
#[derive(Clone)]
pub struct AwsEnvironment {
    /// Environment variables.
    pub variables: Variables,
    /// The instance metadata server.
    pub instance_metadata: String,
    /// The container metadata server.
    pub container_metadata: String,
    /// The token service, instead of the region's.
    pub sts: Option<String>,
}

impl Default for AwsEnvironment {
    fn default() -> Self {
        Self {
            variables: Arc::new(|name| std::env::var(name).ok()),
            instance_metadata: "http://169.254.169.254".into(),
            container_metadata: "http://169.254.170.2".into(),
            sts: None,
        }
    }
}

impl AwsEnvironment {
    pub(super) fn var(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|v| !v.is_empty())
    }
}

/// What `otelcol.auth.sigv4` may say beyond [`SigV4Args`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SigV4Extras {
    /// Name of the session in which a role is assumed; ours where it is empty.
    pub session_name: String,
    /// Region whose token service is asked for a role; that of the requests where it is empty.
    pub sts_region: String,
    /// What is not given is read from the host of each request, where it is an AWS service that we know.
    pub infers: bool,
}

/// Signs with AWS keys.
pub struct SigV4 {
    keys: TokenCache<Keys>,
    region: Region,
    service: String,
    infers: bool,
}

#[derive(Clone)]
struct Region {
    given: String,
    profile: Profile,
    environment: AwsEnvironment,
}

impl Region {
    fn get(&self) -> Result<String, Error> {
        if !self.given.is_empty() {
            return Ok(self.given.clone());
        }
        let from_environment =
            ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|v| self.environment.var(v));
        if let Some(region) = from_environment.or_else(|| self.profile.get("region")) {
            return Ok(region);
        }
        let message = "sigv4 needs a region: set region, AWS_REGION, or the region of the profile";
        Err(Error::new(Kind::Credentials, message))
    }
}

impl SigV4 {
    /// A signer for a block. Nothing is read or fetched before the first request.
    pub fn new(args: &SigV4Args, user_agent: &str) -> Result<Self, Error> {
        Self::with_environment(args, user_agent, AwsEnvironment::default())
    }

    /// As [`SigV4::new`], in other surroundings.
    pub fn with_environment(
        args: &SigV4Args,
        user_agent: &str,
        environment: AwsEnvironment,
    ) -> Result<Self, Error> {
        Self::with_extras(args, SigV4Extras::default(), user_agent, environment)
    }

    /// As [`SigV4::with_environment`], with more wishes.
    pub fn with_extras(
        args: &SigV4Args,
        extras: SigV4Extras,
        user_agent: &str,
        environment: AwsEnvironment,
    ) -> Result<Self, Error> {
        let client = Client::new(&HttpClientArgs::default(), ClientOptions::new(user_agent))?;
        let profile = Profile::new(&args.profile, &environment);
        let region =
            Region { given: args.region.clone(), profile: profile.clone(), environment: environment.clone() };
        let base =
            Base { args: args.clone(), client: client.clone(), profile, environment: environment.clone() };
        let keys = if args.role_arn.is_empty() {
            TokenCache::new(base)
        } else {
            TokenCache::new(AssumeRole {
                base: TokenCache::new(base),
                client,
                region: match extras.sts_region.is_empty() {
                    true => region.clone(),
                    false => Region { given: extras.sts_region, ..region.clone() },
                },
                session_name: Some(extras.session_name).filter(|name| !name.is_empty()),
                role_arn: args.role_arn.clone(),
                external_id: args.external_id.clone(),
                fips: args.use_fips_sts_endpoint,
                sts: environment.sts,
            })
        };
        Ok(Self { keys, region, service: args.service_name.clone(), infers: extras.infers })
    }
}

impl Sign for SigV4 {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let keys = self.keys.get().await?;
            let host = request.url.host_str().unwrap_or_default().to_owned();
            let (service, region) = inferred(&host).filter(|_| self.infers).unzip();
            let service = match (self.service.as_str(), service) {
                ("", Some(inferred)) => inferred,
                ("", None) => {
                    let message =
                        format!("sigv4 needs a service: {host} does not tell which it is; set service");
                    return Err(Error::new(Kind::Credentials, message));
                }
                (given, _) => given,
            };
            let region = match region.filter(|_| self.region.given.is_empty()) {
                Some(inferred) => inferred.to_owned(),
                None => self.region.get()?,
            };
            sign(request, &keys, &region, service, Timestamp::now())
        })
    }
}

/// Service and region of a host of AWS, as the OpenTelemetry Collector reads them.
fn inferred(host: &str) -> Option<(&'static str, &str)> {
    let (first, rest) = host.split_once('.')?;
    let (region, _) = rest.split_once('.')?;
    let service = [("aps-workspaces", "aps"), ("search-", "es"), ("logs", "logs"), ("xray", "xray")]
        .into_iter()
        .find_map(|(prefix, service)| first.starts_with(prefix).then_some(service))?;
    Some((service, region))
}

/// Keys without a role on top.
struct Base {
    args: SigV4Args,
    client: Client,
    profile: Profile,
    environment: AwsEnvironment,
}

impl TokenSource<Keys> for Base {
    fn fetch(&self) -> BoxFuture<'_, Result<Token<Keys>, Error>> {
        Box::pin(async move {
            if !self.args.access_key.is_empty() {
                let (access_key, secret_key) = (self.args.access_key.clone(), self.args.secret_key.clone());
                return Ok(Token::lasting(Keys { access_key, secret_key, session_token: None }, None));
            }
            if !self.args.profile.is_empty() {
                return self.profile.keys()?.ok_or_else(|| self.profile.missing());
            }
            if let Some(token) = self.variable_keys() {
                return Ok(token);
            }
            if let (Some(file), Some(role)) =
                (self.environment.var("AWS_WEB_IDENTITY_TOKEN_FILE"), self.environment.var("AWS_ROLE_ARN"))
            {
                return self.web_identity(&file, &role).await;
            }
            if let Some(token) = self.profile.keys()? {
                return Ok(token);
            }
            match self.container_request().await? {
                Some(request) => self.temporary(request).await,
                None => self.instance().await,
            }
        })
    }
}

impl Base {
    fn variable_keys(&self) -> Option<Token<Keys>> {
        let keys = Keys {
            access_key: self.environment.var("AWS_ACCESS_KEY_ID")?,
            secret_key: self.environment.var("AWS_SECRET_ACCESS_KEY")?.into(),
            session_token: self.environment.var("AWS_SESSION_TOKEN").map(Secret::from),
        };
        Some(Token::lasting(keys, None))
    }

    async fn web_identity(&self, file: &str, role: &str) -> Result<Token<Keys>, Error> {
        let token = crate::credential::Credential::File(file.into()).read().await?;
        let session = self.environment.var("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "ferroalloy".into());
        let region = Region {
            given: self.args.region.clone(),
            profile: self.profile.clone(),
            environment: self.environment.clone(),
        };
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", &session),
            ("WebIdentityToken", token.reveal()),
        ];
        let url = sts_url(self.environment.sts.as_deref(), &region.get()?, self.args.use_fips_sts_endpoint)?;
        let body = self
            .client
            .send_ok(form_request(url, &fields))
            .await
            .map_err(sts_refused)?
            .text(MAX_ANSWER)
            .await?;
        sts_keys(&body)
    }

    async fn container_request(&self) -> Result<Option<Request>, Error> {
        let relative = self.environment.var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = match relative {
            Some(path) => Some(format!("{}{path}", self.environment.container_metadata)),
            None => self.environment.var("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        };
        let Some(url) = url else { return Ok(None) };
        let mut request = Request::get(parse(&url)?).timeout(METADATA_TIMEOUT);
        let token = match self.environment.var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(crate::credential::Credential::File(file.into()).read().await?),
            None => self.environment.var("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::from),
        };
        if let Some(token) = token {
            let name = http::header::AUTHORIZATION;
            let value = crate::client::secret_value(&name, token.reveal())?;
            request = request.header(name, value);
        }
        Ok(Some(request))
    }

    /// Instance metadata, version 2.
    async fn instance(&self) -> Result<Token<Keys>, Error> {
        const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
        let base = &self.environment.instance_metadata;
        let nowhere = |e: Error| {
            let message = format!(
                "no AWS keys: neither in sigv4, nor in the environment, a profile, a container or an instance ({e})"
            );
            Error::new(Kind::Credentials, message)
        };
        let ask = Request::new(Method::PUT, parse(&format!("{base}/latest/api/token"))?)
            .header(TTL, HeaderValue::from_static("21600"))
            .timeout(METADATA_TIMEOUT);
        let token = self.client.send_ok(ask).await.map_err(nowhere)?.text(MAX_ANSWER).await?;
        let token = crate::client::secret_value(&TOKEN, token.trim())?;
        let path = format!("{base}/latest/meta-data/iam/security-credentials/");
        let get = |url: &str| {
            Ok::<_, Error>(Request::get(parse(url)?).header(TOKEN, token.clone()).timeout(METADATA_TIMEOUT))
        };
        let role = self.client.send_ok(get(&path)?).await.map_err(nowhere)?.text(MAX_ANSWER).await?;
        let role = role.lines().next().unwrap_or_default().trim();
        self.temporary(get(&format!("{path}{role}"))?).await
    }

    /// Keys in the JSON that container and instance metadata answer with.
    async fn temporary(&self, request: Request) -> Result<Token<Keys>, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            access_key_id: String,
            secret_access_key: String,
            token: Option<String>,
            expiration: Option<String>,
        }
        let body = self.client.send_ok(request).await?.bytes(MAX_ANSWER).await?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| Error::new(Kind::Token, "the AWS metadata server's answer holds no keys"))?;
        let keys = Keys {
            access_key: answer.access_key_id,
            secret_key: answer.secret_access_key.into(),
            session_token: answer.token.map(Secret::from),
        };
        let end = answer.expiration.and_then(|t| t.parse().ok());
        Ok(Token::lasting(keys, seconds_until(end)))
    }
}

/// Assumes a role with other keys.
struct AssumeRole {
    base: TokenCache<Keys>,
    client: Client,
    region: Region,
    session_name: Option<String>,
    role_arn: String,
    external_id: String,
    fips: bool,
    sts: Option<String>,
}

impl TokenSource<Keys> for AssumeRole {
    fn fetch(&self) -> BoxFuture<'_, Result<Token<Keys>, Error>> {
        Box::pin(async move {
            let region = self.region.get()?;
            let mut fields = vec![
                ("Action", "AssumeRole"),
                ("Version", "2011-06-15"),
                ("RoleArn", self.role_arn.as_str()),
                ("RoleSessionName", self.session_name.as_deref().unwrap_or("ferroalloy")),
            ];
            if !self.external_id.is_empty() {
                fields.push(("ExternalId", &self.external_id));
            }
            let request = form_request(sts_url(self.sts.as_deref(), &region, self.fips)?, &fields);
            let mut outgoing = Outgoing {
                method: request.method.clone(),
                url: request.url.clone(),
                headers: request.headers.clone(),
                body: request.body.clone(),
            };
            sign(&mut outgoing, &self.base.get().await?, &region, "sts", Timestamp::now())?;
            let request = Request { headers: outgoing.headers, ..request };
            let body = self.client.send_ok(request).await.map_err(sts_refused)?.text(MAX_ANSWER).await?;
            sts_keys(&body)
        })
    }
}

fn sts_refused(error: Error) -> Error {
    match error.kind() {
        Kind::Status(_) => Error::new(Kind::Token, format!("the role cannot be assumed: {error}")),
        _ => error,
    }
}

fn sts_url(given: Option<&str>, region: &str, fips: bool) -> Result<Url, Error> {
    if let Some(given) = given {
        return parse(given);
    }
    let name = if fips { "sts-fips" } else { "sts" };
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    parse(&format!("https://{name}.{region}.amazonaws.com{suffix}/"))
}

/// Keys in the XML of the token service.
fn sts_keys(xml: &str) -> Result<Token<Keys>, Error> {
    let text = |tag: &str| {
        let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.trim().to_owned())
    };
    let keys = (|| {
        Some(Keys {
            access_key: text("AccessKeyId")?,
            secret_key: text("SecretAccessKey")?.into(),
            session_token: Some(text("SessionToken")?.into()),
        })
    })();
    let keys = keys.ok_or_else(|| Error::new(Kind::Token, "the AWS token service's answer holds no keys"))?;
    Ok(Token::lasting(keys, seconds_until(text("Expiration").and_then(|t| t.parse().ok()))))
}

fn seconds_until(end: Option<Timestamp>) -> Option<u64> {
    let seconds = end?.as_second().saturating_sub(Timestamp::now().as_second());
    // What has already ended is asked for again at once.
    Some(seconds.max(1) as u64)
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|e| Error::config(format!("{url:?} is not a URL: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_aws_tell_service_and_region() {
        for (host, expected) in [
            ("aps-workspaces.eu-west-1.amazonaws.com", Some(("aps", "eu-west-1"))),
            ("xray.us-east-1.amazonaws.com", Some(("xray", "us-east-1"))),
            ("logs.us-east-2.amazonaws.com", Some(("logs", "us-east-2"))),
            ("search-mine.us-west-2.es.amazonaws.com", Some(("es", "us-west-2"))),
            ("otlp.example.com", None),
            ("xray", None),
        ] {
            assert_eq!(inferred(host), expected, "{host}");
        }
    }

    #[test]
    fn roles_are_assumed_in_the_region_at_its_own_endpoint() {
        for (region, fips, expected) in [
            ("eu-west-1", false, "https://sts.eu-west-1.amazonaws.com/"),
            ("us-east-1", true, "https://sts-fips.us-east-1.amazonaws.com/"),
            ("cn-north-1", false, "https://sts.cn-north-1.amazonaws.com.cn/"),
        ] {
            assert_eq!(sts_url(None, region, fips).unwrap().as_str(), expected);
        }
    }
}

//! `azuread`: an access token of an application, a managed identity or a workload identity.

use std::sync::Arc;
use std::time::Duration;

use component::eval::{Invalid, Secret};
use component::{Arguments, BoxFuture};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Outgoing, Sign, Variables};
use crate::args::HttpClientArgs;
use crate::client::{Client, ClientOptions, Request, secret_value};
use crate::credential::Credential;
use crate::error::{Error, Kind};
use crate::oauth2::{fetch_token, form_request};
use crate::token::{Token, TokenCache, TokenSource};

/// The `azuread` block: one of the four blocks says who to be.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct AzureAdArgs {
    /// Cloud: `AzurePublic`, `AzureGovernment` or `AzureChina`.
    #[arg(default = "AzurePublic")]
    pub cloud: String,
    /// Scope of the token; the cloud's ingestion scope otherwise.
    #[arg(default)]
    pub scope: String,
    /// An identity that Azure manages for the machine.
    #[arg(block)]
    pub managed_identity: Option<AzureManagedIdentity>,
    /// An identity that a Kubernetes cluster vouches for.
    #[arg(block)]
    pub workload_identity: Option<AzureWorkloadIdentity>,
    /// An application with a secret.
    #[arg(block)]
    pub oauth: Option<AzureOAuth>,
    /// Whatever the environment offers.
    #[arg(block)]
    pub sdk: Option<AzureSdk>,
}

/// `azuread > managed_identity`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AzureManagedIdentity {
    /// Client ID, a UUID.
    pub client_id: String,
}

/// `azuread > workload_identity`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AzureWorkloadIdentity {
    /// Client ID, a UUID.
    pub client_id: String,
    /// Tenant ID, a UUID.
    pub tenant_id: String,
    /// File with the cluster's token; read again for every Azure token.
    #[arg(default = "/var/run/secrets/azure/tokens/azure-identity-token")]
    pub token_file_path: String,
}

/// `azuread > oauth`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AzureOAuth {
    /// Client ID, a UUID.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// Tenant ID, a UUID.
    pub tenant_id: String,
}

/// `azuread > sdk`.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct AzureSdk {
    /// Tenant ID, a UUID.
    pub tenant_id: String,
}

impl Default for AzureAdArgs {
    fn default() -> Self {
        component::eval::Arguments::defaults()
    }
}

impl AzureAdArgs {
    /// Rules across attributes, of the blocks inside too.
    pub fn validate(&self) -> Result<(), Invalid> {
        if cloud(&self.cloud).is_none() {
            let message = format!("{:?} is not an Azure cloud", self.cloud);
            return Err(
                Invalid::field("cloud", message).with_help("use AzurePublic, AzureGovernment or AzureChina")
            );
        }
        let given = [
            self.managed_identity.is_some(),
            self.workload_identity.is_some(),
            self.oauth.is_some(),
            self.sdk.is_some(),
        ];
        if given.iter().filter(|g| **g).count() != 1 {
            let message = "azuread needs exactly one of managed_identity, workload_identity, oauth and sdk";
            return Err(Invalid::body(message));
        }
        let ids = [
            ("managed_identity", self.managed_identity.as_ref().map(|m| &m.client_id)),
            ("workload_identity", self.workload_identity.as_ref().map(|w| &w.client_id)),
            ("workload_identity", self.workload_identity.as_ref().map(|w| &w.tenant_id)),
            ("oauth", self.oauth.as_ref().map(|o| &o.client_id)),
            ("oauth", self.oauth.as_ref().map(|o| &o.tenant_id)),
            ("sdk", self.sdk.as_ref().map(|s| &s.tenant_id)),
        ];
        for (block, id) in ids {
            if let Some(id) = id.filter(|id| !is_uuid(id)) {
                return Err(Invalid::field(block, format!("{id:?} is not a UUID")));
            }
        }
        Ok(())
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// Login host and ingestion audience of a cloud, as in Prometheus' azuread package.
fn cloud(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name.to_ascii_lowercase().as_str() {
        "azurepublic" => ("https://login.microsoftonline.com", "https://monitor.azure.com//.default"),
        "azuregovernment" => ("https://login.microsoftonline.us", "https://monitor.azure.us//.default"),
        "azurechina" => ("https://login.chinacloudapi.cn", "https://monitor.azure.cn//.default"),
        _ => return None,
    })
}

/// Where Azure is; another place for tests.
#[derive(Clone)]
pub struct AzureEndpoints {
    /// The login host, instead of the cloud's.
    pub login: Option<String>,
    /// The metadata server of virtual machines.
    pub metadata: String,
    /// Environment variables.
    pub variables: Variables,
}

impl Default for AzureEndpoints {
    fn default() -> Self {
        Self {
            login: None,
            metadata: "http://169.254.169.254".into(),
            variables: Arc::new(|name| std::env::var(name).ok()),
        }
    }
}

/// Sends Azure access tokens.
pub struct AzureAd(TokenCache);

impl AzureAd {
    /// A signer for a block that was validated. Nothing is read or fetched before the first request.
    pub fn new(args: &AzureAdArgs, user_agent: &str) -> Result<Self, Error> {
        Self::with_endpoints(args, user_agent, AzureEndpoints::default())
    }

    /// As [`AzureAd::new`], with another Azure.
    pub fn with_endpoints(
        args: &AzureAdArgs,
        user_agent: &str,
        azure: AzureEndpoints,
    ) -> Result<Self, Error> {
        let client = Client::new(&HttpClientArgs::default(), ClientOptions::new(user_agent))?;
        let (login, audience) = cloud(&args.cloud)
            .ok_or_else(|| Error::config(format!("{:?} is not an Azure cloud", args.cloud)))?;
        let scope = if args.scope.is_empty() { audience.to_owned() } else { args.scope.clone() };
        let login = azure.login.clone().unwrap_or_else(|| login.to_owned());
        Ok(Self(TokenCache::new(Source { args: args.clone(), client, login, scope, azure })))
    }
}

impl Sign for AzureAd {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let value = secret_value(&AUTHORIZATION, self.0.get().await?.reveal())?;
            request.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }
}

struct Source {
    args: AzureAdArgs,
    client: Client,
    login: String,
    scope: String,
    azure: AzureEndpoints,
}

impl TokenSource for Source {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(async move {
            let result = match &self.args {
                AzureAdArgs { oauth: Some(o), .. } => {
                    self.application(&o.tenant_id, &o.client_id, &o.client_secret).await
                }
                AzureAdArgs { managed_identity: Some(m), .. } => self.managed(Some(&m.client_id)).await,
                AzureAdArgs { workload_identity: Some(w), .. } => {
                    self.workload(&w.tenant_id, &w.client_id, &w.token_file_path).await
                }
                AzureAdArgs { sdk: Some(sdk), .. } => self.environment(&sdk.tenant_id).await,
                _ => return Err(Error::config("azuread needs one of its blocks")),
            };
            result.map_err(|e| match e.kind() {
                Kind::Status(_) => Error::new(Kind::Token, format!("no Azure token: {e}")),
                _ => e,
            })
        })
    }
}

impl Source {
    async fn application(&self, tenant: &str, client_id: &str, secret: &Secret) -> Result<Token, Error> {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", secret.reveal()),
            ("scope", &self.scope),
        ];
        fetch_token(&self.client, form_request(self.token_url(tenant)?, &fields)).await
    }

    async fn workload(&self, tenant: &str, client_id: &str, file: &str) -> Result<Token, Error> {
        let assertion = Credential::File(file.into()).read().await?;
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.reveal()),
            ("scope", &self.scope),
        ];
        fetch_token(&self.client, form_request(self.token_url(tenant)?, &fields)).await
    }

    /// The metadata server takes a resource where the others take a scope.
    async fn managed(&self, client_id: Option<&str>) -> Result<Token, Error> {
        const METADATA: HeaderName = HeaderName::from_static("metadata");
        let mut url = parse(&format!("{}/metadata/identity/oauth2/token", self.azure.metadata))?;
        let resource = self.scope.strip_suffix("/.default").unwrap_or(&self.scope);
        url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
        if let Some(client_id) = client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        let request = Request::get(url)
            .header(METADATA, HeaderValue::from_static("true"))
            .timeout(Duration::from_secs(10));
        fetch_token(&self.client, request).await
    }

    /// The order of Azure's default credential, as far as it needs no other program: an application in the
    /// environment, a workload identity, a managed identity.
    async fn environment(&self, tenant: &str) -> Result<Token, Error> {
        let var = |name: &str| (self.azure.variables)(name).filter(|v| !v.is_empty());
        let tenant =
            if tenant.is_empty() { var("AZURE_TENANT_ID").unwrap_or_default() } else { tenant.to_owned() };
        let client_id = var("AZURE_CLIENT_ID");
        if let (Some(id), Some(secret)) = (&client_id, var("AZURE_CLIENT_SECRET")) {
            return self.application(&tenant, id, &Secret::from(secret)).await;
        }
        if let (Some(id), Some(file)) = (&client_id, var("AZURE_FEDERATED_TOKEN_FILE")) {
            return self.workload(&tenant, id, &file).await;
        }
        self.managed(client_id.as_deref()).await.map_err(|e| {
            let message = format!(
                "no Azure credentials: set AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, \
                 or run where a managed identity is ({e})"
            );
            Error::new(Kind::Credentials, message)
        })
    }

    fn token_url(&self, tenant: &str) -> Result<Url, Error> {
        parse(&format!("{}/{tenant}/oauth2/v2.0/token", self.login))
    }
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|e| Error::config(format!("{url:?} is not a URL: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-1111-2222-3333-44444444aaaa";

    #[test]
    fn exactly_one_identity_with_proper_ids_in_a_known_cloud() {
        let good = AzureAdArgs {
            managed_identity: Some(AzureManagedIdentity { client_id: ID.into() }),
            ..AzureAdArgs::default()
        };
        assert_eq!(good.validate(), Ok(()));
        let bad = [
            AzureAdArgs::default(),
            AzureAdArgs { sdk: Some(AzureSdk { tenant_id: ID.into() }), ..good.clone() },
            AzureAdArgs { cloud: "Moon".into(), ..good.clone() },
            AzureAdArgs { managed_identity: Some(AzureManagedIdentity { client_id: "x".into() }), ..good },
        ];
        assert!(bad.iter().all(|args| args.validate().is_err()));
    }
}

//! Finds the back ends: in a list, by a name, among the pods of a service of Kubernetes, in AWS Cloud Map.
//!
//! A list of pods comes with a future that ends when they change: the API is watched from where it was read.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use component::BoxFuture;
use http::{HeaderName, HeaderValue, header};
use net::args::HttpClientArgs;
use net::kubernetes::{Api, Cluster, namespace};
use net::sign::{AwsEnvironment, SigV4, SigV4Args, Variables};
use net::{Client, ClientOptions, Request};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::args::{AwsCloudMap, Dns, Kubernetes, Resolver, with_port};

/// Upstream's, where the interval is 0, and after what could not be watched.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Changes of pods come in groups.
const SETTLE: Duration = Duration::from_millis(200);
/// Largest answer of Cloud Map.
const MAX_ANSWER: usize = 16 << 20;
/// The port of a back end that says none.
const PORT: &str = "4317";

/// What was found.
pub(super) struct Found {
    /// The back ends.
    pub names: Vec<String>,
    /// Ends when there may be others.
    pub changed: Option<BoxFuture<'static, ()>>,
}

/// The machine as it is seen from here; tests put another in its place.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub variables: Variables,
    /// Above all files.
    pub root: PathBuf,
    /// Instead of the Kubernetes API.
    pub elsewhere: Option<String>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { variables: Arc::new(|name| std::env::var(name).ok()), root: "/".into(), elsewhere: None }
    }
}

/// Finds back ends; it keeps its clients.
pub(super) struct Finder {
    surroundings: Surroundings,
    user_agent: String,
    kubernetes: Option<Arc<Api>>,
    cloud_map: Option<Client>,
}

impl Resolver {
    /// As metrics call it.
    pub(super) fn name(&self) -> &'static str {
        match (&self.kubernetes, &self.aws_cloud_map, &self.dns) {
            (Some(_), _, _) => "k8s",
            (_, Some(_), _) => "aws",
            (_, _, Some(_)) => "dns",
            (None, None, None) => "static",
        }
    }

    /// When to look again.
    pub(super) fn interval(&self, succeeded: bool) -> Option<Duration> {
        let dns = self.dns.as_ref().map(|dns| dns.interval);
        let interval = self.aws_cloud_map.as_ref().map(|map| map.interval).or(dns);
        // Pods are watched, but not if the list could not be read.
        let failed = (self.kubernetes.is_some() && !succeeded).then_some(INTERVAL);
        interval.map(|interval| if interval.is_zero() { INTERVAL } else { interval }).or(failed)
    }
}

impl Finder {
    pub(super) fn new(user_agent: String, surroundings: Surroundings) -> Self {
        Self { surroundings, user_agent, kubernetes: None, cloud_map: None }
    }

    pub(super) async fn find(&mut self, resolver: &Resolver) -> Result<Found, String> {
        let names = match resolver {
            Resolver { kubernetes: Some(args), .. } => return self.pods(args).await,
            Resolver { aws_cloud_map: Some(args), .. } => self.instances(args).await?,
            Resolver { dns: Some(Dns { hostname, port, timeout, .. }), .. } => {
                look_up(hostname, port, *timeout).await?
            }
            Resolver { fixed, .. } => {
                let names = fixed.iter().flat_map(|list| &list.hostnames);
                names.map(|name| with_port(name, PORT)).collect()
            }
        };
        Ok(Found { names, changed: None })
    }

    /// Pods of a service that are ready.
    async fn pods(&mut self, args: &Kubernetes) -> Result<Found, String> {
        let api = match &self.kubernetes {
            Some(api) => api.clone(),
            None => {
                let place = &self.surroundings;
                let mut cluster = Cluster::in_pod(&place.variables, &place.root)?;
                if let Some(elsewhere) = &place.elsewhere {
                    cluster.address.clone_from(elsewhere);
                }
                let api = Api::new(&cluster, &self.user_agent).map_err(|error| error.to_string())?;
                self.kubernetes.insert(Arc::new(api)).clone()
            }
        };
        let (service, of) = match args.service.split_once('.') {
            Some((service, of)) => (service, of.to_owned()),
            None => (&*args.service, namespace(&self.surroundings.root).unwrap_or_else(|| "default".into())),
        };
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{of}/endpointslices");
        let selector = format!("kubernetes.io/service-name={service}");
        let list = timeout(args.timeout, api.get::<SliceList>(&path, &[("labelSelector", &selector)])).await;
        let list = list.map_err(|_| format!("{} was not found within {:?}", args.service, args.timeout))?;
        let list = list.map_err(|error| format!("{} cannot be found: {error}", args.service))?;
        let endpoints = list.items.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let mut names = Vec::new();
        for endpoint in endpoints.filter(|endpoint| endpoint.conditions.ready != Some(false)) {
            let hosts: Vec<String> = match args.return_hostnames {
                true => endpoint.hostname.iter().map(|name| format!("{name}.{service}.{of}")).collect(),
                false => endpoint.addresses.iter().map(|address| bracketed(address)).collect(),
            };
            names.extend(
                hosts.iter().flat_map(|host| args.ports.iter().map(move |port| format!("{host}:{port}"))),
            );
        }
        let changed = changed(api, path, selector, list.metadata.version);
        Ok(Found { names, changed: Some(Box::pin(changed)) })
    }

    /// Instances of a service of Cloud Map.
    async fn instances(&mut self, args: &AwsCloudMap) -> Result<Vec<String>, String> {
        let variables = self.surroundings.variables.clone();
        let variable = |name: &str| variables(name).filter(|value| !value.is_empty());
        let endpoint = variable("AWS_ENDPOINT_URL_SERVICEDISCOVERY").or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.ok_or("AWS Cloud Map needs a region: set AWS_REGION")?;
        let endpoint = endpoint.unwrap_or_else(|| {
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://data-servicediscovery.{region}.amazonaws.com{china}")
        });
        let url = endpoint.parse().map_err(|error| format!("{endpoint}: {error}"))?;
        let client = match &self.cloud_map {
            Some(client) => client.clone(),
            None => {
                let sigv4 = SigV4Args { service_name: "servicediscovery".into(), ..SigV4Args::default() };
                let environment =
                    AwsEnvironment { variables: variables.clone(), ..AwsEnvironment::default() };
                let signer = SigV4::with_environment(&sigv4, &self.user_agent, environment)
                    .map_err(|error| error.to_string())?;
                let options = ClientOptions::new(self.user_agent.clone()).signer(Arc::new(signer));
                let client = Client::new(&HttpClientArgs::default(), options).map_err(|e| e.to_string())?;
                self.cloud_map.insert(client).clone()
            }
        };
        let mut question = serde_json::json!({
            "NamespaceName": args.namespace,
            "ServiceName": args.service_name,
            "HealthStatus": args.health_status,
        });
        if !args.owner_account.is_empty() {
            question["OwnerAccount"] = args.owner_account.as_str().into();
        }
        let request = Request::post(url, question.to_string())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"))
            .header(
                HeaderName::from_static("x-amz-target"),
                HeaderValue::from_static("Route53AutoNaming_v20170314.DiscoverInstances"),
            )
            .timeout(args.timeout);
        let failed = |error: net::Error| format!("{} cannot be found: {error}", args.service_name);
        let answer =
            client.send_ok(request).await.map_err(failed)?.bytes(MAX_ANSWER).await.map_err(failed)?;
        let answer: Instances =
            serde_json::from_slice(&answer).map_err(|error| format!("the answer of Cloud Map: {error}"))?;
        Ok(answer.instances.iter().filter_map(|instance| instance.backend(args.port)).collect())
    }
}

/// Ends when slices have changed since a version, or cannot be watched any more.
async fn changed(api: Arc<Api>, path: String, selector: String, version: String) {
    match api.watch(&path, &[("labelSelector", &selector)], &version).await {
        Ok(mut watch) => loop {
            match watch.next().await {
                Ok(Some(event)) if event.kind == "BOOKMARK" => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "the pods are listed again");
                    break;
                }
            }
        },
        Err(error) => {
            tracing::warn!(%error, "the pods cannot be watched; they are listed again");
            sleep(INTERVAL).await;
        }
    }
    sleep(SETTLE).await;
}

/// The addresses of a name, as back ends.
async fn look_up(name: &str, port: &str, limit: Duration) -> Result<Vec<String>, String> {
    let found = timeout(limit, tokio::net::lookup_host((name, 0))).await;
    let found = found.map_err(|_| format!("{name} was not resolved within {limit:?}"))?;
    let found = found.map_err(|e| format!("{name} cannot be resolved: {e}"))?;
    let backend = |address: std::net::SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    Ok(found.map(backend).collect())
}

fn bracketed(address: &str) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => address.to_owned(),
    }
}

#[derive(Deserialize)]
struct SliceList {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "resourceVersion", default)]
    version: String,
}

#[derive(Deserialize)]
struct Slice {
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    hostname: Option<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instances {
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    #[serde(default)]
    attributes: std::collections::HashMap<String, String>,
}

impl Instance {
    /// `None` where it has no address.
    fn backend(&self, port: Option<u64>) -> Option<String> {
        let attribute = |name: &str| self.attributes.get(name).map(String::as_str);
        let address = attribute("AWS_INSTANCE_IPV4").or_else(|| attribute("AWS_INSTANCE_IPV6"))?;
        let port = port.map(|port| port.to_string());
        let port = port.as_deref().or_else(|| attribute("AWS_INSTANCE_PORT")).unwrap_or(PORT);
        Some(format!("{}:{port}", bracketed(address)))
    }
}

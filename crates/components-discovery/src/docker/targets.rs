//! Targets of containers, as Prometheus' Docker discovery makes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use component::Target;
use serde::Deserialize;
use signal::target::ADDRESS;

/// An entry of `/containers/json`. What an engine leaves out or sets to null is empty.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    host_config: Option<HostConfig>,
    #[serde(default)]
    network_settings: Option<NetworkSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(default, rename = "IP")]
    ip: String,
    #[serde(default)]
    private_port: u16,
    #[serde(default)]
    public_port: u16,
    #[serde(default)]
    r#type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default, rename = "NetworkID")]
    network: String,
    #[serde(default, rename = "IPAddress")]
    ip: String,
}

/// An entry of `/networks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    ingress: bool,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What the arguments say about targets.
pub struct Rules {
    /// Of containers without TCP ports.
    pub port: i64,
    /// Of containers in the host's network.
    pub host_networking_host: String,
    /// Leaves out all but the first network by name.
    pub first_network_only: bool,
}

type Labels = Vec<(String, String)>;

impl Container {
    fn mode(&self) -> &str {
        self.host_config.as_ref().map_or("", |h| &h.network_mode)
    }

    fn endpoints(&self) -> Vec<&Endpoint> {
        let networks = self.network_settings.as_ref().and_then(|n| n.networks.as_ref());
        networks.into_iter().flatten().filter_map(|(_, e)| e.as_ref()).collect()
    }

    fn labels(&self, name: &str) -> Labels {
        let mut labels = vec![
            ("__meta_docker_container_id".to_owned(), self.id.clone()),
            ("__meta_docker_container_name".to_owned(), name.to_owned()),
            ("__meta_docker_container_network_mode".to_owned(), self.mode().to_owned()),
        ];
        labels.extend(sanitized("__meta_docker_container_label_", self.labels.as_ref()));
        labels
    }
}

impl Network {
    fn meta(&self) -> Labels {
        let mut labels = vec![
            ("__meta_docker_network_id".to_owned(), self.id.clone()),
            ("__meta_docker_network_name".to_owned(), self.name.clone()),
            ("__meta_docker_network_scope".to_owned(), self.scope.clone()),
            ("__meta_docker_network_internal".to_owned(), self.internal.to_string()),
            ("__meta_docker_network_ingress".to_owned(), self.ingress.to_string()),
        ];
        labels.extend(sanitized("__meta_docker_network_label_", self.labels.as_ref()));
        labels
    }
}

/// `com.docker.compose.service` → `…com_docker_compose_service`. Of labels that become the same the last wins.
fn sanitized<'a>(
    prefix: &'a str,
    labels: Option<&'a BTreeMap<String, String>>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    labels.into_iter().flatten().map(move |(name, value)| {
        let name: String = prefix.chars().chain(name.chars().map(plain)).collect();
        (name, value.clone())
    })
}

/// All targets of the containers.
pub fn targets(containers: &[Container], networks: &[Network], rules: &Rules) -> Vec<Target> {
    let by_id: HashMap<&str, &Container> = containers.iter().map(|c| (c.id.as_str(), c)).collect();
    let networks: HashMap<&str, Labels> = networks.iter().map(|n| (n.id.as_str(), n.meta())).collect();
    let mut out = Vec::new();
    for container in containers {
        let Some(name) = container.names.iter().flatten().next() else { continue };
        let labels = container.labels(name);
        let mut endpoints = shared_endpoints(container, &by_id);
        if rules.first_network_only {
            // They are sorted by name.
            endpoints.truncate(1);
        }
        for endpoint in endpoints {
            let network = networks.get(endpoint.network.as_str()).map_or(&[][..], Vec::as_slice);
            out.extend(of_endpoint(container, endpoint, rules).map(|own| {
                let pairs = labels.iter().chain(network).map(|(n, v)| (n.as_str(), v.as_str()));
                Target::from_pairs(pairs.chain(own.iter().map(|(n, v)| (*n, v.as_str()))).collect::<Vec<_>>())
            }));
        }
    }
    out
}

/// The networks of a container; one that uses the network of another container has that one's.
fn shared_endpoints<'a>(container: &'a Container, by_id: &HashMap<&str, &'a Container>) -> Vec<&'a Endpoint> {
    let (mut current, mut seen) = (container, HashSet::new());
    loop {
        let endpoints = current.endpoints();
        if !endpoints.is_empty() {
            return endpoints;
        }
        let next = current.mode().strip_prefix("container:").and_then(|id| by_id.get(id));
        match next {
            // Two that refer to each other cannot be, but an engine may say so.
            Some(next) if seen.insert(next.id.as_str()) => current = next,
            _ => return Vec::new(),
        }
    }
}

type Own = Vec<(&'static str, String)>;

/// One set of labels a TCP port, or one for the fallback port.
fn of_endpoint<'a>(
    container: &'a Container,
    endpoint: &'a Endpoint,
    rules: &Rules,
) -> impl Iterator<Item = Own> + use<'a> {
    let tcp = container.ports.iter().flatten().filter(|p| p.r#type == "tcp");
    let mut tcp = tcp.peekable();
    let fallback = tcp.peek().is_none().then(|| {
        let address = match container.mode() {
            "host" => rules.host_networking_host.clone(),
            _ => host_port(&endpoint.ip, rules.port),
        };
        vec![("__meta_docker_network_ip", endpoint.ip.clone()), (ADDRESS, address)]
    });
    let ports = tcp.map(move |port| {
        let mut own = vec![
            ("__meta_docker_network_ip", endpoint.ip.clone()),
            ("__meta_docker_port_private", port.private_port.to_string()),
            (ADDRESS, host_port(&endpoint.ip, i64::from(port.private_port))),
        ];
        if port.public_port > 0 {
            own.push(("__meta_docker_port_public", port.public_port.to_string()));
            own.push(("__meta_docker_port_public_ip", port.ip.clone()));
        }
        own
    });
    ports.chain(fallback)
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

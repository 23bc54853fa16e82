//! What an `otelcol.exporter.loadbalancing` block may say.

use std::time::Duration;

use component::Arguments;
use component::eval::Invalid;
use component::otel::DebugMetrics;
use net::grpc::Endpoint;

use super::keys::RoutingKey;
use crate::exporter::args::{RetryOnFailure, SendingQueue};
use crate::exporter::otlp::args::GrpcClient;

/// `otelcol.exporter.loadbalancing`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What goes together: `traceID` and `service` for traces and logs; `service`, `resource`, `metric` and `streamID`
    /// for metrics.
    #[arg(default = "traceID")]
    pub routing_key: String,
    /// How long it may take to hand data to the back ends; 0 for no limit.
    #[arg(default)]
    pub timeout: Duration,
    /// How to talk to the back ends.
    #[arg(block, required)]
    pub protocol: Protocol,
    /// Where the back ends are found.
    #[arg(block, required)]
    pub resolver: Resolver,
    /// What becomes of data that could not be handed to the back ends.
    #[arg(block)]
    pub retry_on_failure: RetryOnFailure,
    /// What waits to be shared out.
    #[arg(block)]
    pub sending_queue: SendingQueue,
    /// The component's own metrics.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// How to talk to the back ends.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Protocol {
    /// By OTLP over gRPC.
    #[arg(block, required)]
    pub otlp: Otlp,
}

/// One exporter a back end.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Otlp::validate)]
pub struct Otlp {
    /// How long one attempt may take.
    #[arg(default = Duration::from_secs(5))]
    pub timeout: Duration,
    /// What waits for a back end.
    #[arg(block)]
    pub queue: SendingQueue,
    /// What becomes of a request that a back end has not taken.
    #[arg(block)]
    pub retry: RetryOnFailure,
    /// How to call a back end.
    #[arg(block, required)]
    pub client: GrpcClient,
}

/// Where the back ends are found: one of these; `dns` goes before `static`.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Resolver::validate)]
pub struct Resolver {
    /// A list.
    #[arg(block, name = "static")]
    pub fixed: Option<Static>,
    /// The addresses of a name.
    #[arg(block)]
    pub dns: Option<Dns>,
    /// The pods of a service of Kubernetes.
    #[arg(block)]
    pub kubernetes: Option<Kubernetes>,
    /// The instances of a service of AWS Cloud Map.
    #[arg(block)]
    pub aws_cloud_map: Option<AwsCloudMap>,
}

/// A list of back ends.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Static::validate)]
pub struct Static {
    /// `host:port`; without a port it is 4317.
    pub hostnames: Vec<String>,
}

/// The addresses of a name are the back ends.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Dns::validate)]
pub struct Dns {
    /// The name.
    pub hostname: String,
    /// The port of all of them.
    #[arg(default = "4317")]
    pub port: String,
    /// How often it is looked up.
    #[arg(default = Duration::from_secs(5))]
    pub interval: Duration,
    /// How long that may take.
    #[arg(default = Duration::from_secs(1))]
    pub timeout: Duration,
}

/// The pods of a service of Kubernetes.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Kubernetes::validate)]
pub struct Kubernetes {
    /// The service, as `name` in the namespace of this program's pod or as `name.namespace`.
    pub service: String,
    /// Ports of each pod.
    #[arg(default = vec![4317])]
    pub ports: Vec<i64>,
    /// How long finding them may take.
    #[arg(default = Duration::from_secs(60))]
    pub timeout: Duration,
    /// Names of pods instead of addresses.
    #[arg(default)]
    pub return_hostnames: bool,
}

/// The instances of a service of AWS Cloud Map.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = AwsCloudMap::validate)]
pub struct AwsCloudMap {
    /// The namespace.
    pub namespace: String,
    /// The service.
    pub service_name: String,
    /// Which instances.
    #[arg(default = "HEALTHY")]
    pub health_status: String,
    /// How often they are looked up.
    #[arg(default = Duration::from_secs(30))]
    pub interval: Duration,
    /// How long that may take.
    #[arg(default = Duration::from_secs(5))]
    pub timeout: Duration,
    /// The port of all of them.
    #[arg(code_type = "uint", default = None)]
    pub port: Option<u64>,
    /// Who owns the namespace.
    #[arg(default)]
    pub owner_account: String,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        let key = RoutingKey::named(&self.routing_key);
        key.map(drop).map_err(|message| Invalid::field("routing_key", message))
    }

    /// What goes together.
    pub(super) fn key(&self) -> RoutingKey {
        RoutingKey::named(&self.routing_key).expect("validated")
    }
}

impl Otlp {
    fn validate(&self) -> Result<(), Invalid> {
        match self.timeout.is_zero() {
            true => Err(Invalid::field("timeout", "must be above 0")),
            false => Ok(()),
        }
    }
}

impl Resolver {
    fn validate(&self) -> Result<(), Invalid> {
        let all = [
            self.fixed.is_some(),
            self.dns.is_some(),
            self.kubernetes.is_some(),
            self.aws_cloud_map.is_some(),
        ];
        match all {
            [_, _, false, false] if all.contains(&true) => Ok(()),
            _ if all.iter().filter(|set| **set).count() == 1 => Ok(()),
            [false, ..] if !all.contains(&true) => {
                Err(Invalid::field("static", "is needed, or dns, kubernetes or aws_cloud_map"))
            }
            [_, _, true, _] => Err(Invalid::field("kubernetes", "cannot stand beside another resolver")),
            _ => Err(Invalid::field("aws_cloud_map", "cannot stand beside another resolver")),
        }
    }
}

impl Kubernetes {
    fn validate(&self) -> Result<(), Invalid> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let (service, namespace) = self.service.split_once('.').unwrap_or((&self.service, "default"));
        if !is_name(service) || !is_name(namespace) {
            return Err(Invalid::field("service", "must be the name of a service, or `name.namespace`"));
        }
        if self.ports.is_empty() || self.ports.iter().any(|port| !(1..=65535).contains(port)) {
            return Err(Invalid::field("ports", "must be numbers from 1 to 65535, at least one"));
        }
        if self.timeout.is_zero() {
            return Err(Invalid::field("timeout", "must be above 0"));
        }
        Ok(())
    }
}

impl AwsCloudMap {
    fn validate(&self) -> Result<(), Invalid> {
        const STATES: [&str; 4] = ["HEALTHY", "UNHEALTHY", "ALL", "HEALTHY_OR_ELSE_ALL"];
        for (field, name) in [("namespace", &self.namespace), ("service_name", &self.service_name)] {
            if name.is_empty() {
                return Err(Invalid::field(field, "must not be empty"));
            }
        }
        if !STATES.contains(&self.health_status.as_str()) {
            return Err(Invalid::field("health_status", format!("must be one of {}", STATES.join(", "))));
        }
        if self.port.is_some_and(|port| !(1..=65535).contains(&port)) {
            return Err(Invalid::field("port", "must be from 1 to 65535"));
        }
        if self.timeout.is_zero() {
            return Err(Invalid::field("timeout", "must be above 0"));
        }
        Ok(())
    }
}

impl Static {
    fn validate(&self) -> Result<(), Invalid> {
        if self.hostnames.is_empty() {
            return Err(Invalid::field("hostnames", "must not be empty"));
        }
        for name in &self.hostnames {
            Endpoint::parse(&with_port(name, "4317")).map_err(|why| Invalid::field("hostnames", why))?;
        }
        Ok(())
    }
}

impl Dns {
    fn validate(&self) -> Result<(), Invalid> {
        if self.hostname.is_empty() {
            return Err(Invalid::field("hostname", "must not be empty"));
        }
        if self.port.parse::<u16>().is_err() {
            return Err(Invalid::field("port", format!("{:?} is not a port", self.port)));
        }
        if self.timeout.is_zero() {
            return Err(Invalid::field("timeout", "must be above 0"));
        }
        Ok(())
    }
}

/// A back end as it is called in the ring: as upstream, with a port.
pub(super) fn with_port(endpoint: &str, port: &str) -> String {
    let bare =
        endpoint.strip_prefix('[').map_or(endpoint, |rest| rest.split_once(']').map_or(rest, |(_, p)| p));
    match bare.contains(':') {
        true => endpoint.to_owned(),
        false => format!("{endpoint}:{port}"),
    }
}

//! `otelcol.processor.discovery` gives the resources of spans the labels of the target that they come from.
//!
//! Data path: batch → for each resource, the host that an association finds → the labels of that host's target, as
//! splices of the request's bytes → `output`, all in the sender's task.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use component::otel::{OtelFanout, OtelInput, Output};
use component::{
    ArgEnum, Arguments, BuildCx, Component, Error, Exports, Port, Rejected, RunCx, Stability, Target,
};
use hashbrown::HashMap;
use signal::otlp::{ClientMetadata, Traces, TracesSignal};
use wire::otlp::view::{Any, Unclear, any_or_empty, find, text};
use wire::otlp::{Around, AttributeList, Editor, Fate, Splices, text_value};

use super::relay::{self, Change};

/// `otelcol.processor.discovery`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {
    /// Targets; each belongs to the host of its `__address__`.
    pub targets: Vec<Target>,
    /// How labels become attributes.
    #[arg(default = Operation::Upsert, code_type = "string")]
    pub operation_type: Operation,
    /// Where a resource's host is looked for, in this order: `ip`, `net.host.ip`, `k8s.pod.ip`, `hostname`,
    /// `connection`.
    #[arg(default = ["ip", "net.host.ip", "k8s.pod.ip", "hostname", "connection"].map(str::to_string).into())]
    pub pod_associations: Vec<String>,
    /// Where spans go; only traces are taken.
    #[arg(block, required)]
    pub output: Output,
}

/// How labels become attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ArgEnum)]
pub enum Operation {
    /// Where there is no such attribute.
    Insert,
    /// Where there is one.
    Update,
    /// Always.
    Upsert,
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct DiscoveryExports {
    /// Takes spans in.
    pub input: OtelInput,
}

/// The component.
pub struct Discovery {
    args: Args,
    port: Port<Traces>,
}

/// Where a resource's host is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Association {
    Attribute(&'static str),
    /// `host.name`, if it is an IP address.
    Hostname,
    /// The other end of the connection.
    Connection,
}

impl Association {
    fn new(name: &str) -> Result<Self, Error> {
        match name {
            "ip" => Ok(Self::Attribute("ip")),
            "net.host.ip" => Ok(Self::Attribute("net.host.ip")),
            "k8s.pod.ip" => Ok(Self::Attribute("k8s.pod.ip")),
            "hostname" => Ok(Self::Hostname),
            "connection" => Ok(Self::Connection),
            other => {
                let message =
                    format!("{other:?} is none of ip, net.host.ip, k8s.pod.ip, hostname, connection");
                Err(Error::argument("pod_associations", message))
            }
        }
    }
}

/// Labels as keys and serialised values of attributes.
type Labels = Vec<(String, Vec<u8>)>;

/// One generation of the arguments.
struct Generation {
    hosts: HashMap<String, Labels>,
    operation: Operation,
    associations: Vec<Association>,
}

impl Generation {
    fn new(args: &Args) -> Result<(Arc<Self>, OtelFanout), Error> {
        let associations =
            args.pod_associations.iter().map(|name| Association::new(name)).collect::<Result<_, _>>()?;
        let mut hosts = HashMap::new();
        for target in &args.targets {
            let Some(host) = target.address().and_then(host) else {
                tracing::warn!(target = ?target.address(), "a target without a host in __address__ is left out");
                continue;
            };
            let label = |(name, value): (&str, &str)| {
                (!name.starts_with("__")).then(|| (name.to_string(), text_value(value.as_bytes())))
            };
            hosts.insert(host.to_string(), target.iter().filter_map(label).collect());
        }
        let generation = Self { hosts, operation: args.operation_type, associations };
        Ok((Arc::new(generation), args.output.fanout()?))
    }

    /// The host that a resource's spans come from.
    fn host<'a>(
        &self,
        resource: &'a [u8],
        client: Option<&'a ClientMetadata>,
    ) -> Result<Option<Cow<'a, str>>, Unclear> {
        let attribute = |key: &str| match find(resource, 1, key.as_bytes())? {
            Some(found) => match any_or_empty(found.value)? {
                Any::Text(bytes) => Ok::<_, Unclear>(Some(text(bytes)?).filter(|text| !text.is_empty())),
                _ => Ok(None),
            },
            None => Ok(None),
        };
        for association in &self.associations {
            let found = match association {
                Association::Attribute(key) => attribute(key)?.map(Cow::Borrowed),
                Association::Hostname => {
                    attribute("host.name")?.filter(|name| name.parse::<IpAddr>().is_ok()).map(Cow::Borrowed)
                }
                Association::Connection => client.map(|client| client.peer.as_str()).and_then(|peer| {
                    let address = peer.parse::<std::net::SocketAddr>().ok();
                    address.map(|address| Cow::Owned(address.ip().to_canonical().to_string()))
                }),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn apply<'a>(&'a self, labels: &'a Labels, list: &mut AttributeList<'a>) {
        for (key, value) in labels {
            match list.find(key.as_bytes()) {
                Some(_) if self.operation == Operation::Insert => {}
                Some(at) if list.value(at) == Some(value) => {}
                Some(at) => list.set(at, Cow::Borrowed(value)),
                None if self.operation == Operation::Update => {}
                None => list.push(Cow::Borrowed(key.as_bytes()), Some(Cow::Borrowed(value))),
            }
        }
    }
}

/// The host of an address with or without a port; IPv6 addresses in brackets or without a port.
fn host(address: &str) -> Option<&str> {
    let host = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if address.parse::<IpAddr>().is_ok() => address,
        None => match address.split_once(':') {
            Some((_, port)) if port.contains(':') => return None,
            Some((host, _)) => host,
            None => address,
        },
    };
    (!host.is_empty()).then_some(host)
}

/// Gives the resources of the requests of one batch their labels.
struct Labelling<'g> {
    generation: &'g Generation,
    client: Option<&'g ClientMetadata>,
}

impl Editor for Labelling<'_> {
    fn resource(&mut self, resource: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        let Some(host) = self.generation.host(resource, self.client)? else { return Ok(()) };
        let Some(labels) = self.generation.hosts.get(host.as_ref()) else { return Ok(()) };
        let mut list = AttributeList::new(resource, 1)?;
        self.generation.apply(labels, &mut list);
        list.write(splices);
        Ok(())
    }

    fn item(&mut self, _: Around<'_>, _: &[u8], _: &mut Splices) -> Result<Fate, Unclear> {
        Ok(Fate::Keep)
    }
}

impl Change<TracesSignal> for Generation {
    fn change(&self, batch: Traces) -> Result<Option<Traces>, Rejected> {
        if self.hosts.is_empty() {
            return Ok(Some(batch));
        }
        let client = batch.client.clone();
        relay::edit_batch(batch, &mut Labelling { generation: self, client: client.as_deref() })
    }
}

impl Component for Discovery {
    const NAME: &'static str = "otelcol.processor.discovery";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = DiscoveryExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, DiscoveryExports), Error> {
        Generation::new(&args)?;
        let port = cx.port::<Traces>("traces");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        Ok((Self { args, port }, DiscoveryExports { input }))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        relay::run_traces(cx, &self.port, self.args, Generation::new).await
    }
}

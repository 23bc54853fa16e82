//! `discovery.docker` lists the running containers of a Docker engine: one target for each of a container's
//! networks and TCP ports.
//!
//! Data path: `/containers/json` and `/networks` → [`targets::targets`], which makes of them what Prometheus'
//! Docker discovery makes of them.

mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use component::eval::Invalid;
use component::{Arguments, BuildCx, Component, Error, RunCx, Stability, Target};
use net::args::HttpClientArgs;
use net::docker::Engine;

use crate::discovery::{self, Found, Look};
use targets::{Container, Network, Rules};

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// The engine: `unix:///var/run/docker.sock`, `tcp://host:2375`, `http://…` or `https://…`.
    pub host: String,
    /// Port of targets for containers without TCP ports.
    #[arg(default = 80)]
    pub port: i64,
    /// Address of targets for containers that use the host's network.
    #[arg(default = "localhost")]
    pub host_networking_host: String,
    /// How often containers are listed.
    #[arg(default = "1m")]
    pub refresh_interval: Duration,
    /// Makes targets of a container's first network only, by name.
    #[arg(default = true)]
    pub match_first_network: bool,
    /// How to reach the engine.
    #[arg(squash, default = HttpClientArgs::default())]
    pub client: HttpClientArgs,
    /// Lists only containers that the engine's filter lets through.
    #[arg(block, default)]
    pub filter: Vec<Filter>,
}

/// One filter of the engine.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Filter {
    /// What to look at: `label`, `name`, `network`, `status`, `health` …
    pub name: String,
    /// Any of these will do.
    pub values: Vec<String>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        net::docker::validate(&self.host, &self.client)?;
        if u16::try_from(self.port).is_err() {
            return Err(Invalid::field("port", "port must be between 0 and 65535"));
        }
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        self.client.validate()
    }
}

/// The component.
pub struct Docker(Asker);

struct Asker {
    engine: Engine,
    filters: Option<String>,
    rules: Rules,
    interval: Duration,
}

impl Asker {
    fn new(args: Args, cx: &BuildCx) -> Result<Self, Error> {
        let engine = Engine::new(&args.host, &args.client, &cx.services().user_agent())?;
        let rules = Rules {
            port: args.port,
            host_networking_host: args.host_networking_host,
            first_network_only: args.match_first_network,
        };
        Ok(Self { engine, filters: filters(&args.filter), rules, interval: args.refresh_interval })
    }
}

/// As Docker's own client writes them: `{"label":{"a":true}}`.
fn filters(filters: &[Filter]) -> Option<String> {
    let mut by_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for filter in filters {
        by_name.entry(&filter.name).or_default().extend(filter.values.iter().map(String::as_str));
    }
    by_name.retain(|_, values| !values.is_empty());
    if by_name.is_empty() {
        return None;
    }
    let named: BTreeMap<&str, BTreeMap<&str, bool>> = by_name
        .into_iter()
        .map(|(name, values)| (name, values.into_iter().map(|v| (v, true)).collect()))
        .collect();
    Some(serde_json::to_string(&named).expect("maps of text can be written"))
}

impl Look for Asker {
    async fn look(&mut self) -> Result<Vec<Target>, Error> {
        let query: Vec<_> = self.filters.iter().map(|f| ("filters", f.as_str())).collect();
        let (containers, networks) = tokio::try_join!(
            self.engine.json::<Vec<Container>>("/containers/json", &query),
            self.engine.json::<Vec<Network>>("/networks", &[]),
        )?;
        Ok(targets::targets(&containers, &networks, &self.rules))
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

impl Component for Docker {
    const NAME: &'static str = "discovery.docker";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Found;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, Found), Error> {
        Ok((Self(Asker::new(args, cx)?), Found::default()))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        discovery::run(cx, self.0, Asker::new).await
    }
}

/// Reads any bytes as lists of containers and networks; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(containers: &[u8], networks: &[u8]) {
    let networks: Vec<targets::Network> = serde_json::from_slice(networks).unwrap_or_default();
    let Ok(containers) = serde_json::from_slice::<Vec<targets::Container>>(containers) else { return };
    for first_network_only in [false, true] {
        let host = "localhost".to_owned();
        let rules = targets::Rules { port: 80, host_networking_host: host, first_network_only };
        let _ = targets::targets(&containers, &networks, &rules);
    }
}

#[cfg(test)]
mod tests;

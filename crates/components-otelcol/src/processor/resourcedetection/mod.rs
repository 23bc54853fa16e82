//! `otelcol.processor.resourcedetection` finds out where the program runs and says so in every resource.
//!
//! Data path: at the start, and when arguments change, each detector is asked, all at the same time and for no
//! longer than `timeout`, while senders wait; then batch → the attributes found, as splices of the resources'
//! bytes → `output`, in the sender's task.
//! Invariant: a detector that does not answer delays the pipeline by `timeout` and no more.

mod args;
mod aws;
mod cloud;
mod detect;
mod kubernetes;
mod machines;
mod system;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use component::eval::Invalid;
use component::otel::{DebugMetrics, OtelFanout, OtelInput, Output};
use component::{Arguments, BuildCx, Component, Error, Event, Exports, Rejected, RunCx, Stability};
use prost::Message as _;
use signal::otlp::Otlp;
use wire::otlp::view::Unclear;
use wire::otlp::{Around, AttributeList, Editor, Fate, Schematic, Splices};

use super::items::{ItemCounts, ItemMetrics};
use super::relay::{self, Change};
use crate::ports::Ports;
use args::*;
use detect::{Detector, Found, Place};

/// `otelcol.processor.resourcedetection`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// The detectors; of an attribute that several find, the first one's value counts.
    #[arg(default = vec!["env".to_string()])]
    pub detectors: Vec<String>,
    /// Replace attributes that a resource has already.
    #[arg(default = true)]
    pub r#override: bool,
    /// End the component where a detector finds nothing.
    #[arg(default)]
    pub fail_on_missing_metadata: bool,
    /// How long detectors may take.
    #[arg(default = Duration::from_secs(5))]
    pub timeout: Duration,
    /// Amazon EC2.
    #[arg(block)]
    pub ec2: Ec2Args,
    /// Amazon ECS.
    #[arg(block)]
    pub ecs: EcsArgs,
    /// Amazon EKS.
    #[arg(block)]
    pub eks: EksArgs,
    /// AWS Elastic Beanstalk.
    #[arg(block)]
    pub elasticbeanstalk: BeanstalkArgs,
    /// AWS Lambda.
    #[arg(block)]
    pub lambda: LambdaArgs,
    /// Akamai, formerly Linode.
    #[arg(block)]
    pub akamai: AkamaiArgs,
    /// Microsoft Azure.
    #[arg(block)]
    pub azure: AzureArgs,
    /// Azure Kubernetes Service.
    #[arg(block)]
    pub aks: AksArgs,
    /// A Consul agent.
    #[arg(block)]
    pub consul: ConsulArgs,
    /// The Docker engine.
    #[arg(block)]
    pub docker: DockerArgs,
    /// DigitalOcean.
    #[arg(block)]
    pub digitalocean: DigitalOceanArgs,
    /// Google Cloud.
    #[arg(block)]
    pub gcp: GcpArgs,
    /// Heroku.
    #[arg(block)]
    pub heroku: HerokuArgs,
    /// Hetzner.
    #[arg(block)]
    pub hetzner: HetznerArgs,
    /// The machine itself.
    #[arg(block)]
    pub system: SystemArgs,
    /// OpenShift.
    #[arg(block)]
    pub openshift: OpenShiftArgs,
    /// The node of a Kubernetes cluster.
    #[arg(block)]
    pub kubernetes_node: KubernetesNodeArgs,
    /// A Kubernetes cluster that kubeadm has made.
    #[arg(block)]
    pub kubeadm: KubeadmArgs,
    /// Dynatrace's OneAgent.
    #[arg(block)]
    pub dynatrace: DynatraceArgs,
    /// OpenStack.
    #[arg(block)]
    pub nova: NovaArgs,
    /// Oracle Cloud.
    #[arg(block)]
    pub oraclecloud: OracleArgs,
    /// Scaleway.
    #[arg(block)]
    pub scaleway: ScalewayArgs,
    /// UpCloud.
    #[arg(block)]
    pub upcloud: HostArgs,
    /// Vultr.
    #[arg(block)]
    pub vultr: HostArgs,
    /// Tencent Cloud.
    #[arg(block)]
    pub tencent_cvm: InstanceArgs,
    /// Alibaba Cloud.
    #[arg(block)]
    pub alibaba_ecs: InstanceArgs,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        for name in &self.detectors {
            if Detector::named(name).is_none() {
                let known: Vec<_> = Detector::ALL.iter().map(|(name, _)| *name).collect();
                let message = format!("{name:?} is none of {}", known.join(", "));
                return Err(Invalid::field("detectors", message));
            }
        }
        if self.timeout.is_zero() {
            return Err(Invalid::field("timeout", "must be greater than zero"));
        }
        if !self.ec2.tags.is_empty() && !self.ec2.tags_from_imds {
            let message = "needs tags_from_imds = true: tags are not asked of the EC2 API";
            return Err(Invalid::field("ec2.tags", message));
        }
        for (field, auth) in [
            ("kubernetes_node.auth_type", &self.kubernetes_node.auth_type),
            ("kubeadm.auth_type", &self.kubeadm.auth_type),
        ] {
            if !kubernetes::AUTH_TYPES.contains(&auth.as_str()) {
                let message = format!("{auth:?} is none of {}", kubernetes::AUTH_TYPES.join(", "));
                return Err(Invalid::field(field, message));
            }
        }
        for source in &self.system.hostname_sources {
            if !["dns", "os", "cname", "lookup"].contains(&source.as_str()) {
                let message = format!("{source:?} is none of dns, os, cname, lookup");
                return Err(Invalid::field("system.hostname_sources", message));
            }
        }
        Ok(())
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct DetectionExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct ResourceDetection {
    args: Args,
    ports: Ports,
    metrics: Arc<ItemMetrics>,
}

/// What was found, for one set of arguments.
struct Generation {
    /// Keys and serialised values.
    attributes: Vec<(String, Vec<u8>)>,
    replace: bool,
    counts: ItemCounts,
}

impl Generation {
    fn new(found: Found, replace: bool, counts: ItemCounts) -> Arc<Self> {
        let serialised = found.into_iter().map(|(key, value)| (key, value.encode_to_vec()));
        Arc::new(Self { attributes: serialised.collect(), replace, counts })
    }
}

/// Puts the attributes into the resources of requests.
struct Marking<'g>(&'g Generation);

impl Editor for Marking<'_> {
    fn resource(&mut self, resource: &[u8], splices: &mut Splices) -> Result<(), Unclear> {
        let keys = &self.0.attributes;
        let concerned = |key: &[u8]| keys.iter().any(|(known, _)| known.as_bytes() == key);
        let mut list = AttributeList::of(resource, 1, concerned)?;
        for (key, value) in keys {
            match list.find(key.as_bytes()) {
                Some(at) if !self.0.replace || list.value(at) == Some(value) => {}
                Some(at) => list.set(at, Cow::Borrowed(value)),
                None => list.push(Cow::Borrowed(key.as_bytes()), Some(Cow::Borrowed(value))),
            }
        }
        list.write(splices);
        Ok(())
    }

    fn item(&mut self, _: Around<'_>, _: &[u8], _: &mut Splices) -> Result<Fate, Unclear> {
        Ok(Fate::Keep)
    }
}

impl<S: Schematic> Change<S> for Generation {
    fn change(&self, batch: Otlp<S>) -> Result<Option<Otlp<S>>, Rejected> {
        match self.attributes.is_empty() {
            true => Ok(Some(batch)),
            false => relay::edit_batch(batch, &mut Marking(self)),
        }
    }

    fn counts(&self) -> Option<&ItemCounts> {
        Some(&self.counts)
    }
}

impl ResourceDetection {
    /// Asks the detectors and lets data through; senders wait meanwhile.
    async fn detect(&self, args: &Args, next: &OtelFanout, cx: &BuildCx) -> Result<(), Error> {
        let place = Place::real(cx.services().user_agent())?;
        let found = detect::all(args, &place).await.map_err(Error::other)?;
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        tracing::info!(attributes = ?keys, "the program's surroundings were looked at");
        let counts = self.metrics.at(args.debug_metrics.level);
        let _ = self.ports.relay(next, &Generation::new(found, args.r#override, counts));
        Ok(())
    }
}

impl Component for ResourceDetection {
    const NAME: &'static str = "otelcol.processor.resourcedetection";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = DetectionExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, DetectionExports), Error> {
        args.output.fanout()?;
        detect::check(&args, cx)?;
        let ports = Ports::new(cx);
        let exports = DetectionExports { input: ports.input() };
        let metrics = ItemMetrics::new("resourcedetection", cx);
        Ok((Self { args, ports, metrics }, exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let next = self.args.output.fanout()?;
        let stopping = cx.stopping();
        let first = stopping.run_until_cancelled(self.detect(&self.args, &next, &cx)).await;
        first.unwrap_or(Ok(()))?;
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    let args = update.args().clone();
                    let next = match args.output.fanout() {
                        Ok(next) => next,
                        Err(error) => {
                            update.answer(Err(error));
                            continue;
                        }
                    };
                    if let Err(error) = detect::check(&args, &cx) {
                        update.answer(Err(error));
                        continue;
                    }
                    // The old generation goes on until the new one knows where it is.
                    let detected = stopping.run_until_cancelled(self.detect(&args, &next, &cx)).await;
                    match detected {
                        Some(Err(error)) => update.answer(Err(error)),
                        Some(Ok(())) | None => update.answer(Ok(())),
                    }
                }
            }
        }
    }
}

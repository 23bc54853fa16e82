//! Asks the detectors: all at the same time, each again until `timeout` where it fails.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use component::{BuildCx, Error};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request, Url};
use signal::Regex;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, ArrayValue};

use super::{Args, aws, cloud, kubernetes, machines, system};

/// Attributes in the order in which they were found.
pub(super) type Found = Vec<(String, AnyValue)>;

/// Why a detector found nothing.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Missing {
    /// The program does not run there.
    #[error("{0}")]
    Elsewhere(String),
    /// Asked again, it may say more.
    #[error("{0}")]
    Failed(String),
}

impl Missing {
    pub(super) fn elsewhere(why: impl Into<String>) -> Self {
        Self::Elsewhere(why.into())
    }

    pub(super) fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// What a detector answers.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Found, Missing>> + Send + 'a>>;

/// Variables by their names.
pub(super) type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The machine as detectors see it; tests put another in its place.
pub(super) struct Place {
    /// Environment variables.
    pub(super) env: Arc<Environment>,
    /// Above all files.
    pub(super) root: PathBuf,
    /// Where clouds answer for their machines.
    pub(super) metadata: String,
    /// Where those clouds do that have an address of their own, and the Kubernetes API.
    pub(super) elsewhere: Option<String>,
    /// The Docker engine.
    pub(super) docker: String,
    pub(super) user_agent: String,
    pub(super) client: Client,
}

/// Each answer of a metadata service has to come within this.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first wait before a detector is asked again.
const BACK_OFF: Duration = Duration::from_millis(500);
/// No metadata are larger.
const LARGEST: usize = 1 << 20;

impl Place {
    /// This machine.
    pub(super) fn real(user_agent: String) -> Result<Self, Error> {
        let mut options = ClientOptions::new(user_agent.clone());
        options.connect_timeout = PATIENCE;
        let client = Client::new(&HttpClientArgs::default(), options);
        Ok(Self {
            env: Arc::new(|name| std::env::var(name).ok()),
            root: "/".into(),
            metadata: "http://169.254.169.254".into(),
            elsewhere: None,
            docker: "unix:///var/run/docker.sock".into(),
            user_agent,
            client: client.map_err(|error| Error::other(error.to_string()))?,
        })
    }

    /// An address of a cloud's own.
    pub(super) fn own<'p>(&'p self, address: &'p str) -> &'p str {
        self.elsewhere.as_deref().unwrap_or(address)
    }

    /// A variable that is set to something.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// A file's text.
    pub(super) fn file(&self, path: &str) -> std::io::Result<String> {
        let bytes = std::fs::read(self.root.join(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a metadata service answers.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<String, Missing> {
        let url: Url = url.parse().map_err(Missing::failed)?;
        let mut request = Request::new(method, url.clone()).timeout(PATIENCE);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(Missing::failed)?;
            request = request.header(HeaderName::from_static(name), value);
        }
        let response = self.client.send(request).await.map_err(Missing::failed)?;
        match response.status() {
            StatusCode::OK => response.text(LARGEST).await.map_err(Missing::failed),
            StatusCode::NOT_FOUND => Err(Missing::elsewhere(format!("{url} does not exist"))),
            status => Err(Missing::failed(format!("{url} answers {status}"))),
        }
    }

    pub(super) async fn get(&self, url: &str, headers: &[(&'static str, &str)]) -> Result<String, Missing> {
        self.ask(Method::GET, url, headers).await
    }

    pub(super) async fn json(
        &self,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<serde_json::Value, Missing> {
        let text = self.get(url, headers).await?;
        serde_json::from_str(&text).map_err(|error| Missing::failed(format!("{url}: {error}")))
    }
}

/// Which attributes are set.
pub(super) trait Switches: Sync {
    /// Whether an attribute is set; those that no switch is for always are.
    fn wants(&self, key: &str) -> bool;
}

/// There are no switches.
pub(super) struct Everything;

impl Switches for Everything {
    fn wants(&self, _: &str) -> bool {
        true
    }
}

/// Collects attributes, without those that are empty or not wanted.
pub(super) struct Collected<'s> {
    found: Found,
    switches: &'s dyn Switches,
}

impl<'s> Collected<'s> {
    pub(super) fn new(switches: &'s dyn Switches) -> Self {
        Self { found: Vec::new(), switches }
    }

    pub(super) fn wants(&self, key: &str) -> bool {
        self.switches.wants(key)
    }

    pub(super) fn put(&mut self, key: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.value(key, Value::StringValue(text));
        }
    }

    /// A member of an object, if it is a text or a number.
    pub(super) fn member(&mut self, key: &str, from: &serde_json::Value) {
        match from {
            serde_json::Value::String(text) => self.put(key, text.as_str()),
            serde_json::Value::Number(number) => self.put(key, number.to_string()),
            _ => {}
        }
    }

    pub(super) fn list(&mut self, key: &str, texts: Vec<String>) {
        let value = |text| AnyValue { value: Some(Value::StringValue(text)) };
        if !texts.is_empty() {
            let values = texts.into_iter().map(value).collect();
            self.value(key, Value::ArrayValue(ArrayValue { values }));
        }
    }

    pub(super) fn int(&mut self, key: &str, number: i64) {
        self.value(key, Value::IntValue(number));
    }

    fn value(&mut self, key: &str, value: Value) {
        if self.wants(key) {
            self.found.push((key.to_string(), AnyValue { value: Some(value) }));
        }
    }

    pub(super) fn done(self) -> Result<Found, Missing> {
        Ok(self.found)
    }
}

/// A detector.
#[derive(Clone, Copy)]
pub(super) struct Detector(for<'a> fn(&'a Args, &'a Place) -> Answer<'a>);

impl Detector {
    /// By their names.
    pub(super) const ALL: [(&'static str, Self); 27] = [
        ("env", Self(|_, place| Box::pin(async { env(place) }))),
        ("system", Self(|args, place| Box::pin(system::detect(&args.system, place)))),
        ("docker", Self(|args, place| Box::pin(system::docker(&args.docker, place)))),
        ("ec2", Self(|args, place| Box::pin(aws::ec2(&args.ec2, place)))),
        ("ecs", Self(|args, place| Box::pin(aws::ecs(&args.ecs, place)))),
        ("elasticbeanstalk", Self(|args, place| Box::pin(aws::beanstalk(&args.elasticbeanstalk, place)))),
        ("lambda", Self(|args, place| Box::pin(aws::lambda(&args.lambda, place)))),
        ("azure", Self(|args, place| Box::pin(cloud::azure(&args.azure, place)))),
        ("aks", Self(|args, place| Box::pin(cloud::aks(&args.aks, place)))),
        ("gcp", Self(|args, place| Box::pin(cloud::gcp(&args.gcp, place)))),
        ("consul", Self(|args, place| Box::pin(cloud::consul(&args.consul, place)))),
        ("heroku", Self(|args, place| Box::pin(cloud::heroku(&args.heroku, place)))),
        ("digitalocean", Self(|args, place| Box::pin(cloud::digitalocean(&args.digitalocean, place)))),
        ("hetzner", Self(|args, place| Box::pin(cloud::hetzner(&args.hetzner, place)))),
        ("upcloud", Self(|args, place| Box::pin(cloud::upcloud(&args.upcloud, place)))),
        ("vultr", Self(|args, place| Box::pin(cloud::vultr(&args.vultr, place)))),
        ("eks", Self(|args, place| Box::pin(kubernetes::eks(&args.eks, place)))),
        ("openshift", Self(|args, place| Box::pin(kubernetes::openshift(&args.openshift, place)))),
        (
            "kubernetes_node",
            Self(|args, place| Box::pin(kubernetes::kubernetes_node(&args.kubernetes_node, place))),
        ),
        ("kubeadm", Self(|args, place| Box::pin(kubernetes::kubeadm(&args.kubeadm, place)))),
        ("akamai", Self(|args, place| Box::pin(machines::akamai(&args.akamai, place)))),
        ("nova", Self(|args, place| Box::pin(machines::nova(&args.nova, place)))),
        ("oraclecloud", Self(|args, place| Box::pin(machines::oraclecloud(&args.oraclecloud, place)))),
        ("scaleway", Self(|args, place| Box::pin(machines::scaleway(&args.scaleway, place)))),
        ("tencent_cvm", Self(|args, place| Box::pin(machines::tencent_cvm(&args.tencent_cvm, place)))),
        ("alibaba_ecs", Self(|args, place| Box::pin(machines::alibaba_ecs(&args.alibaba_ecs, place)))),
        ("dynatrace", Self(|_, place| Box::pin(cloud::dynatrace(place)))),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, detector)| *detector)
    }

    /// Whether the component ends without an answer of this detector.
    fn is_required(name: &str, args: &Args) -> bool {
        args.fail_on_missing_metadata
            || match name {
                "ec2" => args.ec2.fail_on_missing_metadata,
                "upcloud" => args.upcloud.fail_on_missing_metadata,
                "vultr" => args.vultr.fail_on_missing_metadata,
                "nova" => args.nova.fail_on_missing_metadata,
                "tencent_cvm" => args.tencent_cvm.fail_on_missing_metadata,
                "alibaba_ecs" => args.alibaba_ecs.fail_on_missing_metadata,
                _ => false,
            }
    }

    /// Asks until there is an answer, the program is found to run elsewhere, or it has been asked often enough.
    async fn answer(self, name: &str, args: &Args, place: &Place) -> Result<Found, Missing> {
        let (most, longest) = match name {
            "ec2" => (args.ec2.max_attempts.max(1), args.ec2.max_backoff),
            _ => (i64::MAX, Duration::from_secs(5)),
        };
        let mut wait = BACK_OFF;
        let mut attempt = 1;
        loop {
            match (self.0)(args, place).await {
                Err(Missing::Failed(why)) if attempt < most => {
                    tracing::debug!(detector = name, why, "a detector is asked again");
                    tokio::time::sleep(wait.min(longest)).await;
                    wait *= 2;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}

/// What all detectors find together; an error where one that is required finds nothing.
pub(super) async fn all(args: &Args, place: &Place) -> Result<Found, String> {
    let answers = args.detectors.iter().map(|name| async move {
        let Some(detector) = Detector::named(name) else { return (name, Ok(Vec::new())) };
        let answer = tokio::time::timeout(args.timeout, detector.answer(name, args, place)).await;
        (name, answer.unwrap_or_else(|_| Err(Missing::failed(format!("no answer in {:?}", args.timeout)))))
    });
    let mut all: Found = Vec::new();
    for (name, answer) in futures_util::future::join_all(answers).await {
        match answer {
            Ok(found) => {
                for (key, value) in found {
                    if !all.iter().any(|(known, _)| *known == key) {
                        all.push((key, value));
                    }
                }
            }
            Err(why) if Detector::is_required(name, args) => {
                return Err(format!("the detector {name} finds nothing: {why}"));
            }
            Err(Missing::Elsewhere(why)) => tracing::debug!(detector = name, why, "a detector finds nothing"),
            Err(Missing::Failed(why)) => tracing::warn!(detector = name, why, "a detector finds nothing"),
        }
    }
    Ok(all)
}

/// `OTEL_RESOURCE_ATTRIBUTES`: pairs as `key=value,key=value`, with percent escapes in values.
fn env(place: &Place) -> Result<Found, Missing> {
    let Some(text) = place.env("OTEL_RESOURCE_ATTRIBUTES") else {
        return Err(Missing::elsewhere("OTEL_RESOURCE_ATTRIBUTES is not set"));
    };
    let mut found = Found::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            return Err(Missing::elsewhere(format!("OTEL_RESOURCE_ATTRIBUTES: {pair:?} is no key=value")));
        };
        let value = unescaped(value.trim());
        found.push((key.trim().to_string(), AnyValue { value: Some(Value::StringValue(value)) }));
    }
    Ok(found)
}

/// Without percent escapes; what is none stays.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the expressions of all detectors compile, and this system can tell what is asked of it.
pub(super) fn check(args: &Args, cx: &BuildCx) -> Result<(), Error> {
    let switches = &args.system.resource_attributes;
    let asked = system::ONLY_ON_LINUX.iter().find(|key| switches.wants(key));
    if let Some(key) = asked.filter(|_| args.detectors.iter().any(|name| name == "system")) {
        cx.needs_linux(&format!("the detector system reads {key} where only Linux has it"))?;
    }
    patterns("ec2.tags", &args.ec2.tags)?;
    patterns("azure.tags", &args.azure.tags)?;
    patterns("nova.labels", &args.nova.labels).map(drop)
}

/// Compiles expressions for tags.
pub(super) fn patterns(argument: &'static str, patterns: &[String]) -> Result<Vec<Regex>, Error> {
    let regex = |pattern: &String| Regex::new(pattern).map_err(|e| Error::argument(argument, e.to_string()));
    patterns.iter().map(regex).collect()
}

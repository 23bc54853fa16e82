//! Detectors against faked surroundings on the loopback, then the component as its neighbours see it.

use std::collections::HashMap;

use component::testkit::{Harness, Names, Sink, surface};
use component::{ArgValue, ComponentDef};
use net::testkit::{Backend, Reply, status};
use signal::otlp::proto::collector::trace::v1::ExportTraceServiceRequest;
use signal::otlp::proto::common::v1::any_value::Value;
use signal::otlp::proto::common::v1::{AnyValue, KeyValue};
use signal::otlp::proto::resource::v1::Resource;
use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use signal::otlp::{OtlpRequest, Traces};

use super::*;

mod aws;
mod clouds;
mod kubernetes;
mod system;

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn body(lines: &str) -> String {
    format!("{lines}\noutput {{ traces = [next] }}")
}

fn arguments(lines: &str) -> Result<Args, String> {
    let source = component::eval::syntax::Source::new("t.alloy", body(lines));
    let (file, problems) = component::eval::syntax::parse(&source);
    assert!(problems.is_empty(), "{lines}: {problems:?}");
    let next = OtelInput { traces: Some(Sink::<Traces>::new().receiver()), ..OtelInput::default() };
    let names = Names::default().with("next", next.to_value());
    let scope = component::eval::Scope::new(&names);
    match component::eval::decode::<Args>(&source, &file.body, None, &scope) {
        (Some(args), found) if found.is_empty() => Ok(args),
        (_, found) => Err(format!("{found:?}")),
    }
}

/// A machine with these variables and files, whose metadata service answers these paths.
struct Fake {
    place: Place,
    backend: Backend,
    _root: tempfile::TempDir,
}

impl Fake {
    async fn new(env: &[(&str, &str)], files: &[(&str, &str)], pages: &[(&str, &str)]) -> Self {
        net::install_provider();
        let pages: HashMap<String, String> =
            pages.iter().map(|(p, t)| (p.to_string(), t.to_string())).collect();
        let backend = Backend::start(move |posted| match pages.get(&posted.path) {
            Some(text) => Reply::Answer { status: 200, headers: Vec::new(), body: text.clone() },
            None => status(404),
        })
        .await;
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let base = backend.base();
        let env: HashMap<String, String> =
            env.iter().map(|(k, v)| (k.to_string(), v.replace("BASE", &base))).collect();
        let mut place = Place::real("test/1".into()).expect("a client");
        place.env = Arc::new(move |name| env.get(name).cloned());
        place.root = root.path().into();
        place.docker = base.replace("http", "tcp");
        place.elsewhere = Some(base.clone());
        place.metadata = base;
        Self { place, backend, _root: root }
    }

    /// What is found, as `key=value`, sorted.
    async fn found(&self, lines: &str) -> Result<Vec<String>, String> {
        let args = arguments(lines).expect(lines);
        let shown = |(key, value): (String, AnyValue)| format!("{key}={}", crate::value::text(Some(&value)));
        let mut found: Vec<_> = detect::all(&args, &self.place).await?.into_iter().map(shown).collect();
        found.sort();
        Ok(found)
    }
}

#[tokio::test]
async fn a_detector_is_asked_again_and_given_up_after_the_timeout() {
    let fake = Fake::new(&[], &[], &[]).await;
    let mut asked = 0;
    fake.backend.script(move |_| {
        asked += 1;
        match asked {
            1 => status(500),
            _ => Reply::Answer {
                status: 200,
                headers: Vec::new(),
                body: r#"{"droplet_id":7,"hostname":"d1","region":"r"}"#.into(),
            },
        }
    });
    assert_eq!(fake.found("detectors = [\"digitalocean\"]").await.expect("found").len(), 4);
    fake.backend.script(|_| Reply::Hang);
    let start = std::time::Instant::now();
    let lines = "detectors = [\"digitalocean\", \"vultr\"]\ntimeout = \"300ms\"";
    assert_eq!(fake.found(lines).await, Ok(vec![]));
    assert!(start.elapsed() < Duration::from_secs(2), "both at the same time: {:?}", start.elapsed());
    let required = format!("{lines}\nvultr {{ fail_on_missing_metadata = true }}");
    let refused = fake.found(&required).await.expect_err("required");
    assert!(refused.contains("the detector vultr finds nothing"), "{refused}");
}

#[tokio::test]
async fn resources_get_what_was_found_once_the_detectors_have_answered() {
    let sink = Sink::<Traces>::new();
    let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
    let names = Names::default().with("next", next.to_value());
    let lines = "detectors = [\"system\"]\nsystem { hostname_sources = [\"os\"] }";
    let harness = Harness::start(ComponentDef::of::<ResourceDetection>(), &body(lines), names).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let send = |attributes: Option<Vec<KeyValue>>| {
        let resource = attributes.map(|attributes| Resource { attributes, ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans: vec![Span::default()], ..ScopeSpans::default() }];
        let spans = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![spans] };
        input.send(Otlp::of(OtlpRequest::from_message(request)))
    };
    let out = || {
        let out = sink.take().remove(0);
        let message = out.requests[0].message().expect("decodes").clone();
        message.resource_spans[0].resource.clone().expect("made").attributes
    };
    send(Some(vec![text("a", "b"), text("host.name", "own")])).await.expect("passed on");
    assert_eq!(out(), [text("a", "b"), text("host.name", &name), text("os.type", "linux")]);
    send(None).await.expect("passed on");
    assert_eq!(out(), [text("host.name", &name), text("os.type", "linux")]);
    harness.update(&body(&format!("{lines}\noverride = false"))).await.expect("sound");
    send(Some(vec![text("host.name", "own")])).await.expect("passed on");
    assert_eq!(out(), [text("host.name", "own"), text("os.type", "linux")]);
    let refused = harness.update(&body("fail_on_missing_metadata = true\ndetectors = [\"heroku\"]")).await;
    assert!(format!("{:?}", refused.expect_err("nothing there")).contains("heroku"), "told");
    send(Some(vec![])).await.expect("the old arguments stay in force");
    assert_eq!(out().len(), 2);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (lines, why) in [
        ("kubeadm { auth_type = \"tls\" }", "is none of none, serviceAccount, kubeConfig"),
        ("detectors = [\"luck\"]", "is none of env, system"),
        ("timeout = \"0s\"", "greater than zero"),
        ("ec2 { tags = [\"a\"] }", "tags_from_imds"),
        ("system { hostname_sources = [\"guess\"] }", "is none of dns, os"),
        ("system { resource_attributes { host.name { } } }", "enabled"),
    ] {
        let refused = arguments(lines).expect_err(lines);
        assert!(refused.contains(why), "{lines}: {refused}");
    }
}

#[test]
fn the_surface_is_alloys() {
    let ours = surface(<Args as component::eval::Arguments>::schema());
    for line in [
        "detectors list(string) = [\"env\"]",
        "override bool = true",
        "fail_on_missing_metadata bool",
        "timeout duration = \"5s\"",
        "ec2.max_attempts int = 3",
        "ec2.max_backoff duration = \"20s\"",
        "ec2.resource_attributes.host.image.id block defaults",
        "ec2.resource_attributes.host.image.id.enabled bool required",
        "aks.resource_attributes.k8s.cluster.name block defaults",
        "consul.token secret",
        "system.hostname_sources list(string) = [\"dns\", \"os\"]",
        "system.resource_attributes.host.cpu.cache.l2.size.enabled bool required",
        "gcp.resource_attributes.gcp.gce.instance.group_manager.zone.enabled bool required",
        "dynatrace block defaults",
        "eks.node_from_env_var string = \"K8S_NODE_NAME\"",
        "eks.resource_attributes.k8s.cluster.name.enabled bool required",
        "akamai.resource_attributes.host.id block defaults",
        "openshift.token string",
        "openshift.tls.min_version string = \"TLS 1.2\"",
        "kubernetes_node.auth_type string = \"none\"",
        "kubeadm.resource_attributes.k8s.cluster.uid block defaults",
        "nova.labels list(string)",
        "oraclecloud.resource_attributes.oracle_cloud.realm block defaults",
        "scaleway.resource_attributes.host.image.name block defaults",
        "tencent_cvm.fail_on_missing_metadata bool",
        "alibaba_ecs.resource_attributes.host.image.id block defaults",
    ] {
        assert!(ours.iter().any(|l| l == line), "{line} in {ours:#?}");
    }
}

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
async fn variables_of_the_environment_are_attributes() {
    for (text, expected) in [
        ("a=1, b = x%20y ,c=%zz", vec!["a=1", "b=x y", "c=%zz"]),
        ("", vec![]),
        ("a", vec![]),
        ("=1", vec![]),
    ] {
        let fake = Fake::new(&[("OTEL_RESOURCE_ATTRIBUTES", text)], &[], &[]).await;
        assert_eq!(fake.found("").await.expect("optional"), expected, "{text}");
    }
    let fake = Fake::new(&[], &[], &[]).await;
    let refused = fake.found("fail_on_missing_metadata = true").await.expect_err("nothing is set");
    assert!(refused.contains("OTEL_RESOURCE_ATTRIBUTES is not set"), "{refused}");
}

#[tokio::test]
async fn the_machine_tells_its_name_and_what_else_is_switched_on() {
    let files = [
        ("etc/machine-id", "abc123\n"),
        ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n"),
        (
            "proc/cpuinfo",
            "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon\nstepping\t: 7\ncache size\t: 512 KB\n\nvendor_id: other\n",
        ),
        (
            "proc/net/fib_trie",
            "  |-- 10.0.0.7\n     /32 host LOCAL\n  |-- 127.0.0.1\n     /32 host LOCAL\n  |-- 10.0.0.7\n     /32 host LOCAL\n",
        ),
        (
            "proc/net/if_inet6",
            "fe80000000000000000000000000abcd 02 40 20 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n",
        ),
        ("sys/class/net/eth0/address", "0a:1b:2c:3d:4e:5f\n"),
        ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
    ];
    let fake = Fake::new(&[], &files, &[]).await;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let os = "hostname_sources = [\"os\"]";
    let plain = format!("detectors = [\"system\"]\nsystem {{ {os} }}");
    assert_eq!(
        fake.found(&plain).await.expect("found"),
        [format!("host.name={name}"), "os.type=linux".into()]
    );
    let switches = [
        "host.id",
        "os.name",
        "os.version",
        "host.ip",
        "host.mac",
        "host.interface",
        "host.cpu.vendor.id",
        "host.cpu.family",
        "host.cpu.model.id",
        "host.cpu.model.name",
        "host.cpu.stepping",
        "host.cpu.cache.l2.size",
    ];
    let on: String = switches.iter().map(|key| format!("{key} {{ enabled = true }}\n")).collect();
    let off = "host.name { enabled = false }\nos.type { enabled = false }\n";
    let all = format!("detectors = [\"system\"]\nsystem {{\n{os}\nresource_attributes {{\n{on}{off}}}\n}}");
    assert_eq!(
        fake.found(&all).await.expect("found"),
        [
            "host.cpu.cache.l2.size=512",
            "host.cpu.family=6",
            "host.cpu.model.id=85",
            "host.cpu.model.name=Xeon",
            "host.cpu.stepping=7",
            "host.cpu.vendor.id=GenuineIntel",
            "host.id=abc123",
            "host.interface=[\"eth0\"]",
            "host.ip=[\"10.0.0.7\",\"fe80::abcd\"]",
            "host.mac=[\"0A-1B-2C-3D-4E-5F\"]",
            "os.name=Debian GNU/Linux",
            "os.version=12",
        ]
    );
    let hosts = [("etc/hosts", format!("10.0.0.1 {name}.example.com {name}\n"))];
    let hosts: Vec<_> = hosts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let fake = Fake::new(&[], &hosts, &[]).await;
    let found = fake.found("detectors = [\"system\"]").await.expect("found");
    assert!(found.contains(&format!("host.name={name}.example.com")), "{found:?}");
}

#[tokio::test]
async fn amazons_services_are_asked_and_variables_and_files_of_its_other_clouds_read() {
    let identity = r#"{"accountId":"1","availabilityZone":"eu-1a","region":"eu-1","instanceId":"i-1","imageId":"ami","instanceType":"t3"}"#;
    let pages = [
        ("/latest/api/token", "secret"),
        ("/latest/dynamic/instance-identity/document", identity),
        ("/latest/meta-data/hostname", "ip-1.ec2"),
        ("/latest/meta-data/tags/instance", "Name\nteam"),
        ("/latest/meta-data/tags/instance/team", "shop"),
        (
            "/meta",
            r#"{"LogDriver":"awslogs","LogOptions":{"awslogs-group":"g","awslogs-stream":"s","awslogs-region":"eu-1"}}"#,
        ),
        (
            "/meta/task",
            r#"{"Cluster":"c","TaskARN":"arn:aws:ecs:eu-1:7:task/c/abc","Family":"f","Revision":"3","AvailabilityZone":"eu-1b","LaunchType":"FARGATE"}"#,
        ),
    ];
    let env = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "BASE/"),
        ("ECS_CONTAINER_METADATA_URI_V4", "BASE/meta"),
        ("AWS_LAMBDA_FUNCTION_NAME", "fn"),
        ("AWS_REGION", "eu-1"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
    ];
    let conf = r#"{"deployment_id":23,"environment_name":"prod","version_label":"v9"}"#;
    let files = [("var/elasticbeanstalk/xray/environment.conf", conf)];
    let fake = Fake::new(&env, &files, &pages).await;
    let ec2 = "detectors = [\"ec2\"]\nec2 {\ntags = [\"^te\"]\ntags_from_imds = true\n}";
    assert_eq!(
        fake.found(ec2).await.expect("found"),
        [
            "cloud.account.id=1",
            "cloud.availability_zone=eu-1a",
            "cloud.platform=aws_ec2",
            "cloud.provider=aws",
            "cloud.region=eu-1",
            "ec2.tag.team=shop",
            "host.id=i-1",
            "host.image.id=ami",
            "host.name=ip-1.ec2",
            "host.type=t3",
        ]
    );
    let asked = fake.backend.all();
    assert_eq!(
        (asked[0].method.as_str(), asked[1].headers["x-aws-ec2-metadata-token"].as_str()),
        ("PUT", "secret")
    );
    let ecs = fake.found("detectors = [\"ecs\"]").await.expect("found");
    for line in [
        "aws.ecs.cluster.arn=arn:aws:ecs:eu-1:7:cluster/c",
        "aws.ecs.launchtype=fargate",
        "aws.ecs.task.id=abc",
        "aws.log.group.arns=[\"arn:aws:logs:eu-1:7:log-group:g\"]",
        "aws.log.stream.arns=[\"arn:aws:logs:eu-1:7:log-group:g:log-stream:s\"]",
        "cloud.account.id=7",
    ] {
        assert!(ecs.contains(&line.to_string()), "{line} in {ecs:?}");
    }
    assert_eq!(
        fake.found("detectors = [\"elasticbeanstalk\"]").await.expect("found"),
        [
            "cloud.platform=aws_elastic_beanstalk",
            "cloud.provider=aws",
            "deployment.environment=prod",
            "service.instance.id=23",
            "service.version=v9",
        ]
    );
    assert_eq!(
        fake.found("detectors = [\"lambda\"]").await.expect("found"),
        [
            "aws.log.stream.names=[\"stream\"]",
            "cloud.platform=aws_lambda",
            "cloud.provider=aws",
            "cloud.region=eu-1",
            "faas.instance=stream",
            "faas.name=fn",
        ]
    );
}

#[tokio::test]
async fn the_metadata_of_other_clouds_are_asked() {
    let azure = r#"{"location":"west","name":"vm","vmId":"id","vmSize":"B1","subscriptionId":"sub","resourceGroupName":"MC_rg_cluster_west","osProfile":{"computerName":"host"},"tagsList":[{"name":"team","value":"shop"},{"name":"x","value":"y"}]}"#;
    let gcp = "/computeMetadata/v1";
    let pages: Vec<(String, &str)> = vec![
        ("/metadata/instance/compute?api-version=2020-09-01&format=json".into(), azure),
        (format!("{gcp}/project/project-id"), "proj"),
        (format!("{gcp}/instance/zone"), "projects/1/zones/us-c1-a"),
        (format!("{gcp}/instance/region"), "projects/1/regions/us-c1"),
        (format!("{gcp}/instance/machine-type"), "projects/1/machineTypes/e2"),
        (format!("{gcp}/instance/id"), "42"),
        (format!("{gcp}/instance/name"), "inst"),
        (
            format!("{gcp}/instance/attributes/created-by"),
            "projects/1/zones/us-c1-a/instanceGroupManagers/mig",
        ),
        (format!("{gcp}/instance/attributes/cluster-name"), "gke"),
        (format!("{gcp}/instance/attributes/cluster-location"), "us-c1"),
        (
            "/v1/agent/self?dc=d".into(),
            r#"{"Config":{"NodeName":"n","Datacenter":"d","NodeID":"u"},"Meta":{"rack":"r1","no":"x"}}"#,
        ),
        ("/metadata/v1.json".into(), r#"{"droplet_id":7,"hostname":"d1","region":"fra1"}"#),
        ("/hetzner/v1/metadata/instance-id".into(), "9\n"),
        ("/hetzner/v1/metadata/hostname".into(), "h1"),
        ("/hetzner/v1/metadata/region".into(), "eu-central"),
        ("/hetzner/v1/metadata/availability-zone".into(), "fsn1-dc14"),
        ("/v1.json".into(), r#"{"hostname":"v1","instance-v2-id":"vid","region":{"regioncode":"EWR"}}"#),
        ("/info".into(), r#"{"Name":"dock","OSType":"Linux"}"#),
        ("/v1.43/info".into(), r#"{"Name":"dock","OSType":"Linux"}"#),
        ("/version".into(), r#"{"ApiVersion":"1.43","MinAPIVersion":"1.24"}"#),
    ];
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let dynatrace = "dt.entity.host=HOST-1\nhost.name=dt\nother=x\n";
    let files = [("var/lib/dynatrace/enrichment/dt_host_metadata.properties", dynatrace)];
    let consul =
        "detectors = [\"consul\"]\nconsul {\naddress = \"ADDR\"\ndatacenter = \"d\"\nmeta = [\"rack\"]\n}";
    let gce: &[&str] = &[
        "cloud.account.id=proj",
        "cloud.availability_zone=us-c1-a",
        "cloud.platform=gcp_compute_engine",
        "cloud.provider=gcp",
        "cloud.region=us-c1",
        "gcp.gce.instance.group_manager.name=mig",
        "gcp.gce.instance.group_manager.zone=us-c1-a",
        "host.id=42",
        "host.name=inst",
        "host.type=projects/1/machineTypes/e2",
    ];
    /// Arguments, the environment, what is found.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 12] = [
        (
            "detectors = [\"azure\"]\nazure { tags = [\"^te\"] }",
            &[],
            &[
                "azure.resourcegroup.name=MC_rg_cluster_west",
                "azure.tag.team=shop",
                "azure.vm.name=vm",
                "azure.vm.size=B1",
                "cloud.account.id=sub",
                "cloud.platform=azure_vm",
                "cloud.provider=azure",
                "cloud.region=west",
                "host.id=id",
                "host.name=host",
            ],
        ),
        (
            "detectors = [\"aks\"]\naks { resource_attributes { k8s.cluster.name { enabled = true } } }",
            &[("KUBERNETES_SERVICE_HOST", "x")],
            &["cloud.platform=azure_aks", "cloud.provider=azure", "k8s.cluster.name=cluster"],
        ),
        ("detectors = [\"aks\"]", &[], &[]),
        ("detectors = [\"gcp\"]", &[], gce),
        (
            "detectors = [\"gcp\"]",
            &[("KUBERNETES_SERVICE_HOST", "x")],
            &[
                "cloud.account.id=proj",
                "cloud.platform=gcp_kubernetes_engine",
                "cloud.provider=gcp",
                "cloud.region=us-c1",
                "host.id=42",
                "k8s.cluster.name=gke",
            ],
        ),
        (
            "detectors = [\"gcp\"]",
            &[("K_SERVICE", "svc"), ("K_REVISION", "r2")],
            &[
                "cloud.account.id=proj",
                "cloud.platform=gcp_cloud_run",
                "cloud.provider=gcp",
                "cloud.region=us-c1",
                "faas.instance=42",
                "faas.name=svc",
                "faas.version=r2",
            ],
        ),
        (consul, &[], &["cloud.region=d", "host.id=u", "host.name=n", "rack=r1"]),
        (
            "detectors = [\"heroku\"]",
            &[("HEROKU_DYNO_ID", "dyno"), ("HEROKU_APP_NAME", "app")],
            &["cloud.provider=heroku", "heroku.dyno.id=dyno", "service.instance.id=dyno", "service.name=app"],
        ),
        (
            "detectors = [\"digitalocean\"]",
            &[],
            &["cloud.provider=digitalocean", "cloud.region=fra1", "host.id=7", "host.name=d1"],
        ),
        (
            "detectors = [\"hetzner\", \"upcloud\"]",
            &[],
            &[
                "cloud.availability_zone=fsn1-dc14",
                "cloud.provider=hetzner",
                "cloud.region=eu-central",
                "host.id=9",
                "host.name=h1",
            ],
        ),
        (
            "detectors = [\"vultr\"]",
            &[],
            &["cloud.provider=vultr", "cloud.region=ewr", "host.id=vid", "host.name=v1"],
        ),
        // The first detector's word counts.
        (
            "detectors = [\"docker\", \"dynatrace\"]",
            &[],
            &["dt.entity.host=HOST-1", "host.name=dock", "os.type=linux"],
        ),
    ];
    for (lines, env, expected) in cases {
        let fake = Fake::new(env, &files, &pages).await;
        let lines = lines.replace("ADDR", &fake.backend.base());
        assert_eq!(fake.found(&lines).await.expect("found"), expected, "{lines} {env:?}");
    }
}

/// Where a pod finds its service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";
/// What every pod is told.
const POD: [(&str, &str); 3] =
    [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("K8S_NODE_NAME", "n1")];

#[tokio::test]
async fn clusters_are_asked_through_their_api() {
    let node = r#"{"metadata":{"uid":"u-1","labels":{"alpha.eksctl.io/cluster-name":"shop"}}}"#;
    let openshift =
        r#"{"status":{"infrastructureName":"os-1","platformStatus":{"type":"AWS","aws":{"region":"EU-1"}}}}"#;
    let kubeadm = r#"{"data":{"ClusterConfiguration":"apiVersion: v1\nclusterName: \"lab\"\n"}}"#;
    let pages = [
        ("/version", r#"{"gitVersion":"v1.33.1-eks-abc"}"#),
        ("/api/v1/nodes/n1", node),
        ("/apis/config.openshift.io/v1/infrastructures/cluster/status", openshift),
        ("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", kubeadm),
        ("/api/v1/namespaces/kube-system", r#"{"metadata":{"uid":"c-1"}}"#),
        ("/latest/api/token", "tok"),
        ("/latest/dynamic/instance-identity/document", r#"{"accountId":"77"}"#),
    ];
    let eks_all = "detectors = [\"eks\"]\neks { resource_attributes {\ncloud.account.id { enabled = true }\nk8s.cluster.name { enabled = true }\n} }";
    let kubeadm_all = "detectors = [\"kubeadm\"]\nkubeadm {\nauth_type = \"serviceAccount\"\nresource_attributes { k8s.cluster.uid { enabled = true } }\n}";
    let cases: [(&str, &[&str]); 7] = [
        ("detectors = [\"eks\"]", &["cloud.platform=aws_eks", "cloud.provider=aws"]),
        (
            eks_all,
            &["cloud.account.id=77", "cloud.platform=aws_eks", "cloud.provider=aws", "k8s.cluster.name=shop"],
        ),
        (
            "detectors = [\"openshift\"]",
            &[
                "cloud.platform=aws_openshift",
                "cloud.provider=aws",
                "cloud.region=eu-1",
                "k8s.cluster.name=os-1",
            ],
        ),
        ("detectors = [\"kubernetes_node\"]", &["k8s.node.name=n1", "k8s.node.uid=u-1"]),
        (
            "detectors = [\"kubernetes_node\"]\nkubernetes_node { resource_attributes { k8s.node.uid { enabled = false } } }",
            &["k8s.node.name=n1"],
        ),
        ("detectors = [\"kubeadm\"]", &["k8s.cluster.name=lab"]),
        (kubeadm_all, &["k8s.cluster.name=lab", "k8s.cluster.uid=c-1"]),
    ];
    let fake = Fake::new(&POD, &[(ACCOUNT, "sesame")], &pages).await;
    for (lines, expected) in cases {
        assert_eq!(fake.found(lines).await.expect("found"), expected, "{lines}");
    }
    // The service account asks, but for those whose auth_type is none.
    let with = |path: &str, token: Option<&str>| {
        let asked = fake.backend.all().into_iter().filter(|posted| posted.path == path);
        asked.filter(|posted| posted.headers.get("authorization").map(String::as_str) == token).count()
    };
    assert_eq!(with("/version", Some("Bearer sesame")), 2);
    assert_eq!(with("/api/v1/namespaces/kube-system", Some("Bearer sesame")), 1);
    assert_eq!(with("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", None), 1);
    let own = "detectors = [\"openshift\"]\nopenshift {\naddress = \"https://api:6443\"\ntoken = \"mine\"\n}";
    assert_eq!(fake.found(own).await.expect("found").len(), 4);
    assert_eq!(with("/apis/config.openshift.io/v1/infrastructures/cluster/status", Some("Bearer mine")), 1);
}

#[tokio::test]
async fn a_cluster_is_told_from_others_and_a_kubeconfig_leads_to_it() {
    let plain = [("/version", r#"{"gitVersion":"v1.33.1"}"#)];
    let fake = Fake::new(&POD, &[(ACCOUNT, "t")], &plain).await;
    let required = "fail_on_missing_metadata = true\n";
    for (lines, why) in [
        ("detectors = [\"eks\"]", "is not one of EKS"),
        ("detectors = [\"openshift\"]", "404"),
        (
            "detectors = [\"kubernetes_node\"]\nkubernetes_node { node_from_env_var = \"NONE\" }",
            "NONE is not set",
        ),
    ] {
        let refused = fake.found(&format!("{required}{lines}")).await.expect_err(lines);
        assert!(refused.contains(why), "{lines}: {refused}");
    }
    let fake = Fake::new(&[], &[], &[]).await;
    for detector in ["eks", "openshift", "kubeadm"] {
        let lines = format!("{required}detectors = [{detector:?}]");
        let refused = fake.found(&lines).await.expect_err("no pod");
        assert!(
            refused.contains("service account") || refused.contains("does not run in a pod"),
            "{refused}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let config = "current-context: a\nclusters: [{name: c, cluster: {server: 'https://c'}}]\ncontexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: v}}]\nusers: [{name: u, user: {token: one}}, {name: v, user: {token: two}}]\n";
    std::fs::write(&path, config).expect("written");
    let path = path.to_string_lossy().into_owned();
    let pages = [("/api/v1/nodes/n1", r#"{"metadata":{"uid":"u-1"}}"#)];
    let fake = Fake::new(&[("KUBECONFIG", &path), ("K8S_NODE_NAME", "n1")], &[], &pages).await;
    for (context, token) in [("", "Bearer one"), ("b", "Bearer two")] {
        let lines = format!(
            "detectors = [\"kubernetes_node\"]\nkubernetes_node {{\nauth_type = \"kubeConfig\"\ncontext = {context:?}\n}}"
        );
        assert_eq!(fake.found(&lines).await.expect("found"), ["k8s.node.name=n1", "k8s.node.uid=u-1"]);
        assert_eq!(
            fake.backend.all().last().map(|posted| posted.headers["authorization"].clone()),
            Some(token.into())
        );
    }
}

#[tokio::test]
async fn clouds_tell_of_their_machines() {
    let akamai = r#"{"id":77,"label":"l1","region":"eu-west","type":"g6"}"#;
    let nova = r#"{"uuid":"u","hostname":"h1","name":"n","availability_zone":"az","project_id":"p","meta":{"team":"shop","other":"x"}}"#;
    let oracle = r#"{"id":"ocid1","displayName":"d","shape":"VM.E4","availabilityDomain":"AD-1","canonicalRegionName":"us-phoenix-1","regionInfo":{"realmKey":"oc1"},"metadata":{"oke-cluster-display-name":"oke"}}"#;
    let scaleway = r#"{"id":"s-1","name":"n","commercial_type":"DEV1","organization":"o","location":{"zone_id":"fr-par-1"},"image":{"id":"i","name":"Debian"}}"#;
    let alibaba = r#"{"owner-account-id":"1","region-id":"cn-h","zone-id":"cn-h-a","instance-id":"i-1","image-id":"img","instance-type":"ecs.g6"}"#;
    let tencent = "/latest/meta-data";
    let pages = [
        ("/v1/token".to_string(), "tok"),
        ("/v1/instance".into(), akamai),
        ("/openstack/latest/meta_data.json".into(), nova),
        (format!("{tencent}/instance-type"), "m1.small"),
        ("/opc/v2/instance/".into(), oracle),
        ("/conf?format=json".into(), scaleway),
        (format!("{tencent}/app-id"), "125"),
        (format!("{tencent}/placement/region"), "ap-g"),
        (format!("{tencent}/placement/zone"), "ap-g-1"),
        (format!("{tencent}/instance-id"), "ins-1"),
        (format!("{tencent}/instance/image-id"), "img-1"),
        (format!("{tencent}/instance-name"), "name"),
        (format!("{tencent}/instance/instance-type"), "S5"),
        ("/latest/api/token".into(), "tok"),
        ("/latest/dynamic/instance-identity/document".into(), alibaba),
        (format!("{tencent}/hostname"), "host-a"),
    ];
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let fake = Fake::new(&[], &[], &pages).await;
    let cases: [(&str, &[&str]); 7] = [
        (
            "detectors = [\"akamai\"]",
            &["cloud.provider=akamai_cloud", "cloud.region=eu-west", "host.id=77", "host.name=l1"],
        ),
        (
            "detectors = [\"nova\"]\nnova { labels = [\"^te\"] }",
            &[
                "cloud.availability_zone=az",
                "cloud.platform=openstack_nova",
                "cloud.provider=openstack",
                "host.id=u",
                "host.name=h1",
                "host.type=m1.small",
                "openstack.nova.meta.team=shop",
            ],
        ),
        (
            "detectors = [\"oraclecloud\"]",
            &[
                "cloud.availability_zone=AD-1",
                "cloud.platform=oracle_cloud_oke",
                "cloud.provider=oracle_cloud",
                "cloud.region=us-phoenix-1",
                "host.id=ocid1",
                "host.name=d",
                "host.type=VM.E4",
                "k8s.cluster.name=oke",
                "oracle_cloud.realm=oc1",
            ],
        ),
        (
            "detectors = [\"scaleway\"]",
            &[
                "cloud.account.id=o",
                "cloud.availability_zone=fr-par-1",
                "cloud.platform=scaleway_cloud_compute",
                "cloud.provider=scaleway_cloud",
                "cloud.region=fr-par",
                "host.id=s-1",
                "host.image.id=i",
                "host.image.name=Debian",
                "host.name=n",
                "host.type=DEV1",
            ],
        ),
        (
            "detectors = [\"tencent_cvm\"]",
            &[
                "cloud.account.id=125",
                "cloud.availability_zone=ap-g-1",
                "cloud.platform=tencent_cloud_cvm",
                "cloud.provider=tencent_cloud",
                "cloud.region=ap-g",
                "host.id=ins-1",
                "host.image.id=img-1",
                "host.name=name",
                "host.type=S5",
            ],
        ),
        (
            "detectors = [\"alibaba_ecs\"]",
            &[
                "cloud.account.id=1",
                "cloud.availability_zone=cn-h-a",
                "cloud.platform=alibaba_cloud_ecs",
                "cloud.provider=alibaba_cloud",
                "cloud.region=cn-h",
                "host.id=i-1",
                "host.image.id=img",
                "host.name=host-a",
                "host.type=ecs.g6",
            ],
        ),
        (
            "detectors = [\"akamai\"]\nakamai { resource_attributes {\nhost.id { enabled = false }\nhost.name { enabled = false }\n} }",
            &["cloud.provider=akamai_cloud", "cloud.region=eu-west"],
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(fake.found(lines).await.expect("found"), expected, "{lines}");
    }
    for (path, header, value) in [
        ("/v1/instance", "metadata-token", "tok"),
        ("/opc/v2/instance/", "authorization", "Bearer Oracle"),
        ("/latest/dynamic/instance-identity/document", "x-aliyun-ecs-metadata-token", "tok"),
    ] {
        let asked = fake.backend.all().into_iter().find(|posted| posted.path == path).expect(path);
        assert_eq!(asked.headers.get(header).map(String::as_str), Some(value), "{path}");
    }
    let nobody = Fake::new(&[], &[], &[]).await;
    for block in ["nova", "tencent_cvm", "alibaba_ecs"] {
        let lines = format!("detectors = [{block:?}]");
        assert_eq!(nobody.found(&lines).await, Ok(vec![]), "{block}");
        let required = format!("{lines}\n{block} {{ fail_on_missing_metadata = true }}");
        assert!(nobody.found(&required).await.expect_err("required").contains(block));
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

//! The Kubernetes API and AWS Cloud Map as back ends are found in them, faked on the loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component::testkit::Names;
use net::testkit::{Backend, Reply, status};

use super::super::args::{AwsCloudMap, Kubernetes, Resolver};
use super::super::backends::{Backends, Shared};
use super::super::find::{Finder, Found, Surroundings};
use super::super::metrics::Balance;
use super::*;
use crate::exporter::sending::Metrics;
use crate::rpc::Rpc;

fn resolver() -> Resolver {
    Resolver { fixed: None, dns: None, kubernetes: None, aws_cloud_map: None }
}

fn pods(args: Kubernetes) -> Resolver {
    Resolver { kubernetes: Some(args), ..resolver() }
}

fn service(name: &str) -> Kubernetes {
    let (ports, timeout) = (vec![4317], Duration::from_secs(5));
    Kubernetes { service: name.into(), ports, timeout, return_hostnames: false }
}

/// A pod whose service account asks the API at `base`.
fn pod(base: &str) -> (Surroundings, tempfile::TempDir) {
    net::install_provider();
    let root = tempfile::tempdir().expect("a folder");
    let account = root.path().join("var/run/secrets/kubernetes.io/serviceaccount");
    std::fs::create_dir_all(&account).expect("a folder");
    std::fs::write(account.join("token"), "sesame").expect("written");
    std::fs::write(account.join("namespace"), "shop").expect("written");
    let surroundings = Surroundings {
        variables: Arc::new(|name| name.starts_with("KUBERNETES_").then(|| "443".into())),
        root: root.path().into(),
        elsewhere: Some(base.into()),
    };
    (surroundings, root)
}

fn answer(body: impl Into<String>) -> Reply {
    Reply::Answer { status: 200, headers: Vec::new(), body: body.into() }
}

const SLICES: &str = r#"{"metadata":{"resourceVersion":"7"},"items":[
    {"endpoints":[
        {"addresses":["10.0.0.1"],"hostname":"p-0","conditions":{"ready":true}},
        {"addresses":["10.0.0.2"],"conditions":{"ready":false}},
        {"addresses":["fd00::3"],"hostname":"p-2","conditions":{}}
    ]},
    {"endpoints":null}
]}"#;

#[tokio::test]
async fn pods_that_are_ready_are_found_in_the_slices_of_their_service() {
    let api = Backend::start(|_| answer(SLICES)).await;
    let (surroundings, _root) = pod(&api.base());
    let mut finder = Finder::new("test/1".into(), surroundings);
    let names = async |finder: &mut Finder, args: Kubernetes| {
        finder.find(&pods(args)).await.map(|found| found.names).expect("found")
    };
    assert_eq!(names(&mut finder, service("collectors")).await, ["10.0.0.1:4317", "[fd00::3]:4317"]);
    let ports = Kubernetes { ports: vec![1, 2], ..service("collectors.other") };
    assert_eq!(names(&mut finder, ports).await, ["10.0.0.1:1", "10.0.0.1:2", "[fd00::3]:1", "[fd00::3]:2"]);
    let named = Kubernetes { return_hostnames: true, ..service("collectors") };
    assert_eq!(names(&mut finder, named).await, ["p-0.collectors.shop:4317", "p-2.collectors.shop:4317"]);
    let asked = api.all();
    let selector = "?labelSelector=kubernetes.io%2Fservice-name%3Dcollectors";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    assert_eq!(asked[0].path, format!("{slices}{selector}"));
    assert_eq!(asked[1].path, format!("{slices}{selector}").replace("/shop/", "/other/"));
    assert_eq!(asked[0].headers["authorization"], "Bearer sesame");
}

#[tokio::test]
async fn pods_are_watched_from_where_they_were_listed() {
    let watches = Arc::new(AtomicUsize::new(0));
    let seen = watches.clone();
    let api = Backend::start(move |posted| match posted.path.contains("watch=true") {
        true => match seen.fetch_add(1, Ordering::Relaxed) {
            // A bookmark is no change: the end of the watch is.
            0 => Reply::Raw(
                "HTTP/1.1 200 OK\r\n\r\n{\"type\":\"BOOKMARK\",\"object\":{}}\n{\"type\":\"MODIFIED\",\"object\":{}}\n",
            ),
            1 => Reply::Raw("HTTP/1.1 200 OK\r\n\r\n{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n"),
            _ => Reply::Hang,
        },
        false => answer(SLICES),
    })
    .await;
    let (surroundings, _root) = pod(&api.base());
    let mut finder = Finder::new("test/1".into(), surroundings);
    for _ in 0..2 {
        let Found { changed, .. } = finder.find(&pods(service("collectors"))).await.expect("found");
        changed.expect("watched").await;
    }
    let Found { changed, .. } = finder.find(&pods(service("collectors"))).await.expect("found");
    let mut changed = changed.expect("watched");
    tokio::select! {
        () = &mut changed => panic!("nothing has changed"),
        _ = api.until(|all| all.iter().filter(|posted| posted.path.contains("watch=true")).count() == 2) => {}
    }
    assert!(api.all().iter().any(|posted| posted.path.contains("resourceVersion=7")));
}

#[tokio::test]
async fn back_ends_follow_the_pods_without_being_asked_for() {
    let watches = Arc::new(AtomicUsize::new(0));
    let seen = watches.clone();
    let api = Backend::start(move |posted| {
        let list = |address: &str| {
            answer(format!(
                r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{{"endpoints":[{{"addresses":["{address}"]}}]}}]}}"#
            ))
        };
        match (posted.path.contains("watch=true"), seen.load(Ordering::Relaxed)) {
            (true, 0) => {
                seen.store(1, Ordering::Relaxed);
                Reply::Raw("HTTP/1.1 200 OK\r\n\r\n{\"type\":\"ADDED\",\"object\":{}}\n")
            }
            (true, _) => Reply::Hang,
            (false, 0) => list("127.0.0.1"),
            (false, _) => list("127.0.0.2"),
        }
    })
    .await;
    let (surroundings, _root) = pod(&api.base());
    let text = "resolver {\nkubernetes {\nservice = \"a\"\n}\n}\nprotocol {\notlp {\nclient { }\n}\n}\n";
    let source = component::eval::syntax::Source::new("t.alloy", text);
    let (file, _) = component::eval::syntax::parse(&source);
    let names = Names::default();
    let scope = component::eval::Scope::new(&names);
    let (args, problems) = component::eval::decode::<Args>(&source, &file.body, None, &scope);
    assert!(problems.is_empty(), "{problems:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let cx =
        component::BuildCx::detached("otelcol.exporter.loadbalancing.t", Services::for_tests(folder.path()));
    let shared = Arc::<Shared>::default();
    let backends = Backends::start(
        Arc::new(args.expect("sound")),
        cx.clone(),
        Metrics::new(&cx.metrics(), "loadbalancing/t".into()),
        Balance::new(&cx.metrics()),
        Arc::new(Rpc::new(&cx.metrics(), "client")),
        shared.clone(),
        Finder::new("test/1".into(), surroundings),
    );
    for expected in ["127.0.0.1:4317", "127.0.0.2:4317"] {
        let found = async {
            while shared.tables.load().backends().iter().map(AsRef::as_ref).ne([expected]) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found).await.expect(expected);
    }
    assert_eq!(backends.trouble(), None);
    // A watch that goes on does not keep it from ending.
    backends.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_with_pods_is_told() {
    let api = Backend::start(|_| status(403)).await;
    let (surroundings, root) = pod(&api.base());
    let refused = |error: Result<Found, String>| error.err().expect("refused");
    let mut finder = Finder::new("test/1".into(), surroundings.clone());
    let error = refused(finder.find(&pods(service("collectors"))).await);
    assert!(error.contains("403") && error.contains("collectors"), "{error}");
    api.script(|_| Reply::Hang);
    let short = Kubernetes { timeout: Duration::from_millis(50), ..service("collectors") };
    let error = refused(finder.find(&pods(short)).await);
    assert!(error.contains("was not found within"), "{error}");
    let nowhere = Surroundings { root: root.path().join("none"), ..surroundings };
    let error = refused(Finder::new("test/1".into(), nowhere).find(&pods(service("a"))).await);
    assert!(error.contains("there is no service account"), "{error}");
    assert_eq!(pods(service("a")).interval(true), None);
    assert!(pods(service("a")).interval(false).is_some(), "a list that failed is asked for again");
}

#[tokio::test]
async fn instances_are_found_in_cloud_map() {
    net::install_provider();
    let body = r#"{"Instances":[
        {"InstanceId":"a","Attributes":{"AWS_INSTANCE_IPV4":"10.0.0.1","AWS_INSTANCE_PORT":"4000"}},
        {"InstanceId":"b","Attributes":{"AWS_INSTANCE_IPV6":"fd00::2"}},
        {"InstanceId":"c","Attributes":{"AWS_INSTANCE_CNAME":"x"}}
    ]}"#;
    let map = Backend::start(move |_| answer(body)).await;
    let base = map.base();
    let variables: net::sign::Variables = Arc::new(move |name| {
        Some(match name {
            "AWS_ENDPOINT_URL_SERVICEDISCOVERY" => base.clone(),
            "AWS_REGION" => "eu-1".into(),
            "AWS_ACCESS_KEY_ID" => "AKID".into(),
            "AWS_SECRET_ACCESS_KEY" => "secret".into(),
            _ => return None,
        })
    });
    let surroundings = Surroundings { variables, ..Surroundings::default() };
    let mut finder = Finder::new("test/1".into(), surroundings);
    let args = AwsCloudMap {
        namespace: "ns".into(),
        service_name: "svc".into(),
        health_status: "HEALTHY".into(),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        port: None,
        owner_account: String::new(),
    };
    let find = async |finder: &mut Finder, args: AwsCloudMap| {
        finder.find(&Resolver { aws_cloud_map: Some(args), ..resolver() }).await.map(|found| found.names)
    };
    let found = find(&mut finder, args.clone()).await;
    assert_eq!(found.expect("found"), ["10.0.0.1:4000", "[fd00::2]:4317"]);
    let other = AwsCloudMap { port: Some(9), owner_account: "77".into(), ..args.clone() };
    assert_eq!(find(&mut finder, other).await.expect("found"), ["10.0.0.1:9", "[fd00::2]:9"]);
    let asked = map.all();
    assert_eq!(asked[0].headers["x-amz-target"], "Route53AutoNaming_v20170314.DiscoverInstances");
    let authorization = &asked[0].headers["authorization"];
    assert!(authorization.contains("/eu-1/servicediscovery/aws4_request"), "{authorization}");
    let question = |at: usize| serde_json::from_slice::<serde_json::Value>(&asked[at].body).expect("JSON");
    let plain = serde_json::json!({"NamespaceName": "ns", "ServiceName": "svc", "HealthStatus": "HEALTHY"});
    assert_eq!(question(0), plain);
    assert_eq!(question(1)["OwnerAccount"], "77");
    map.script(|_| status(400));
    assert!(find(&mut finder, args.clone()).await.expect_err("refused").contains("svc"));
    let nowhere = Surroundings { variables: Arc::new(|_| None), ..Surroundings::default() };
    let error = find(&mut Finder::new("test/1".into(), nowhere), args).await.expect_err("no region");
    assert!(error.contains("set AWS_REGION"), "{error}");
}

#[tokio::test]
async fn a_component_outside_a_cluster_says_why_it_has_no_back_ends() {
    let body = "resolver {\nkubernetes {\nservice = \"a\"\n}\n}\nprotocol {\notlp {\nclient { }\n}\n}\n";
    let running = Running::start(DEFINITION, body, Names::default()).await;
    running
        .eventually("told", |r| {
            r.sum("otelcol_loadbalancer_num_resolutions_total", "success=\"false\"") > 0.0
        })
        .await;
    assert!(running.sum("otelcol_loadbalancer_num_resolutions_total", "resolver=\"k8s\"") > 0.0);
    running.harness.stop().await;
}

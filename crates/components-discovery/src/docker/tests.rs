//! Against the engine of `net`'s test kit, with answers as Docker 24 gives them.

use component::testkit::{Harness, Names, Refused};
use component::{ComponentDef, HealthState, Services};
use net::docker::testkit::FakeEngine;
use serde_json::{Value, json};

use super::*;
use crate::discovery::{exported, target};

const DEF: ComponentDef = ComponentDef::of::<Docker>();

fn container(id: &str, name: &str, mode: &str, networks: Value, ports: Value) -> Value {
    json!({
        "Id": id,
        "Names": [name],
        "Image": "nginx:1.25",
        "Command": "/docker-entrypoint.sh nginx",
        "Created": 1_700_000_000,
        "Ports": ports,
        "Labels": { "com.docker.compose.service": "web", "com.docker.swarm.task.id": "t1", "x": "" },
        "State": "running",
        "Status": "Up 2 minutes (healthy)",
        "HostConfig": { "NetworkMode": mode },
        "NetworkSettings": { "Networks": networks },
        "Mounts": [],
    })
}

fn endpoint(id: &str, ip: &str) -> Value {
    json!({ "IPAMConfig": null, "NetworkID": id, "IPAddress": ip, "Gateway": "172.18.0.1" })
}

fn networks() -> Value {
    json!([
        { "Name": "front", "Id": "n1", "Scope": "local", "Driver": "bridge", "Internal": false,
          "Ingress": false, "Labels": { "com.docker.compose.network": "front" } },
        { "Name": "back", "Id": "n2", "Scope": "swarm", "Driver": "overlay", "Internal": true,
          "Ingress": true, "Labels": null },
        { "Name": "host", "Id": "n3", "Scope": "local", "Driver": "host", "Labels": {} },
    ])
}

fn parsed(containers: Value) -> (Vec<Container>, Vec<Network>) {
    let read = "recorded shapes can be read";
    (serde_json::from_value(containers).expect(read), serde_json::from_value(networks()).expect(read))
}

fn rules(first_network_only: bool) -> Rules {
    Rules { port: 80, host_networking_host: "localhost".into(), first_network_only }
}

const FRONT: &[(&str, &str)] = &[
    ("__meta_docker_network_id", "n1"),
    ("__meta_docker_network_name", "front"),
    ("__meta_docker_network_scope", "local"),
    ("__meta_docker_network_internal", "false"),
    ("__meta_docker_network_ingress", "false"),
    ("__meta_docker_network_label_com_docker_compose_network", "front"),
];

fn expected(id: &str, name: &str, mode: &str, more: &[&[(&str, &str)]]) -> Target {
    let mut pairs = vec![
        ("__meta_docker_container_id", id),
        ("__meta_docker_container_name", name),
        ("__meta_docker_container_network_mode", mode),
        ("__meta_docker_container_label_com_docker_compose_service", "web"),
        ("__meta_docker_container_label_com_docker_swarm_task_id", "t1"),
        ("__meta_docker_container_label_x", ""),
    ];
    pairs.extend(more.concat());
    target(&pairs)
}

#[test]
fn each_tcp_port_of_a_network_is_a_target_with_the_labels_of_prometheus() {
    let ports = json!([
        { "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" },
        { "PrivatePort": 443, "Type": "tcp" },
        { "PrivatePort": 53, "Type": "udp" },
    ]);
    let (containers, networks) = parsed(json!([container(
        "c1",
        "/web",
        "front",
        json!({"front": endpoint("n1", "172.18.0.2")}),
        ports
    )]));
    let ip = ("__meta_docker_network_ip", "172.18.0.2");
    let public: &[_] = &[
        ("__address__", "172.18.0.2:80"),
        ip,
        ("__meta_docker_port_private", "80"),
        ("__meta_docker_port_public", "8080"),
        ("__meta_docker_port_public_ip", "0.0.0.0"),
    ];
    let private: &[_] = &[("__address__", "172.18.0.2:443"), ip, ("__meta_docker_port_private", "443")];
    assert_eq!(
        targets::targets(&containers, &networks, &rules(true)),
        [
            expected("c1", "/web", "front", &[FRONT, public]),
            expected("c1", "/web", "front", &[FRONT, private]),
        ]
    );
}

fn addresses(containers: Value, first_network_only: bool) -> Vec<String> {
    let (containers, networks) = parsed(containers);
    let found = targets::targets(&containers, &networks, &rules(first_network_only));
    found.iter().map(|t| t.get("__address__").expect("an address").to_owned()).collect()
}

#[test]
fn containers_without_tcp_ports_have_the_fallback_port_or_the_hosts_address() {
    let udp = json!([{ "PrivatePort": 53, "Type": "udp" }]);
    let front = json!({"front": endpoint("n1", "172.18.0.2")});
    for (mode, network, ports, address) in [
        ("front", front.clone(), json!([]), "172.18.0.2:80"),
        ("front", front, udp, "172.18.0.2:80"),
        ("front", json!({"front": endpoint("n1", "fd00::2")}), Value::Null, "[fd00::2]:80"),
        ("host", json!({"host": endpoint("n3", "")}), json!([]), "localhost"),
    ] {
        assert_eq!(addresses(json!([container("c", "/c", mode, network, ports)]), true), [address]);
    }
}

#[test]
fn the_first_network_by_name_or_all_of_them_make_targets() {
    let networks = json!({
        "front": endpoint("n1", "172.18.0.2"), "back": endpoint("n2", "10.0.0.2"), "absent": null
    });
    let containers = json!([container("c", "/c", "front", networks, json!([]))]);
    assert_eq!(addresses(containers.clone(), true), ["10.0.0.2:80"]);
    assert_eq!(addresses(containers, false), ["10.0.0.2:80", "172.18.0.2:80"]);
}

#[test]
fn a_container_in_the_network_of_another_has_that_ones_networks() {
    let front = json!({"front": endpoint("n1", "172.18.0.2")});
    let port = json!([{ "PrivatePort": 9000, "Type": "tcp" }]);
    let containers = json!([
        container("pause", "/pause", "front", front, json!([])),
        container("inner", "/inner", "container:pause", json!({}), json!([])),
        container("app", "/app", "container:inner", Value::Null, port),
        container("lost", "/lost", "container:gone", json!({}), json!([])),
        container("a", "/a", "container:b", json!({}), json!([])),
        container("b", "/b", "container:a", json!({}), json!([])),
    ]);
    assert_eq!(addresses(containers, true), ["172.18.0.2:80", "172.18.0.2:80", "172.18.0.2:9000"]);
}

#[test]
fn what_an_engine_leaves_out_is_empty() {
    let bare = json!([{ "Id": "c" }, { "Id": "d", "Names": ["/d"], "Ports": null, "Labels": null,
        "HostConfig": {}, "NetworkSettings": { "Networks": { "n": { } } } }]);
    assert_eq!(addresses(bare, true), [":80"]);
}

#[test]
fn filters_are_written_as_dockers_client_writes_them() {
    let filter = |name: &str, values: &[&str]| Filter {
        name: name.into(),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    assert_eq!(filters(&[]), None);
    let some = [filter("label", &["b", "a=1"]), filter("status", &["running"]), filter("label", &["b", "c"])];
    let expected = r#"{"label":{"a=1":true,"b":true,"c":true},"status":{"running":true}}"#;
    assert_eq!(filters(&some).as_deref(), Some(expected));
}

fn running(fake: &FakeEngine) {
    net::install_provider();
    fake.networks(networks());
    let front = json!({"front": endpoint("n1", "172.18.0.2")});
    fake.add(container("c1", "/web", "front", front, json!([])), false);
}

#[tokio::test]
async fn containers_are_listed_at_once_and_an_engine_that_fails_keeps_the_last_ones() {
    let fake = FakeEngine::unix().await;
    running(&fake);
    let body = format!(
        "host = {:?}\nrefresh_interval = \"20ms\"\nport = 99\nfilter {{\n\tname = \"health\"\n\tvalues = [\"healthy\"]\n}}",
        fake.host()
    );
    let harness = Harness::start(DEF, &body, Names::default()).await;
    let exports = harness.until_exports(|e| !exported(e).is_empty()).await;
    assert_eq!(exported(&exports)[0].get("__address__"), Some("172.18.0.2:99"));
    let filtered = "/v1.43/containers/json?filters=%7B%22health%22%3A%7B%22healthy%22%3Atrue%7D%7D";
    assert!(fake.asked().iter().any(|a| a == filtered), "{:?}", fake.asked());

    let becomes = async |state| {
        while harness.node.health().state != state {
            tokio::task::yield_now().await;
        }
    };
    fake.broken(true);
    becomes(HealthState::Unhealthy).await;
    assert!(harness.node.health().message.contains("the engine is broken"));
    fake.broken(false);
    becomes(HealthState::Healthy).await;
    fake.stop();
    becomes(HealthState::Unhealthy).await;
    assert_eq!(exported(&harness.node.exports()).len(), 1, "the last targets stay");
    fake.start().await;
    becomes(HealthState::Healthy).await;
}

#[tokio::test]
async fn sockets_and_tcp_engines_get_credentials() {
    for fake in [FakeEngine::unix().await, FakeEngine::tcp().await] {
        running(&fake);
        let body = format!("host = {:?}\nbearer_token = \"t\"", fake.host());
        let harness = Harness::start(DEF, &body, Names::default()).await;
        harness.until_exports(|e| !exported(e).is_empty()).await;
        assert_eq!(fake.authorization().as_deref(), Some("Bearer t"));
    }
}

#[tokio::test]
async fn arguments_that_cannot_work_are_refused() {
    let harness = Harness::new(DEF, Names::default(), Services::for_tests(std::env::temp_dir()));
    for body in [
        "host = \"/var/run/docker.sock\"",
        "host = \"unix:///a\"\nport = 70000",
        "host = \"unix:///a\"\nrefresh_interval = \"0\"",
        "host = \"unix:///a\"\ntls_config {\n\tinsecure_skip_verify = true\n}",
        "host = \"unix:///a\"\nbearer_token = \"a\"\nbearer_token_file = \"b\"",
        "host = \"unix:///a\"\nfilter {\n\tname = \"x\"\n}",
    ] {
        let refused = harness.update(body).await.unwrap_err();
        assert!(matches!(refused, Refused::Diagnostics(_)), "{body}: {refused:?}");
    }
}

//! What the machine itself tells: variables, names, processors, addresses.

use super::super::system::ONLY_ON_LINUX;
use super::*;

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
    let on: String = ONLY_ON_LINUX.iter().map(|key| format!("{key} {{ enabled = true }}\n")).collect();
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

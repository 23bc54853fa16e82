//! The machine itself, and the Docker engine on it.

use std::net::IpAddr;
use std::path::Path;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use net::args::HttpClientArgs;
use net::docker::Engine;

use super::args::{DockerArgs, SystemArgs};
use super::detect::{Collected, Found, Missing, Place};

/// What is read from procfs, sysfs and files that Linux distributions have.
pub(super) const ONLY_ON_LINUX: [&str; 12] = [
    "host.id",
    "host.ip",
    "host.mac",
    "host.interface",
    "host.cpu.vendor.id",
    "host.cpu.family",
    "host.cpu.model.id",
    "host.cpu.model.name",
    "host.cpu.stepping",
    "host.cpu.cache.l2.size",
    "os.name",
    "os.version",
];

/// The machine itself.
pub(super) async fn detect(args: &SystemArgs, place: &Place) -> Result<Found, Missing> {
    let mut out = Collected::new(&args.resource_attributes);
    let uname = rustix::system::uname();
    let nodename = uname.nodename().to_string_lossy().into_owned();
    if out.wants("host.name") {
        out.put("host.name", host_name(args, place, &nodename).await?);
    }
    out.put("os.type", std::env::consts::OS);
    out.put("host.arch", arch(std::env::consts::ARCH));
    let machine_id = place.file("etc/machine-id").or_else(|_| place.file("var/lib/dbus/machine-id"));
    out.put("host.id", machine_id.unwrap_or_default().trim());
    let parts = [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine()];
    out.put("os.description", parts.map(|part| part.to_string_lossy().into_owned()).join(" "));
    let release = place.file("etc/os-release").or_else(|_| place.file("usr/lib/os-release"));
    let release = release.unwrap_or_default();
    out.put("os.name", setting(&release, "NAME"));
    out.put("os.version", setting(&release, "VERSION_ID"));
    let build = setting(&release, "BUILD_ID");
    out.put(
        "os.build.id",
        if build.is_empty() { uname.release().to_string_lossy().into_owned() } else { build },
    );
    if out.wants("host.ip") {
        out.list("host.ip", addresses(place).iter().map(IpAddr::to_string).collect());
    }
    if out.wants("host.mac") || out.wants("host.interface") {
        let interfaces = interfaces(&place.root.join("sys/class/net"));
        out.list(
            "host.mac",
            interfaces.iter().map(|(_, mac)| mac.clone()).filter(|m| !m.is_empty()).collect(),
        );
        out.list("host.interface", interfaces.into_iter().map(|(name, _)| name).collect());
    }
    cpu(&place.file("proc/cpuinfo").unwrap_or_default(), &mut out);
    out.done()
}

/// The name of the first source that has one.
async fn host_name(args: &SystemArgs, place: &Place, nodename: &str) -> Result<String, Missing> {
    for source in &args.hostname_sources {
        let found = match source.as_str() {
            "os" => Some(nodename.to_string()),
            "dns" => match in_hosts(&place.file("etc/hosts").unwrap_or_default(), nodename) {
                Some(name) => Some(name),
                None => reverse(nodename).await,
            },
            "cname" => cname(nodename).await,
            _ => reverse(nodename).await,
        };
        if let Some(name) = found.filter(|name| !name.is_empty()) {
            return Ok(name);
        }
    }
    Err(Missing::elsewhere(format!("no host name from {}", args.hostname_sources.join(", "))))
}

/// The full name that a hosts file has for a host: the first of its line.
fn in_hosts(hosts: &str, host: &str) -> Option<String> {
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace().skip(1);
        let first = words.next()?;
        let named = first == host || words.any(|word| word == host);
        (named && first.contains('.')).then(|| first.to_string())
    })
}

fn resolver() -> Option<TokioResolver> {
    TokioResolver::builder_tokio().and_then(|builder| builder.build()).ok()
}

/// The name that reverse DNS has for the host's addresses.
async fn reverse(host: &str) -> Option<String> {
    let resolver = resolver()?;
    for address in resolver.lookup_ip(host).await.ok()?.iter() {
        let Ok(found) = resolver.reverse_lookup(Name::from(address)).await else { continue };
        let name = found.answers().iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_utf8().trim_end_matches('.').to_string()),
            _ => None,
        });
        if let Some(name) = name.filter(|name| name != "localhost") {
            return Some(name);
        }
    }
    None
}

/// The canonical name of the host.
async fn cname(host: &str) -> Option<String> {
    let found = resolver()?.lookup(host, RecordType::CNAME).await.ok()?;
    found.answers().iter().find_map(|record| match &record.data {
        RData::CNAME(name) => Some(name.0.to_utf8().trim_end_matches('.').to_string()),
        _ => None,
    })
}

/// As OpenTelemetry calls it.
fn arch(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// A value of a file of shell assignments.
fn setting(text: &str, key: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_default().trim().trim_matches(['"', '\'']).to_string()
}

/// Addresses of the machine but loopback ones, as the kernel lists them.
fn addresses(place: &Place) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let routes = place.file("proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = routes.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].trim() == "/32 host LOCAL") {
        let address = pair[0].trim().trim_start_matches("|-- ").parse();
        all.extend(address.ok().filter(|a: &IpAddr| !a.is_loopback() && !all.contains(a)));
    }
    for line in place.file("proc/net/if_inet6").unwrap_or_default().lines() {
        let hex = line.split_whitespace().next().and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let address = hex.map(|bits| IpAddr::V6(bits.into()));
        all.extend(address.filter(|a| !a.is_loopback() && !all.contains(a)));
    }
    all
}

/// Network interfaces but loopback ones, with their hardware addresses as IEEE writes them.
fn interfaces(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let mac = std::fs::read_to_string(entry.path().join("address")).unwrap_or_default();
            let mac = mac.trim().to_uppercase().replace(':', "-");
            (name != "lo")
                .then(|| (name, if mac.trim_matches(['0', '-']).is_empty() { String::new() } else { mac }))
        })
        .collect();
    all.sort();
    all
}

/// The first processor, as kernels for x86 or ARM describe it. Those for ARM know neither a family nor a cache, and name
/// vendor and model by numbers.
fn cpu(text: &str, out: &mut Collected<'_>) {
    let first = text.split("\n\n").next().unwrap_or_default();
    let field = |names: &[&str]| {
        let values = first.lines().filter_map(|line| line.split_once(':'));
        values.into_iter().find(|(key, _)| names.contains(&key.trim())).map(|(_, value)| value.trim())
    };
    let (implementer, part) = (field(&["CPU implementer"]).and_then(hex), field(&["CPU part"]).and_then(hex));
    let vendor = implementer.and_then(|number| name_of(number, IMPLEMENTERS));
    let model = part.filter(|_| implementer == Some(ARM)).and_then(|number| name_of(number, ARM_PARTS));
    for (key, value) in [
        ("host.cpu.vendor.id", vendor.or_else(|| field(&["vendor_id", "CPU implementer"]))),
        ("host.cpu.family", field(&["cpu family"])),
        ("host.cpu.model.id", field(&["model", "CPU part"])),
        ("host.cpu.model.name", model.or_else(|| field(&["model name"]))),
        ("host.cpu.stepping", field(&["stepping", "CPU revision"])),
    ] {
        out.put(key, value.unwrap_or_default());
    }
    let cache = field(&["cache size"]).and_then(|size| size.trim_end_matches("KB").trim().parse().ok());
    cache.into_iter().for_each(|kib| out.int("host.cpu.cache.l2.size", kib));
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn name_of(number: u32, names: &[(u32, &'static str)]) -> Option<&'static str> {
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The implementer whose parts are named here.
const ARM: u32 = 0x41;

/// Implementers by their numbers in ARM's main ID register.
const IMPLEMENTERS: &[(u32, &str)] = &[
    (ARM, "ARM"),
    (0x42, "Broadcom"),
    (0x43, "Cavium"),
    (0x46, "Fujitsu"),
    (0x48, "HiSilicon"),
    (0x4e, "NVIDIA"),
    (0x50, "APM"),
    (0x51, "Qualcomm"),
    (0x56, "Marvell"),
    (0x61, "Apple"),
    (0xc0, "Ampere"),
];

/// ARM's own cores of 64 bits by their numbers in that register.
const ARM_PARTS: &[(u32, &str)] = &[
    (0xd03, "Cortex-A53"),
    (0xd04, "Cortex-A35"),
    (0xd05, "Cortex-A55"),
    (0xd07, "Cortex-A57"),
    (0xd08, "Cortex-A72"),
    (0xd09, "Cortex-A73"),
    (0xd0a, "Cortex-A75"),
    (0xd0b, "Cortex-A76"),
    (0xd0c, "Neoverse-N1"),
    (0xd0d, "Cortex-A77"),
    (0xd40, "Neoverse-V1"),
    (0xd41, "Cortex-A78"),
    (0xd44, "Cortex-X1"),
    (0xd46, "Cortex-A510"),
    (0xd47, "Cortex-A710"),
    (0xd48, "Cortex-X2"),
    (0xd49, "Neoverse-N2"),
    (0xd4a, "Neoverse-E1"),
    (0xd4d, "Cortex-A715"),
    (0xd4e, "Cortex-X3"),
    (0xd4f, "Neoverse-V2"),
    (0xd80, "Cortex-A520"),
    (0xd81, "Cortex-A720"),
    (0xd82, "Cortex-X4"),
    (0xd84, "Neoverse-V3"),
    (0xd8e, "Neoverse-N3"),
];

/// The Docker engine's own word on its host.
pub(super) async fn docker(args: &DockerArgs, place: &Place) -> Result<Found, Missing> {
    let engine = Engine::new(&place.docker, &HttpClientArgs::default(), &place.user_agent);
    let info: serde_json::Value =
        engine.map_err(Missing::failed)?.json("/info", &[]).await.map_err(Missing::failed)?;
    let mut out = Collected::new(&args.resource_attributes);
    out.member("host.name", &info["Name"]);
    out.put("os.type", info["OSType"].as_str().unwrap_or_default().to_lowercase());
    out.done()
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::common::v1::any_value::Value;

    use super::*;

    #[test]
    fn a_hosts_file_gives_the_full_name_of_a_host() {
        let hosts =
            "127.0.0.1 localhost\n# 1.1.1.1 no.example.com shop\n10.0.0.1\tshop.example.com shop # c\n";
        assert_eq!(in_hosts(hosts, "shop"), Some("shop.example.com".into()));
        assert_eq!(in_hosts(hosts, "localhost"), None);
        assert_eq!(in_hosts("10.0.0.1 a.b\n", "a.b"), Some("a.b".into()));
    }

    #[test]
    fn a_processor_of_arm_is_named_by_its_numbers() {
        use super::super::detect::Everything;
        let found = |text: &str| {
            let mut out = Collected::new(&Everything);
            cpu(text, &mut out);
            let found = out.done().unwrap_or_default().into_iter();
            found
                .map(|(key, value)| match value.value {
                    Some(Value::StringValue(text)) => {
                        format!("{}={text}", key.trim_start_matches("host.cpu."))
                    }
                    other => panic!("{key}: {other:?}"),
                })
                .collect::<Vec<_>>()
        };
        let cpuinfo = |implementer: &str, part: &str| {
            format!(
                "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\nCPU implementer\t: {implementer}\n\
                 CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {part}\nCPU revision\t: 1\n\n\
                 processor\t: 1\nCPU implementer\t: 0x61\n"
            )
        };
        assert_eq!(
            found(&cpuinfo("0x41", "0xd0c")),
            ["vendor.id=ARM", "model.id=0xd0c", "model.name=Neoverse-N1", "stepping=1"]
        );
        // Numbers that have no name here stay what they are, and those of others' parts mean something else.
        assert_eq!(found(&cpuinfo("0x7f", "0xd0c")), ["vendor.id=0x7f", "model.id=0xd0c", "stepping=1"]);
        assert_eq!(found(&cpuinfo("0xc0", "0xac3")), ["vendor.id=Ampere", "model.id=0xac3", "stepping=1"]);
    }

    #[test]
    fn settings_may_be_quoted() {
        let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian\n";
        assert_eq!(setting(text, "NAME"), "Debian GNU/Linux");
        assert_eq!(setting(text, "VERSION_ID"), "12");
        assert_eq!(setting(text, "BUILD_ID"), "");
    }
}

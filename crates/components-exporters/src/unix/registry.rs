//! The list of collectors: which exist, which run by default, and which the arguments ask for.

use super::config::Config;
use super::error::ConfigError;
use super::{
    Collect, Family, Outcome, Paths, arp, bcache, bonding, btrfs, buddyinfo, cgroups, conntrack, cpu,
    cpu_vulnerabilities, cpufreq, diskstats, dmi, drm, edac, entropy, fibrechannel, filefd, filesystem,
    hwmon, infiniband, interrupts, ipvs, ksmd, lnstat, loadavg, mdadm, meminfo, meminfo_numa, mountstats,
    netclass, netdev, netstat, nfs, nfsd, nvme, os, powersupplyclass, pressure, processes, rapl, schedstat,
    selinux, slabinfo, sockstat, softirqs, softnet, stat, sysctl, tapestats, tcpstat, textfile, thermal_zone,
    time, timex, udp_queues, uname, vmstat, watchdog, xfs, zfs, zoneinfo,
};

/// One collector.
pub(super) struct Entry {
    /// Name in the arguments and in label `collector`.
    pub(super) name: &'static str,
    /// Whether it runs when the arguments do not say otherwise.
    default: bool,
    /// Makes it from the arguments.
    pub(super) build: fn(&Config) -> Result<Collect, ConfigError>,
}

const fn on(name: &'static str, build: fn(&Config) -> Result<Collect, ConfigError>) -> Entry {
    Entry { name, default: true, build }
}

const fn off(name: &'static str, build: fn(&Config) -> Result<Collect, ConfigError>) -> Entry {
    Entry { name, default: false, build }
}

/// A collector without arguments and state.
fn plain(collect: fn(&Paths, &mut Vec<Family>) -> Outcome) -> Result<Collect, ConfigError> {
    Ok(Box::new(collect))
}

/// Every collector, sorted by name.
const ENTRIES: &[Entry] = &[
    on("arp", arp::build),
    on("bcache", bcache::build),
    on("bonding", |_| plain(bonding::collect)),
    on("btrfs", |_| plain(btrfs::collect)),
    off("buddyinfo", |_| plain(buddyinfo::collect)),
    off("cgroups", |_| plain(cgroups::collect)),
    on("conntrack", |_| plain(conntrack::collect)),
    on("cpu", cpu::build),
    off("cpu_vulnerabilities", |_| plain(cpu_vulnerabilities::collect)),
    on("cpufreq", |_| plain(cpufreq::collect)),
    on("diskstats", diskstats::build),
    on("dmi", |_| Ok(dmi::build())),
    off("drm", |_| plain(drm::collect)),
    on("edac", |_| plain(edac::collect)),
    on("entropy", |_| plain(entropy::collect)),
    on("fibrechannel", |_| plain(fibrechannel::collect)),
    on("filefd", |_| plain(filefd::collect)),
    on("filesystem", filesystem::build),
    on("hwmon", hwmon::build),
    on("infiniband", |_| plain(infiniband::collect)),
    off("interrupts", |_| plain(interrupts::collect)),
    on("ipvs", ipvs::build),
    off("ksmd", |_| plain(ksmd::collect)),
    off("lnstat", |_| plain(lnstat::collect)),
    on("loadavg", |_| plain(loadavg::collect)),
    on("mdadm", |_| plain(mdadm::collect)),
    on("meminfo", |_| plain(meminfo::collect)),
    off("meminfo_numa", |_| plain(meminfo_numa::collect)),
    off("mountstats", |_| plain(mountstats::collect)),
    on("netclass", netclass::build),
    on("netdev", netdev::build),
    on("netstat", netstat::build),
    on("nfs", |_| plain(nfs::collect)),
    on("nfsd", |_| plain(nfsd::collect)),
    on("nvme", |_| plain(nvme::collect)),
    on("os", |_| plain(os::collect)),
    on("powersupplyclass", powersupplyclass::build),
    on("pressure", |_| plain(pressure::collect)),
    off("processes", |_| plain(processes::collect)),
    on("rapl", |_| plain(rapl::collect)),
    on("schedstat", |_| plain(schedstat::collect)),
    on("selinux", |_| plain(selinux::collect)),
    off("slabinfo", |_| plain(slabinfo::collect)),
    on("sockstat", |_| plain(sockstat::collect)),
    off("softirqs", |_| plain(softirqs::collect)),
    on("softnet", |_| plain(softnet::collect)),
    on("stat", |_| plain(stat::collect)),
    off("sysctl", sysctl::build),
    on("tapestats", tapestats::build),
    off("tcpstat", |_| plain(tcpstat::collect)),
    on("textfile", textfile::build),
    on("thermal_zone", |_| plain(thermal_zone::collect)),
    on("time", |_| plain(time::collect)),
    on("timex", |_| plain(timex::collect)),
    on("udp_queues", |_| plain(udp_queues::collect)),
    on("uname", |_| plain(uname::collect)),
    on("vmstat", vmstat::build),
    on("watchdog", |_| plain(watchdog::collect)),
    on("xfs", |_| plain(xfs::collect)),
    on("zfs", |_| plain(zfs::collect)),
    off("zoneinfo", |_| plain(zoneinfo::collect)),
];

/// Collectors of node_exporter on Linux that are not carried.
const NOT_CARRIED: &[&str] = &[
    "bcachefs",
    "devstat",
    "drbd",
    "ethtool",
    "kernel_hung",
    "logind",
    "network_route",
    "ntp",
    "pcidevice",
    "perf",
    "qdisc",
    "runit",
    "supervisord",
    "swap",
    "systemd",
    "wifi",
    "xfrm",
];

/// Collectors of node_exporter that exist on other systems only. Naming one is not a mistake: a
/// file shared between systems does so, and Alloy leaves them out on Linux too.
const OTHER_SYSTEMS: &[&str] = &["boottime", "exec", "netisr", "thermal"];

/// The collectors that the arguments ask for, sorted by name. `set_collectors` replaces the
/// default ones; then `disable_collectors` takes away and `enable_collectors` adds.
pub(super) fn wanted(config: &Config) -> Result<Vec<&'static Entry>, ConfigError> {
    known("set_collectors", &config.set_collectors)?;
    known("enable_collectors", &config.enable_collectors)?;
    let lists = |names: &[String], entry: &Entry| names.iter().any(|name| name == entry.name);
    let wanted = |entry: &&Entry| {
        let base = if config.set_collectors.is_empty() {
            entry.default
        } else {
            lists(&config.set_collectors, entry)
        };
        lists(&config.enable_collectors, entry) || (base && !lists(&config.disable_collectors, entry))
    };
    Ok(ENTRIES.iter().filter(wanted).collect())
}

fn known(argument: &'static str, names: &[String]) -> Result<(), ConfigError> {
    for name in names {
        if NOT_CARRIED.contains(&name.as_str()) {
            return Err(ConfigError::NotCarried { argument, name: name.clone() });
        }
        if !OTHER_SYSTEMS.contains(&name.as_str()) && !ENTRIES.iter().any(|entry| entry.name == name) {
            return Err(ConfigError::UnknownCollector { argument, name: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &[&str], enable: &[&str], disable: &[&str]) -> Result<Vec<&'static str>, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
        let config = Config {
            set_collectors: owned(set),
            enable_collectors: owned(enable),
            disable_collectors: owned(disable),
            ..Config::default()
        };
        let entries = wanted(&config).map_err(|error| error.to_string())?;
        Ok(entries.iter().map(|entry| entry.name).collect())
    }

    #[test]
    fn the_collectors_are_sorted_and_each_listed_once() {
        assert!(ENTRIES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(ENTRIES.iter().all(|entry| !NOT_CARRIED.contains(&entry.name)));
    }

    #[test]
    fn the_default_collectors_are_those_of_node_exporter_on_linux() {
        let expected = "arp bcache bonding btrfs conntrack cpu cpufreq diskstats dmi edac entropy fibrechannel \
            filefd filesystem hwmon infiniband ipvs loadavg mdadm meminfo netclass netdev netstat nfs nfsd nvme os \
            powersupplyclass pressure rapl schedstat selinux sockstat softnet stat tapestats textfile thermal_zone \
            time timex udp_queues uname vmstat watchdog xfs zfs";
        assert_eq!(names(&[], &[], &[]).unwrap(), expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn the_reference_page_lists_every_collector_where_it_belongs() {
        let docs = include_str!("docs.md");
        let listed = |heading: &str| -> Vec<&str> {
            let (_, list) = docs.split_once(heading).unwrap();
            list.split('.').next().unwrap().split('`').skip(1).step_by(2).collect()
        };
        let of = |default: bool| -> Vec<&str> {
            ENTRIES.iter().filter(|entry| entry.default == default).map(|entry| entry.name).collect()
        };
        assert_eq!(listed("Default collectors: "), of(true));
        assert_eq!(listed("On request: "), of(false));
        assert_eq!(listed("Not available: "), NOT_CARRIED);
    }

    #[test]
    fn set_replaces_the_defaults_disable_takes_away_and_enable_wins() {
        assert_eq!(names(&["zfs", "arp"], &[], &[]).unwrap(), ["arp", "zfs"]);
        assert_eq!(names(&["zfs", "arp"], &["drm"], &["arp"]).unwrap(), ["drm", "zfs"]);
        assert_eq!(names(&["zfs"], &["arp"], &["arp"]).unwrap(), ["arp", "zfs"]);
        let all = names(&[], &["processes"], &["zfs", "ethtool"]).unwrap();
        assert!(all.contains(&"processes") && all.contains(&"xfs") && !all.contains(&"zfs"));
        assert_eq!(names(&["boottime", "arp"], &[], &[]).unwrap(), ["arp"]);
    }

    #[test]
    fn a_collector_that_is_not_carried_or_does_not_exist_is_an_error() {
        assert_eq!(
            names(&[], &["ethtool"], &[]).unwrap_err(),
            "enable_collectors names the collector \"ethtool\", which is not available here; remove it from the list"
        );
        assert_eq!(
            names(&["netdve"], &[], &[]).unwrap_err(),
            "set_collectors names the collector \"netdve\", which does not exist; remove it or correct the name"
        );
    }
}

//! Our collectors beside the real node_exporter on this machine, family by family.
//!
//! Every difference that is not in a list here, with its reason, fails the test. Needs
//! `prometheus-node-exporter` (Debian's package of version 1.5) in the path.

#![expect(clippy::print_stdout, reason = "tells maintainers which reasons have gone")]
#![expect(clippy::unwrap_used, reason = "all of this is a test: what fails here fails it")]

mod compare;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use compare::{Pages, What, compare};
use components_exporters::unix::{Collectors, Config};
use signal::exposition::write_text;

/// A running node_exporter; dropping it ends the process.
struct NodeExporter {
    process: Child,
    address: String,
}

impl NodeExporter {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new("prometheus-node-exporter")
            .args([
                "--web.listen-address=127.0.0.1:0",
                "--web.disable-exporter-metrics",
                "--no-collector.systemd",
            ])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus-node-exporter is installed");
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("Listening on")).expect("it says where it listens");
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_string();
        // It stops when nobody reads what it logs.
        std::thread::spawn(move || lines.count());
        Self { process, address }
    }

    fn page(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        body.to_string()
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Families whose values move too fast to be compared.
const RESTLESS: &[&str] = &[
    "node_disk_io_now",
    "node_entropy_available_bits",
    "node_filefd_allocated",
    "node_filesystem_avail_bytes",
    "node_filesystem_free_bytes",
    "node_filesystem_files_free",
    "node_load",
    "node_memory_",
    "node_netstat_Tcp_CurrEstab",
    "node_nf_conntrack_entries",
    "node_processes_",
    "node_procs_",
    "node_scrape_collector_duration_seconds",
    "node_slabinfo_",
    "node_sockstat_",
    "node_tcp_connection_states",
    "node_time_seconds",
    "node_timex_",
    "node_udp_queues",
    "node_buddyinfo_",
    "node_zoneinfo_",
    // The kernel lets idle and I/O wait time run backwards a little.
    "node_cpu_seconds_total",
];

/// Those among them that stand still, whose unit shows in their value.
const STILL: &[&str] = &[
    "node_memory_CommitLimit_bytes",
    "node_memory_HugePages_Total",
    "node_memory_Hugepagesize_bytes",
    "node_memory_MemTotal_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_VmallocTotal_bytes",
    "node_timex_tick_seconds",
];

/// Differences that are meant, with the reason; a name that ends in `*` is a prefix.
const MEANT: &[(&str, What, &str)] = &[
    // Version 1.9, which we follow, differs from 1.5 in these.
    ("node_disk_info", What::Labels, "1.9 added label rotational"),
    ("node_filesystem_*", What::Labels, "1.8 added label device_error"),
    ("node_filesystem_mount_info", What::Extra, "added in 1.9"),
    ("node_network_info", What::Labels, "1.6 added label adminstate"),
    ("node_softnet_*", What::Extra, "later versions read four more columns"),
    ("node_cpu_online", What::Extra, "added in 1.9"),
    ("node_cpu_frequency_hertz", What::Extra, "1.7 gives it where cpufreq does not run"),
    ("node_pressure_irq_stalled_seconds_total", What::Extra, "added in 1.9"),
    ("node_watchdog_*", What::Extra, "collector added in 1.8"),
    ("node_scrape_collector_duration_seconds", What::Series, "collector watchdog"),
    ("node_scrape_collector_success", What::Series, "collector watchdog"),
    // What is of the program or of the moment.
    ("promhttp_metric_handler_errors_total", What::Missing, "counts its own answers, not the host's doing"),
    ("node_processes_*", What::Series, "states without a process have no series"),
    (
        "node_tcp_connection_states",
        What::Series,
        "states without a socket have no series; ours and theirs close some",
    ),
    ("node_exporter_build_info", What::Labels, "later versions have a label tags"),
];

fn check(node_exporter: &NodeExporter, config: &Config) {
    let mut collectors = Collectors::new(config).unwrap();
    let before = node_exporter.page();
    let mut ours = String::new();
    write_text(&collectors.collect_all(), &mut ours);
    let after = node_exporter.page();
    assert!(before.lines().count() > 50, "the other page is nearly empty:\n{before}");
    let is_meant = |(name, meant, _): &(&str, What, &str), family: &str, what: What| {
        *meant == what && name.strip_suffix('*').map_or(family == *name, |prefix| family.starts_with(prefix))
    };
    let meant = |family: &str, what: What| MEANT.iter().any(|entry| is_meant(entry, family, what));
    let found = compare(&Pages { before: &before, ours: &ours, after: &after }, RESTLESS, STILL);
    // An entry that is seen nowhere has no reason any more.
    for entry in MEANT.iter().filter(|e| !found.iter().any(|f| is_meant(e, &f.family, f.what))) {
        println!("not seen here: {} {:?}: {}", entry.0, entry.1, entry.2);
    }
    let left: Vec<_> = found.iter().filter(|found| !meant(&found.family, found.what)).collect();
    let report: String = left.iter().map(|difference| format!("{difference}\n")).collect();
    assert!(left.is_empty(), "{} differences:\n{report}", left.len());
}

#[test]
#[ignore = "needs prometheus-node-exporter"]
fn the_default_collectors_give_what_node_exporter_gives() {
    let node_exporter = NodeExporter::start(&[
        "--collector.netdev.device-exclude=",
        "--collector.textfile.directory=",
        r"--collector.diskstats.device-exclude=^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
        "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+)($|/)",
    ]);
    let mut config = Config::default();
    config.cpu.guest = true;
    check(&node_exporter, &config);
}

#[test]
#[ignore = "needs prometheus-node-exporter"]
fn the_other_collectors_give_what_node_exporter_gives() {
    let names = [
        "buddyinfo",
        "cgroups",
        "interrupts",
        "meminfo_numa",
        "mountstats",
        "processes",
        "slabinfo",
        "zoneinfo",
    ];
    let more = ["cpu", "netdev", "sysctl", "tcpstat", "lnstat", "ksmd", "drm"];
    let enable: Vec<_> = names.iter().chain(&more).map(|name| format!("--collector.{name}")).collect();
    let mut arguments = vec![
        "--collector.disable-defaults",
        "--collector.netdev.device-exclude=",
        "--collector.netdev.address-info",
        "--collector.cpu.info.flags-include=^(aes|fpu)$",
        "--collector.cpu.info.bugs-include=spectre",
        "--collector.sysctl.include=kernel.threads-max",
        "--collector.sysctl.include=net.ipv4.tcp_rmem:min,default,max",
        "--collector.sysctl.include=vm.lowmem_reserve_ratio",
        "--collector.sysctl.include-info=kernel.core_pattern",
    ];
    arguments.extend(enable.iter().map(String::as_str));
    let node_exporter = NodeExporter::start(&arguments);
    let set_collectors = names.iter().chain(&more).map(|name| (*name).to_string()).collect();
    let mut config = Config { set_collectors, ..Config::default() };
    config.netdev.address_info = true;
    config.cpu.guest = true;
    config.cpu.flags_include = "^(aes|fpu)$".into();
    config.cpu.bugs_include = "spectre".into();
    config.sysctl.include =
        ["kernel.threads-max", "net.ipv4.tcp_rmem:min,default,max", "vm.lowmem_reserve_ratio"]
            .map(String::from)
            .to_vec();
    config.sysctl.include_info = vec!["kernel.core_pattern".into()];
    check(&node_exporter, &config);
}

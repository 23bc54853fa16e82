//! Metrics of the process and its machine, under Alloy's and Prometheus' common names; read when asked.
//!
//! Invariant: what the system does not tell (only Linux has `/proc`) is left out, rather than 0.

use std::fs;

use component::metrics::{Computed, proto};

/// The metrics, read from `/proc` at every scrape.
pub fn metrics() -> Computed {
    let resources = Resources::new();
    Computed::new("alloy_resources", move || resources.families())
}

struct Resources {
    clock_ticks: f64,
    page_bytes: f64,
}

#[derive(Default)]
struct Usage {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    open_files: Option<f64>,
    max_files: Option<f64>,
    threads: Option<f64>,
    received_bytes: Option<f64>,
    sent_bytes: Option<f64>,
}

type Read = fn(&Usage) -> Option<f64>;

/// Name, help, whether it is a counter, and where it comes from.
const METRICS: &[(&str, &str, bool, Read)] = &[
    ("alloy_resources_process_start_time_seconds", "Unix time at which the process started.", false, |u| {
        u.start_seconds
    }),
    ("alloy_resources_process_cpu_seconds_total", "User and system CPU time.", true, |u| u.cpu_seconds),
    ("alloy_resources_process_resident_memory_bytes", "Resident memory.", false, |u| u.resident_bytes),
    ("alloy_resources_process_virtual_memory_bytes", "Virtual memory.", false, |u| u.virtual_bytes),
    ("alloy_resources_machine_rx_bytes_total", "Bytes that the machine has received.", true, |u| {
        u.received_bytes
    }),
    ("alloy_resources_machine_tx_bytes_total", "Bytes that the machine has sent.", true, |u| u.sent_bytes),
    ("process_start_time_seconds", "Unix time at which the process started.", false, |u| u.start_seconds),
    ("process_cpu_seconds_total", "User and system CPU time.", true, |u| u.cpu_seconds),
    ("process_resident_memory_bytes", "Resident memory.", false, |u| u.resident_bytes),
    ("process_virtual_memory_bytes", "Virtual memory.", false, |u| u.virtual_bytes),
    ("process_open_fds", "Open file descriptors.", false, |u| u.open_files),
    ("process_max_fds", "Most file descriptors that may be open.", false, |u| u.max_files),
    ("process_threads", "Operating system threads.", false, |u| u.threads),
];

impl Resources {
    fn new() -> Self {
        Self {
            clock_ticks: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as f64,
        }
    }

    fn read(&self) -> Usage {
        let mut usage = Usage::default();
        self.read_stat(&mut usage);
        usage.open_files = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        usage.max_files = Some(limit.unwrap_or(0) as f64);
        if let Ok(text) = fs::read_to_string("/proc/net/dev") {
            let (received, sent) = traffic(&text);
            (usage.received_bytes, usage.sent_bytes) = (Some(received), Some(sent));
        }
        usage
    }

    fn read_stat(&self, usage: &mut Usage) {
        let Ok(text) = fs::read_to_string("/proc/self/stat") else { return };
        // Behind the name, which may hold anything: field 3 of proc_pid_stat(5) is the first.
        let Some((_, rest)) = text.rsplit_once(')') else { return };
        let fields: Vec<f64> = rest.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        usage.cpu_seconds = field(14).zip(field(15)).map(|(user, system)| (user + system) / self.clock_ticks);
        usage.threads = field(20);
        usage.start_seconds =
            boot_seconds().zip(field(22)).map(|(boot, ticks)| boot + ticks / self.clock_ticks);
        usage.virtual_bytes = field(23);
        usage.resident_bytes = field(24).map(|pages| pages * self.page_bytes);
    }
}

fn boot_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Received and sent bytes over all interfaces but the loopback.
fn traffic(text: &str) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for line in text.lines().skip(2) {
        let Some((name, counts)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counts: Vec<f64> = counts.split_whitespace().map(|c| c.parse().unwrap_or(0.0)).collect();
        sums.0 += counts.first().unwrap_or(&0.0);
        sums.1 += counts.get(8).unwrap_or(&0.0);
    }
    sums
}

impl Resources {
    fn families(&self) -> Vec<proto::MetricFamily> {
        let usage = self.read();
        METRICS
            .iter()
            .filter_map(|(name, help, counter, read)| Some((name, help, counter, read(&usage)?)))
            .map(|(name, help, counter, found)| {
                let mut metric = proto::Metric::default();
                let mut family = proto::MetricFamily::default();
                family.set_name((*name).into());
                family.set_help((*help).into());
                if *counter {
                    let mut value = proto::Counter::default();
                    value.set_value(found);
                    metric.set_counter(value);
                    family.set_field_type(proto::MetricType::COUNTER);
                } else {
                    let mut value = proto::Gauge::default();
                    value.set_value(found);
                    metric.set_gauge(value);
                    family.set_field_type(proto::MetricType::GAUGE);
                }
                family.set_metric(vec![metric]);
                family
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_has_open_files() {
        let usage = Resources::new().read();
        let at_least = |found: Option<f64>, least: f64| found.is_some_and(|found| found >= least);
        assert!(at_least(usage.resident_bytes, 1e5) && at_least(usage.open_files, 3.0));
        assert!(at_least(usage.start_seconds, 1e9));
        assert_eq!(Resources::new().families().len(), METRICS.len());
    }

    #[test]
    fn the_loopback_does_not_count_as_traffic() {
        let text = "Inter-|\n face |\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 10 0 0 0 0 0 0 0 20 0\n  eth1: 1 0 0 0 0 0 0 0 2 0\n";
        assert_eq!(traffic(text), (11.0, 22.0));
    }
}

//! `cpu`: time the CPUs spent in each mode (`/proc/stat`), what they are (`/proc/cpuinfo`), and
//! throttling, isolation and being online (`/sys/devices/system/cpu/`).
//!
//! Keeps the last times per CPU: the kernel lets some of them run backwards a little, which a
//! counter must not do, so a smaller value is not taken over unless the CPU was hot-plugged.

use std::collections::BTreeMap;

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::Config;
use super::cpuinfo::{self, CpuInfo};
use super::error::ConfigError;
use super::filter::{Pattern, optional_pattern};
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Columns of a `cpuN` line in order, all but the two guest ones.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// Position of the idle time.
const IDLE: usize = 3;
/// The unit of the times in `/proc/stat`: the kernel's USER_HZ, 100 on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// Idle time that jumped back this far means that the CPU was taken out and put back.
const HOTPLUG_SECONDS: f64 = 3.0;

const INFO: &[Column] = &[
    ("node_cpu_info", "CPU information from /proc/cpuinfo.", Gauge),
    ("node_cpu_frequency_hertz", "CPU frequency in hertz from /proc/cpuinfo.", Gauge),
    (
        "node_cpu_flag_info",
        "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
        Gauge,
    ),
    (
        "node_cpu_bug_info",
        "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
        Gauge,
    ),
];

const THROTTLES: &[Column] = &[
    ("node_cpu_core_throttles_total", "Number of times this CPU core has been throttled.", Counter),
    ("node_cpu_package_throttles_total", "Number of times this CPU package has been throttled.", Counter),
];

/// Times of one CPU in seconds: the modes, then the two guest ones.
type Times = [f64; 10];

struct Cpu {
    info: bool,
    guest: bool,
    frequency: bool,
    flags: Option<Pattern>,
    bugs: Option<Pattern>,
    times: BTreeMap<u32, Times>,
}

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let flags = optional_pattern("cpu.flags_include", &config.cpu.flags_include)?;
    let bugs = optional_pattern("cpu.bugs_include", &config.cpu.bugs_include)?;
    let mut cpu = Cpu {
        info: config.cpu.info || flags.is_some() || bugs.is_some(),
        guest: config.cpu.guest,
        // `cpufreq` gives the same family from better sources.
        frequency: !super::registry::wanted(config)?.iter().any(|entry| entry.name == "cpufreq"),
        flags,
        bugs,
        times: BTreeMap::new(),
    };
    Ok(Box::new(move |paths, out| cpu.collect(paths, out)))
}

impl Cpu {
    fn collect(&mut self, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
        if self.info {
            self.info(&cpuinfo::list(paths)?, out);
        }
        self.times(paths, out)?;
        isolated(paths, out)?;
        throttles(paths, out);
        online(paths, out);
        Ok(())
    }

    fn info(&self, cpus: &[CpuInfo], out: &mut Vec<Family>) {
        let mut families = columns(INFO);
        for cpu in cpus {
            let place = [
                ("package", cpu.package.as_str()),
                ("core", cpu.core.as_str()),
                ("cpu", cpu.processor.as_str()),
            ];
            let kind = [
                ("vendor", cpu.vendor.as_str()),
                ("family", cpu.family.as_str()),
                ("model", cpu.model.as_str()),
                ("model_name", cpu.model_name.as_str()),
                ("microcode", cpu.microcode.as_str()),
                ("stepping", cpu.stepping.as_str()),
                ("cachesize", cpu.cache_size.as_str()),
            ];
            families[0].add(&[&place[..], &kind[..]].concat(), 1.0);
            // node_exporter says 0 where the file does not tell, as on ARM.
            if let Some(mhz) = cpu.mhz.filter(|_| self.frequency) {
                families[1].add(&place, mhz * 1e6);
            }
        }
        if let Some(first) = cpus.first() {
            for flag in
                first.flags.iter().filter(|flag| self.flags.as_ref().is_some_and(|p| p.is_match(flag)))
            {
                families[2].add(&[("flag", flag)], 1.0);
            }
            for bug in first.bugs.iter().filter(|bug| self.bugs.as_ref().is_some_and(|p| p.is_match(bug))) {
                families[3].add(&[("bug", bug)], 1.0);
            }
        }
        out.append(&mut families);
    }

    fn times(&mut self, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
        let path = paths.proc("stat");
        let text = read::text(&path)?;
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let Some(number) = fields.next().and_then(|name| name.strip_prefix("cpu")) else { continue };
            if number.is_empty() {
                continue;
            }
            let mut times: Times = [0.0; 10];
            for (time, field) in times.iter_mut().zip(fields) {
                *time = read::parse::<f64>(&path, field)? / TICKS_PER_SECOND;
            }
            seen.insert(read::parse(&path, number)?, times);
        }
        self.times.retain(|cpu, _| seen.contains_key(cpu));
        for (cpu, new) in seen {
            advance(self.times.entry(cpu).or_insert(new), &new);
        }
        let mut seconds = Family::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
        let mut guest = Family::counter(
            "node_cpu_guest_seconds_total",
            "Seconds the CPUs spent in guests (VMs) for each mode.",
        );
        for (cpu, times) in &self.times {
            let cpu = cpu.to_string();
            for (mode, time) in MODES.iter().zip(times) {
                seconds.add(&[("cpu", &cpu), ("mode", mode)], *time);
            }
            if self.guest {
                guest.add(&[("cpu", &cpu), ("mode", "user")], times[8]);
                guest.add(&[("cpu", &cpu), ("mode", "nice")], times[9]);
            }
        }
        out.extend([seconds, guest]);
        Ok(())
    }
}

/// Takes over the new times, each only when it did not run backwards.
fn advance(times: &mut Times, new: &Times) {
    if times[IDLE] - new[IDLE] >= HOTPLUG_SECONDS {
        *times = [0.0; 10];
    }
    for (time, new) in times.iter_mut().zip(new) {
        *time = time.max(*new);
    }
}

fn isolated(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.sys("devices/system/cpu/isolated");
    let Some(text) = read::optional(&path)? else { return Ok(()) };
    let mut family = Family::gauge(
        "node_cpu_isolated",
        "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
    );
    let bad = || CollectorError::parse(&path, format!("{text:?} is not a list of CPUs"));
    for cpu in cpu_list(text.trim()).ok_or_else(bad)? {
        family.add(&[("cpu", &cpu.to_string())], 1.0);
    }
    out.push(family);
    Ok(())
}

/// Reads the kernel's notation for sets of CPUs, such as `0,2-4`.
pub(super) fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for piece in text.split(',').filter(|piece| !piece.is_empty()) {
        match piece.split_once('-') {
            Some((first, last)) => cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?),
            None => cpus.push(piece.parse().ok()?),
        }
    }
    Some(cpus)
}

fn throttles(paths: &Paths, out: &mut Vec<Family>) {
    let root = paths.sys("devices/system/cpu");
    let mut cores: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut packages: BTreeMap<u64, u64> = BTreeMap::new();
    for cpu in read::numbered(&root, "cpu") {
        let attribute = |name: &str| read::number::<u64>(root.join(&cpu).join(name)).ok();
        let (Some(package), Some(core)) =
            (attribute("topology/physical_package_id"), attribute("topology/core_id"))
        else {
            continue;
        };
        // Threads of a core and cores of a package all show the same counter: read it once.
        if !cores.contains_key(&(package, core))
            && let Some(count) = attribute("thermal_throttle/core_throttle_count")
        {
            cores.insert((package, core), count);
        }
        if !packages.contains_key(&package)
            && let Some(count) = attribute("thermal_throttle/package_throttle_count")
        {
            packages.insert(package, count);
        }
    }
    let mut families = columns(THROTTLES);
    for ((package, core), count) in cores {
        families[0].add(&[("package", &package.to_string()), ("core", &core.to_string())], count as f64);
    }
    for (package, count) in packages {
        families[1].add(&[("package", &package.to_string())], count as f64);
    }
    out.append(&mut families);
}

/// Given only where the first CPU has the attribute: many kernels do not let it go offline.
fn online(paths: &Paths, out: &mut Vec<Family>) {
    let root = paths.sys("devices/system/cpu");
    let cpus = read::numbered(&root, "cpu");
    if !cpus.first().is_some_and(|cpu| root.join(cpu).join("online").exists()) {
        return;
    }
    let mut family = Family::gauge("node_cpu_online", "CPUs that are online and being scheduled.");
    for cpu in &cpus {
        let on = read::trimmed(root.join(cpu).join("online")).is_ok_and(|text| text == "1");
        family.add(&[("cpu", &cpu["cpu".len()..])], if on { 1.0 } else { 0.0 });
    }
    out.push(family);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    const STAT: &str = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 200 300 40000 500 600 700 800 900 1000\nintr 5\n";

    #[test]
    fn times_are_given_in_seconds_by_mode() {
        let tree = Tree::new(&[("proc/stat", STAT)]);
        let expected = "\
node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 400
node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 5
node_cpu_seconds_total{cpu=\"0\",mode=\"irq\"} 6
node_cpu_seconds_total{cpu=\"0\",mode=\"nice\"} 2
node_cpu_seconds_total{cpu=\"0\",mode=\"softirq\"} 7
node_cpu_seconds_total{cpu=\"0\",mode=\"steal\"} 8
node_cpu_seconds_total{cpu=\"0\",mode=\"system\"} 3
node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
        let text = tree.samples(with(build, |config| config.cpu.guest = true));
        assert!(text.starts_with("node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 10\n"), "{text}");
    }

    #[test]
    fn a_time_that_runs_backwards_is_kept_unless_the_cpu_was_hot_plugged() {
        let start: Times = [1.0, 2.0, 3.0, 400.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mut times = start;
        advance(&mut times, &[0.5, 3.0, 3.0, 399.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(times[..5], [1.0, 3.0, 3.0, 400.0, 5.0]);
        let mut times = start;
        let new: Times = [0.1, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        advance(&mut times, &new);
        assert_eq!(times, new);
    }

    #[test]
    fn a_cpu_that_goes_away_is_no_longer_given() {
        let tree = Tree::new(&[("proc/stat", "cpu0 1 0 0 0\ncpu1 1 0 0 0\n")]);
        let mut collect = with(build, |_| {});
        assert!(tree.samples(&mut collect).contains("cpu=\"1\""));
        tree.write(&[("proc/stat", "cpu0 1 0 0 0\n")]);
        assert!(!tree.samples(&mut collect).contains("cpu=\"1\""));
    }

    #[test]
    fn throttles_are_given_once_per_core_and_package() {
        let cpu = "sys/devices/system/cpu";
        let mut files = vec![("proc/stat".to_string(), String::new())];
        for (number, package, core, throttled) in [(0, 0, 0, 5), (1, 0, 1, 7), (2, 0, 0, 5)] {
            files.push((format!("{cpu}/cpu{number}/topology/physical_package_id"), format!("{package}\n")));
            files.push((format!("{cpu}/cpu{number}/topology/core_id"), format!("{core}\n")));
            files.push((
                format!("{cpu}/cpu{number}/thermal_throttle/core_throttle_count"),
                format!("{throttled}\n"),
            ));
            files.push((format!("{cpu}/cpu{number}/thermal_throttle/package_throttle_count"), "30\n".into()));
            files.push((format!("{cpu}/cpu{number}/online"), format!("{}\n", i32::from(number != 1))));
        }
        files.push((format!("{cpu}/isolated"), "1-2\n".into()));
        let files: Vec<_> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected = "\
node_cpu_core_throttles_total{core=\"0\",package=\"0\"} 5
node_cpu_core_throttles_total{core=\"1\",package=\"0\"} 7
node_cpu_isolated{cpu=\"1\"} 1
node_cpu_isolated{cpu=\"2\"} 1
node_cpu_online{cpu=\"0\"} 1
node_cpu_online{cpu=\"1\"} 0
node_cpu_online{cpu=\"2\"} 1
node_cpu_package_throttles_total{package=\"0\"} 30
";
        assert_eq!(Tree::new(&files).samples(with(build, |_| {})), expected);
    }

    #[test]
    fn flags_and_bugs_imply_the_info_metric_and_frequency_needs_cpufreq_off() {
        let info = "processor : 3\nvendor_id : V\ncpu MHz : 1.5\nflags : aes fpu\nbugs : spectre_v1\n";
        let tree = Tree::new(&[("proc/stat", ""), ("proc/cpuinfo", info)]);
        let text = tree.samples(with(build, |config| {
            config.cpu.flags_include = "^aes$".into();
            config.disable_collectors = vec!["cpufreq".into()];
        }));
        let expected = "\
node_cpu_flag_info{flag=\"aes\"} 1
node_cpu_frequency_hertz{core=\"\",cpu=\"3\",package=\"\"} 1500000
node_cpu_info{cachesize=\"\",core=\"\",cpu=\"3\",family=\"\",microcode=\"\",model=\"\",model_name=\"\",package=\"\",\
stepping=\"\",vendor=\"V\"} 1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpu_list("0,2-4"), Some(vec![0, 2, 3, 4]));
        assert_eq!(cpu_list(""), Some(vec![]));
        assert_eq!(cpu_list("a"), None);
    }
}

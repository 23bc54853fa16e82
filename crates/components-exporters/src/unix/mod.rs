//! Host metrics under node_exporter's names: one file per collector, read from procfs and sysfs.
//!
//! Data path: [`Collectors::new`] checks a [`Config`] and builds the wanted collectors,
//! [`Collectors::collect_all`] runs them one after the other and sorts what they gave.
//! Invariants: a collector reads only below the roots of [`Paths`] (system calls aside); one that
//! fails keeps what it gave so far, is reported in `node_scrape_collector_success`, and never
//! disturbs another. Names, labels, types and help texts are those of node_exporter 1.9.

use std::time::Instant;

use component::{BuildCx, Error, Pure, Stability};
use parking_lot::Mutex;
use signal::exposition::{Family, Metric, write_text};
use signal::names::{is_legacy_label, is_legacy_name};
use signal::samples::MetricKind;

use crate::page::{self, ExporterExports};

mod arp;
mod bcache;
mod bonding;
mod btrfs;
mod buddyinfo;
mod cgroups;
pub mod config;
mod conntrack;
mod cpu;
mod cpu_vulnerabilities;
mod cpufreq;
mod cpuinfo;
mod diskstats;
mod dmi;
mod drm;
mod edac;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod entropy;
pub mod error;
mod exporter;
mod fibrechannel;
mod filefd;
mod filesystem;
mod filter;
mod hwmon;
mod infiniband;
mod interrupts;
mod ipvs;
mod ksmd;
mod lnstat;
mod loadavg;
mod mdadm;
mod meminfo;
mod meminfo_numa;
mod mountstats;
mod netclass;
mod netdev;
#[cfg(target_os = "linux")]
mod netlink;
mod netstat;
mod nfs;
mod nfsd;
mod nvme;
mod os;
mod powersupplyclass;
mod pressure;
mod processes;
mod rapl;
mod read;
mod registry;
mod schedstat;
mod selinux;
mod slabinfo;
mod sockstat;
mod softirqs;
mod softnet;
mod stat;
mod sysctl;
mod tapestats;
mod tcpstat;
mod textfile;
mod thermal_zone;
mod time;
#[cfg(target_os = "linux")]
mod timex;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod xfs;
mod zfs;
mod zoneinfo;

pub use config::{Config, Paths};
pub use error::{CollectorError, ConfigError};

#[cfg(not(target_os = "linux"))]
use elsewhere::{netlink, timex};

/// The component.
pub struct Unix;

impl Pure for Unix {
    const NAME: &'static str = "prometheus.exporter.unix";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Config;
    type Exports = ExporterExports;

    fn evaluate(args: &Config, cx: &BuildCx) -> Result<ExporterExports, Error> {
        cx.needs_linux("its metrics come from procfs and sysfs, which only Linux has")?;
        let collectors =
            Collectors::new(args).map_err(|error| Error::argument(error.field(), error.to_string()))?;
        let collectors = Mutex::new(collectors);
        let instance = page::host(cx);
        Ok(page::serve(cx, "unix", &instance, move |out| write_text(&collectors.lock().collect_all(), out)))
    }
}

/// What one run of a collector comes to.
type Outcome = Result<(), CollectorError>;

/// A collector that was built from its arguments; it may keep state between runs.
type Collect = Box<dyn FnMut(&Paths, &mut Vec<Family>) -> Outcome + Send>;

/// One column of a table of metrics: name, help, type.
type Column = (&'static str, &'static str, MetricKind);

/// Empty families for the columns of a table, in order.
fn columns(columns: &[Column]) -> Vec<Family> {
    columns.iter().map(|(name, help, kind)| Family::new(*name, *help, *kind)).collect()
}

/// The collectors that a configuration asks for.
pub struct Collectors {
    paths: Paths,
    include_exporter_metrics: bool,
    running: Vec<(&'static str, Collect)>,
}

impl Collectors {
    /// Checks the arguments and builds the collectors; reads nothing from the host.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if let Some(block) = config.block_not_carried() {
            return Err(ConfigError::BlockNotCarried { block });
        }
        let running = registry::wanted(config)?
            .into_iter()
            .map(|entry| Ok((entry.name, (entry.build)(config)?)))
            .collect::<Result<_, ConfigError>>()?;
        let paths = config.paths();
        Ok(Self { paths, include_exporter_metrics: config.include_exporter_metrics, running })
    }

    /// Names of the collectors that run, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.running.iter().map(|(name, _)| *name)
    }

    /// Runs every collector once. Families come sorted by name, series by their label values,
    /// each family once; families without series are left out. Blocks on file reads.
    pub fn collect_all(&mut self) -> Vec<Family> {
        let mut families = Vec::with_capacity(512);
        let mut duration = Family::gauge(
            "node_scrape_collector_duration_seconds",
            "node_exporter: Duration of a collector scrape.",
        );
        let mut success =
            Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");
        for (name, collect) in &mut self.running {
            let begin = Instant::now();
            let outcome = collect(&self.paths, &mut families);
            duration.add(&[("collector", name)], begin.elapsed().as_secs_f64());
            success.add(&[("collector", name)], if outcome.is_ok() { 1.0 } else { 0.0 });
            match outcome {
                Ok(()) => {}
                Err(CollectorError::NoData) => {
                    tracing::debug!(collector = name, "collector returned no data")
                }
                Err(error) => tracing::warn!(collector = name, %error, "collector failed"),
            }
        }
        families.push(duration);
        families.push(success);
        exporter::build_info(&mut families);
        if self.include_exporter_metrics {
            exporter::process(&mut families);
        }
        sorted(families)
    }
}

/// CPU, memory and open files of this process, sorted by name.
pub(crate) fn process_metrics() -> Vec<Family> {
    let mut families = Vec::new();
    exporter::process(&mut families);
    sorted(families)
}

/// Orders families as client_golang's gatherer does and joins those of the same name.
fn sorted(mut families: Vec<Family>) -> Vec<Family> {
    families.retain(|family| !family.metrics.is_empty() && can_be_written(family));
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let mut joined: Vec<Family> = Vec::with_capacity(families.len());
    for family in families {
        match joined.last_mut() {
            Some(last) if last.name == family.name => join(last, family),
            _ => joined.push(family),
        }
    }
    for family in &mut joined {
        for metric in &mut family.metrics {
            metric.labels.sort_by(|a, b| a.0.cmp(&b.0));
        }
        if !matches!(family.kind, MetricKind::Histogram | MetricKind::Summary) {
            family.metrics.sort_by(|a, b| values(a).cmp(values(b)));
        }
    }
    joined
}

/// Whether a scraper will read it. Some names are made of words of the kernel, and one bad name would cost the whole page.
fn can_be_written(family: &Family) -> bool {
    let good = is_legacy_name(&family.name)
        && family.metrics.iter().all(|metric| metric.labels.iter().all(|(name, _)| is_legacy_label(name)));
    if !good {
        tracing::warn!(family = %family.name, "a family whose name cannot be one of a metric is left out");
    }
    good
}

fn values(metric: &Metric) -> impl Iterator<Item = &str> {
    metric.labels.iter().map(|(_, value)| value.as_str())
}

/// Adds the series of a second family of the same name: a text file may repeat a family that a
/// collector gives. A different type cannot be exposed under one name, so it is left out.
fn join(first: &mut Family, second: Family) {
    if first.kind != second.kind {
        tracing::warn!(family = %first.name, "a second family of another type is left out");
        return;
    }
    for metric in second.metrics {
        if first.metrics.iter().any(|m| m.suffix == metric.suffix && m.labels == metric.labels) {
            tracing::warn!(family = %first.name, labels = ?metric.labels, "a repeated series is left out");
        } else {
            first.metrics.push(metric);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Fixture trees and the short text form that the tables of the collectors compare.

    use std::fs;
    use std::path::Path;

    use signal::exposition::Family;

    use super::{Collect, CollectorError, Config, Paths};

    /// A temporary root with `proc`, `sys`, `rootfs` and `udev` below it.
    pub(crate) struct Tree(tempfile::TempDir);

    impl Tree {
        /// Writes the files, given as paths below the root and contents; a content that starts
        /// with `->` makes a symbolic link.
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.write(files);
            tree
        }

        pub(crate) fn write(&self, files: &[(&str, &str)]) {
            for (path, content) in files {
                let path = self.0.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                match content.strip_prefix("->") {
                    Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                    None => fs::write(path, content).unwrap(),
                }
            }
        }

        pub(crate) fn root(&self) -> &Path {
            self.0.path()
        }

        pub(crate) fn paths(&self) -> Paths {
            Paths {
                procfs: self.0.path().join("proc"),
                sysfs: self.0.path().join("sys"),
                rootfs: self.0.path().join("rootfs"),
                udev_data: self.0.path().join("udev"),
            }
        }

        /// Runs a collector and gives its samples, sorted, one a line with the value in
        /// full; the temporary root is written as `ROOT`.
        pub(crate) fn samples(
            &self,
            collect: impl FnMut(&Paths, &mut Vec<Family>) -> Result<(), CollectorError>,
        ) -> String {
            let (text, outcome) = self.run(collect);
            outcome.unwrap();
            text
        }

        /// As [`Tree::samples`], with the outcome beside the text.
        pub(crate) fn run(
            &self,
            mut collect: impl FnMut(&Paths, &mut Vec<Family>) -> Result<(), CollectorError>,
        ) -> (String, Result<(), CollectorError>) {
            let mut families = Vec::new();
            let outcome = collect(&self.paths(), &mut families);
            let mut text = String::new();
            for family in super::sorted(families) {
                for metric in &family.metrics {
                    let labels: Vec<_> =
                        metric.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                    let braces = if labels.is_empty() { ["", ""] } else { ["{", "}"] };
                    let [open, close] = braces;
                    let line = format!("{}{open}{}{close} {}\n", family.name, labels.join(","), metric.value);
                    text.push_str(&line);
                }
            }
            (text.replace(self.0.path().to_str().unwrap(), "ROOT"), outcome)
        }
    }

    /// Builds one collector with arguments changed from the defaults.
    pub(crate) fn build(
        build: fn(&Config) -> Result<Collect, super::ConfigError>,
        change: impl FnOnce(&mut Config),
    ) -> Collect {
        let mut config = Config::default();
        change(&mut config);
        build(&config).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use component::testkit::{Harness, Names, Refused};
    use component::{ComponentDef, Services};

    use super::testing::Tree;
    use super::*;

    fn config(tree: &Tree, collectors: &[&str]) -> Config {
        let path = |name: &str| tree.root().join(name).to_str().unwrap().to_string();
        Config {
            procfs_path: path("proc"),
            sysfs_path: path("sys"),
            rootfs_path: path("rootfs"),
            udev_data_path: path("udev"),
            set_collectors: collectors.iter().map(|name| (*name).to_string()).collect(),
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn the_component_exports_a_target_that_answers_with_the_metrics() {
        let tree = Tree::new(&[("proc/loadavg", "0.5 1 2 1/100 4242\n")]);
        let body =
            format!("procfs_path = \"{}/proc\"\nset_collectors = [\"loadavg\"]", tree.root().display());
        let harness = Harness::start(ComponentDef::pure::<Unix>(), &body, Names::default()).await;
        let page = page::testing::page(&harness).await;
        assert!(page.contains("# TYPE node_load1 gauge\nnode_load1 0.5\n"), "{page}");
        assert!(page.contains("node_scrape_collector_success{collector=\"loadavg\"} 1\n"), "{page}");
    }

    #[test]
    fn a_word_of_the_kernel_that_is_no_name_costs_its_family_and_not_the_page() {
        let tree = Tree::new(&[("proc/meminfo", "MemTotal: 2 kB\nHuge-pages/2M: 7\n")]);
        let families = Collectors::new(&config(&tree, &["meminfo"])).unwrap().collect_all();
        let mut page = String::new();
        write_text(&families, &mut page);
        assert!(page.contains("node_memory_MemTotal_bytes 2048\n"), "{page}");
        assert_eq!(crate::text::parse(&page).map(|read| read.len()), Ok(families.len()), "{page}");
    }

    #[tokio::test]
    async fn wrong_arguments_are_refused_with_the_place() {
        let harness =
            Harness::new(ComponentDef::pure::<Unix>(), Names::default(), Services::for_tests("/nonexistent"));
        for (body, code) in [
            ("enable_collectors = [\"perf\"]", "not available here"),
            ("ethtool { device_include = \"eth0\" }", "not available here"),
            ("filesystem { fs_types_exclude = \"(\" }", "not a valid regular expression"),
            ("netdev {\n device_include = \"a\"\n device_exclude = \"b\"\n}", "mutually exclusive"),
            ("arp { colour = 1 }", "colour"),
        ] {
            let refused = harness.update(body).await.unwrap_err();
            let Refused::Diagnostics(found) = refused else { panic!("{body}: {refused:?}") };
            assert!(found[0].message.contains(code), "{body}: {found:?}");
        }
        harness.update("ethtool { }\nsystemd { }").await.unwrap();
    }

    #[test]
    fn a_failing_collector_is_reported_and_the_others_still_give_their_families() {
        let tree = Tree::new(&[("proc/loadavg", "0.5 1 2 1/100 4242\n"), ("proc/vmstat", "pgpgin many\n")]);
        let mut collectors = Collectors::new(&config(&tree, &["loadavg", "vmstat", "mdadm"])).unwrap();
        assert_eq!(collectors.names().collect::<Vec<_>>(), ["loadavg", "mdadm", "vmstat"]);

        let families = collectors.collect_all();
        let names: Vec<_> = families.iter().map(|family| family.name.as_ref()).collect();
        assert_eq!(
            names,
            [
                "node_exporter_build_info",
                "node_load1",
                "node_load15",
                "node_load5",
                "node_scrape_collector_duration_seconds",
                "node_scrape_collector_success"
            ]
        );
        let success: Vec<_> = families[5].metrics.iter().map(|m| (m.labels[0].1.as_str(), m.value)).collect();
        assert_eq!(success, [("loadavg", 1.0), ("mdadm", 0.0), ("vmstat", 0.0)]);
    }

    #[test]
    fn the_process_metrics_are_given_only_when_asked_for() {
        let tree = Tree::new(&[("proc/loadavg", "0.5 1 2 1/100 4242\n")]);
        let mut config = config(&tree, &["loadavg"]);
        let has = |config: &Config| {
            let families = Collectors::new(config).unwrap().collect_all();
            families.iter().any(|family| family.name == "process_resident_memory_bytes")
        };
        assert!(!has(&config));
        config.include_exporter_metrics = true;
        assert!(has(&config));
    }

    #[test]
    fn families_of_one_name_are_joined_and_repeated_series_or_other_types_are_left_out() {
        let joined = sorted(vec![
            Family::gauge("b", "").with(&[("x", "2")], 2.0),
            Family::gauge("a", "").with(&[], 1.0),
            Family::gauge("b", "").with(&[("x", "1")], 1.0).with(&[("x", "2")], 9.0),
            Family::counter("a", "").with(&[("x", "1")], 1.0),
            Family::gauge("empty", ""),
        ]);
        let expected = vec![
            Family::gauge("a", "").with(&[], 1.0),
            Family::gauge("b", "").with(&[("x", "1")], 1.0).with(&[("x", "2")], 2.0),
        ];
        assert_eq!(joined, expected);
    }

    #[test]
    fn labels_are_sorted_by_name_and_series_by_value() {
        let family =
            Family::gauge("a", "").with(&[("z", "1"), ("b", "2")], 1.0).with(&[("z", "0"), ("b", "1")], 2.0);
        let expected =
            Family::gauge("a", "").with(&[("b", "1"), ("z", "0")], 2.0).with(&[("b", "2"), ("z", "1")], 1.0);
        assert_eq!(sorted(vec![family]), vec![expected]);
    }
}

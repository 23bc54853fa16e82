//! The arguments of the host collectors, named and defaulted as `prometheus.exporter.unix` has them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use component::Arguments;
use component::eval::{Arguments as _, Invalid};

use super::error::ConfigError;

/// Default of `filesystem.fs_types_exclude` on Linux.
pub const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|\
fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|\
sysfs|tracefs)$";

/// Default of `filesystem.mount_points_exclude` on Linux.
pub const MOUNT_POINTS_EXCLUDE: &str = "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+)($|/)";

/// Default of `disk.device_exclude`.
pub const DISKS_EXCLUDE: &str = r"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

/// Default of `netstat.fields`.
pub const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|\
Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)|\
Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

/// Default of `vmstat.fields`.
pub const VMSTAT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";

/// All labels a backend of `ipvs` can have, in their order.
pub const IPVS_LABELS: [&str; 6] =
    ["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];

/// `prometheus.exporter.unix`
#[derive(Debug, Clone, PartialEq, Arguments)]
#[arguments(validate = Config::validate)]
pub struct Config {
    /// Also give metrics about the collecting process itself.
    #[arg(default)]
    pub include_exporter_metrics: bool,
    /// Where procfs is mounted.
    #[arg(default = "/proc".to_string())]
    pub procfs_path: String,
    /// Where sysfs is mounted.
    #[arg(default = "/sys".to_string())]
    pub sysfs_path: String,
    /// Where the root file system of the host is mounted.
    #[arg(default = "/".to_string())]
    pub rootfs_path: String,
    /// Where udev keeps its device data.
    #[arg(default = "/run/udev/data".to_string())]
    pub udev_data_path: String,
    /// Collectors to run besides the default ones; wins over `disable_collectors`.
    #[arg(default)]
    pub enable_collectors: Vec<String>,
    /// Collectors not to run.
    #[arg(default)]
    pub disable_collectors: Vec<String>,
    /// Collectors to run instead of the default ones; empty keeps the defaults.
    #[arg(default)]
    pub set_collectors: Vec<String>,
    /// Collector `arp`.
    #[arg(block)]
    pub arp: Arp,
    /// Collector `bcache`.
    #[arg(block)]
    pub bcache: Bcache,
    /// Collector `cpu`.
    #[arg(block)]
    pub cpu: Cpu,
    /// Collector `diskstats`.
    #[arg(block)]
    pub disk: Disk,
    /// Collector `ethtool`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub ethtool: Ethtool,
    /// Collector `filesystem`.
    #[arg(block)]
    pub filesystem: Filesystem,
    /// Collector `hwmon`.
    #[arg(block)]
    pub hwmon: Hwmon,
    /// Collector `ipvs`.
    #[arg(block)]
    pub ipvs: Ipvs,
    /// Collector `ntp`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub ntp: Ntp,
    /// Collector `netclass`.
    #[arg(block)]
    pub netclass: Netclass,
    /// Collector `netdev`.
    #[arg(block)]
    pub netdev: Netdev,
    /// Collector `netstat`.
    #[arg(block)]
    pub netstat: Netstat,
    /// Collector `perf`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub perf: Perf,
    /// Collector `powersupplyclass`.
    #[arg(block)]
    pub powersupply: Powersupply,
    /// Collector `runit`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub runit: Runit,
    /// Collector `supervisord`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub supervisord: Supervisord,
    /// Collector `sysctl`.
    #[arg(block)]
    pub sysctl: Sysctl,
    /// Collector `systemd`, which is not available: anything but the defaults is an error.
    #[arg(block)]
    pub systemd: Systemd,
    /// Collector `tapestats`.
    #[arg(block)]
    pub tapestats: Tapestats,
    /// Collector `textfile`.
    #[arg(block)]
    pub textfile: Textfile,
    /// Collector `vmstat`.
    #[arg(block)]
    pub vmstat: Vmstat,
}

impl Default for Config {
    fn default() -> Self {
        Self::defaults()
    }
}

/// Arguments of collector `arp`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Arp {
    /// Pattern of devices to leave out.
    #[arg(default)]
    pub device_exclude: String,
    /// Pattern of devices to take.
    #[arg(default)]
    pub device_include: String,
    /// Read the entries through netlink.
    #[arg(default, no_effect = "entries are read from /proc/net/arp, where the kernel gives the same")]
    pub netlink: bool,
}

/// Arguments of collector `bcache`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Bcache {
    /// Read the expensive priority statistics too.
    #[arg(default)]
    pub priority_stats: bool,
}

/// Arguments of collector `cpu`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Cpu {
    /// Pattern of CPU bugs to give as `node_cpu_bug_info`; set, it implies `info`.
    #[arg(default)]
    pub bugs_include: String,
    /// Give `node_cpu_guest_seconds_total`.
    #[arg(default)]
    pub guest: bool,
    /// Give `node_cpu_info`.
    #[arg(default)]
    pub info: bool,
    /// Pattern of CPU flags to give as `node_cpu_flag_info`; set, it implies `info`.
    #[arg(default)]
    pub flags_include: String,
}

/// Arguments of collector `diskstats`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Disk {
    /// Pattern of devices to leave out; not used when `device_include` is set.
    #[arg(default = DISKS_EXCLUDE.to_string())]
    pub device_exclude: String,
    /// Pattern of devices to take.
    #[arg(default)]
    pub device_include: String,
}

/// Arguments of collector `ethtool`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Ethtool {
    /// Pattern of devices to leave out.
    #[arg(default)]
    pub device_exclude: String,
    /// Pattern of devices to take.
    #[arg(default)]
    pub device_include: String,
    /// Pattern of statistics to take.
    #[arg(default = ".*".to_string())]
    pub metrics_include: String,
}

/// Arguments of collector `filesystem`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Filesystem {
    /// Pattern of file system types to leave out.
    #[arg(default = FS_TYPES_EXCLUDE.to_string())]
    pub fs_types_exclude: String,
    /// Pattern of mount points to leave out.
    #[arg(default = MOUNT_POINTS_EXCLUDE.to_string())]
    pub mount_points_exclude: String,
    /// How long a mount may take to answer before it is reported as stuck.
    #[arg(default = "5s")]
    pub mount_timeout: Duration,
}

/// Arguments of collector `hwmon`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Hwmon {
    /// Pattern of chips to leave out.
    #[arg(default)]
    pub chip_exclude: String,
    /// Pattern of chips to take.
    #[arg(default)]
    pub chip_include: String,
}

/// Arguments of collector `ipvs`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Ipvs {
    /// Labels of the backend series; backends that agree in them are summed.
    #[arg(default = IPVS_LABELS.map(String::from).to_vec())]
    pub backend_labels: Vec<String>,
}

/// Arguments of collector `ntp`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Ntp {
    /// How far a question may travel.
    #[arg(default = 1)]
    pub ip_ttl: i64,
    /// How far the clocks may differ.
    #[arg(default = "1ms")]
    pub local_offset_tolerance: Duration,
    /// How far the root clock may be.
    #[arg(default = "3.46608s")]
    pub max_distance: Duration,
    /// Version of the protocol.
    #[arg(default = 4)]
    pub protocol_version: i64,
    /// The server to ask.
    #[arg(default = "127.0.0.1".to_string())]
    pub server: String,
    /// Whether the server is not a public one.
    #[arg(default)]
    pub server_is_local: bool,
}

/// Arguments of collector `netclass`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Netclass {
    /// Leave out a negative speed, which stands for an unknown one.
    #[arg(default)]
    pub ignore_invalid_speed_device: bool,
    /// Pattern of devices to leave out.
    #[arg(default = "^$".to_string())]
    pub ignored_devices: String,
}

/// Arguments of collector `netdev`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Netdev {
    /// Give `node_network_address_info`.
    #[arg(default)]
    pub address_info: bool,
    /// Pattern of devices to leave out.
    #[arg(default)]
    pub device_exclude: String,
    /// Pattern of devices to take.
    #[arg(default)]
    pub device_include: String,
}

/// Arguments of collector `netstat`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Netstat {
    /// Pattern of fields to give, matched against `Protocol_Field`.
    #[arg(default = NETSTAT_FIELDS.to_string())]
    pub fields: String,
}

/// Arguments of collector `perf`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Perf {
    /// CPUs to watch.
    #[arg(default)]
    pub cpus: String,
    /// Tracepoints to count.
    #[arg(default)]
    pub tracepoint: Vec<String>,
    /// Leave out all hardware profilers.
    #[arg(default)]
    pub disable_hardware_profilers: bool,
    /// Leave out all software profilers.
    #[arg(default)]
    pub disable_software_profilers: bool,
    /// Leave out all cache profilers.
    #[arg(default)]
    pub disable_cache_profilers: bool,
    /// Hardware profilers to run.
    #[arg(default)]
    pub hardware_profilers: Vec<String>,
    /// Software profilers to run.
    #[arg(default)]
    pub software_profilers: Vec<String>,
    /// Cache profilers to run.
    #[arg(default)]
    pub cache_profilers: Vec<String>,
}

/// Arguments of collector `powersupplyclass`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Powersupply {
    /// Pattern of power supplies to leave out.
    #[arg(default = "^$".to_string())]
    pub ignored_supplies: String,
}

/// Arguments of collector `runit`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Runit {
    /// Folder of the services.
    #[arg(default = "/etc/service".to_string())]
    pub service_dir: String,
}

/// Arguments of collector `supervisord`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Supervisord {
    /// Where supervisord answers.
    #[arg(default = "http://localhost:9001/RPC2".to_string())]
    pub url: String,
}

/// Arguments of collector `sysctl`; each entry is a name, optionally `:` and a list of keys.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Sysctl {
    /// Numeric settings to give as metrics.
    #[arg(default)]
    pub include: Vec<String>,
    /// Text settings to give as labels of `node_sysctl_info`.
    #[arg(default)]
    pub include_info: Vec<String>,
}

/// Arguments of collector `systemd`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Systemd {
    /// Count restarts.
    #[arg(default)]
    pub enable_restarts: bool,
    /// Give start times.
    #[arg(default)]
    pub start_time: bool,
    /// Count tasks.
    #[arg(default)]
    pub task_metrics: bool,
    /// Pattern of units to leave out.
    #[arg(default = r".+\.(automount|device|mount|scope|slice)".to_string())]
    pub unit_exclude: String,
    /// Pattern of units to take.
    #[arg(default = ".+".to_string())]
    pub unit_include: String,
}

/// Arguments of collector `tapestats`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Tapestats {
    /// Pattern of tape devices to leave out.
    #[arg(default = "^$".to_string())]
    pub ignored_devices: String,
}

/// Arguments of collector `textfile`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Textfile {
    /// Directory of `*.prom` files, or a glob of such directories; empty reads none.
    #[arg(default)]
    pub directory: String,
}

/// Arguments of collector `vmstat`.
#[derive(Debug, Clone, PartialEq, Arguments)]
pub struct Vmstat {
    /// Pattern of fields to give.
    #[arg(default = VMSTAT_FIELDS.to_string())]
    pub fields: String,
}

impl Config {
    /// The roots below which collectors read.
    pub fn paths(&self) -> Paths {
        Paths {
            procfs: PathBuf::from(&self.procfs_path),
            sysfs: PathBuf::from(&self.sysfs_path),
            rootfs: PathBuf::from(&self.rootfs_path),
            udev_data: PathBuf::from(&self.udev_data_path),
        }
    }

    /// The first block that says something about a collector that is not carried.
    pub(super) fn block_not_carried(&self) -> Option<&'static str> {
        let blocks = [
            ("ethtool", self.ethtool == Ethtool::defaults()),
            ("ntp", self.ntp == Ntp::defaults()),
            ("perf", self.perf == Perf::defaults()),
            ("runit", self.runit == Runit::defaults()),
            ("supervisord", self.supervisord == Supervisord::defaults()),
            ("systemd", self.systemd == Systemd::defaults()),
        ];
        blocks.into_iter().find(|(_, is_default)| !is_default).map(|(block, _)| block)
    }

    fn validate(&self) -> Result<(), Invalid> {
        let wrong = |error: ConfigError| Invalid::field(error.field(), error.to_string());
        super::Collectors::new(self).map(drop).map_err(wrong)
    }
}

/// The roots below which collectors read.
#[derive(Debug, Clone, PartialEq)]
pub struct Paths {
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// Where the root file system of the host is mounted.
    pub rootfs: PathBuf,
    /// Where udev keeps its device data.
    pub udev_data: PathBuf,
}

impl Paths {
    /// A path below procfs.
    pub(super) fn proc(&self, name: &str) -> PathBuf {
        self.procfs.join(name)
    }

    /// A path below sysfs.
    pub(super) fn sys(&self, name: &str) -> PathBuf {
        self.sysfs.join(name)
    }

    /// A path of the host as seen from here.
    pub(super) fn host(&self, path: &str) -> PathBuf {
        self.rootfs.join(path.trim_start_matches('/'))
    }

    /// A mount point as the host names it: the prefix under which its root is mounted goes away.
    pub(super) fn host_name<'a>(&self, mount_point: &'a str) -> &'a str {
        if self.rootfs == Path::new("/") {
            return mount_point;
        }
        match mount_point.strip_prefix(self.rootfs.to_string_lossy().as_ref()) {
            Some("") => "/",
            Some(rest) => rest,
            None => mount_point,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_loses_the_prefix_of_the_host_root() {
        let name = |rootfs: &str, mount_point: &'static str| {
            let config = Config { rootfs_path: rootfs.into(), ..Config::default() };
            config.paths().host_name(mount_point).to_string()
        };
        assert_eq!(name("/", "/var"), "/var");
        assert_eq!(name("/host", "/host"), "/");
        assert_eq!(name("/host", "/host/var"), "/var");
        assert_eq!(name("/host", "/var"), "/var");
    }

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_block_of_a_collector_that_is_not_carried_may_only_say_the_default() {
        let mut config = Config::default();
        config.systemd.start_time = true;
        let invalid = config.validate().unwrap_err();
        assert_eq!(invalid.field, Some("systemd"));
        assert_eq!(
            invalid.message,
            "the block \"systemd\" configures a collector that is not available here; remove the block"
        );
    }

    #[test]
    fn a_bad_pattern_points_at_its_block() {
        let mut config = Config::default();
        config.netclass.ignored_devices = "(".into();
        assert_eq!(config.validate().unwrap_err().field, Some("netclass"));
    }
}

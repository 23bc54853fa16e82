//! The arguments of the host collectors, named and defaulted as `prometheus.exporter.unix` has them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;

/// Everything that decides what is collected and from where.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Whether metrics about the collecting process itself are given too.
    pub include_exporter_metrics: bool,
    /// Where procfs is mounted.
    pub procfs_path: String,
    /// Where sysfs is mounted.
    pub sysfs_path: String,
    /// Where the root file system of the host is mounted.
    pub rootfs_path: String,
    /// Where udev keeps its device data.
    pub udev_data_path: String,
    /// Collectors to run besides the default ones; wins over `disable_collectors`.
    pub enable_collectors: Vec<String>,
    /// Collectors not to run.
    pub disable_collectors: Vec<String>,
    /// Collectors to run instead of the default ones; empty keeps the defaults.
    pub set_collectors: Vec<String>,
    /// Arguments of collector `arp`.
    pub arp: Arp,
    /// Arguments of collector `bcache`.
    pub bcache: Bcache,
    /// Arguments of collector `cpu`.
    pub cpu: Cpu,
    /// Arguments of collector `diskstats`.
    pub disk: Disk,
    /// Arguments of collector `filesystem`.
    pub filesystem: Filesystem,
    /// Arguments of collector `hwmon`.
    pub hwmon: Hwmon,
    /// Arguments of collector `ipvs`.
    pub ipvs: Ipvs,
    /// Arguments of collector `netclass`.
    pub netclass: Netclass,
    /// Arguments of collector `netdev`.
    pub netdev: Netdev,
    /// Arguments of collector `netstat`.
    pub netstat: Netstat,
    /// Arguments of collector `powersupplyclass`.
    pub powersupply: Powersupply,
    /// Arguments of collector `sysctl`.
    pub sysctl: Sysctl,
    /// Arguments of collector `tapestats`.
    pub tapestats: Tapestats,
    /// Arguments of collector `textfile`.
    pub textfile: Textfile,
    /// Arguments of collector `vmstat`.
    pub vmstat: Vmstat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            include_exporter_metrics: false,
            procfs_path: "/proc".into(),
            sysfs_path: "/sys".into(),
            rootfs_path: "/".into(),
            udev_data_path: "/run/udev/data".into(),
            enable_collectors: Vec::new(),
            disable_collectors: Vec::new(),
            set_collectors: Vec::new(),
            arp: Arp::default(),
            bcache: Bcache::default(),
            cpu: Cpu::default(),
            disk: Disk::default(),
            filesystem: Filesystem::default(),
            hwmon: Hwmon::default(),
            ipvs: Ipvs::default(),
            netclass: Netclass::default(),
            netdev: Netdev::default(),
            netstat: Netstat::default(),
            powersupply: Powersupply::default(),
            sysctl: Sysctl::default(),
            tapestats: Tapestats::default(),
            textfile: Textfile::default(),
            vmstat: Vmstat::default(),
        }
    }
}

/// Arguments of collector `arp`. There is no `netlink` switch here: the kernel gives the same
/// entries through netlink and `/proc/net/arp`, so both settings read the latter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arp {
    /// Pattern of devices to leave out.
    pub device_exclude: String,
    /// Pattern of devices to take.
    pub device_include: String,
}

/// Arguments of collector `bcache`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bcache {
    /// Whether the expensive priority statistics are read.
    pub priority_stats: bool,
}

/// Arguments of collector `cpu`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cpu {
    /// Pattern of CPU bugs to give as `node_cpu_bug_info`; set, it implies `info`.
    pub bugs_include: String,
    /// Whether `node_cpu_guest_seconds_total` is given.
    pub guest: bool,
    /// Whether `node_cpu_info` is given.
    pub info: bool,
    /// Pattern of CPU flags to give as `node_cpu_flag_info`; set, it implies `info`.
    pub flags_include: String,
}

/// Arguments of collector `diskstats`.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Pattern of devices to leave out; not used when `device_include` is set.
    pub device_exclude: String,
    /// Pattern of devices to take.
    pub device_include: String,
}

impl Default for Disk {
    fn default() -> Self {
        let device_exclude = r"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$".into();
        Self { device_exclude, device_include: String::new() }
    }
}

/// Arguments of collector `filesystem`.
#[derive(Debug, Clone, PartialEq)]
pub struct Filesystem {
    /// Pattern of file system types to leave out.
    pub fs_types_exclude: String,
    /// Pattern of mount points to leave out.
    pub mount_points_exclude: String,
    /// How long a mount may take to answer before it is reported as stuck.
    pub mount_timeout: Duration,
}

/// Default of `filesystem.fs_types_exclude` on Linux.
pub const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|\
fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|\
sysfs|tracefs)$";

/// Default of `filesystem.mount_points_exclude` on Linux.
pub const MOUNT_POINTS_EXCLUDE: &str = "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+)($|/)";

impl Default for Filesystem {
    fn default() -> Self {
        Self {
            fs_types_exclude: FS_TYPES_EXCLUDE.into(),
            mount_points_exclude: MOUNT_POINTS_EXCLUDE.into(),
            mount_timeout: Duration::from_secs(5),
        }
    }
}

/// Arguments of collector `hwmon`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hwmon {
    /// Pattern of chips to leave out.
    pub chip_exclude: String,
    /// Pattern of chips to take.
    pub chip_include: String,
}

/// Arguments of collector `ipvs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ipvs {
    /// Labels of the backend series; backends that agree in them are summed.
    pub backend_labels: Vec<String>,
}

/// All labels a backend of `ipvs` can have, in their order.
pub const IPVS_LABELS: [&str; 6] =
    ["local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"];

impl Default for Ipvs {
    fn default() -> Self {
        Self { backend_labels: IPVS_LABELS.iter().map(|label| (*label).to_string()).collect() }
    }
}

/// Arguments of collector `netclass`.
#[derive(Debug, Clone, PartialEq)]
pub struct Netclass {
    /// Whether a negative speed (unknown) is left out.
    pub ignore_invalid_speed_device: bool,
    /// Pattern of devices to leave out.
    pub ignored_devices: String,
}

impl Default for Netclass {
    fn default() -> Self {
        Self { ignore_invalid_speed_device: false, ignored_devices: "^$".into() }
    }
}

/// Arguments of collector `netdev`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Netdev {
    /// Whether `node_network_address_info` is given.
    pub address_info: bool,
    /// Pattern of devices to leave out.
    pub device_exclude: String,
    /// Pattern of devices to take.
    pub device_include: String,
}

/// Arguments of collector `netstat`.
#[derive(Debug, Clone, PartialEq)]
pub struct Netstat {
    /// Pattern of fields to give, matched against `Protocol_Field`.
    pub fields: String,
}

/// Default of `netstat.fields`.
pub const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|\
Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)|\
Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

impl Default for Netstat {
    fn default() -> Self {
        Self { fields: NETSTAT_FIELDS.into() }
    }
}

/// Arguments of collector `powersupplyclass`.
#[derive(Debug, Clone, PartialEq)]
pub struct Powersupply {
    /// Pattern of power supplies to leave out.
    pub ignored_supplies: String,
}

impl Default for Powersupply {
    fn default() -> Self {
        Self { ignored_supplies: "^$".into() }
    }
}

/// Arguments of collector `sysctl`; each entry is a name, optionally `:` and a list of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sysctl {
    /// Numeric settings to give as metrics.
    pub include: Vec<String>,
    /// Text settings to give as labels of `node_sysctl_info`.
    pub include_info: Vec<String>,
}

/// Arguments of collector `tapestats`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tapestats {
    /// Pattern of tape devices to leave out.
    pub ignored_devices: String,
}

impl Default for Tapestats {
    fn default() -> Self {
        Self { ignored_devices: "^$".into() }
    }
}

/// Arguments of collector `textfile`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Textfile {
    /// Directory of `*.prom` files, or a glob of such directories; empty reads none.
    pub directory: String,
}

/// Arguments of collector `vmstat`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vmstat {
    /// Pattern of fields to give.
    pub fields: String,
}

/// Default of `vmstat.fields`.
pub const VMSTAT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";

impl Default for Vmstat {
    fn default() -> Self {
        Self { fields: VMSTAT_FIELDS.into() }
    }
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

    /// Checks everything that can be wrong in the arguments, without reading anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        super::Collectors::new(self).map(drop)
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
        Config::default().check().unwrap();
    }
}

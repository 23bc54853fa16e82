//! `btrfs`: file systems, from `/sys/fs/btrfs/<uuid>/`.
//!
//! Only sysfs is read: the device identifiers, unused bytes and error counts that node_exporter
//! adds where it may use btrfs' ioctls are not given.

use std::path::Path;

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

const COLUMNS: &[Column] = &[
    ("node_btrfs_info", "Filesystem information", Gauge),
    ("node_btrfs_global_rsv_size_bytes", "Size of global reserve.", Gauge),
    ("node_btrfs_commits_total", "The total number of commits that have occurred.", Counter),
    ("node_btrfs_last_commit_seconds", "Duration of the most recent commit, in seconds.", Gauge),
    ("node_btrfs_max_commit_seconds", "Duration of the slowest commit, in seconds.", Gauge),
    ("node_btrfs_commit_seconds_total", "Sum of the duration of all commits, in seconds.", Counter),
    ("node_btrfs_reserved_bytes", "Amount of space reserved for a data type", Gauge),
    ("node_btrfs_used_bytes", "Amount of used space by a layout/data type", Gauge),
    ("node_btrfs_size_bytes", "Amount of space allocated for a layout/data type", Gauge),
    ("node_btrfs_allocation_ratio", "Data allocation ratio for a layout/data type", Gauge),
    ("node_btrfs_device_size_bytes", "Size of a device that is part of the filesystem.", Gauge),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("fs/btrfs");
    let mut families = columns(COLUMNS);
    let result = read::names(&root)
        .unwrap_or_default()
        .iter()
        .filter(|name| name.contains('-'))
        .try_for_each(|name| filesystem(&root.join(name), name, &mut families));
    out.append(&mut families);
    result
}

fn filesystem(dir: &Path, name: &str, families: &mut [Family]) -> Outcome {
    let uuid = read::optional(dir.join("metadata_uuid"))?;
    let uuid = uuid.as_deref().map(str::trim).filter(|uuid| !uuid.is_empty()).unwrap_or(name);
    let devices = read::names(dir.join("devices"))?;
    let label = read::optional(dir.join("label"))?.unwrap_or_default();
    families[0].add(&[("uuid", uuid), ("label", label.trim())], 1.0);
    families[1].add(&[("uuid", uuid)], value(&dir.join("allocation/global_rsv_size"))?);
    commits(&dir.join("commit_stats"), uuid, &mut families[2..6])?;
    for kind in ["data", "metadata", "system"] {
        let allocation = dir.join("allocation").join(kind);
        let labels = [("uuid", uuid), ("block_group_type", kind)];
        families[6].add(&labels, value(&allocation.join("bytes_reserved"))?);
        for mode in read::names(&allocation)?.iter().filter(|name| allocation.join(name).is_dir()) {
            let labels = [("uuid", uuid), ("block_group_type", kind), ("mode", mode)];
            families[7].add(&labels, value(&allocation.join(mode).join("used_bytes"))?);
            families[8].add(&labels, value(&allocation.join(mode).join("total_bytes"))?);
            families[9].add(&labels, ratio(mode, devices.len() as f64));
        }
    }
    for device in &devices {
        let sectors = value(&dir.join("devices").join(device).join("size"))?;
        families[10].add(&[("uuid", uuid), ("device", device)], sectors * 512.0);
    }
    Ok(())
}

/// The file appeared in Linux 6.0; before, everything is 0.
fn commits(path: &Path, uuid: &str, families: &mut [Family]) -> Outcome {
    let text = read::optional(path)?.unwrap_or_default();
    let stat = |key: &str| -> Result<f64, CollectorError> {
        let line = text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key);
        line.map_or(Ok(0.0), |(_, value)| read::parse(path, value.trim()))
    };
    let values = [
        stat("commits")?,
        stat("last_commit_ms")? / 1e3,
        stat("max_commit_ms")? / 1e3,
        stat("total_commit_ms")? / 1e3,
    ];
    for (family, value) in families.iter_mut().zip(values) {
        family.add(&[("uuid", uuid)], value);
    }
    Ok(())
}

/// The number in a file; 0 where there is none.
fn value(path: &Path) -> Result<f64, CollectorError> {
    Ok(read::optional(path)?.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) as f64)
}

/// How many bytes of devices a byte of data takes.
fn ratio(mode: &str, devices: f64) -> f64 {
    match mode {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn a_file_system_is_given_with_its_allocation_and_devices() {
        let tree = Tree::new(&[
            ("sys/fs/btrfs/features/x", ""),
            ("sys/fs/btrfs/11-22/label", "data\n"),
            ("sys/fs/btrfs/11-22/metadata_uuid", "33-44\n"),
            (
                "sys/fs/btrfs/11-22/commit_stats",
                "commits 3\nlast_commit_ms 1\nmax_commit_ms 50\ntotal_commit_ms 100\n",
            ),
            ("sys/fs/btrfs/11-22/devices/sda/size", "20\n"),
            ("sys/fs/btrfs/11-22/devices/sdb/size", "20\n"),
            ("sys/fs/btrfs/11-22/devices/sdc/size", "20\n"),
            ("sys/fs/btrfs/11-22/allocation/global_rsv_size", "16\n"),
            ("sys/fs/btrfs/11-22/allocation/data/bytes_reserved", "7\n"),
            ("sys/fs/btrfs/11-22/allocation/data/raid5/used_bytes", "8\n"),
            ("sys/fs/btrfs/11-22/allocation/data/raid5/total_bytes", "9\n"),
            ("sys/fs/btrfs/11-22/allocation/metadata/bytes_reserved", "0\n"),
            ("sys/fs/btrfs/11-22/allocation/system/bytes_reserved", "0\n"),
        ]);
        let expected = "\
node_btrfs_allocation_ratio{block_group_type=\"data\",mode=\"raid5\",uuid=\"33-44\"} 1.5
node_btrfs_commit_seconds_total{uuid=\"33-44\"} 0.1
node_btrfs_commits_total{uuid=\"33-44\"} 3
node_btrfs_device_size_bytes{device=\"sda\",uuid=\"33-44\"} 10240
node_btrfs_device_size_bytes{device=\"sdb\",uuid=\"33-44\"} 10240
node_btrfs_device_size_bytes{device=\"sdc\",uuid=\"33-44\"} 10240
node_btrfs_global_rsv_size_bytes{uuid=\"33-44\"} 16
node_btrfs_info{label=\"data\",uuid=\"33-44\"} 1
node_btrfs_last_commit_seconds{uuid=\"33-44\"} 0.001
node_btrfs_max_commit_seconds{uuid=\"33-44\"} 0.05
node_btrfs_reserved_bytes{block_group_type=\"data\",uuid=\"33-44\"} 7
node_btrfs_reserved_bytes{block_group_type=\"metadata\",uuid=\"33-44\"} 0
node_btrfs_reserved_bytes{block_group_type=\"system\",uuid=\"33-44\"} 0
node_btrfs_size_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"33-44\"} 9
node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid5\",uuid=\"33-44\"} 8
";
        assert_eq!(tree.samples(collect), expected);
    }
}

//! `diskstats`: I/O of block devices (`/proc/diskstats`) and what udev knows about them.

use std::collections::HashMap;

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::Config;
use super::error::ConfigError;
use super::filter::Filter;
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Sectors are 512 bytes here whatever the device says.
const SECTOR: f64 = 512.0;
const MILLISECOND: f64 = 0.001;

/// Columns of a line after major, minor and name, with the factor that makes base units of them.
const STATISTICS: [(Column, f64); 17] = [
    (("node_disk_reads_completed_total", "The total number of reads completed successfully.", Counter), 1.0),
    (("node_disk_reads_merged_total", "The total number of reads merged.", Counter), 1.0),
    (("node_disk_read_bytes_total", "The total number of bytes read successfully.", Counter), SECTOR),
    (
        ("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", Counter),
        MILLISECOND,
    ),
    (
        ("node_disk_writes_completed_total", "The total number of writes completed successfully.", Counter),
        1.0,
    ),
    (("node_disk_writes_merged_total", "The number of writes merged.", Counter), 1.0),
    (("node_disk_written_bytes_total", "The total number of bytes written successfully.", Counter), SECTOR),
    (
        (
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
            Counter,
        ),
        MILLISECOND,
    ),
    (("node_disk_io_now", "The number of I/Os currently in progress.", Gauge), 1.0),
    (("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", Counter), MILLISECOND),
    (
        ("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", Counter),
        MILLISECOND,
    ),
    (
        (
            "node_disk_discards_completed_total",
            "The total number of discards completed successfully.",
            Counter,
        ),
        1.0,
    ),
    (("node_disk_discards_merged_total", "The total number of discards merged.", Counter), 1.0),
    (
        ("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully.", Counter),
        1.0,
    ),
    (
        (
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
            Counter,
        ),
        MILLISECOND,
    ),
    (
        (
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
            Counter,
        ),
        1.0,
    ),
    (
        (
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
            Counter,
        ),
        MILLISECOND,
    ),
];

const INFO: &[Column] = &[
    ("node_disk_info", "Info of /sys/block/<block_device>.", Gauge),
    ("node_disk_filesystem_info", "Info about disk filesystem.", Gauge),
    ("node_disk_device_mapper_info", "Info about disk device mapper.", Gauge),
];

/// Properties of ATA disks with a column of their own.
const ATA: [(&str, Column); 3] = [
    ("ID_ATA_WRITE_CACHE", ("node_disk_ata_write_cache", "ATA disk has a write cache.", Gauge)),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        ("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled.", Gauge),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        ("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs).", Gauge),
    ),
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let disk = &config.disk;
    // As Alloy: what to include, once said, is all that counts.
    let exclude = if disk.device_include.is_empty() { disk.device_exclude.as_str() } else { "" };
    let filter =
        Filter::new(("disk.device_exclude", exclude), ("disk.device_include", &disk.device_include))?;
    Ok(Box::new(move |paths, out| collect(&filter, paths, out)))
}

fn collect(filter: &Filter, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("diskstats");
    let mut statistics = columns(&STATISTICS.map(|(column, _)| column));
    let mut info = columns(INFO);
    let mut ata = columns(&ATA.map(|(_, column)| column));
    for line in read::text(&path)?.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(CollectorError::parse(&path, format!("too few columns in {line:?}")));
        };
        if filter.ignores(device) {
            continue;
        }
        // Older kernels have fewer columns; newer ones may have more than are known here.
        for ((field, (_, factor)), family) in fields.zip(STATISTICS).zip(&mut statistics) {
            family.add(&[("device", device)], read::parse::<u64>(&path, field)? as f64 * factor);
        }
        describe(paths, [major, minor, device], &mut info, &mut ata)?;
    }
    out.extend([statistics, info, ata].into_iter().flatten());
    Ok(())
}

fn describe(
    paths: &Paths,
    [major, minor, device]: [&str; 3],
    info: &mut [Family],
    ata: &mut [Family],
) -> Outcome {
    let text = read::text(paths.udev_data.join(format!("b{major}:{minor}"))).unwrap_or_default();
    let udev: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect();
    let property = |name: &str| udev.get(name).copied().unwrap_or_default();
    // The first is usually what is printed on the disk's label.
    let serial =
        ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT"].map(property).into_iter().find(|text| !text.is_empty());
    let rotational = read::attribute(paths.sys("block").join(device).join("queue/rotational"))?;
    let labels = [
        ("device", device),
        ("major", major),
        ("minor", minor),
        ("path", property("ID_PATH")),
        ("wwn", property("ID_WWN")),
        ("model", property("ID_MODEL")),
        ("serial", serial.unwrap_or_default()),
        ("revision", property("ID_REVISION")),
        ("rotational", rotational.as_deref().unwrap_or("0")),
    ];
    info[0].add(&labels, 1.0);
    if !property("ID_FS_TYPE").is_empty() {
        let labels = [
            ("device", device),
            ("type", property("ID_FS_TYPE")),
            ("usage", property("ID_FS_USAGE")),
            ("uuid", property("ID_FS_UUID")),
            ("version", property("ID_FS_VERSION")),
        ];
        info[1].add(&labels, 1.0);
    }
    if !property("DM_NAME").is_empty() {
        let labels = [
            ("device", device),
            ("name", property("DM_NAME")),
            ("uuid", property("DM_UUID")),
            ("vg_name", property("DM_VG_NAME")),
            ("lv_name", property("DM_LV_NAME")),
            ("lv_layer", property("DM_LV_LAYER")),
        ];
        info[2].add(&labels, 1.0);
    }
    if !property("ID_ATA").is_empty() {
        for ((name, _), family) in ATA.iter().zip(ata) {
            if let Ok(value) = property(name).parse() {
                family.add(&[("device", device)], value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    const STATS: &str =
        "   8       0 sda 1 2 3 4000 5 6 7 8000 9 10000 11000\n   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11\n";

    #[test]
    fn statistics_are_in_base_units_and_missing_columns_are_absent() {
        let tree = Tree::new(&[("proc/diskstats", STATS)]);
        let expected = "\
node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"\",path=\"\",revision=\"\",rotational=\"0\",serial=\"\",wwn=\"\"} 1
node_disk_io_now{device=\"sda\"} 9
node_disk_io_time_seconds_total{device=\"sda\"} 10
node_disk_io_time_weighted_seconds_total{device=\"sda\"} 11
node_disk_read_bytes_total{device=\"sda\"} 1536
node_disk_read_time_seconds_total{device=\"sda\"} 4
node_disk_reads_completed_total{device=\"sda\"} 1
node_disk_reads_merged_total{device=\"sda\"} 2
node_disk_write_time_seconds_total{device=\"sda\"} 8
node_disk_writes_completed_total{device=\"sda\"} 5
node_disk_writes_merged_total{device=\"sda\"} 6
node_disk_written_bytes_total{device=\"sda\"} 3584
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
    }

    #[test]
    fn an_include_pattern_replaces_the_default_exclude_pattern() {
        let tree = Tree::new(&[("proc/diskstats", STATS)]);
        let text = tree.samples(with(build, |config| config.disk.device_include = "1$".into()));
        assert!(text.contains("device=\"sda1\"") && !text.contains("device=\"sda\""), "{text}");
    }

    #[test]
    fn properties_of_udev_become_labels() {
        let tree = Tree::new(&[
            ("proc/diskstats", "253 0 dm-0 1\n"),
            ("sys/block/dm-0/queue/rotational", "1\n"),
            (
                "udev/b253:0",
                "S:disk\nE:ID_SERIAL_SHORT=S1\nE:DM_NAME=vg-root\nE:DM_VG_NAME=vg\nE:ID_FS_TYPE=ext4\nE:ID_ATA=1\n\
                 E:ID_ATA_ROTATION_RATE_RPM=7200\nE:ID_ATA_WRITE_CACHE=x\n",
            ),
        ]);
        let expected = "\
node_disk_ata_rotation_rate_rpm{device=\"dm-0\"} 7200
node_disk_device_mapper_info{device=\"dm-0\",lv_layer=\"\",lv_name=\"\",name=\"vg-root\",uuid=\"\",vg_name=\"vg\"} 1
node_disk_filesystem_info{device=\"dm-0\",type=\"ext4\",usage=\"\",uuid=\"\",version=\"\"} 1
node_disk_info{device=\"dm-0\",major=\"253\",minor=\"0\",model=\"\",path=\"\",revision=\"\",rotational=\"1\",serial=\"S1\",wwn=\"\"} 1
node_disk_reads_completed_total{device=\"dm-0\"} 1
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
    }
}

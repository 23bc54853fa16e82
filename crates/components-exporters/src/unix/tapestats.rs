//! `tapestats`: tape drives, from `/sys/class/scsi_tape/st*/stats/`.

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::Config;
use super::error::ConfigError;
use super::filter::{Pattern, pattern};
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Files and their columns; those ending in `_ns` are nanoseconds.
const VALUES: [(&str, Column); 10] = [
    ("in_flight", ("node_tape_io_now", "The number of I/Os currently outstanding to this device.", Gauge)),
    (
        "io_ns",
        (
            "node_tape_io_time_seconds_total",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape \
             movement commands such as seeking between file or set marks and implicit tape movement such as when \
             rewind on close tape devices are used.",
            Counter,
        ),
    ),
    (
        "other_cnt",
        (
            "node_tape_io_others_total",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to \
             complete these commands uses the following calculation \
             io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
            Counter,
        ),
    ),
    (
        "read_byte_cnt",
        ("node_tape_read_bytes_total", "The number of bytes read from the tape drive.", Counter),
    ),
    (
        "read_cnt",
        ("node_tape_reads_completed_total", "The number of read requests issued to the tape drive.", Counter),
    ),
    (
        "read_ns",
        (
            "node_tape_read_time_seconds_total",
            "The amount of time spent waiting for read requests to complete.",
            Counter,
        ),
    ),
    (
        "resid_cnt",
        (
            "node_tape_residual_total",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean \
             that a program is issuing a read larger thean the block size on tape. For write not all data made it to \
             tape.",
            Counter,
        ),
    ),
    (
        "write_byte_cnt",
        ("node_tape_written_bytes_total", "The number of bytes written to the tape drive.", Counter),
    ),
    (
        "write_cnt",
        (
            "node_tape_writes_completed_total",
            "The number of write requests issued to the tape drive.",
            Counter,
        ),
    ),
    (
        "write_ns",
        (
            "node_tape_write_time_seconds_total",
            "The amount of time spent waiting for write requests to complete.",
            Counter,
        ),
    ),
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let ignored = pattern("tapestats.ignored_devices", &config.tapestats.ignored_devices)?;
    Ok(Box::new(move |paths, out| collect(&ignored, paths, out)))
}

fn collect(ignored: &Pattern, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/scsi_tape");
    read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut families = columns(&VALUES.map(|(_, column)| column));
    // `st0` is the drive; `nst0`, `st0a` and so on are other ways to it.
    let drives = read::numbered(&root, "st");
    let drives = drives.iter().filter(|name| name["st".len()..].bytes().all(|b| b.is_ascii_digit()));
    for drive in drives.filter(|name| !ignored.is_match(name)) {
        for ((file, _), family) in VALUES.iter().zip(&mut families) {
            let value: u64 = read::number(root.join(drive).join("stats").join(file))?;
            let factor = if file.ends_with("_ns") { 1e-9 } else { 1.0 };
            family.add(&[("device", drive)], value as f64 * factor);
        }
    }
    out.append(&mut families);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn drives_are_given_in_base_units() {
        let names: Vec<_> =
            VALUES.iter().map(|(file, _)| format!("sys/class/scsi_tape/st0/stats/{file}")).collect();
        let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), "2000000000\n")).collect();
        files.push(("sys/class/scsi_tape/nst0/stats/io_ns", "1\n"));
        files.push(("sys/class/scsi_tape/st0a/stats/io_ns", "1\n"));
        let tree = Tree::new(&files);
        let text = tree.samples(with(build, |_| {}));
        assert!(text.contains("node_tape_io_time_seconds_total{device=\"st0\"} 2\n"), "{text}");
        assert!(text.contains("node_tape_read_bytes_total{device=\"st0\"} 2000000000\n"), "{text}");
        assert_eq!(text.lines().count(), 10);
        let text = tree.samples(with(build, |config| config.tapestats.ignored_devices = "st0".into()));
        assert_eq!(text, "");
        assert!(matches!(Tree::new(&[]).run(with(build, |_| {})).1, Err(CollectorError::NoData)));
    }
}

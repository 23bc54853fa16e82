//! `bcache`: block caches, from `/sys/fs/bcache/<uuid>/`.

use std::path::{Path, PathBuf};

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::Config;
use super::error::{CollectorError, ConfigError};
use super::{Collect, Column, Family, Outcome, Paths, columns, read};

/// Attributes of the cache set: file, column.
const SET: &[(&str, Column)] = &[
    (
        "average_key_size",
        ("node_bcache_average_key_size_sectors", "Average data per key in the btree (sectors).", Gauge),
    ),
    (
        "btree_cache_size",
        ("node_bcache_btree_cache_size_bytes", "Amount of memory currently used by the btree cache.", Gauge),
    ),
    (
        "cache_available_percent",
        (
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
            Gauge,
        ),
    ),
    ("congested", ("node_bcache_congested", "Congestion.", Gauge)),
    (
        "root_usage_percent",
        (
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
            Gauge,
        ),
    ),
    ("tree_depth", ("node_bcache_tree_depth", "Depth of the btree.", Gauge)),
    (
        "internal/active_journal_entries",
        (
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
            Gauge,
        ),
    ),
    ("internal/btree_nodes", ("node_bcache_btree_nodes", "Total nodes in the btree.", Gauge)),
    (
        "internal/btree_read_average_duration_us",
        ("node_bcache_btree_read_average_duration_seconds", "Average btree read duration.", Gauge),
    ),
    (
        "internal/cache_read_races",
        (
            "node_bcache_cache_read_races_total",
            "Counts instances where while data was being read from the cache, the bucket was reused and \
             invalidated - i.e. where the pointer was stale after the read completed.",
            Counter,
        ),
    ),
];

/// Lines of a backing device's `writeback_rate_debug`: key, column.
const WRITEBACK: &[(&str, Column)] = &[
    (
        "target",
        (
            "node_bcache_dirty_target_bytes",
            "Current dirty data target threshold for this backing device in bytes.",
            Gauge,
        ),
    ),
    (
        "rate",
        ("node_bcache_writeback_rate", "Current writeback rate for this backing device in bytes.", Gauge),
    ),
    (
        "proportional",
        (
            "node_bcache_writeback_rate_proportional_term",
            "Current result of proportional controller, part of writeback rate",
            Gauge,
        ),
    ),
    (
        "integral",
        (
            "node_bcache_writeback_rate_integral_term",
            "Current result of integral controller, part of writeback rate",
            Gauge,
        ),
    ),
    (
        "change",
        ("node_bcache_writeback_change", "Last writeback rate change step for this backing device.", Gauge),
    ),
];

/// Attributes of a backing device: file, column.
const BACKING: &[(&str, Column)] = &[
    (
        "dirty_data",
        ("node_bcache_dirty_data_bytes", "Amount of dirty data for this backing device in the cache.", Gauge),
    ),
    (
        "stats_total/bypassed",
        (
            "node_bcache_bypassed_bytes_total",
            "Amount of IO (both reads and writes) that has bypassed the cache.",
            Counter,
        ),
    ),
    (
        "stats_total/cache_hits",
        ("node_bcache_cache_hits_total", "Hits counted per individual IO as bcache sees them.", Counter),
    ),
    (
        "stats_total/cache_misses",
        ("node_bcache_cache_misses_total", "Misses counted per individual IO as bcache sees them.", Counter),
    ),
    (
        "stats_total/cache_bypass_hits",
        ("node_bcache_cache_bypass_hits_total", "Hits for IO intended to skip the cache.", Counter),
    ),
    (
        "stats_total/cache_bypass_misses",
        ("node_bcache_cache_bypass_misses_total", "Misses for IO intended to skip the cache.", Counter),
    ),
    (
        "stats_total/cache_miss_collisions",
        (
            "node_bcache_cache_miss_collisions_total",
            "Instances where data insertion from cache miss raced with write (data already present).",
            Counter,
        ),
    ),
    (
        "stats_total/cache_readaheads",
        ("node_bcache_cache_readaheads_total", "Count of times readahead occurred.", Counter),
    ),
];

/// Attributes of a cache device: file, column.
const CACHE: &[(&str, Column)] = &[
    (
        "io_errors",
        (
            "node_bcache_io_errors",
            "Number of errors that have occurred, decayed by io_error_halflife.",
            Gauge,
        ),
    ),
    (
        "metadata_written",
        (
            "node_bcache_metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
            Counter,
        ),
    ),
    (
        "written",
        ("node_bcache_written_bytes_total", "Sum of all data that has been written to the cache.", Counter),
    ),
];

/// Lines of a cache device's `priority_stats`: key, column.
const PRIORITY: &[(&str, Column)] = &[
    (
        "Unused",
        (
            "node_bcache_priority_stats_unused_percent",
            "The percentage of the cache that doesn't contain any data.",
            Gauge,
        ),
    ),
    ("Metadata", ("node_bcache_priority_stats_metadata_percent", "Bcache's metadata overhead.", Gauge)),
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let priority_stats = config.bcache.priority_stats;
    Ok(Box::new(move |paths, out| collect(priority_stats, paths, out)))
}

fn collect(priority_stats: bool, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("fs/bcache");
    let sets = read::names(&root).unwrap_or_default();
    let families = |table: &[(&str, Column)]| columns(&table.iter().map(|(_, c)| *c).collect::<Vec<_>>());
    let (mut set_families, mut backing, mut writeback) =
        (families(SET), families(BACKING), families(WRITEBACK));
    let (mut cache, mut priority) = (families(CACHE), families(PRIORITY));
    for uuid in sets.iter().filter(|name| name.contains('-')) {
        let set = root.join(uuid);
        for ((file, _), family) in SET.iter().zip(&mut set_families) {
            let value = value(&set, file)?;
            // The kernel says microseconds; node_exporter takes them for nanoseconds, and so do we.
            family.add(&[("uuid", uuid)], if file.ends_with("_us") { value * 1e-9 } else { value });
        }
        for device in read::numbered(&set, "bdev") {
            let labels = [("uuid", uuid.as_str()), ("backing_device", device.as_str())];
            for ((file, _), family) in BACKING.iter().zip(&mut backing) {
                let value = value(&set.join(&device), file)?;
                if value != 0.0 || !file.ends_with("cache_readaheads") {
                    family.add(&labels, value);
                }
            }
            keyed(&set.join(&device).join("writeback_rate_debug"), WRITEBACK, &mut writeback, &labels)?;
        }
        for device in read::numbered(&set, "cache") {
            let labels = [("uuid", uuid.as_str()), ("cache_device", device.as_str())];
            for ((file, _), family) in CACHE.iter().zip(&mut cache) {
                family.add(&labels, value(&set.join(&device), file)?);
            }
            if priority_stats {
                keyed(&set.join(&device).join("priority_stats"), PRIORITY, &mut priority, &labels)?;
            }
        }
    }
    out.extend([set_families, backing, writeback, cache, priority].into_iter().flatten());
    Ok(())
}

/// The value of an attribute; 0 where the kernel does not have it.
fn value(dir: &Path, file: &str) -> Result<f64, CollectorError> {
    let path: PathBuf = dir.join(file);
    match read::optional(&path)? {
        None => Ok(0.0),
        Some(text) => bytes(text.trim())
            .ok_or_else(|| CollectorError::parse(&path, format!("{text:?} is not an amount"))),
    }
}

/// Adds the values of a file of `key: value` lines.
fn keyed(
    path: &Path,
    table: &[(&str, Column)],
    families: &mut [Family],
    labels: &[(&'static str, &str)],
) -> Outcome {
    let text = read::text(path)?;
    for ((key, _), family) in table.iter().zip(families) {
        let line = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name == key);
        let piece = line.map_or("0", |(_, value)| value.trim());
        let piece = piece.trim_end_matches("/sec").trim_end_matches('%');
        let value =
            bytes(piece).ok_or_else(|| CollectorError::parse(path, format!("{piece:?} is not an amount")))?;
        family.add(labels, value);
    }
    Ok(())
}

/// A number as bcache writes it: `512`, `1.5k`, `-2.0M`. Its "decimals" count 1/1024 parts in
/// steps of ten (`hprint` in drivers/md/bcache/util.c).
fn bytes(text: &str) -> Option<f64> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let Some(unit) = text.find(|c: char| c.is_ascii_alphabetic()) else {
        return text.parse::<f64>().ok().map(|value| sign * value);
    };
    let power = "kMGTPEZY".find(&text[unit..])? as i32 + 1;
    let (whole, part) = text[..unit].split_once('.').unwrap_or((&text[..unit], "0"));
    let value = whole.parse::<f64>().ok()? + part.parse::<f64>().ok()? / 10.24;
    Some(sign * (value * 1024f64.powi(power)).trunc())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        let cases = [
            ("512", Some(512.0)),
            ("1k", Some(1024.0)),
            ("2.5M", Some(2_609_152.0)),
            ("-1.0k", Some(-1024.0)),
            ("x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_cache_set_is_given_with_its_devices() {
        let set = "sys/fs/bcache/aaaa-bbbb";
        let file = |name: &str| format!("{set}/{name}");
        let tree = Tree::new(&[
            (&file("average_key_size"), "8\n"),
            (&file("internal/btree_read_average_duration_us"), "1305\n"),
            (&file("bdev0/dirty_data"), "1.0k\n"),
            (&file("bdev0/stats_total/cache_hits"), "546\n"),
            (
                &file("bdev0/writeback_rate_debug"),
                "rate:\t\t1.1M/sec\ntarget:\t\t20.4G\nchange:\t\t-329k/sec\n",
            ),
            (&file("cache0/written"), "2k\n"),
            (&file("cache0/priority_stats"), "Unused:\t\t99%\nMetadata:\t0%\nAverage:\t10473\n"),
        ]);
        let text = tree.samples(with(build, |config| config.bcache.priority_stats = true));
        for line in [
            "node_bcache_average_key_size_sectors{uuid=\"aaaa-bbbb\"} 8",
            "node_bcache_btree_read_average_duration_seconds{uuid=\"aaaa-bbbb\"} 0.000001305",
            "node_bcache_dirty_data_bytes{backing_device=\"bdev0\",uuid=\"aaaa-bbbb\"} 1024",
            "node_bcache_cache_hits_total{backing_device=\"bdev0\",uuid=\"aaaa-bbbb\"} 546",
            "node_bcache_writeback_rate{backing_device=\"bdev0\",uuid=\"aaaa-bbbb\"} 1150976",
            "node_bcache_writeback_change{backing_device=\"bdev0\",uuid=\"aaaa-bbbb\"} -336896",
            "node_bcache_written_bytes_total{cache_device=\"cache0\",uuid=\"aaaa-bbbb\"} 2048",
            "node_bcache_priority_stats_unused_percent{cache_device=\"cache0\",uuid=\"aaaa-bbbb\"} 99",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("cache_readaheads"), "{text}");
        assert!(!tree.samples(with(build, |_| {})).contains("priority_stats"));
    }
}

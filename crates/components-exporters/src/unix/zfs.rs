//! `zfs`: ZFS caches, transactions and pools, from `/proc/spl/kstat/zfs/`.

use std::collections::BTreeMap;
use std::path::Path;

use signal::samples::MetricKind::{Gauge, Unknown};

use super::{CollectorError, Family, Outcome, Paths, read};

/// Subsystems and their files.
const FILES: [(&str, &str); 11] = [
    ("zfs_abd", "abdstats"),
    ("zfs_arc", "arcstats"),
    ("zfs_dbuf", "dbufstats"),
    ("zfs_dmu_tx", "dmu_tx"),
    ("zfs_dnode", "dnodestats"),
    ("zfs_fm", "fm"),
    ("zfs_vdev_cache", "vdev_cache_stats"),
    ("zfs_vdev_mirror", "vdev_mirror_stats"),
    ("zfs_xuio", "xuio_stats"),
    ("zfs_zfetch", "zfetchstats"),
    ("zfs_zil", "zil"),
];

const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// KSTAT_DATA_INT64 and KSTAT_DATA_UINT64; other types are not given.
const NUMERIC: [&str; 2] = ["3", "4"];

/// Families by name: the same field comes from many pools.
type Families = BTreeMap<String, Family>;

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.proc("spl/kstat/zfs");
    let entries = read::names(&root).map_err(|_| CollectorError::NoData)?;
    let mut families = Families::new();
    for (subsystem, file) in FILES {
        // Which files there are depends on the version of ZFS.
        let path = root.join(file);
        let Some(text) = read::optional(&path)? else { continue };
        for (field, value) in kstat(&path, &text)? {
            let help = format!("kstat.zfs.misc.{file}.{field}");
            add(&mut families, subsystem, field, &help, &[], value);
        }
    }
    for pool in entries.iter().filter(|name| root.join(name).is_dir()) {
        self::pool(&root.join(pool), pool, &mut families)?;
    }
    out.extend(families.into_values());
    Ok(())
}

fn add(
    families: &mut Families,
    subsystem: &str,
    field: &str,
    help: &str,
    labels: &[(&'static str, &str)],
    value: f64,
) {
    let name = format!("node_{subsystem}_{}", field.replace('-', "_"));
    let family =
        families.entry(name).or_insert_with_key(|name| Family::new(name.clone(), help.to_string(), Unknown));
    family.add(labels, value);
}

/// Field and value of each numeric line after the heading `name type data`.
fn kstat<'a>(path: &Path, text: &'a str) -> Result<Vec<(&'a str, f64)>, CollectorError> {
    let mut lines = text.lines().skip_while(|line| !line.split_whitespace().eq(["name", "type", "data"]));
    lines.next().ok_or_else(|| CollectorError::parse(path, "there is no heading \"name type data\""))?;
    let mut found = Vec::new();
    for line in lines {
        let mut fields = line.split_whitespace();
        if let (Some(field), Some(kind), Some(value)) = (fields.next(), fields.next(), fields.next())
            && NUMERIC.contains(&kind)
        {
            found.push((field, read::parse(path, value)?));
        }
    }
    Ok(found)
}

fn pool(dir: &Path, pool: &str, families: &mut Families) -> Outcome {
    io(&dir.join("io"), pool, families)?;
    for file in read::names(dir)?.iter().filter(|name| name.starts_with("objset-")) {
        let path = dir.join(file);
        // A pool that is being exported takes its files away while they are read.
        let Some(text) = read::optional(&path)? else { continue };
        let dataset = text.lines().find_map(|line| line.strip_prefix("dataset_name")).unwrap_or_default();
        // The name follows the type and may hold spaces itself.
        let dataset = dataset.trim_start().split_once(' ').map_or("", |(_, name)| name.trim());
        for (field, value) in kstat(&path, &text)? {
            let help = format!("kstat.zfs.misc.objset.{field}");
            add(families, "zfs_zpool_dataset", field, &help, &[("zpool", pool), ("dataset", dataset)], value);
        }
    }
    if let Some(state) = read::optional(dir.join("state"))? {
        let state = state.trim().to_lowercase();
        let family = families
            .entry("node_zfs_zpool_state".into())
            .or_insert_with(|| Family::new("node_zfs_zpool_state", "kstat.zfs.misc.state", Gauge));
        for known in STATES {
            family.add(&[("zpool", pool), ("state", known)], if state == known { 1.0 } else { 0.0 });
        }
    }
    Ok(())
}

/// Two lines of names and numbers, in the versions that have them.
fn io(path: &Path, pool: &str, families: &mut Families) -> Outcome {
    let text = read::optional(path)?.unwrap_or_default();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("nread"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return Ok(()) };
    for (field, value) in names.split_whitespace().zip(values.split_whitespace()) {
        let value = read::parse::<u64>(path, value)? as f64;
        let help = format!("kstat.zfs.misc.io.{field}");
        add(families, "zfs_zpool", field, &help, &[("zpool", pool)], value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn caches_and_pools_are_given() {
        let dir = "proc/spl/kstat/zfs";
        let tree = Tree::new(&[
            (
                &format!("{dir}/arcstats"),
                "6 1 0x01 91 4368 5266997922 97951858082072\nname                            type data\nhits                            4    8772612\narc-need_free                   3    -1\nlabel 7 text\n",
            ),
            (
                &format!("{dir}/tank/io"),
                "12 3 0x00 1 80 79205351707403 395818011156865\nnread    nwritten reads writes wtime wlentime wupdate rtime rlentime rupdate wcnt rcnt\n1884160  3206144  22    132    7155162 1 2 3 4 5 0 0\n",
            ),
            (
                &format!("{dir}/tank/objset-0x36"),
                "41 1 0x01 7 2160 1 2\nname                            type data\ndataset_name                    7    tank/my  data\nwrites                          4    4\n",
            ),
            (&format!("{dir}/tank/state"), "ONLINE\n"),
        ]);
        let text = tree.samples(collect);
        for line in [
            "node_zfs_arc_hits 8772612",
            "node_zfs_arc_arc_need_free -1",
            "node_zfs_zpool_nread{zpool=\"tank\"} 1884160",
            "node_zfs_zpool_dataset_writes{dataset=\"tank/my  data\",zpool=\"tank\"} 4",
            "node_zfs_zpool_state{state=\"online\",zpool=\"tank\"} 1",
            "node_zfs_zpool_state{state=\"degraded\",zpool=\"tank\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn without_zfs_there_is_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

//! `meminfo_numa`: memory by NUMA node, from `/sys/devices/system/node/node*/`.

use std::collections::BTreeMap;
use std::path::Path;

use signal::samples::MetricKind::{self, Counter, Gauge};

use super::{CollectorError, Family, Outcome, Paths, meminfo, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("devices/system/node");
    let mut families = BTreeMap::new();
    for node in read::numbered(&root, "node") {
        let number = &node["node".len()..];
        info(&root.join(&node).join("meminfo"), number, &mut families)?;
        statistics(&root.join(&node).join("numastat"), number, &mut families)?;
    }
    out.extend(families.into_values());
    Ok(())
}

fn add(families: &mut BTreeMap<String, Family>, field: String, kind: MetricKind, node: &str, value: f64) {
    let help = format!("Memory information field {field}.");
    let family = families
        .entry(field)
        .or_insert_with_key(|field| Family::new(format!("node_memory_numa_{field}"), help, kind));
    family.add(&[("node", node)], value);
}

/// Lines such as `Node 0 MemTotal:       134182340 kB`.
fn info(path: &Path, node: &str, families: &mut BTreeMap<String, Family>) -> Outcome {
    for line in read::text(path)?.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (["Node", _, field, value], factor) = (match &fields[..] {
            [head @ .., "kB"] => (head, 1024.0),
            all => (all, 1.0),
        }) else {
            return Err(CollectorError::parse(path, format!("malformed line {line:?}")));
        };
        let value = read::parse::<f64>(path, value)? * factor;
        add(families, meminfo::name(field.trim_end_matches(':')), Gauge, node, value);
    }
    Ok(())
}

/// Lines such as `numa_hit 193460335812`.
fn statistics(path: &Path, node: &str, families: &mut BTreeMap<String, Family>) -> Outcome {
    for line in read::text(path)?.lines().filter(|line| !line.trim().is_empty()) {
        let (field, value) = line
            .split_once(' ')
            .ok_or_else(|| CollectorError::parse(path, format!("malformed line {line:?}")))?;
        add(families, format!("{field}_total"), Counter, node, read::parse(path, value.trim())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn memory_and_allocations_are_given_by_node() {
        let tree = Tree::new(&[
            (
                "sys/devices/system/node/node1/meminfo",
                "\nNode 1 MemTotal:       4 kB\nNode 1 Active(anon):   1 kB\nNode 1 HugePages_Total:     3\n",
            ),
            ("sys/devices/system/node/node1/numastat", "numa_hit 59858626709\n"),
        ]);
        let expected = "\
node_memory_numa_Active_anon{node=\"1\"} 1024
node_memory_numa_HugePages_Total{node=\"1\"} 3
node_memory_numa_MemTotal{node=\"1\"} 4096
node_memory_numa_numa_hit_total{node=\"1\"} 59858626709
";
        assert_eq!(tree.samples(collect), expected);
    }
}

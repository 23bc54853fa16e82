//! `rapl`: energy used by parts of the CPU, from `/sys/class/powercap/*/`.

use std::collections::BTreeMap;

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/powercap");
    let entries = read::names(&root).map_err(CollectorError::unreadable_is_no_data)?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    // Zones of one name are numbered in order where the name does not end in a number.
    let mut used: BTreeMap<String, u64> = BTreeMap::new();
    for entry in entries {
        let dir = root.join(entry);
        let Some(full_name) = read::attribute(dir.join("name"))? else { continue };
        let numbered = full_name.split_once('-').and_then(|(name, index)| Some((name, index.parse().ok()?)));
        let (name, index) =
            numbered.unwrap_or_else(|| (full_name.as_str(), used.get(&full_name).copied().unwrap_or(0)));
        used.insert(name.to_string(), index + 1);
        // Readable by root only on most kernels.
        let micro: u64 =
            read::number(dir.join("energy_uj")).map_err(CollectorError::unreadable_is_no_data)?;
        let family = families.entry(name.to_string()).or_insert_with(|| {
            let metric = format!("node_rapl_{}_joules_total", read::metric_name(name));
            Family::counter(metric, format!("Current RAPL {name} value in joules"))
        });
        let path = dir.to_string_lossy();
        family.add(&[("index", &index.to_string()), ("path", &path)], micro as f64 / 1e6);
    }
    out.extend(families.into_values());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn zones_are_numbered_by_their_names_or_their_order() {
        let dir = "sys/class/powercap";
        let tree = Tree::new(&[
            (&format!("{dir}/intel-rapl:0/name"), "package-0\n"),
            (&format!("{dir}/intel-rapl:0/energy_uj"), "240422366267\n"),
            (&format!("{dir}/intel-rapl:0:0/name"), "core\n"),
            (&format!("{dir}/intel-rapl:0:0/energy_uj"), "118821284256\n"),
            (&format!("{dir}/intel-rapl:1:0/name"), "core\n"),
            (&format!("{dir}/intel-rapl:1:0/energy_uj"), "1\n"),
            (&format!("{dir}/intel-rapl/enabled"), "1\n"),
        ]);
        let expected = "\
node_rapl_core_joules_total{index=\"0\",path=\"ROOT/sys/class/powercap/intel-rapl:0:0\"} 118821.284256
node_rapl_core_joules_total{index=\"1\",path=\"ROOT/sys/class/powercap/intel-rapl:1:0\"} 0.000001
node_rapl_package_joules_total{index=\"0\",path=\"ROOT/sys/class/powercap/intel-rapl:0\"} 240422.366267
";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

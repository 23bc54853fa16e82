//! `lnstat`: statistics of network caches by CPU, from `/proc/net/stat/`.

use std::collections::BTreeMap;

use super::{Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let dir = paths.proc("net/stat");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for file in read::names(&dir)? {
        let path = dir.join(&file);
        let text = read::text(&path)?;
        let mut lines = text.lines();
        let headings: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        for (cpu, line) in lines.enumerate() {
            let cpu = cpu.to_string();
            for (heading, value) in headings.iter().zip(line.split_whitespace()) {
                let name = format!("node_lnstat_{heading}_total");
                let family = families
                    .entry(name.clone())
                    .or_insert_with(|| Family::counter(name, "linux network cache stats"));
                family.add(&[("subsystem", &file), ("cpu", &cpu)], read::hex(&path, value)? as f64);
            }
        }
    }
    out.extend(families.into_values());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn columns_are_hexadecimal_and_lines_are_cpus() {
        let tree = Tree::new(&[(
            "proc/net/stat/arp_cache",
            "entries  allocs\n00000014  00000001\n00000014  0000000a\n",
        )]);
        let expected = "\
node_lnstat_allocs_total{cpu=\"0\",subsystem=\"arp_cache\"} 1
node_lnstat_allocs_total{cpu=\"1\",subsystem=\"arp_cache\"} 10
node_lnstat_entries_total{cpu=\"0\",subsystem=\"arp_cache\"} 20
node_lnstat_entries_total{cpu=\"1\",subsystem=\"arp_cache\"} 20
";
        assert_eq!(tree.samples(collect), expected);
    }
}

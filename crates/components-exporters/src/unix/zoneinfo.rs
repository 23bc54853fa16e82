//! `zoneinfo`: memory zones, from `/proc/zoneinfo`.

use std::collections::BTreeMap;

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// First word of the line and its column.
const LINES: [(&str, Column); 34] = [
    ("nr_free_pages", ("node_zoneinfo_nr_free_pages", "Total number of free pages in the zone", Gauge)),
    ("min", ("node_zoneinfo_min_pages", "Zone watermark pages_min", Gauge)),
    ("low", ("node_zoneinfo_low_pages", "Zone watermark pages_low", Gauge)),
    ("high", ("node_zoneinfo_high_pages", "Zone watermark pages_high", Gauge)),
    ("scanned", ("node_zoneinfo_scanned_pages", "Pages scanned since last reclaim", Gauge)),
    ("spanned", ("node_zoneinfo_spanned_pages", "Total pages spanned by the zone, including holes", Gauge)),
    ("present", ("node_zoneinfo_present_pages", "Physical pages existing within the zone", Gauge)),
    ("managed", ("node_zoneinfo_managed_pages", "Present pages managed by the buddy system", Gauge)),
    (
        "nr_active_anon",
        ("node_zoneinfo_nr_active_anon_pages", "Number of anonymous pages recently more used", Gauge),
    ),
    (
        "nr_inactive_anon",
        ("node_zoneinfo_nr_inactive_anon_pages", "Number of anonymous pages recently less used", Gauge),
    ),
    (
        "nr_isolated_anon",
        ("node_zoneinfo_nr_isolated_anon_pages", "Temporary isolated pages from anon lru", Gauge),
    ),
    (
        "nr_anon_pages",
        ("node_zoneinfo_nr_anon_pages", "Number of anonymous pages currently used by the system", Gauge),
    ),
    (
        "nr_anon_transparent_hugepages",
        (
            "node_zoneinfo_nr_anon_transparent_hugepages",
            "Number of anonymous transparent huge pages currently used by the system",
            Gauge,
        ),
    ),
    (
        "nr_active_file",
        ("node_zoneinfo_nr_active_file_pages", "Number of active pages with file-backing", Gauge),
    ),
    (
        "nr_inactive_file",
        ("node_zoneinfo_nr_inactive_file_pages", "Number of inactive pages with file-backing", Gauge),
    ),
    (
        "nr_isolated_file",
        ("node_zoneinfo_nr_isolated_file_pages", "Temporary isolated pages from file lru", Gauge),
    ),
    ("nr_file_pages", ("node_zoneinfo_nr_file_pages", "Number of file pages", Gauge)),
    (
        "nr_slab_reclaimable",
        ("node_zoneinfo_nr_slab_reclaimable_pages", "Number of reclaimable slab pages", Gauge),
    ),
    (
        "nr_slab_unreclaimable",
        ("node_zoneinfo_nr_slab_unreclaimable_pages", "Number of unreclaimable slab pages", Gauge),
    ),
    (
        "nr_mlock_stack",
        ("node_zoneinfo_nr_mlock_stack_pages", "mlock()ed pages found and moved off LRU", Gauge),
    ),
    ("nr_kernel_stack", ("node_zoneinfo_nr_kernel_stacks", "Number of kernel stacks", Gauge)),
    ("nr_mapped", ("node_zoneinfo_nr_mapped_pages", "Number of mapped pages", Gauge)),
    ("nr_dirty", ("node_zoneinfo_nr_dirty_pages", "Number of dirty pages", Gauge)),
    ("nr_writeback", ("node_zoneinfo_nr_writeback_pages", "Number of writeback pages", Gauge)),
    ("nr_unevictable", ("node_zoneinfo_nr_unevictable_pages", "Number of unevictable pages", Gauge)),
    ("nr_shmem", ("node_zoneinfo_nr_shmem_pages", "Number of shmem pages (included tmpfs/GEM pages)", Gauge)),
    ("nr_dirtied", ("node_zoneinfo_nr_dirtied_total", "Page dirtyings since bootup", Counter)),
    ("nr_written", ("node_zoneinfo_nr_written_total", "Page writings since bootup", Counter)),
    ("numa_hit", ("node_zoneinfo_numa_hit_total", "Allocated in intended node", Counter)),
    ("numa_miss", ("node_zoneinfo_numa_miss_total", "Allocated in non intended node", Counter)),
    ("numa_foreign", ("node_zoneinfo_numa_foreign_total", "Was intended here, hit elsewhere", Counter)),
    ("numa_interleave", ("node_zoneinfo_numa_interleave_total", "Interleaver preferred this zone", Counter)),
    ("numa_local", ("node_zoneinfo_numa_local_total", "Allocation from local node", Counter)),
    ("numa_other", ("node_zoneinfo_numa_other_total", "Allocation from other node", Counter)),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("zoneinfo");
    let text = read::text(&path)?;
    let mut families = columns(&LINES.map(|(_, column)| column));
    let mut protections: BTreeMap<usize, Family> = BTreeMap::new();
    let (mut node, mut zone) = ("", "");
    for line in text.lines() {
        let line = line.trim();
        if let Some((number, name)) = line.strip_prefix("Node ").and_then(|rest| rest.split_once(", zone")) {
            (node, zone) = (number.trim(), name.trim());
            continue;
        }
        let labels = [("node", node), ("zone", zone)];
        if let Some(list) = line.strip_prefix("protection:") {
            for (i, value) in list.trim().trim_matches(['(', ')']).split(',').enumerate() {
                let family = protections.entry(i).or_insert_with(|| {
                    let help = format!("Protection array {i}. field");
                    Family::gauge(format!("node_zoneinfo_protection_{i}"), help)
                });
                family.add(&labels, read::parse(&path, value.trim())?);
            }
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(word), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some(position) = LINES.iter().position(|(known, _)| *known == word) {
            if node.is_empty() {
                return Err(CollectorError::parse(&path, format!("{word:?} comes before the first zone")));
            }
            families[position].add(&labels, read::parse(&path, value)?);
        }
    }
    out.append(&mut families);
    out.extend(protections.into_values());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn zones_are_given_by_node() {
        let tree = Tree::new(&[(
            "proc/zoneinfo",
            "Node 0, zone      DMA\n  per-node stats\n      nr_dirtied   1189097\n  pages free     3952\n        min      33\n        protection: (0, 2877)\n      nr_free_pages 3952\n  pagesets\n    cpu: 0\n              count: 0\n              high:  0\n",
        )]);
        let expected = "\
node_zoneinfo_min_pages{node=\"0\",zone=\"DMA\"} 33
node_zoneinfo_nr_dirtied_total{node=\"0\",zone=\"DMA\"} 1189097
node_zoneinfo_nr_free_pages{node=\"0\",zone=\"DMA\"} 3952
node_zoneinfo_protection_0{node=\"0\",zone=\"DMA\"} 0
node_zoneinfo_protection_1{node=\"0\",zone=\"DMA\"} 2877
";
        assert_eq!(tree.samples(collect), expected);
    }
}

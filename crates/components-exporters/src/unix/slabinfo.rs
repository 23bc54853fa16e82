//! `slabinfo`: caches of kernel objects, from `/proc/slabinfo` (readable by root only).

use signal::samples::MetricKind::Gauge;

use super::{Column, Family, Outcome, Paths, columns, read};

/// Columns after the name, in order.
const COLUMNS: &[Column] = &[
    (
        "node_slabinfo_active_objects",
        "The number of objects that are currently active (i.e., in use).",
        Gauge,
    ),
    (
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
        Gauge,
    ),
    ("node_slabinfo_object_size_bytes", "The size of objects in this slab, in bytes.", Gauge),
    ("node_slabinfo_objects_per_slab", "The number of objects stored in each slab.", Gauge),
    ("node_slabinfo_pages_per_slab", "The number of pages allocated for each slab.", Gauge),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("slabinfo");
    let mut families = columns(COLUMNS);
    let text = read::text(&path)?;
    for line in text.lines().filter(|line| !line.starts_with("slabinfo") && !line.starts_with('#')) {
        let mut fields = line.split_ascii_whitespace();
        let Some(slab) = fields.next() else { continue };
        for (family, field) in families.iter_mut().zip(fields) {
            family.add(&[("slab", slab)], read::parse(&path, field)?);
        }
    }
    out.append(&mut families);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn every_cache_is_given() {
        let tree = Tree::new(&[(
            "proc/slabinfo",
            "slabinfo - version: 2.1\n# name <active_objs> …\ntw_sock_TCP 704 864 256 32 2 : tunables 0 0 0 : slabdata 27 27 0\n",
        )]);
        let expected = "\
node_slabinfo_active_objects{slab=\"tw_sock_TCP\"} 704
node_slabinfo_object_size_bytes{slab=\"tw_sock_TCP\"} 256
node_slabinfo_objects{slab=\"tw_sock_TCP\"} 864
node_slabinfo_objects_per_slab{slab=\"tw_sock_TCP\"} 32
node_slabinfo_pages_per_slab{slab=\"tw_sock_TCP\"} 2
";
        assert_eq!(tree.samples(collect), expected);
    }
}

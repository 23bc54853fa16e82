//! `conntrack`: connection tracking, from `/proc/sys/net/netfilter/` and `/proc/net/stat/nf_conntrack`.

use super::{CollectorError, Family, Outcome, Paths, read};

/// Summed columns of the statistics: position, name, help.
const STATISTICS: [(usize, &str, &str); 8] = [
    (2, "node_nf_conntrack_stat_found", "Number of searched entries which were successful."),
    (4, "node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked."),
    (
        5,
        "node_nf_conntrack_stat_ignore",
        "Number of packets seen which are already connected to a conntrack entry.",
    ),
    (8, "node_nf_conntrack_stat_insert", "Number of entries inserted into the list."),
    (
        9,
        "node_nf_conntrack_stat_insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
    ),
    (10, "node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure."),
    (
        11,
        "node_nf_conntrack_stat_early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    (
        16,
        "node_nf_conntrack_stat_search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let limits = [
        (
            "nf_conntrack_count",
            "node_nf_conntrack_entries",
            "Number of currently allocated flow entries for connection tracking.",
        ),
        ("nf_conntrack_max", "node_nf_conntrack_entries_limit", "Maximum size of connection tracking table."),
    ];
    for (file, name, help) in limits {
        let path = paths.proc("sys/net/netfilter").join(file);
        let value: u64 = read::number(path).map_err(CollectorError::missing_is_no_data)?;
        out.push(Family::gauge(name, help).with(&[], value as f64));
    }
    let path = paths.proc("net/stat/nf_conntrack");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    let mut sums = [0u64; 17];
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if !(16..=17).contains(&fields.len()) {
            return Err(CollectorError::parse(&path, format!("{} columns instead of 17", fields.len())));
        }
        for (sum, field) in sums.iter_mut().zip(fields) {
            *sum = sum.wrapping_add(read::hex(&path, field)?);
        }
    }
    for (position, name, help) in STATISTICS {
        out.push(Family::gauge(name, help).with(&[], sums[position] as f64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn statistics_are_summed_over_cpus() {
        let tree = Tree::new(&[
            ("proc/sys/net/netfilter/nf_conntrack_count", "123\n"),
            ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
            (
                "proc/net/stat/nf_conntrack",
                "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop \
                 icmp_error  expect_new expect_create expect_delete search_restart\n\
                 00000001 0 0a 0 1 2 0 0 3 4 5 6 0 0 0 0 7\n\
                 00000001 0 0a 0 1 2 0 0 3 4 5 6 0 0 0 0 7\n",
            ),
        ]);
        let expected = "\
node_nf_conntrack_entries 123
node_nf_conntrack_entries_limit 65536
node_nf_conntrack_stat_drop 10
node_nf_conntrack_stat_early_drop 12
node_nf_conntrack_stat_found 20
node_nf_conntrack_stat_ignore 4
node_nf_conntrack_stat_insert 6
node_nf_conntrack_stat_insert_failed 8
node_nf_conntrack_stat_invalid 2
node_nf_conntrack_stat_search_restart 14
";
        assert_eq!(tree.samples(collect), expected);
    }

    #[test]
    fn without_the_module_there_is_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

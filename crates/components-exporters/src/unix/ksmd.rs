//! `ksmd`: merging of equal memory pages, from `/sys/kernel/mm/ksm/`.

use signal::samples::MetricKind::{Counter, Gauge};

use super::{Column, Family, Outcome, Paths, columns, read};

/// Files and their columns.
const VALUES: [(&str, Column); 9] = [
    ("full_scans", ("node_ksmd_full_scans_total", "ksmd 'full_scans' file.", Counter)),
    ("merge_across_nodes", ("node_ksmd_merge_across_nodes", "ksmd 'merge_across_nodes' file.", Gauge)),
    ("pages_shared", ("node_ksmd_pages_shared", "ksmd 'pages_shared' file.", Gauge)),
    ("pages_sharing", ("node_ksmd_pages_sharing", "ksmd 'pages_sharing' file.", Gauge)),
    ("pages_to_scan", ("node_ksmd_pages_to_scan", "ksmd 'pages_to_scan' file.", Gauge)),
    ("pages_unshared", ("node_ksmd_pages_unshared", "ksmd 'pages_unshared' file.", Gauge)),
    ("pages_volatile", ("node_ksmd_pages_volatile", "ksmd 'pages_volatile' file.", Gauge)),
    ("run", ("node_ksmd_run", "ksmd 'run' file.", Gauge)),
    ("sleep_millisecs", ("node_ksmd_sleep_seconds", "ksmd 'sleep_millisecs' file.", Gauge)),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let dir = paths.sys("kernel/mm/ksm");
    for ((file, _), mut family) in VALUES.iter().zip(columns(&VALUES.map(|(_, column)| column))) {
        let value = read::number::<u64>(dir.join(file))? as f64;
        family.add(&[], if *file == "sleep_millisecs" { value / 1e3 } else { value });
        out.push(family);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn every_file_is_given_and_the_pause_in_seconds() {
        let names: Vec<_> = VALUES.iter().map(|(file, _)| format!("sys/kernel/mm/ksm/{file}")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "20\n")).collect();
        let text = Tree::new(&files).samples(collect);
        assert!(
            text.contains("node_ksmd_sleep_seconds 0.02\n") && text.contains("node_ksmd_run 20\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 9);
    }
}

//! `stat`: interrupts, context switches, forks and boot time, from `/proc/stat`.

use signal::samples::MetricKind::{Counter, Gauge};

use super::{Column, Family, Outcome, Paths, read};

/// First word of the line and its column.
const LINES: [(&str, Column); 6] = [
    ("intr", ("node_intr_total", "Total number of interrupts serviced.", Counter)),
    ("ctxt", ("node_context_switches_total", "Total number of context switches.", Counter)),
    ("processes", ("node_forks_total", "Total number of forks.", Counter)),
    ("btime", ("node_boot_time_seconds", "Node boot time, in unixtime.", Gauge)),
    ("procs_running", ("node_procs_running", "Number of processes in runnable state.", Gauge)),
    (
        "procs_blocked",
        ("node_procs_blocked", "Number of processes blocked waiting for I/O to complete.", Gauge),
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("stat");
    for line in read::text(&path)?.lines() {
        // Line `intr` goes on with every single interrupt: only the first number is wanted.
        let mut fields = line.split(' ');
        let (Some(word), Some(value)) = (fields.next(), fields.next()) else { continue };
        if let Some((_, (name, help, kind))) = LINES.iter().find(|(known, _)| *known == word) {
            out.push(Family::new(*name, *help, *kind).with(&[], read::parse::<u64>(&path, value)? as f64));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn totals_are_given() {
        let tree = Tree::new(&[(
            "proc/stat",
            "cpu  1 2\nintr 8885917 17 0\nctxt 38014093\nbtime 1418183276\nprocesses 26442\nprocs_running 2\nprocs_blocked 0\nsoftirq 5 1\n",
        )]);
        let expected = "\
node_boot_time_seconds 1418183276
node_context_switches_total 38014093
node_forks_total 26442
node_intr_total 8885917
node_procs_blocked 0
node_procs_running 2
";
        assert_eq!(tree.samples(collect), expected);
    }
}

//! `schedstat`: what the scheduler did on each CPU, from `/proc/schedstat`.

use signal::samples::MetricKind::Counter;

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// The last three columns of a `cpuN` line.
const COLUMNS: [Column; 3] = [
    ("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process.", Counter),
    (
        "node_schedstat_waiting_seconds_total",
        "Number of seconds spent by processing waiting for this CPU.",
        Counter,
    ),
    ("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.", Counter),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("schedstat");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    let mut families = columns(&COLUMNS);
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")) else { continue };
        for ((i, family), field) in families.iter_mut().enumerate().zip(fields.skip(6)) {
            let value = read::parse::<u64>(&path, field)? as f64;
            family.add(&[("cpu", cpu)], if i < 2 { value / 1e9 } else { value });
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
    fn times_are_given_in_seconds() {
        let tree = Tree::new(&[(
            "proc/schedstat",
            "version 15\ntimestamp 15819019232\ncpu0 0 0 0 0 0 0 2045936778163039 343796328169361 4767485306\ndomain0 00 1 2\n",
        )]);
        let expected = "\
node_schedstat_running_seconds_total{cpu=\"0\"} 2045936.778163039
node_schedstat_timeslices_total{cpu=\"0\"} 4767485306
node_schedstat_waiting_seconds_total{cpu=\"0\"} 343796.328169361
";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

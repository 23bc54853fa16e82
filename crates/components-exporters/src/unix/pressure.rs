//! `pressure`: time lost waiting for resources (PSI), from `/proc/pressure/`.

use super::{CollectorError, Family, Outcome, Paths, read};

/// File, line, name and help. CPU has no stalls that mean anything, interrupts have no waits.
const LINES: [(&str, &str, &str, &str); 6] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let mut found = false;
    let mut read_last: Option<(&str, Option<String>)> = None;
    for (file, line, name, help) in LINES {
        let path = paths.proc("pressure").join(file);
        if read_last.as_ref().is_none_or(|(last, _)| *last != file) {
            // The file is there but not readable where PSI is switched off.
            read_last = Some((file, read::attribute(&path)?));
        }
        let Some((_, Some(text))) = &read_last else { continue };
        let total = text
            .lines()
            .find(|candidate| candidate.starts_with(line))
            .and_then(|line| line.split_ascii_whitespace().find_map(|field| field.strip_prefix("total=")));
        let total = total.ok_or(CollectorError::NoData)?;
        out.push(Family::counter(name, help).with(&[], read::parse::<u64>(&path, total)? as f64 / 1e6));
        found = true;
    }
    if found { Ok(()) } else { Err(CollectorError::NoData) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn totals_are_given_in_seconds() {
        let both = "some avg10=0.10 avg60=2.00 avg300=3.85 total=15000000\nfull avg10=0.20 avg60=3.00 avg300=4.95 total=25000000\n";
        let tree = Tree::new(&[
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\n"),
            ("proc/pressure/io", both),
            ("proc/pressure/irq", "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
        ]);
        let expected = "\
node_pressure_cpu_waiting_seconds_total 14.036781
node_pressure_io_stalled_seconds_total 25
node_pressure_io_waiting_seconds_total 15
node_pressure_irq_stalled_seconds_total 0.000001
";
        assert_eq!(tree.samples(collect), expected);
    }

    #[test]
    fn a_kernel_without_pressure_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

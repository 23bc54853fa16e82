//! `softnet`: packets handled by each CPU, from `/proc/net/softnet_stat`.

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Position in a line of hexadecimal numbers, column.
const COLUMNS: [(usize, Column); 7] = [
    (0, ("node_softnet_processed_total", "Number of processed packets", Counter)),
    (1, ("node_softnet_dropped_total", "Number of dropped packets", Counter)),
    (
        2,
        ("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota", Counter),
    ),
    (
        8,
        (
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
            Counter,
        ),
    ),
    (9, ("node_softnet_received_rps_total", "Number of times cpu woken up received_rps", Counter)),
    (10, ("node_softnet_flow_limit_count_total", "Number of times flow limit has been reached", Counter)),
    (11, ("node_softnet_backlog_len", "Softnet backlog status", Gauge)),
];

/// Columns of the oldest layout.
const SHORTEST: usize = 9;
/// Where newer kernels (5.10) say which CPU a line is of; offline ones have no line.
const CPU: usize = 12;

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/softnet_stat");
    let mut families = columns(&COLUMNS.map(|(_, column)| column));
    for (i, line) in read::text(&path)?.lines().enumerate() {
        let numbers = line
            .split_ascii_whitespace()
            .map(|field| read::hex(&path, field))
            .collect::<Result<Vec<_>, _>>()?;
        if numbers.len() < SHORTEST {
            return Err(CollectorError::parse(&path, format!("too few columns in {line:?}")));
        }
        let cpu = numbers.get(CPU).copied().unwrap_or(i as u64).to_string();
        for ((position, _), family) in COLUMNS.iter().zip(&mut families) {
            family.add(&[("cpu", &cpu)], numbers.get(*position).copied().unwrap_or(0) as f64);
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
    fn old_and_new_layouts_are_read() {
        let tree = Tree::new(&[("proc/net/softnet_stat", "0000000a 1 2 0 0 0 0 0 3 4 5 6 00000004\n")]);
        let expected = "\
node_softnet_backlog_len{cpu=\"4\"} 6
node_softnet_cpu_collision_total{cpu=\"4\"} 3
node_softnet_dropped_total{cpu=\"4\"} 1
node_softnet_flow_limit_count_total{cpu=\"4\"} 5
node_softnet_processed_total{cpu=\"4\"} 10
node_softnet_received_rps_total{cpu=\"4\"} 4
node_softnet_times_squeezed_total{cpu=\"4\"} 2
";
        assert_eq!(tree.samples(collect), expected);
        tree.write(&[("proc/net/softnet_stat", "0000000a 1 2 0 0 0 0 0 3\n")]);
        assert!(tree.samples(collect).contains("node_softnet_cpu_collision_total{cpu=\"0\"} 3\n"));
        tree.write(&[("proc/net/softnet_stat", "0 1 2\n")]);
        assert!(tree.run(collect).1.is_err());
    }
}

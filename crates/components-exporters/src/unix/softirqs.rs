//! `softirqs`: soft interrupts by CPU and kind, from `/proc/softirqs`.

use super::{Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("softirqs");
    let mut family = Family::counter("node_softirqs_functions_total", "Softirq counts per CPU.");
    for line in read::text(&path)?.lines().skip(1) {
        let Some((kind, counts)) = line.split_once(':') else { continue };
        for (cpu, count) in counts.split_ascii_whitespace().enumerate() {
            let labels = [("cpu", cpu.to_string()), ("type", kind.trim().to_string())];
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            family.add(&labels, read::parse(&path, count)?);
        }
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn counts_are_given_by_cpu_and_kind() {
        let tree = Tree::new(&[(
            "proc/softirqs",
            "                    CPU0       CPU1\n          HI:          7          1\n      NET_RX:      43066     104508\n",
        )]);
        let expected = "\
node_softirqs_functions_total{cpu=\"0\",type=\"HI\"} 7
node_softirqs_functions_total{cpu=\"0\",type=\"NET_RX\"} 43066
node_softirqs_functions_total{cpu=\"1\",type=\"HI\"} 1
node_softirqs_functions_total{cpu=\"1\",type=\"NET_RX\"} 104508
";
        assert_eq!(tree.samples(collect), expected);
    }
}

//! `loadavg`: load averages, from `/proc/loadavg`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("loadavg");
    let text = read::text(&path)?;
    let mut fields = text.split_whitespace();
    let averages = [
        ("node_load1", "1m load average."),
        ("node_load5", "5m load average."),
        ("node_load15", "15m load average."),
    ];
    for (name, help) in averages {
        let field =
            fields.next().ok_or_else(|| CollectorError::parse(&path, format!("{text:?} is too short")))?;
        out.push(Family::gauge(name, help).with(&[], read::parse(&path, field)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn three_averages_are_given() {
        let tree = Tree::new(&[("proc/loadavg", "0.21 0.37 0.39 1/719 19737\n")]);
        assert_eq!(tree.samples(collect), "node_load1 0.21\nnode_load15 0.39\nnode_load5 0.37\n");
        tree.write(&[("proc/loadavg", "0.21 x\n")]);
        assert!(tree.run(collect).1.is_err());
    }
}

//! `cgroups`: how many control groups each controller has, from `/proc/cgroups`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("cgroups");
    // Both help texts are the same in node_exporter.
    let help = "Current cgroup number of the subsystem.";
    let mut cgroups = Family::gauge("node_cgroups_cgroups", help);
    let mut enabled = Family::gauge("node_cgroups_enabled", help);
    for line in read::text(&path)?.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [name, _hierarchy, groups, on] = fields[..] else {
            return Err(CollectorError::parse(&path, format!("unexpected line {line:?}")));
        };
        cgroups.add(&[("subsys_name", name)], read::parse(&path, groups)?);
        enabled.add(&[("subsys_name", name)], read::parse(&path, on)?);
    }
    out.extend([cgroups, enabled]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn groups_are_given_by_controller() {
        let tree =
            Tree::new(&[("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t47\t1\n")]);
        assert_eq!(
            tree.samples(collect),
            "node_cgroups_cgroups{subsys_name=\"cpu\"} 47\nnode_cgroups_enabled{subsys_name=\"cpu\"} 1\n"
        );
    }
}

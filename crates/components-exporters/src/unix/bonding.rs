//! `bonding`: slaves of bonding interfaces, from `/sys/class/net/*/bonding/`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let net = paths.sys("class/net");
    let masters = read::text(net.join("bonding_masters")).map_err(CollectorError::missing_is_no_data)?;
    let mut slaves =
        Family::gauge("node_bonding_slaves", "Number of configured slaves per bonding interface.");
    let mut active = Family::gauge("node_bonding_active", "Number of active slaves per bonding interface.");
    for master in masters.split_whitespace() {
        let (mut configured, mut up) = (0.0, 0.0);
        for slave in read::text(net.join(master).join("bonding/slaves"))?.split_whitespace() {
            let status =
                |prefix: &str| net.join(master).join(format!("{prefix}_{slave}/bonding_slave/mii_status"));
            // Kernels before 3.9 say `slave_` where later ones say `lower_`.
            let state = match read::optional(status("lower"))? {
                Some(state) => state,
                None => read::text(status("slave"))?,
            };
            configured += 1.0;
            if state.trim() == "up" {
                up += 1.0;
            }
        }
        slaves.add(&[("master", master)], configured);
        active.add(&[("master", master)], up);
    }
    out.extend([slaves, active]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn slaves_are_counted_and_those_that_are_up() {
        let tree = Tree::new(&[
            ("sys/class/net/bonding_masters", "bond0\n"),
            ("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n"),
            ("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"),
            ("sys/class/net/bond0/slave_eth1/bonding_slave/mii_status", "down\n"),
        ]);
        assert_eq!(
            tree.samples(collect),
            "node_bonding_active{master=\"bond0\"} 1\nnode_bonding_slaves{master=\"bond0\"} 2\n"
        );
    }

    #[test]
    fn a_host_without_bonding_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

//! `arp`: entries of the ARP table by device, from `/proc/net/arp`.

use std::collections::BTreeMap;

use super::config::Config;
use super::error::ConfigError;
use super::filter::Filter;
use super::{Collect, Family, Outcome, Paths, read};

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let arp = &config.arp;
    let filter = Filter::new(
        ("arp.device_exclude", &arp.device_exclude),
        ("arp.device_include", &arp.device_include),
    )?;
    Ok(Box::new(move |paths, out| collect(&filter, paths, out)))
}

fn collect(filter: &Filter, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let text = read::text(paths.proc("net/arp"))?;
    let mut entries: BTreeMap<&str, u32> = BTreeMap::new();
    // The device is the last of the six columns; the first line holds their names.
    for device in text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(5)) {
        *entries.entry(device).or_default() += 1;
    }
    let mut family = Family::gauge("node_arp_entries", "ARP entries by device");
    for (device, count) in entries.into_iter().filter(|(device, _)| !filter.ignores(device)) {
        family.add(&[("device", device)], f64::from(count));
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    const ARP: &str = "IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        eth0
10.0.0.2         0x1         0x2         02:00:00:00:00:02     *        eth0
10.1.0.1         0x1         0x0         00:00:00:00:00:00     *        wlan0
";

    #[test]
    fn entries_are_counted_by_device() {
        let tree = Tree::new(&[("proc/net/arp", ARP)]);
        assert_eq!(
            tree.samples(with(build, |_| {})),
            "node_arp_entries{device=\"eth0\"} 2\nnode_arp_entries{device=\"wlan0\"} 1\n"
        );
    }

    #[test]
    fn devices_can_be_left_out() {
        let tree = Tree::new(&[("proc/net/arp", ARP)]);
        let collect = with(build, |config| config.arp.device_exclude = "^w".into());
        assert_eq!(tree.samples(collect), "node_arp_entries{device=\"eth0\"} 2\n");
    }
}

//! `netdev`: traffic of network devices, from `/proc/net/dev`; addresses over netlink.
//!
//! The kernel adds up the detailed errors in this file exactly as node_exporter does for the names
//! used here. Only "no handler" is not in it; that one comes from sysfs.

use std::net::IpAddr;

use signal::samples::MetricKind::Counter;

use super::config::Config;
use super::error::ConfigError;
use super::filter::Filter;
use super::netlink::{self, Address};
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Columns after the device, in order.
const COLUMNS: &[Column] = &[
    ("node_network_receive_bytes_total", "Network device statistic receive_bytes.", Counter),
    ("node_network_receive_packets_total", "Network device statistic receive_packets.", Counter),
    ("node_network_receive_errs_total", "Network device statistic receive_errs.", Counter),
    ("node_network_receive_drop_total", "Network device statistic receive_drop.", Counter),
    ("node_network_receive_fifo_total", "Network device statistic receive_fifo.", Counter),
    ("node_network_receive_frame_total", "Network device statistic receive_frame.", Counter),
    ("node_network_receive_compressed_total", "Network device statistic receive_compressed.", Counter),
    ("node_network_receive_multicast_total", "Network device statistic receive_multicast.", Counter),
    ("node_network_transmit_bytes_total", "Network device statistic transmit_bytes.", Counter),
    ("node_network_transmit_packets_total", "Network device statistic transmit_packets.", Counter),
    ("node_network_transmit_errs_total", "Network device statistic transmit_errs.", Counter),
    ("node_network_transmit_drop_total", "Network device statistic transmit_drop.", Counter),
    ("node_network_transmit_fifo_total", "Network device statistic transmit_fifo.", Counter),
    ("node_network_transmit_colls_total", "Network device statistic transmit_colls.", Counter),
    ("node_network_transmit_carrier_total", "Network device statistic transmit_carrier.", Counter),
    ("node_network_transmit_compressed_total", "Network device statistic transmit_compressed.", Counter),
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let netdev = &config.netdev;
    let filter = Filter::exclusive(
        ("netdev.device_exclude", &netdev.device_exclude),
        ("netdev.device_include", &netdev.device_include),
    )?;
    let address_info = netdev.address_info;
    Ok(Box::new(move |paths, out| {
        traffic(&filter, paths, out)?;
        if address_info {
            out.push(addresses(&netlink::addresses()?));
        }
        Ok(())
    }))
}

fn traffic(filter: &Filter, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/dev");
    let text = read::text(&path)?;
    let mut families = columns(COLUMNS);
    let mut no_handler = Family::counter(
        "node_network_receive_nohandler_total",
        "Network device statistic receive_nohandler.",
    );
    for line in text.lines().skip(2) {
        // The name may hold colons itself, as in aliases.
        let (device, numbers) = line
            .rsplit_once(':')
            .ok_or_else(|| CollectorError::parse(&path, format!("malformed line {line:?}")))?;
        let device = device.trim();
        if filter.ignores(device) {
            continue;
        }
        for (field, family) in numbers.split_ascii_whitespace().zip(&mut families) {
            family.add(&[("device", device)], read::parse::<u64>(&path, field)? as f64);
        }
        let file = paths.sys("class/net").join(device).join("statistics/rx_nohandler");
        if let Some(value) = read::attribute_number(file)? {
            no_handler.add(&[("device", device)], value);
        }
    }
    families.push(no_handler);
    out.append(&mut families);
    Ok(())
}

fn addresses(addresses: &[Address]) -> Family {
    let mut family = Family::gauge("node_network_address_info", "node network address by device");
    for Address { device, address, prefix } in addresses {
        let labels = [
            ("device", device.as_str()),
            ("address", &address.to_string()),
            ("netmask", &prefix.to_string()),
            ("scope", scope(*address)),
        ];
        family.add(&labels, 1.0);
    }
    family
}

/// As node_exporter: loopback counts as link-local.
fn scope(address: IpAddr) -> &'static str {
    let (link_local, global) = match address {
        IpAddr::V4(v4) => (
            v4.is_link_local() || v4.octets()[..3] == [224, 0, 0],
            !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        ),
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.octets();
            let link_local =
                (first == 0xfe && second & 0xc0 == 0x80) || (first == 0xff && second & 0x0f == 2);
            (link_local, !v6.is_unspecified() && !v6.is_multicast())
        }
    };
    match address {
        _ if address.is_loopback() || link_local => "link-local",
        IpAddr::V6(v6) if v6.is_multicast() && v6.octets()[1] & 0x0f == 1 => "interface-local",
        _ if global => "global",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
eth0.1:18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
";

    #[test]
    fn traffic_is_given_by_device() {
        let tree = Tree::new(&[("proc/net/dev", DEV), ("sys/class/net/lo/statistics/rx_nohandler", "17\n")]);
        let text = tree.samples(with(build, |config| config.netdev.device_include = "^lo$".into()));
        let expected = "\
node_network_receive_bytes_total{device=\"lo\"} 1
node_network_receive_compressed_total{device=\"lo\"} 7
node_network_receive_drop_total{device=\"lo\"} 4
node_network_receive_errs_total{device=\"lo\"} 3
node_network_receive_fifo_total{device=\"lo\"} 5
node_network_receive_frame_total{device=\"lo\"} 6
node_network_receive_multicast_total{device=\"lo\"} 8
node_network_receive_nohandler_total{device=\"lo\"} 17
node_network_receive_packets_total{device=\"lo\"} 2
node_network_transmit_bytes_total{device=\"lo\"} 9
node_network_transmit_carrier_total{device=\"lo\"} 15
node_network_transmit_colls_total{device=\"lo\"} 14
node_network_transmit_compressed_total{device=\"lo\"} 16
node_network_transmit_drop_total{device=\"lo\"} 12
node_network_transmit_errs_total{device=\"lo\"} 11
node_network_transmit_fifo_total{device=\"lo\"} 13
node_network_transmit_packets_total{device=\"lo\"} 10
";
        assert_eq!(text, expected);
        let all = tree.samples(with(build, |_| {}));
        assert!(
            all.contains("node_network_receive_bytes_total{device=\"eth0.1\"} 18446744073709552000\n"),
            "{all}"
        );
    }

    #[test]
    fn scopes_are_told_apart() {
        let cases = [
            ("127.0.0.1", "link-local"),
            ("169.254.1.1", "link-local"),
            ("10.0.0.1", "global"),
            ("8.8.8.8", "global"),
            ("0.0.0.0", ""),
            ("::1", "link-local"),
            ("fe80::1", "link-local"),
            ("fd00::1", "global"),
            ("ff01::1", "interface-local"),
            ("ff02::1", "link-local"),
        ];
        for (address, expected) in cases {
            assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn addresses_become_labels() {
        let address = Address { device: "eth0".into(), address: "10.0.0.1".parse().unwrap(), prefix: 24 };
        let expected = Family::gauge("node_network_address_info", "node network address by device").with(
            &[("device", "eth0"), ("address", "10.0.0.1"), ("netmask", "24"), ("scope", "global")],
            1.0,
        );
        assert_eq!(addresses(&[address]), expected);
    }
}

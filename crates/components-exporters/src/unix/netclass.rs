//! `netclass`: properties of network devices, from `/sys/class/net/*/`.

use std::path::Path;

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::Config;
use super::error::ConfigError;
use super::filter::{Pattern, pattern};
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Numeric attributes and their columns.
const VALUES: [(&str, Column); 16] = [
    (
        "addr_assign_type",
        ("node_network_address_assign_type", "Network device property: address_assign_type", Gauge),
    ),
    ("carrier", ("node_network_carrier", "Network device property: carrier", Gauge)),
    (
        "carrier_changes",
        ("node_network_carrier_changes_total", "Network device property: carrier_changes_total", Counter),
    ),
    (
        "carrier_up_count",
        (
            "node_network_carrier_up_changes_total",
            "Network device property: carrier_up_changes_total",
            Counter,
        ),
    ),
    (
        "carrier_down_count",
        (
            "node_network_carrier_down_changes_total",
            "Network device property: carrier_down_changes_total",
            Counter,
        ),
    ),
    ("dev_id", ("node_network_device_id", "Network device property: device_id", Gauge)),
    ("dormant", ("node_network_dormant", "Network device property: dormant", Gauge)),
    ("flags", ("node_network_flags", "Network device property: flags", Gauge)),
    ("ifindex", ("node_network_iface_id", "Network device property: iface_id", Gauge)),
    ("iflink", ("node_network_iface_link", "Network device property: iface_link", Gauge)),
    ("link_mode", ("node_network_iface_link_mode", "Network device property: iface_link_mode", Gauge)),
    ("mtu", ("node_network_mtu_bytes", "Network device property: mtu_bytes", Gauge)),
    (
        "name_assign_type",
        ("node_network_name_assign_type", "Network device property: name_assign_type", Gauge),
    ),
    ("netdev_group", ("node_network_net_dev_group", "Network device property: net_dev_group", Gauge)),
    (
        "tx_queue_len",
        ("node_network_transmit_queue_length", "Network device property: transmit_queue_length", Gauge),
    ),
    ("type", ("node_network_protocol_type", "Network device property: protocol_type", Gauge)),
];

const OTHER: &[Column] = &[
    ("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", Gauge),
    ("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.", Gauge),
    ("node_network_speed_bytes", "Network device property: speed_bytes", Gauge),
];

/// IFF_UP of `flags`.
const UP: i64 = 1;

struct Netclass {
    ignored: Pattern,
    ignore_invalid_speed: bool,
}

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let netclass = Netclass {
        ignored: pattern("netclass.ignored_devices", &config.netclass.ignored_devices)?,
        ignore_invalid_speed: config.netclass.ignore_invalid_speed_device,
    };
    Ok(Box::new(move |paths, out| netclass.collect(paths, out)))
}

impl Netclass {
    fn collect(&self, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
        let root = paths.sys("class/net");
        let devices = read::names(&root).map_err(CollectorError::unreadable_is_no_data)?;
        let mut values = columns(&VALUES.map(|(_, column)| column));
        let mut other = columns(OTHER);
        // Plain files here are of the class itself, such as `bonding_masters`.
        for device in devices.iter().filter(|name| !self.ignored.is_match(name) && root.join(name).is_dir()) {
            self.device(&root.join(device), device, &mut values, &mut other)?;
        }
        out.extend([values, other].into_iter().flatten());
        Ok(())
    }

    fn device(&self, dir: &Path, device: &str, values: &mut [Family], other: &mut [Family]) -> Outcome {
        let labels = [("device", device)];
        for ((file, _), family) in VALUES.iter().zip(values) {
            if let Some(value) = read::attribute_number(dir.join(file))? {
                family.add(&labels, value);
            }
        }
        let text = |file: &str| read::attribute(dir.join(file)).map(Option::unwrap_or_default);
        let state = text("operstate")?;
        let admin = match read::integer(&text("flags")?) {
            None => "unknown",
            Some(flags) if flags & UP != 0 => "up",
            Some(_) => "down",
        };
        other[0].add(&labels, if state == "up" { 1.0 } else { 0.0 });
        let info = [
            ("device", device),
            ("address", &text("address")?),
            ("adminstate", admin),
            ("broadcast", &text("broadcast")?),
            ("duplex", &text("duplex")?),
            ("ifalias", &text("ifalias")?),
            ("operstate", &state),
        ];
        other[1].add(&info, 1.0);
        // Megabits; some devices say -1 where the speed is not known.
        if let Some(speed) = read::attribute_number(dir.join("speed"))?
            && (speed >= 0.0 || !self.ignore_invalid_speed)
        {
            other[2].add(&labels, (speed * 125_000.0).trunc());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    fn tree() -> Tree {
        Tree::new(&[
            ("sys/class/net/bonding_masters", "bond0\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/flags", "0x1003\n"),
            ("sys/class/net/eth0/speed", "-1\n"),
            ("sys/class/net/eth0/address", "01:01:01:01:01:01\n"),
            ("sys/class/net/eth0/mtu", "1500\n"),
            ("sys/class/net/tun0/operstate", "unknown\n"),
            ("sys/class/net/tun0/speed", "10\n"),
        ])
    }

    #[test]
    fn properties_are_given_by_device() {
        let expected = "\
node_network_flags{device=\"eth0\"} 4099
node_network_info{address=\"\",adminstate=\"unknown\",broadcast=\"\",device=\"tun0\",duplex=\"\",ifalias=\"\",operstate=\"unknown\"} 1
node_network_info{address=\"01:01:01:01:01:01\",adminstate=\"up\",broadcast=\"\",device=\"eth0\",duplex=\"\",ifalias=\"\",operstate=\"up\"} 1
node_network_mtu_bytes{device=\"eth0\"} 1500
node_network_speed_bytes{device=\"eth0\"} -125000
node_network_speed_bytes{device=\"tun0\"} 1250000
node_network_up{device=\"eth0\"} 1
node_network_up{device=\"tun0\"} 0
";
        assert_eq!(tree().samples(with(build, |_| {})), expected);
    }

    #[test]
    fn devices_and_unknown_speeds_can_be_left_out() {
        let text = tree().samples(with(build, |config| {
            config.netclass.ignore_invalid_speed_device = true;
            config.netclass.ignored_devices = "^tun".into();
        }));
        assert!(!text.contains("tun0") && !text.contains("speed"), "{text}");
    }

    #[test]
    fn a_host_without_network_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(with(build, |_| {})).1, Err(CollectorError::NoData)));
    }
}

//! `infiniband`: InfiniBand ports, from `/sys/class/infiniband/<device>/ports/`.

use std::path::Path;

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

const STATES: &[Column] = &[
    (
        "node_infiniband_state_id",
        "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
        Gauge,
    ),
    (
        "node_infiniband_physical_state_id",
        "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, \
         5: link up, 6: link error recover, 7: phytest)",
        Gauge,
    ),
    ("node_infiniband_rate_bytes_per_second", "Maximum signal transfer rate", Gauge),
];

/// Files of a port and their columns; those ending in `data` or `data_64` count four octets.
const COUNTERS: [(&str, Column); 30] = [
    (
        "counters_ext/port_multicast_rcv_packets",
        (
            "node_infiniband_legacy_multicast_packets_received_total",
            "Number of multicast packets received",
            Counter,
        ),
    ),
    (
        "counters_ext/port_multicast_xmit_packets",
        (
            "node_infiniband_legacy_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted",
            Counter,
        ),
    ),
    (
        "counters_ext/port_rcv_data_64",
        (
            "node_infiniband_legacy_data_received_bytes_total",
            "Number of data octets received on all links",
            Counter,
        ),
    ),
    (
        "counters_ext/port_rcv_packets_64",
        (
            "node_infiniband_legacy_packets_received_total",
            "Number of data packets received on all links",
            Counter,
        ),
    ),
    (
        "counters_ext/port_unicast_rcv_packets",
        (
            "node_infiniband_legacy_unicast_packets_received_total",
            "Number of unicast packets received",
            Counter,
        ),
    ),
    (
        "counters_ext/port_unicast_xmit_packets",
        (
            "node_infiniband_legacy_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted",
            Counter,
        ),
    ),
    (
        "counters_ext/port_xmit_data_64",
        (
            "node_infiniband_legacy_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
            Counter,
        ),
    ),
    (
        "counters_ext/port_xmit_packets_64",
        (
            "node_infiniband_legacy_packets_transmitted_total",
            "Number of data packets received on all links",
            Counter,
        ),
    ),
    (
        "counters/excessive_buffer_overrun_errors",
        (
            "node_infiniband_excessive_buffer_overrun_errors_total",
            "Number of times that OverrunErrors consecutive flow control update periods occurred, each having at \
             least one overrun error.",
            Counter,
        ),
    ),
    (
        "counters/link_downed",
        (
            "node_infiniband_link_downed_total",
            "Number of times the link failed to recover from an error state and went down",
            Counter,
        ),
    ),
    (
        "counters/link_error_recovery",
        (
            "node_infiniband_link_error_recovery_total",
            "Number of times the link successfully recovered from an error state",
            Counter,
        ),
    ),
    (
        "counters/local_link_integrity_errors",
        (
            "node_infiniband_local_link_integrity_errors_total",
            "Number of times that the count of local physical errors exceeded the threshold specified by \
             LocalPhyErrors.",
            Counter,
        ),
    ),
    (
        "counters/multicast_rcv_packets",
        (
            "node_infiniband_multicast_packets_received_total",
            "Number of multicast packets received (including errors)",
            Counter,
        ),
    ),
    (
        "counters/multicast_xmit_packets",
        (
            "node_infiniband_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted (including errors)",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_constraint_errors",
        (
            "node_infiniband_port_constraint_errors_received_total",
            "Number of packets received on the switch physical port that are discarded",
            Counter,
        ),
    ),
    (
        "counters/port_xmit_constraint_errors",
        (
            "node_infiniband_port_constraint_errors_transmitted_total",
            "Number of packets not transmitted from the switch physical port",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_data",
        (
            "node_infiniband_port_data_received_bytes_total",
            "Number of data octets received on all links",
            Counter,
        ),
    ),
    (
        "counters/port_xmit_data",
        (
            "node_infiniband_port_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_discards",
        (
            "node_infiniband_port_discards_received_total",
            "Number of inbound packets discarded by the port because the port is down or congested",
            Counter,
        ),
    ),
    (
        "counters/port_xmit_discards",
        (
            "node_infiniband_port_discards_transmitted_total",
            "Number of outbound packets discarded by the port because the port is down or congested",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_errors",
        (
            "node_infiniband_port_errors_received_total",
            "Number of packets containing an error that were received on this port",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_packets",
        (
            "node_infiniband_port_packets_received_total",
            "Number of packets received on all VLs by this port (including errors)",
            Counter,
        ),
    ),
    (
        "counters/port_xmit_packets",
        (
            "node_infiniband_port_packets_transmitted_total",
            "Number of packets transmitted on all VLs from this port (including errors)",
            Counter,
        ),
    ),
    (
        "counters/port_xmit_wait",
        (
            "node_infiniband_port_transmit_wait_total",
            "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
            Counter,
        ),
    ),
    (
        "counters/unicast_rcv_packets",
        (
            "node_infiniband_unicast_packets_received_total",
            "Number of unicast packets received (including errors)",
            Counter,
        ),
    ),
    (
        "counters/unicast_xmit_packets",
        (
            "node_infiniband_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted (including errors)",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_remote_physical_errors",
        (
            "node_infiniband_port_receive_remote_physical_errors_total",
            "Number of packets marked with the EBP (End of Bad Packet) delimiter received on the port.",
            Counter,
        ),
    ),
    (
        "counters/port_rcv_switch_relay_errors",
        (
            "node_infiniband_port_receive_switch_relay_errors_total",
            "Number of packets that could not be forwarded by the switch.",
            Counter,
        ),
    ),
    (
        "counters/symbol_error",
        (
            "node_infiniband_symbol_error_total",
            "Number of minor link errors detected on one or more physical lanes.",
            Counter,
        ),
    ),
    (
        "counters/VL15_dropped",
        (
            "node_infiniband_vl15_dropped_total",
            "Number of incoming VL15 packets dropped due to resource limitations.",
            Counter,
        ),
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/infiniband");
    let devices = read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut info = Family::gauge(
        "node_infiniband_info",
        "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
    );
    let mut states = columns(STATES);
    let mut counters = columns(&COUNTERS.map(|(_, column)| column));
    for device in &devices {
        let dir = root.join(device);
        let text = |file: &str| read::attribute(dir.join(file)).map(Option::unwrap_or_default);
        let labels = [
            ("device", device.as_str()),
            ("board_id", &text("board_id")?),
            ("firmware_version", &read::trimmed(dir.join("fw_ver"))?),
            ("hca_type", &text("hca_type")?),
        ];
        info.add(&labels, 1.0);
        for port in read::names(dir.join("ports"))? {
            self::port(&dir.join("ports").join(&port), device, &port, &mut states, &mut counters)?;
        }
    }
    out.push(info);
    out.extend([states, counters].into_iter().flatten());
    Ok(())
}

fn port(dir: &Path, device: &str, port: &str, states: &mut [Family], counters: &mut [Family]) -> Outcome {
    let labels = [("device", device), ("port", port)];
    // `4: ACTIVE`, `5: LinkUp`, `40 Gb/sec (4X QDR)`.
    let first = |file: &str, end: char| -> Result<f64, CollectorError> {
        let path = dir.join(file);
        let text = read::trimmed(&path)?;
        read::parse(&path, text.split(end).next().unwrap_or_default())
    };
    states[0].add(&labels, first("state", ':')?);
    states[1].add(&labels, first("phys_state", ':')?);
    states[2].add(&labels, (first("rate", ' ')? * 125e6).trunc());
    for ((file, _), family) in COUNTERS.iter().zip(counters) {
        // Ports without performance management say `N/A (no PMA)`.
        let value = read::attribute(dir.join(file))?.and_then(|text| text.parse::<u64>().ok());
        if let Some(value) = value {
            let unit = if file.ends_with("data") || file.ends_with("data_64") { 4 } else { 1 };
            family.add(&labels, value.wrapping_mul(unit) as f64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn ports_are_given_with_their_states_and_counters() {
        let device = "sys/class/infiniband/mlx4_0";
        let tree = Tree::new(&[
            (&format!("{device}/fw_ver"), "2.31.5050\n"),
            (&format!("{device}/hca_type"), "MT4099\n"),
            (&format!("{device}/ports/1/state"), "4: ACTIVE\n"),
            (&format!("{device}/ports/1/phys_state"), "5: LinkUp\n"),
            (&format!("{device}/ports/1/rate"), "40 Gb/sec (4X QDR)\n"),
            (&format!("{device}/ports/1/counters/port_rcv_data"), "10\n"),
            (&format!("{device}/ports/1/counters/link_downed"), "N/A (no PMA)\n"),
            (&format!("{device}/ports/1/counters_ext/port_xmit_data_64"), "3\n"),
        ]);
        let expected = "\
node_infiniband_info{board_id=\"\",device=\"mlx4_0\",firmware_version=\"2.31.5050\",hca_type=\"MT4099\"} 1
node_infiniband_legacy_data_transmitted_bytes_total{device=\"mlx4_0\",port=\"1\"} 12
node_infiniband_physical_state_id{device=\"mlx4_0\",port=\"1\"} 5
node_infiniband_port_data_received_bytes_total{device=\"mlx4_0\",port=\"1\"} 40
node_infiniband_rate_bytes_per_second{device=\"mlx4_0\",port=\"1\"} 5000000000
node_infiniband_state_id{device=\"mlx4_0\",port=\"1\"} 4
";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

//! `fibrechannel`: Fibre Channel ports, from `/sys/class/fc_host/`.

use std::path::Path;

use signal::samples::MetricKind::Counter;

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Files below `statistics/` and their columns.
const COUNTERS: [(&str, Column); 14] = [
    ("dumped_frames", ("node_fibrechannel_dumped_frames_total", "Number of dumped frames", Counter)),
    ("error_frames", ("node_fibrechannel_error_frames_total", "Number of errors in frames", Counter)),
    (
        "invalid_crc_count",
        ("node_fibrechannel_invalid_crc_total", "Invalid Cyclic Redundancy Check count", Counter),
    ),
    ("rx_frames", ("node_fibrechannel_rx_frames_total", "Number of frames received", Counter)),
    ("rx_words", ("node_fibrechannel_rx_words_total", "Number of words received by host port", Counter)),
    (
        "tx_frames",
        ("node_fibrechannel_tx_frames_total", "Number of frames transmitted by host port", Counter),
    ),
    ("tx_words", ("node_fibrechannel_tx_words_total", "Number of words transmitted by host port", Counter)),
    (
        "seconds_since_last_reset",
        (
            "node_fibrechannel_seconds_since_last_reset_total",
            "Number of seconds since last host port reset",
            Counter,
        ),
    ),
    (
        "invalid_tx_word_count",
        (
            "node_fibrechannel_invalid_tx_words_total",
            "Number of invalid words transmitted by host port",
            Counter,
        ),
    ),
    (
        "link_failure_count",
        ("node_fibrechannel_link_failure_total", "Number of times the host port link has failed", Counter),
    ),
    (
        "loss_of_sync_count",
        (
            "node_fibrechannel_loss_of_sync_total",
            "Number of failures on either bit or transmission word boundaries",
            Counter,
        ),
    ),
    (
        "loss_of_signal_count",
        ("node_fibrechannel_loss_of_signal_total", "Number of times signal has been lost", Counter),
    ),
    (
        "nos_count",
        (
            "node_fibrechannel_nos_total",
            "Number Not_Operational Primitive Sequence received by host port",
            Counter,
        ),
    ),
    (
        "fcp_packet_aborts",
        ("node_fibrechannel_fcp_packet_aborts_total", "Number of aborted packets", Counter),
    ),
];

/// Files with text, which are also the names of their labels.
const TEXTS: [&str; 10] = [
    "speed",
    "port_state",
    "port_type",
    "port_id",
    "port_name",
    "fabric_name",
    "symbolic_name",
    "supported_classes",
    "supported_speeds",
    "dev_loss_tmo",
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/fc_host");
    let hosts = read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut families = columns(&COUNTERS.map(|(_, column)| column));
    let mut info = Family::gauge(
        "node_fibrechannel_info",
        "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
    );
    for host in &hosts {
        describe(&root.join(host), host, &mut info)?;
        for ((file, _), family) in COUNTERS.iter().zip(&mut families) {
            let path = root.join(host).join("statistics").join(file);
            let Some(text) = read::attribute(&path)? else { continue };
            let value = text
                .strip_prefix("0x")
                .map_or_else(|| read::parse(&path, &text), |hex| read::hex(&path, hex))?;
            // All ones: the adapter's firmware does not count this.
            if value != u64::MAX {
                family.add(&[("fc_host", host)], value as f64);
            }
        }
    }
    families.push(info);
    out.append(&mut families);
    Ok(())
}

fn describe(dir: &Path, host: &str, info: &mut Family) -> Outcome {
    let mut texts = Vec::with_capacity(TEXTS.len());
    for file in TEXTS {
        let mut text = read::attribute(dir.join(file))?.unwrap_or_default();
        // These are shown without their `0x`.
        if matches!(file, "port_id" | "port_name" | "fabric_name") && text.len() > 2 {
            text.drain(..2);
        }
        texts.push(text);
    }
    let mut labels = vec![("fc_host", host)];
    labels.extend(TEXTS.iter().copied().zip(texts.iter().map(String::as_str)));
    info.add(&labels, 1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn a_port_is_given_and_counters_that_are_not_implemented_are_absent() {
        let host = "sys/class/fc_host/host1";
        let tree = Tree::new(&[
            (&format!("{host}/port_name"), "0x1000e0071bce95f2\n"),
            (&format!("{host}/speed"), "16 Gbit\n"),
            (&format!("{host}/statistics/rx_frames"), "0x3\n"),
            (&format!("{host}/statistics/nos_count"), "0xffffffffffffffff\n"),
        ]);
        let expected = "\
node_fibrechannel_info{dev_loss_tmo=\"\",fabric_name=\"\",fc_host=\"host1\",port_id=\"\",\
port_name=\"1000e0071bce95f2\",port_state=\"\",port_type=\"\",speed=\"16 Gbit\",supported_classes=\"\",\
supported_speeds=\"\",symbolic_name=\"\"} 1
node_fibrechannel_rx_frames_total{fc_host=\"host1\"} 3
";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

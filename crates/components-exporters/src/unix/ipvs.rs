//! `ipvs`: the kernel's load balancer, from `/proc/net/ip_vs_stats` and `/proc/net/ip_vs`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use signal::samples::MetricKind::{Counter, Gauge};

use super::config::{Config, IPVS_LABELS};
use super::error::ConfigError;
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

const TOTALS: &[Column] = &[
    ("node_ipvs_connections_total", "The total number of connections made.", Counter),
    ("node_ipvs_incoming_packets_total", "The total number of incoming packets.", Counter),
    ("node_ipvs_outgoing_packets_total", "The total number of outgoing packets.", Counter),
    ("node_ipvs_incoming_bytes_total", "The total amount of incoming data.", Counter),
    ("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data.", Counter),
];

/// In order of the last three columns of a backend's line: weight, active, inactive.
const BACKENDS: &[Column] = &[
    ("node_ipvs_backend_weight", "The current backend weight by local and remote address.", Gauge),
    (
        "node_ipvs_backend_connections_active",
        "The current active connections by local and remote address.",
        Gauge,
    ),
    (
        "node_ipvs_backend_connections_inactive",
        "The current inactive connections by local and remote address.",
        Gauge,
    ),
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let wanted = &config.ipvs.backend_labels;
    if let Some(unknown) = wanted.iter().find(|label| !IPVS_LABELS.contains(&label.as_str())) {
        let problem = format!("unknown label {unknown:?}; the labels are {}", IPVS_LABELS.join(", "));
        return Err(ConfigError::Value { argument: "ipvs.backend_labels", problem });
    }
    let positions: Vec<usize> =
        (0..IPVS_LABELS.len()).filter(|i| wanted.iter().any(|label| label == IPVS_LABELS[*i])).collect();
    Ok(Box::new(move |paths, out| collect(&positions, paths, out)))
}

fn collect(positions: &[usize], paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/ip_vs_stats");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    // Two lines of headings, one of totals, then rates.
    let totals: Vec<_> = text.lines().nth(2).unwrap_or_default().split_whitespace().collect();
    if totals.len() != TOTALS.len() {
        return Err(CollectorError::parse(&path, "the third line is not five totals"));
    }
    for (mut family, total) in columns(TOTALS).into_iter().zip(totals) {
        family.add(&[], read::hex(&path, total)? as f64);
        out.push(family);
    }
    backends(positions, paths, out)
}

fn backends(positions: &[usize], paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/ip_vs");
    let malformed = |line: &str| CollectorError::parse(&path, format!("malformed line {line:?}"));
    // Address, port, protocol and mark of the service that the following backends belong to.
    let mut local = [String::new(), "0".to_string(), String::new(), String::new()];
    let mut sums: BTreeMap<Vec<String>, [u64; 3]> = BTreeMap::new();
    for line in read::text(&path)?.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            ["TCP" | "UDP" | "SCTP", place, ..] => {
                let (address, port) = address(place).ok_or_else(|| malformed(line))?;
                local = [address, port, fields[0].to_string(), String::new()];
            }
            ["FWM", mark, ..] => {
                local = [String::new(), "0".to_string(), "FWM".to_string(), mark.to_string()]
            }
            ["->", "RemoteAddress:Port", ..] => {}
            ["->", place, _forward, weight, active, inactive, ..] => {
                let (address, port) = address(place).ok_or_else(|| malformed(line))?;
                let all = [&local[0], &local[1], &address, &port, &local[2], &local[3]];
                let key = positions.iter().map(|i| all[*i].clone()).collect();
                let sum = sums.entry(key).or_default();
                for (sum, value) in sum.iter_mut().zip([weight, active, inactive]) {
                    *sum += read::parse::<u64>(&path, value)?;
                }
            }
            _ => {}
        }
    }
    let mut families = columns(BACKENDS);
    for (key, sum) in &sums {
        let labels: Vec<_> =
            positions.iter().map(|i| IPVS_LABELS[*i]).zip(key.iter().map(String::as_str)).collect();
        for (family, value) in families.iter_mut().zip(sum) {
            family.add(&labels, *value as f64);
        }
    }
    out.append(&mut families);
    Ok(())
}

/// Address and port of `C0A80016:0CEA` or `[2620:0000:…:0001]:0050`, readable.
fn address(text: &str) -> Option<(String, String)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?.to_string();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
        None => Ipv4Addr::from(u32::from_str_radix(host, 16).ok().filter(|_| host.len() == 8)?).to_string(),
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    const STATS: &str = "   Total Incoming Outgoing         Incoming         Outgoing\n   Conns  Packets  Packets            Bytes            Bytes\n 16AA370 E33656E5        0     51D8C8883AB3                0\n\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";
    const SERVICES: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0A80016:0CEA wlc
  -> C0A85216:0CEA      Tunnel  100    248        2
  -> C0A85318:0CEA      Tunnel  100    248        1
FWM  10001000 wlc
  -> [2620:0000:0000:0000:0000:0000:0000:0001]:0050 Route 20 0 1
";

    #[test]
    fn totals_and_backends_are_given() {
        let tree = Tree::new(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", SERVICES)]);
        let text = tree.samples(with(build, |_| {}));
        for line in [
            "node_ipvs_connections_total 23765872",
            "node_ipvs_incoming_bytes_total 89991519156915",
            "node_ipvs_backend_connections_active{local_address=\"192.168.0.22\",local_mark=\"\",local_port=\"3306\",\
             proto=\"TCP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"} 248",
            "node_ipvs_backend_weight{local_address=\"\",local_mark=\"10001000\",local_port=\"0\",proto=\"FWM\",\
             remote_address=\"2620::1\",remote_port=\"80\"} 20",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn backends_that_agree_in_the_wanted_labels_are_summed() {
        let tree = Tree::new(&[("proc/net/ip_vs_stats", STATS), ("proc/net/ip_vs", SERVICES)]);
        let text = tree.samples(with(build, |config| config.ipvs.backend_labels = vec!["proto".into()]));
        assert!(text.contains("node_ipvs_backend_connections_inactive{proto=\"TCP\"} 3\n"), "{text}");
    }

    #[test]
    fn an_unknown_label_is_an_error() {
        let mut config = Config::default();
        config.ipvs.backend_labels = vec!["colour".into()];
        let error = build(&config).err().unwrap().to_string();
        assert!(error.starts_with("ipvs.backend_labels: unknown label \"colour\""), "{error}");
    }

    #[test]
    fn without_the_module_there_is_no_data() {
        assert!(matches!(Tree::new(&[]).run(with(build, |_| {})).1, Err(CollectorError::NoData)));
    }
}

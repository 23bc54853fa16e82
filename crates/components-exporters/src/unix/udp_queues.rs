//! `udp_queues`: memory used by queues of UDP sockets, from `/proc/net/udp` and `udp6`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let mut family = Family::gauge(
        "node_udp_queues",
        "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    );
    for (file, ip) in [("net/udp", "v4"), ("net/udp6", "v6")] {
        let path = paths.proc(file);
        let Some(text) = read::optional(&path)? else { continue };
        let (mut sent, mut received) = (0u64, 0u64);
        for line in text.lines().skip(1) {
            let queues = line.split_ascii_whitespace().nth(4).and_then(|queues| queues.split_once(':'));
            let (transmit, receive) =
                queues.ok_or_else(|| CollectorError::parse(&path, format!("malformed line {line:?}")))?;
            sent += read::hex(&path, transmit)?;
            received += read::hex(&path, receive)?;
        }
        family.add(&[("queue", "tx"), ("ip", ip)], sent as f64);
        family.add(&[("queue", "rx"), ("ip", ip)], received as f64);
    }
    if family.metrics.is_empty() {
        return Err(CollectorError::NoData);
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn queues_are_summed_by_version_of_ip() {
        let tree = Tree::new(&[(
            "proc/net/udp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n   0: 0:0 0:0 07 00000015:00000000 00:0\n   1: 0:0 0:0 07 0000000A:00000003 00:0\n",
        )]);
        assert_eq!(
            tree.samples(collect),
            "node_udp_queues{ip=\"v4\",queue=\"rx\"} 3\nnode_udp_queues{ip=\"v4\",queue=\"tx\"} 31\n"
        );
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

//! `tcpstat`: TCP sockets by state and bytes in their queues, from `/proc/net/tcp` and `tcp6`.
//!
//! node_exporter asks for the same over netlink. There the transmit queue of a listening socket is
//! the limit of its backlog and is counted as bytes; here it is 0.

use super::{CollectorError, Family, Outcome, Paths, read};

/// Names of the kernel's states, from number 1 on; 12 is a request that is not yet accepted.
const STATES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "syn_recv",
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/tcp");
    let mut counts = [0u64; STATES.len()];
    let (mut sent, mut received) = (0u64, 0u64);
    let v4 = read::text(&path)?;
    let v6 = read::optional(paths.proc("net/tcp6"))?.unwrap_or_default();
    for line in v4.lines().skip(1).chain(v6.lines().skip(1)) {
        let malformed = || CollectorError::parse(&path, format!("malformed line {line:?}"));
        let mut fields = line.split_ascii_whitespace().skip(3);
        let state = read::hex(&path, fields.next().ok_or_else(malformed)?)?;
        let (transmit, receive) =
            fields.next().and_then(|queues| queues.split_once(':')).ok_or_else(malformed)?;
        sent += read::hex(&path, transmit)?;
        received += read::hex(&path, receive)?;
        let position = usize::try_from(state).ok().and_then(|state| state.checked_sub(1));
        *position.and_then(|position| counts.get_mut(position)).ok_or_else(malformed)? += 1;
    }
    counts[2] += counts[11];
    let mut family = Family::gauge("node_tcp_connection_states", "Number of connection states.");
    for (state, count) in STATES.iter().zip(counts).take(11).filter(|(_, count)| *count > 0) {
        family.add(&[("state", state)], count as f64);
    }
    family.add(&[("state", "tx_queued_bytes")], sent as f64);
    family.add(&[("state", "rx_queued_bytes")], received as f64);
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn sockets_of_both_versions_are_counted_by_state() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let v4 = format!(
            "{head}   0: 0500000A:0016 00000000:0000 0A 00000000:00000001 00:00000000 00000000 0 0 2740\n   1: 0500000A:0016 0202000A:8B6B 01 00000015:00000000 02:000AC99B 00000000 0 0 3652\n"
        );
        let v6 = format!("{head}   0: 0:0 0:0 0C 0:0 0:0 0 0 0 1\n   1: 0:0 0:0 01 1:2 0:0 0 0 0 1\n");
        let tree = Tree::new(&[("proc/net/tcp", &v4), ("proc/net/tcp6", &v6)]);
        let expected = "\
node_tcp_connection_states{state=\"established\"} 2
node_tcp_connection_states{state=\"listen\"} 1
node_tcp_connection_states{state=\"rx_queued_bytes\"} 3
node_tcp_connection_states{state=\"syn_recv\"} 1
node_tcp_connection_states{state=\"tx_queued_bytes\"} 22
";
        assert_eq!(tree.samples(collect), expected);
    }
}

//! `sockstat`: sockets by protocol, from `/proc/net/sockstat` and `/proc/net/sockstat6`.

use std::path::Path;

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    for file in ["net/sockstat", "net/sockstat6"] {
        let path = paths.proc(file);
        // Either is not there where the kernel does not speak that version of IP.
        for line in read::optional(&path)?.unwrap_or_default().lines() {
            protocol(&path, line, out)?;
        }
    }
    Ok(())
}

/// A line such as `TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1`.
fn protocol(path: &Path, line: &str, out: &mut Vec<Family>) -> Outcome {
    let malformed = || CollectorError::parse(path, format!("malformed line {line:?}"));
    let (protocol, rest) = line.split_once(':').ok_or_else(malformed)?;
    let mut fields = rest.split_ascii_whitespace();
    while let Some(state) = fields.next() {
        let value: f64 = read::parse(path, fields.next().ok_or_else(malformed)?)?;
        if protocol == "sockets" {
            let help = "Number of IPv4 sockets in use.";
            out.push(Family::gauge("node_sockstat_sockets_used", help).with(&[], value));
            continue;
        }
        out.push(family(protocol, state).with(&[], value));
        if state == "mem" {
            // In pages.
            let bytes = value * rustix::param::page_size() as f64;
            out.push(family(protocol, "mem_bytes").with(&[], bytes));
        }
    }
    Ok(())
}

fn family(protocol: &str, state: &str) -> Family {
    Family::gauge(
        format!("node_sockstat_{protocol}_{state}"),
        format!("Number of {protocol} sockets in state {state}."),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn sockets_are_given_by_protocol_and_state() {
        let tree = Tree::new(&[
            ("proc/net/sockstat", "sockets: used 229\nTCP: inuse 4 mem 2\nUDP: inuse 0\n"),
            ("proc/net/sockstat6", "FRAG6: inuse 0 memory 7\n"),
        ]);
        let expected = format!(
            "\
node_sockstat_FRAG6_inuse 0
node_sockstat_FRAG6_memory 7
node_sockstat_TCP_inuse 4
node_sockstat_TCP_mem 2
node_sockstat_TCP_mem_bytes {}
node_sockstat_UDP_inuse 0
node_sockstat_sockets_used 229
",
            2 * rustix::param::page_size()
        );
        assert_eq!(tree.samples(collect), expected);
        assert_eq!(Tree::new(&[]).samples(collect), "");
    }
}

//! `nfs`: the NFS client, from `/proc/net/rpc/nfs`.

use std::path::Path;

use super::{CollectorError, Family, Outcome, Paths, read};

/// Procedures of version 2 in the kernel's order.
pub(super) const V2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create",
    "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

/// Procedures of version 3 in the kernel's order.
pub(super) const V3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// Procedures of version 4 in the order of the kernel's client.
const V4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "LayoutGet",
    "GetDeviceInfo",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// The numbers of each kind of line.
pub(super) struct Lines<'a> {
    path: &'a Path,
    lines: Vec<(&'a str, Vec<f64>)>,
}

impl<'a> Lines<'a> {
    /// Reads lines of a kind and numbers.
    pub(super) fn new(path: &'a Path, text: &'a str) -> Result<Self, CollectorError> {
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let Some(kind) = fields.next() else { continue };
            let numbers = fields.map(|field| read::parse(path, field)).collect::<Result<_, _>>()?;
            lines.push((kind, numbers));
        }
        Ok(Self { path, lines })
    }

    /// The first `N` numbers of a line; zeroes where there is no such line.
    pub(super) fn numbers<const N: usize>(&self, kind: &str) -> Result<[f64; N], CollectorError> {
        let Some((_, numbers)) = self.lines.iter().find(|(name, _)| *name == kind) else {
            return Ok([0.0; N]);
        };
        numbers
            .first_chunk()
            .copied()
            .ok_or_else(|| CollectorError::parse(self.path, format!("line {kind:?} is too short")))
    }

    /// The numbers of a line that starts with how many follow.
    pub(super) fn counted(&self, kind: &str) -> Result<&[f64], CollectorError> {
        let Some((_, numbers)) = self.lines.iter().find(|(name, _)| *name == kind) else { return Ok(&[]) };
        match numbers.split_first() {
            Some((count, rest)) if *count as usize == rest.len() => Ok(rest),
            _ => Err(CollectorError::parse(
                self.path,
                format!("line {kind:?} does not have the numbers it announces"),
            )),
        }
    }
}

/// Adds a series for every method; those that the kernel does not count are 0.
pub(super) fn methods<'a>(
    family: &mut Family,
    proto: &str,
    names: impl Iterator<Item = &'a str>,
    numbers: &[f64],
) {
    let numbers = numbers.iter().copied().chain(std::iter::repeat(0.0));
    for (name, value) in names.zip(numbers) {
        family.add(&[("proto", proto), ("method", name)], value);
    }
}

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/rpc/nfs");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    let lines = Lines::new(&path, &text)?;
    let [_, udp, tcp, connections] = lines.numbers("net")?;
    let [calls, retransmissions, refreshes] = lines.numbers("rpc")?;
    out.push(
        Family::counter(
            "node_nfs_packets_total",
            "Total NFSd network packets (sent+received) by protocol type.",
        )
        .with(&[("protocol", "udp")], udp)
        .with(&[("protocol", "tcp")], tcp),
    );
    let singles = [
        ("node_nfs_connections_total", "Total number of NFSd TCP connections.", connections),
        ("node_nfs_rpcs_total", "Total number of RPCs performed.", calls),
        ("node_nfs_rpc_retransmissions_total", "Number of RPC transmissions performed.", retransmissions),
        (
            "node_nfs_rpc_authentication_refreshes_total",
            "Number of RPC authentication refreshes performed.",
            refreshes,
        ),
    ];
    for (name, help, value) in singles {
        out.push(Family::counter(name, help).with(&[], value));
    }
    let mut requests = Family::counter("node_nfs_requests_total", "Number of NFS procedures invoked.");
    methods(&mut requests, "2", V2.into_iter(), lines.counted("proc2")?);
    methods(&mut requests, "3", V3.into_iter(), lines.counted("proc3")?);
    methods(&mut requests, "4", V4.into_iter(), lines.counted("proc4")?);
    out.push(requests);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn packets_calls_and_procedures_are_given() {
        let v3: Vec<_> = (0..22).map(|i| i.to_string()).collect();
        let file = format!(
            "net 70 1 69 45\nrpc 1218785755 374636 1218815394\nproc3 22 {}\nproc4 2 5 6\n",
            v3.join(" ")
        );
        let text = Tree::new(&[("proc/net/rpc/nfs", file.as_str())]).samples(collect);
        for line in [
            "node_nfs_packets_total{protocol=\"tcp\"} 69",
            "node_nfs_connections_total 45",
            "node_nfs_rpc_retransmissions_total 374636",
            "node_nfs_requests_total{method=\"Commit\",proto=\"3\"} 21",
            "node_nfs_requests_total{method=\"Read\",proto=\"4\"} 6",
            "node_nfs_requests_total{method=\"Clone\",proto=\"4\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn broken_lines_are_errors_and_no_client_is_no_data() {
        for file in ["net 1 2 3\n", "proc3 5 1 2\n", "rpc a b c\n"] {
            assert!(matches!(
                Tree::new(&[("proc/net/rpc/nfs", file)]).run(collect).1,
                Err(CollectorError::Parse { .. })
            ));
        }
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

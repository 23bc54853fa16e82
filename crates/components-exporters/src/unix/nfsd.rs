//! `nfsd`: the NFS server, from `/proc/net/rpc/nfsd`.

use signal::samples::MetricKind::{self, Counter, Gauge};

use super::nfs::{Lines, V2, V3, methods};
use super::{CollectorError, Family, Outcome, Paths, read};

/// Operations of version 4 by their number; those without a name are not given.
const V4: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("net/rpc/nfsd");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    let text: String = text.lines().map(without_histogram).collect();
    let lines = Lines::new(&path, &text)?;
    totals(&lines, out)?;
    by_kind(&lines, out)?;
    let mut requests =
        Family::counter("node_nfsd_requests_total", "Total number NFSd Requests by method and protocol.");
    // The server leaves out the empty procedure, number 0.
    let counted = |kind| lines.counted(kind).map(|numbers| numbers.get(1..).unwrap_or_default());
    methods(&mut requests, "2", V2.into_iter().skip(1), counted("proc2")?);
    methods(&mut requests, "3", V3.into_iter().skip(1), counted("proc3")?);
    let operations = lines.counted("proc4ops")?;
    for (i, name) in V4.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        requests.add(&[("proto", "4"), ("method", name)], operations.get(i).copied().unwrap_or(0.0));
    }
    let [delegated] = lines.numbers("wdeleg_getattr")?;
    requests.add(&[("proto", "4"), ("method", "WdelegGetattr")], delegated);
    out.push(requests);
    Ok(())
}

/// Line `th` goes on with a histogram of fractions, which no longer means anything.
fn without_histogram(line: &str) -> String {
    let fields = if line.starts_with("th ") { 3 } else { usize::MAX };
    line.split_ascii_whitespace().take(fields).collect::<Vec<_>>().join(" ") + "\n"
}

fn totals(lines: &Lines<'_>, out: &mut Vec<Family>) -> Outcome {
    let [hits, misses, no_cache] = lines.numbers("rc")?;
    let [stale] = lines.numbers("fh")?;
    let [read, written] = lines.numbers("io")?;
    let [threads, _] = lines.numbers("th")?;
    let read_ahead: [f64; 12] = lines.numbers("ra")?;
    let [_, _, _, connections] = lines.numbers("net")?;
    let [calls] = lines.numbers("rpc")?;
    let singles: [(&'static str, &'static str, MetricKind, f64); 11] = [
        (
            "node_nfsd_reply_cache_hits_total",
            "Total number of NFSd Reply Cache hits (client lost server response).",
            Counter,
            hits,
        ),
        (
            "node_nfsd_reply_cache_misses_total",
            "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
            Counter,
            misses,
        ),
        (
            "node_nfsd_reply_cache_nocache_total",
            "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
            Counter,
            no_cache,
        ),
        ("node_nfsd_file_handles_stale_total", "Total number of NFSd stale file handles", Counter, stale),
        ("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read.", Counter, read),
        ("node_nfsd_disk_bytes_written_total", "Total NFSd bytes written.", Counter, written),
        ("node_nfsd_server_threads", "Total number of NFSd kernel threads that are running.", Gauge, threads),
        (
            "node_nfsd_read_ahead_cache_size_blocks",
            "How large the read ahead cache is in blocks.",
            Gauge,
            read_ahead[0],
        ),
        (
            "node_nfsd_read_ahead_cache_not_found_total",
            "Total number of NFSd read ahead cache not found.",
            Counter,
            read_ahead[11],
        ),
        ("node_nfsd_connections_total", "Total number of NFSd TCP connections.", Counter, connections),
        ("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs.", Counter, calls),
    ];
    for (name, help, kind, value) in singles {
        out.push(Family::new(name, help, kind).with(&[], value));
    }
    Ok(())
}

fn by_kind(lines: &Lines<'_>, out: &mut Vec<Family>) -> Outcome {
    let [_, udp, tcp, _] = lines.numbers("net")?;
    let [_, _, bad_format, bad_auth, bad_client] = lines.numbers("rpc")?;
    let help = "Total NFSd network packets (sent+received) by protocol type.";
    out.push(
        Family::counter("node_nfsd_packets_total", help)
            .with(&[("proto", "udp")], udp)
            .with(&[("proto", "tcp")], tcp),
    );
    out.push(
        Family::counter("node_nfsd_rpc_errors_total", "Total number of NFSd RPC errors by error type.")
            .with(&[("error", "fmt")], bad_format)
            .with(&[("error", "auth")], bad_auth)
            .with(&[("error", "cInt")], bad_client),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn totals_and_operations_are_given() {
        let operations: Vec<_> = (0..72).map(|i| i.to_string()).collect();
        let file = format!(
            "rc 0 6 18622\nfh 1 0 0 0 0\nio 157286400 5\nth 8 0 0.000 0.000\nra 32 0 0 0 0 0 0 0 0 0 0 7\n\
             net 18628 0 18628 6\nrpc 18628 0 1 2 3\nproc2 18 {}\nproc4 2 2 10853\nproc4ops 72 {}\nwdeleg_getattr 16\n",
            (0..18).map(|i| i.to_string()).collect::<Vec<_>>().join(" "),
            operations.join(" ")
        );
        let text = Tree::new(&[("proc/net/rpc/nfsd", file.as_str())]).samples(collect);
        for line in [
            "node_nfsd_reply_cache_nocache_total 18622",
            "node_nfsd_server_threads 8",
            "node_nfsd_read_ahead_cache_not_found_total 7",
            "node_nfsd_rpc_errors_total{error=\"cInt\"} 3",
            "node_nfsd_requests_total{method=\"GetAttr\",proto=\"2\"} 1",
            "node_nfsd_requests_total{method=\"Access\",proto=\"4\"} 3",
            "node_nfsd_requests_total{method=\"RelLockOwner\",proto=\"4\"} 39",
            "node_nfsd_requests_total{method=\"WdelegGetattr\",proto=\"4\"} 16",
            "node_nfsd_requests_total{method=\"Commit\",proto=\"3\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("method=\"Null\""), "{text}");
    }

    #[test]
    fn no_server_is_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

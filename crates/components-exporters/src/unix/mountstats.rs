//! `mountstats`: what NFS mounts did, from `/proc/self/mountstats`.

use std::collections::HashSet;
use std::path::Path;

use signal::samples::MetricKind::{Counter, Gauge};

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

const AGE: Column =
    ("node_mountstats_nfs_age_seconds_total", "The age of the NFS mount in seconds.", Counter);

/// Line `bytes:` in order.
const BYTES: [Column; 8] = [
    ("node_mountstats_nfs_read_bytes_total", "Number of bytes read using the read() syscall.", Counter),
    ("node_mountstats_nfs_write_bytes_total", "Number of bytes written using the write() syscall.", Counter),
    (
        "node_mountstats_nfs_direct_read_bytes_total",
        "Number of bytes read using the read() syscall in O_DIRECT mode.",
        Counter,
    ),
    (
        "node_mountstats_nfs_direct_write_bytes_total",
        "Number of bytes written using the write() syscall in O_DIRECT mode.",
        Counter,
    ),
    (
        "node_mountstats_nfs_total_read_bytes_total",
        "Number of bytes read from the NFS server, in total.",
        Counter,
    ),
    (
        "node_mountstats_nfs_total_write_bytes_total",
        "Number of bytes written to the NFS server, in total.",
        Counter,
    ),
    ("node_mountstats_nfs_read_pages_total", "Number of pages read directly via mmap()'d files.", Counter),
    (
        "node_mountstats_nfs_write_pages_total",
        "Number of pages written directly via mmap()'d files.",
        Counter,
    ),
];

/// Line `xprt:` of TCP after the protocol and the port, as far as it is given: position, column.
const TRANSPORT: [(usize, Column); 10] = [
    (
        1,
        (
            "node_mountstats_nfs_transport_bind_total",
            "Number of times the client has had to establish a connection from scratch to the NFS server.",
            Counter,
        ),
    ),
    (
        2,
        (
            "node_mountstats_nfs_transport_connect_total",
            "Number of times the client has made a TCP connection to the NFS server.",
            Counter,
        ),
    ),
    (
        4,
        (
            "node_mountstats_nfs_transport_idle_time_seconds",
            "Duration since the NFS mount last saw any RPC traffic, in seconds.",
            Gauge,
        ),
    ),
    (
        5,
        (
            "node_mountstats_nfs_transport_sends_total",
            "Number of RPC requests for this mount sent to the NFS server.",
            Counter,
        ),
    ),
    (
        6,
        (
            "node_mountstats_nfs_transport_receives_total",
            "Number of RPC responses for this mount received from the NFS server.",
            Counter,
        ),
    ),
    (
        7,
        (
            "node_mountstats_nfs_transport_bad_transaction_ids_total",
            "Number of times the NFS server sent a response with a transaction ID unknown to this client.",
            Counter,
        ),
    ),
    (
        9,
        (
            "node_mountstats_nfs_transport_backlog_queue_total",
            "Total number of items added to the RPC backlog queue.",
            Counter,
        ),
    ),
    (
        10,
        (
            "node_mountstats_nfs_transport_maximum_rpc_slots",
            "Maximum number of simultaneously active RPC requests ever used.",
            Gauge,
        ),
    ),
    (
        11,
        (
            "node_mountstats_nfs_transport_sending_queue_total",
            "Total number of items added to the RPC transmission sending queue.",
            Counter,
        ),
    ),
    (
        12,
        (
            "node_mountstats_nfs_transport_pending_queue_total",
            "Total number of items added to the RPC transmission pending queue.",
            Counter,
        ),
    ),
];

/// Lines of `per-op statistics` in order; the last three are milliseconds.
const OPERATIONS: [Column; 8] = [
    (
        "node_mountstats_nfs_operations_requests_total",
        "Number of requests performed for a given operation.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_transmissions_total",
        "Number of times an actual RPC request has been transmitted for a given operation.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_major_timeouts_total",
        "Number of times a request has had a major timeout for a given operation.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_sent_bytes_total",
        "Number of bytes sent for a given operation, including RPC headers and payload.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_received_bytes_total",
        "Number of bytes received for a given operation, including RPC headers and payload.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_queue_time_seconds_total",
        "Duration all requests spent queued for transmission for a given operation before they were sent, in \
         seconds.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_response_time_seconds_total",
        "Duration all requests took to get a reply back after a request for a given operation was transmitted, in \
         seconds.",
        Counter,
    ),
    (
        "node_mountstats_nfs_operations_request_time_seconds_total",
        "Duration all requests took from when a request was enqueued to when it was completely handled for a given \
         operation, in seconds.",
        Counter,
    ),
];

/// Line `events:`: position, name, help; position 18 is not used by the kernel.
const EVENTS: [(usize, &str, &str); 26] = [
    (0, "inode_revalidate", "Number of times cached inode attributes are re-validated from the server."),
    (1, "dnode_revalidate", "Number of times cached dentry nodes are re-validated from the server."),
    (2, "data_invalidate", "Number of times an inode cache is cleared."),
    (3, "attribute_invalidate", "Number of times cached inode attributes are invalidated."),
    (4, "vfs_open", "Number of times cached inode attributes are invalidated."),
    (5, "vfs_lookup", "Number of times a directory lookup has occurred."),
    (6, "vfs_access", "Number of times permissions have been checked."),
    (7, "vfs_update_page", "Number of updates (and potential writes) to pages."),
    (8, "vfs_read_page", "Number of pages read directly via mmap()'d files."),
    (9, "vfs_read_pages", "Number of times a group of pages have been read."),
    (10, "vfs_write_page", "Number of pages written directly via mmap()'d files."),
    (11, "vfs_write_pages", "Number of times a group of pages have been written."),
    (12, "vfs_getdents", "Number of times directory entries have been read with getdents()."),
    (13, "vfs_setattr", "Number of times directory entries have been read with getdents()."),
    (14, "vfs_flush", "Number of pending writes that have been forcefully flushed to the server."),
    (15, "vfs_fsync", "Number of times fsync() has been called on directories and files."),
    (16, "vfs_lock", "Number of times locking has been attempted on a file."),
    (17, "vfs_file_release", "Number of times files have been closed and released."),
    (19, "truncation", "Number of times files have been truncated."),
    (20, "write_extension", "Number of times a file has been grown due to writes beyond its existing end."),
    (21, "silly_rename", "Number of times a file was removed while still open by another process."),
    (22, "short_read", "Number of times the NFS server gave less data than expected while reading."),
    (23, "short_write", "Number of times the NFS server wrote less data than expected while writing."),
    (
        24,
        "jukebox_delay",
        "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage.",
    ),
    (25, "pnfs_read", "Number of NFS v4.1+ pNFS reads."),
    (26, "pnfs_write", "Number of NFS v4.1+ pNFS writes."),
];

/// The families of all mounts.
struct Families {
    age: Vec<Family>,
    bytes: Vec<Family>,
    transport: Vec<Family>,
    operations: Vec<Family>,
    events: Vec<Family>,
}

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("self/mountstats");
    let text = read::text(&path)?;
    let mounts = read::text(paths.proc("self/mountinfo"))?;
    let addresses = addresses(&mounts);
    let events = EVENTS
        .iter()
        .map(|(_, name, help)| Family::counter(format!("node_mountstats_nfs_event_{name}_total"), *help));
    let mut families = Families {
        age: columns(&[AGE]),
        bytes: columns(&BYTES),
        transport: columns(&TRANSPORT.map(|(_, column)| column)),
        operations: columns(&OPERATIONS),
        events: events.collect(),
    };
    let mut seen = HashSet::new();
    // Both files list the mounts in the same order.
    for (i, mount) in text.split("device ").skip(1).enumerate() {
        let Some((export, kind)) = mount.lines().next().and_then(heading) else { continue };
        if !matches!(kind, "nfs" | "nfs4") {
            continue;
        }
        let address = addresses.get(i).copied().unwrap_or_default();
        let lines = || mount.lines().skip(1).filter_map(|line| line.trim().split_once(':'));
        let transports: Vec<Vec<&str>> = lines()
            .filter(|(key, _)| *key == "xprt")
            .map(|(_, rest)| rest.split_whitespace().collect())
            .collect();
        for protocol in transports.iter().filter_map(|fields| fields.first().copied()) {
            if seen.insert((export, protocol, address)) {
                let labels = [("export", export), ("protocol", protocol), ("mountaddr", address)];
                add(&path, &labels, lines(), &mut families)?;
            }
        }
    }
    let Families { age, bytes, transport, operations, events } = families;
    out.extend([age, bytes, transport, operations, events].into_iter().flatten());
    Ok(())
}

/// Export and type of `server:/export mounted on /mnt with fstype nfs4 statvers=1.1`.
fn heading(line: &str) -> Option<(&str, &str)> {
    let (export, rest) = line.split_once(" mounted on ")?;
    Some((export, rest.split(" with fstype ").nth(1)?.split_whitespace().next()?))
}

/// Option `addr` of each mount.
fn addresses(mountinfo: &str) -> Vec<&str> {
    mountinfo
        .lines()
        .map(|line| {
            let options =
                line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(2)).unwrap_or_default();
            options.split(',').find_map(|option| option.strip_prefix("addr=")).unwrap_or_default()
        })
        .collect()
}

fn add<'a>(
    path: &Path,
    labels: &[(&'static str, &str); 3],
    lines: impl Iterator<Item = (&'a str, &'a str)>,
    families: &mut Families,
) -> Outcome {
    // Of several connections of one mount (`nconnect`) these labels can tell only one.
    let mut connected = false;
    let mut in_operations = false;
    for (key, rest) in lines {
        let fields: Vec<_> = rest.split_whitespace().collect();
        match key {
            "age" => families.age[0].add(labels, read::parse(path, rest.trim())?),
            "bytes" => {
                for (family, value) in families.bytes.iter_mut().zip(numbers(path, &fields)?) {
                    family.add(labels, value as f64);
                }
            }
            "events" => {
                let values = numbers(path, &fields)?;
                for ((position, ..), family) in EVENTS.iter().zip(&mut families.events) {
                    family.add(labels, values.get(*position).copied().unwrap_or(0) as f64);
                }
            }
            "xprt" if !connected && fields.first() == Some(&labels[1].1) => {
                connected = true;
                let values = transport(fields[0], numbers(path, &fields[1..])?);
                for ((position, _), family) in TRANSPORT.iter().zip(&mut families.transport) {
                    family.add(labels, exact(values.get(*position).copied().unwrap_or(0)));
                }
            }
            "RPC iostats version" => in_operations = true,
            operation if in_operations && fields.len() >= OPERATIONS.len() && key != "xprt" => {
                let labels = [labels[0], labels[1], labels[2], ("operation", operation)];
                let values = numbers(path, &fields)?;
                for (i, (family, value)) in families.operations.iter_mut().zip(values).enumerate() {
                    family.add(&labels, if i >= 5 { exact(value) / 1e3 } else { value as f64 });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn numbers(path: &Path, fields: &[&str]) -> Result<Vec<u64>, CollectorError> {
    fields.iter().map(|field| read::parse(path, field)).collect()
}

/// Times wrap where a float still counts them one by one, as node_exporter's do: the kernel has huge
/// values here that would otherwise swallow every increment.
fn exact(value: u64) -> f64 {
    (value % (1 << f64::MANTISSA_DIGITS)) as f64
}

/// The numbers of a transport in the layout of TCP: UDP has no connections and so no
/// connects, connect time and idle time.
fn transport(protocol: &str, mut values: Vec<u64>) -> Vec<u64> {
    if protocol == "udp" && values.len() > 2 {
        values.splice(2..2, [0; 3]);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    const STATS: &str = "device rootfs mounted on / with fstype rootfs
device 10.0.0.1:/srv mounted on /mnt with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.0
\tage:\t13968
\tevents:\t52 226 0 0 1 13 398 0 0 331 0 47 0 0 77 0 0 77 0 8 0 0 0 0 0 0 9
\tbytes:\t1207640230 0 0 0 1210214218 0 295483 0
\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)
\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 0 24 26 5726
\tper-op statistics
\t        NULL: 0 0 0 0 0 0 0 0
\t        READ: 1298 1298 0 207680 1210292152 6 79386 79407
";

    #[test]
    fn an_nfs_mount_is_given_with_its_transport_operations_and_events() {
        let tree = Tree::new(&[
            ("proc/self/mountstats", STATS),
            (
                "proc/self/mountinfo",
                "1 1 0:1 / / rw - rootfs rootfs rw\n2 1 0:2 / /mnt rw - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n",
            ),
        ]);
        let text = tree.samples(collect);
        let labels = "export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\"";
        for line in [
            format!("node_mountstats_nfs_age_seconds_total{{{labels},protocol=\"tcp\"}} 13968"),
            format!("node_mountstats_nfs_read_pages_total{{{labels},protocol=\"tcp\"}} 295483"),
            format!("node_mountstats_nfs_transport_idle_time_seconds{{{labels},protocol=\"tcp\"}} 11"),
            format!("node_mountstats_nfs_transport_pending_queue_total{{{labels},protocol=\"tcp\"}} 5726"),
            format!(
                "node_mountstats_nfs_operations_queue_time_seconds_total{{{labels},operation=\"READ\",protocol=\"tcp\"}} 0.006"
            ),
            format!("node_mountstats_nfs_event_truncation_total{{{labels},protocol=\"tcp\"}} 8"),
            format!("node_mountstats_nfs_event_pnfs_write_total{{{labels},protocol=\"tcp\"}} 9"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn udp_is_read_in_its_own_layout() {
        let values = transport("udp", vec![832, 1, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(values, [832, 1, 0, 0, 0, 7, 8, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn huge_times_wrap_where_a_float_is_exact() {
        assert_eq!(exact(79_407), 79_407.0);
        assert_eq!(exact((1 << 53) + 5), 5.0);
    }
}

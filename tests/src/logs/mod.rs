//! Logs: from files and from others' programs to Loki, fault by fault.

mod delivery;
mod own;
mod peers;
mod reload;
mod restart;
mod rotation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::kit::{Loki, Program, eventually, number_of};

/// A file source that looks often, and a sender that does not wait long and does not give up. `source`, `write` and `endpoint`
/// are more arguments of each.
struct Pipeline<'a> {
    path: &'a Path,
    lokis: Vec<&'a Loki>,
    source: &'a str,
    write: &'a str,
    endpoint: &'a str,
    more: &'a str,
}

/// Keeps the queue on disk.
const DISK: &str = "wal {\n\t\tenabled = true\n\t}";

impl<'a> Pipeline<'a> {
    fn new(path: &'a Path, loki: &'a Loki) -> Self {
        Self { path, lokis: vec![loki], source: "", write: "", endpoint: "", more: "" }
    }

    fn config(&self) -> String {
        let endpoint = |loki: &&Loki| {
            format!(
                "\tendpoint {{\n\t\turl = \"{}\"\n\t\tbatch_wait = \"50ms\"\n\t\tmin_backoff_period = \
                 \"50ms\"\n\t\tmax_backoff_period = \"200ms\"\n\t\tremote_timeout = \"1s\"\n\t\tmax_backoff_retries = 0\n{}\n\t}}\n",
                loki.url(),
                self.endpoint
            )
        };
        format!(
            r#"
loki.source.file "default" {{
	targets    = [{{"__path__" = "{path}", "job" = "app"}}]
	forward_to = [loki.relabel.default.receiver]

	file_watch {{
		min_poll_frequency = "50ms"
		max_poll_frequency = "250ms"
	}}
	{source}
}}

loki.relabel "default" {{
	forward_to = [loki.write.default.receiver]
}}

loki.write "default" {{
	{write}
{endpoints}}}
{more}
"#,
            path = self.path.display(),
            source = self.source,
            write = self.write,
            endpoints = self.lokis.iter().map(endpoint).collect::<String>(),
            more = self.more,
        )
    }
}

/// Waits until every number from `first` to `last` is there; answers how often each came.
fn all_arrive(loki: &Loki, first: u64, last: u64, program: &Program) -> BTreeMap<u64, usize> {
    eventually("every line has arrived", || {
        let arrived = loki.numbers("job=\"app\"");
        let missing: Vec<_> = (first..=last).filter(|n| !arrived.contains_key(n)).collect();
        match missing.is_empty() {
            true => Ok(arrived),
            false => Err(format!(
                "{} missing of {first}..={last}: {:?}…\n{}",
                missing.len(),
                &missing[..missing.len().min(20)],
                program.log()
            )),
        }
    })
}

/// As [`all_arrive`], and none came twice or out of order.
fn each_arrives_once(loki: &Loki, first: u64, last: u64, program: &Program) {
    let arrived = all_arrive(loki, first, last, program);
    let twice: Vec<u64> = arrived.iter().filter(|(_, times)| **times > 1).map(|(n, _)| *n).collect();
    if let (Some(first), Some(last)) = (twice.first(), twice.last()) {
        let entries = loki.entries("job=\"app\"");
        let ways = entries.iter().filter(|e| number_of(&e.line) == Some(*first));
        let ways: Vec<_> = ways.map(|e| (&e.stream, e.timestamp_ns)).collect();
        panic!(
            "{} lines came more than once, from {first} to {last}: {ways:?}\n{}",
            twice.len(),
            program.log()
        );
    }
    let beyond: Vec<_> = arrived.keys().filter(|n| !(first..=last).contains(*n)).collect();
    assert!(beyond.is_empty(), "not written in this test: {beyond:?}");
    let entries = loki.entries("job=\"app\"");
    let out_of_order = entries.windows(2).find(|w| w[0].timestamp_ns > w[1].timestamp_ns);
    assert!(out_of_order.is_none(), "{out_of_order:?}");
}

/// As [`all_arrive`], and none was read twice. A request in flight while its queue moves elsewhere may be sent
/// again: the same entry, of the same time, which Loki takes for one.
fn each_is_read_once(loki: &Loki, first: u64, last: u64, program: &Program) {
    all_arrive(loki, first, last, program);
    let mut times: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
    for entry in loki.entries("job=\"app\"") {
        let number = number_of(&entry.line).expect("only numbered lines are written");
        times.entry(number).or_default().insert(entry.timestamp_ns);
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| times.len() > 1).take(10).collect();
    assert!(twice.is_empty(), "read more than once: {twice:?}\n{}", program.log());
}

//! `processes`: processes and threads by state, from `/proc/*/stat` and `/proc/*/task/*/stat`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{CollectorError, Family, Outcome, Paths, read};

/// Counted over all processes.
#[derive(Default)]
struct Counts<'a> {
    pids: u64,
    threads: u64,
    states: BTreeMap<&'a str, u64>,
    thread_states: BTreeMap<&'a str, u64>,
}

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let counts = counts(&paths.procfs)?;
    let max_threads: u64 = read::number(paths.proc("sys/kernel/threads-max"))?;
    let max_pids: u64 = read::number(paths.proc("sys/kernel/pid_max"))?;
    let singles = [
        ("node_processes_threads", "Allocated threads in system", counts.threads),
        ("node_processes_max_threads", "Limit of threads in the system", max_threads),
        ("node_processes_pids", "Number of PIDs", counts.pids),
        ("node_processes_max_processes", "Number of max PIDs limit", max_pids),
    ];
    for (name, help, value) in singles {
        out.push(Family::gauge(name, help).with(&[], value as f64));
    }
    let mut states = Family::gauge("node_processes_state", "Number of processes in each state.");
    for (state, count) in &counts.states {
        states.add(&[("state", state)], *count as f64);
    }
    let mut threads = Family::gauge("node_processes_threads_state", "Number of threads in each state.");
    for (state, count) in &counts.thread_states {
        threads.add(&[("thread_state", state)], *count as f64);
    }
    out.extend([states, threads]);
    Ok(())
}

fn counts(procfs: &Path) -> Result<Counts<'static>, CollectorError> {
    let mut counts = Counts::default();
    for pid in numeric(procfs)? {
        let dir = procfs.join(&pid);
        let Some((state, threads)) = stat(&dir.join("stat"))? else { continue };
        counts.pids += 1;
        counts.threads += threads;
        *counts.states.entry(state).or_default() += 1;
        if threads == 1 {
            *counts.thread_states.entry(state).or_default() += 1;
            continue;
        }
        for thread in numeric(&dir.join("task")).unwrap_or_default() {
            let state = if thread == pid {
                Some((state, 1))
            } else {
                stat(&dir.join("task").join(thread).join("stat"))?
            };
            if let Some((state, _)) = state {
                *counts.thread_states.entry(state).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

fn numeric(dir: &Path) -> Result<Vec<String>, CollectorError> {
    let mut names = read::names(dir)?;
    names.retain(|name| name.bytes().all(|b| b.is_ascii_digit()));
    Ok(names)
}

/// State and number of threads; nothing where the process has gone meanwhile.
fn stat(path: &Path) -> Result<Option<(&'static str, u64)>, CollectorError> {
    let text = match read::text(path) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let malformed = || CollectorError::parse(path, format!("malformed line {text:?}"));
    // The name in parentheses may hold anything, parentheses and spaces too.
    let (_, rest) = text.rsplit_once(')').ok_or_else(malformed)?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().and_then(state).ok_or_else(malformed)?;
    let threads = fields.nth(16).ok_or_else(malformed)?;
    Ok(Some((state, read::parse(path, threads)?)))
}

/// A process that ends while it is read is "not found" or "no such process".
fn is_gone(error: &CollectorError) -> bool {
    let no_process = rustix::io::Errno::SRCH.raw_os_error();
    error.is_missing()
        || matches!(error, CollectorError::Read { source, .. } if source.raw_os_error() == Some(no_process))
}

/// The letters of proc_pid_stat(5).
fn state(letter: &str) -> Option<&'static str> {
    ["R", "S", "D", "Z", "T", "t", "W", "X", "x", "K", "P", "I"].into_iter().find(|known| *known == letter)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn processes_and_threads_are_counted_by_state() {
        let line = |pid, name, state, threads| {
            format!("{pid} ({name}) {state} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 100\n")
        };
        let (first, second, thread) =
            (line(1, "init", "S", 1), line(7, "a) b", "R", 2), line(8, "a", "D", 2));
        let tree = Tree::new(&[
            ("proc/1/stat", first.as_str()),
            ("proc/7/stat", second.as_str()),
            ("proc/7/task/7/stat", second.as_str()),
            ("proc/7/task/8/stat", thread.as_str()),
            ("proc/7/task/9/status", "gone"),
            ("proc/99/status", "gone"),
            ("proc/sys/kernel/threads-max", "7801\n"),
            ("proc/sys/kernel/pid_max", "123\n"),
        ]);
        let expected = "\
node_processes_max_processes 123
node_processes_max_threads 7801
node_processes_pids 2
node_processes_state{state=\"R\"} 1
node_processes_state{state=\"S\"} 1
node_processes_threads 3
node_processes_threads_state{thread_state=\"D\"} 1
node_processes_threads_state{thread_state=\"R\"} 1
node_processes_threads_state{thread_state=\"S\"} 1
";
        assert_eq!(tree.samples(collect), expected);
    }
}

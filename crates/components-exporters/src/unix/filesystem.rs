//! `filesystem`: space and inodes of mounted file systems, from `mountinfo` and `statfs`.
//!
//! A dead network mount blocks `statfs` for ever, so the calls are made by a thread of their own.
//! One that does not answer within `mount_timeout` is reported with `device_error` and skipped in
//! later runs until its call returns; the thread stays behind with that one call, and a new thread
//! takes the remaining mounts. So there is at most one waiting thread per stuck mount.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use signal::samples::MetricKind::Gauge;

use super::config::Config;
use super::error::ConfigError;
use super::filter::Filter;
use super::{Collect, CollectorError, Column, Family, Outcome, Paths, columns, read};

const COLUMNS: &[Column] = &[
    (
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
        Gauge,
    ),
    ("node_filesystem_readonly", "Filesystem read-only status.", Gauge),
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", Gauge),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes.", Gauge),
    ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", Gauge),
    ("node_filesystem_files", "Filesystem total file nodes.", Gauge),
    ("node_filesystem_files_free", "Filesystem total free file nodes.", Gauge),
];

/// What label `device_error` says of a mount that does not answer.
const STUCK: &str = "mountpoint timeout";

/// One line of `mountinfo`, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Mount {
    device: String,
    mount_point: String,
    fs_type: String,
    major: String,
    minor: String,
    read_only: bool,
}

/// Size, free and available bytes, inodes and free inodes.
type Usage = [f64; 5];

/// What a mount answered.
#[derive(Clone)]
enum Answer {
    Usage(Usage),
    Error(String),
}

/// How a mount is asked; replaced in tests.
type Ask = fn(&Path) -> io::Result<Usage>;

struct Filesystems {
    mount_points: Filter,
    fs_types: Filter,
    timeout: Duration,
    ask: Ask,
    /// Mount points whose call has not returned.
    stuck: Arc<Mutex<HashSet<String>>>,
}

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    build_with(config, statfs)
}

fn build_with(config: &Config, ask: Ask) -> Result<Collect, ConfigError> {
    let arguments = &config.filesystem;
    let none = ("", "");
    let filesystems = Filesystems {
        mount_points: Filter::new(
            ("filesystem.mount_points_exclude", &arguments.mount_points_exclude),
            none,
        )?,
        fs_types: Filter::new(("filesystem.fs_types_exclude", &arguments.fs_types_exclude), none)?,
        timeout: arguments.mount_timeout,
        ask,
        stuck: Arc::default(),
    };
    Ok(Box::new(move |paths, out| filesystems.collect(paths, out)))
}

impl Filesystems {
    fn collect(&self, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
        let mut mounts = mounts(paths)?;
        mounts.retain(|m| !self.mount_points.ignores(&m.mount_point) && !self.fs_types.ignores(&m.fs_type));
        let answers = self.answers(paths, &mounts)?;
        let mut families = columns(COLUMNS);
        let mut info = Family::gauge("node_filesystem_mount_info", "Filesystem mount information.");
        // The same thing may be mounted twice over at one place.
        let mut seen = HashSet::new();
        for (mount, answer) in mounts.iter().zip(&answers) {
            if seen.insert((&mount.device, &mount.mount_point, &mount.fs_type)) {
                add(mount, answer, &mut families, &mut info);
            }
        }
        families.push(info);
        out.append(&mut families);
        Ok(())
    }

    /// Asks every mount, waiting at most the timeout for each.
    fn answers(&self, paths: &Paths, mounts: &[Mount]) -> Result<Vec<Answer>, CollectorError> {
        let mut answers = vec![Answer::Error(STUCK.to_string()); mounts.len()];
        let stuck = self.stuck.lock().clone();
        let mut waiting: Vec<(usize, String, PathBuf)> = mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| !stuck.contains(&mount.mount_point))
            .map(|(i, mount)| (i, mount.mount_point.clone(), paths.host(&mount.mount_point)))
            .collect();
        while !waiting.is_empty() {
            let done = self.answers_until_stuck(waiting.clone(), &mut answers)?;
            waiting.drain(..done);
        }
        Ok(answers)
    }

    /// Asks mounts in a new thread until one does not answer, which is then marked as stuck;
    /// gives the number of mounts that are settled.
    fn answers_until_stuck(
        &self,
        jobs: Vec<(usize, String, PathBuf)>,
        answers: &mut [Answer],
    ) -> Result<usize, CollectorError> {
        let places: Vec<(usize, String)> = jobs.iter().map(|(i, name, _)| (*i, name.clone())).collect();
        let (results, arrived) = sync_channel(jobs.len());
        let (ask, stuck) = (self.ask, Arc::clone(&self.stuck));
        thread::Builder::new()
            .name("statfs".into())
            .spawn(move || answer(ask, jobs, &results, &stuck))
            .map_err(|source| CollectorError::System { call: "spawn", source })?;
        for (done, (place, mount_point)) in places.iter().enumerate() {
            match self.wait(&arrived, mount_point) {
                Some(answer) => answers[*place] = answer,
                None => return Ok(done + 1),
            }
        }
        Ok(places.len())
    }

    /// Waits for the next answer; none means that the mount is now marked as stuck.
    fn wait(&self, arrived: &Receiver<Answer>, mount_point: &str) -> Option<Answer> {
        match arrived.recv_timeout(self.timeout) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => {
                let mut stuck = self.stuck.lock();
                // The thread sends and looks at the set under this lock: what it has not sent by
                // now, it will not send.
                if let Ok(answer) = arrived.try_recv() {
                    return Some(answer);
                }
                tracing::warn!(mount_point, "mount point does not answer and is left out until it does");
                stuck.insert(mount_point.to_string());
                None
            }
            // The thread died of a panic in the system call wrapper; nothing more will come.
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// The thread's work: answers in order, until it finds that it was given up.
fn answer(
    ask: Ask,
    jobs: Vec<(usize, String, PathBuf)>,
    results: &SyncSender<Answer>,
    stuck: &Mutex<HashSet<String>>,
) {
    for (_, mount_point, path) in jobs {
        let answer = match ask(&path) {
            Ok(usage) => Answer::Usage(usage),
            Err(error) => Answer::Error(message(&error)),
        };
        let mut stuck = stuck.lock();
        if stuck.remove(&mount_point) {
            tracing::info!(mount_point, "mount point answers again");
            return;
        }
        if results.try_send(answer).is_err() {
            return;
        }
    }
}

/// The system's message as Go words it: no error number, no capital.
fn message(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn statfs(path: &Path) -> io::Result<Usage> {
    let found = rustix::fs::statfs(path)?;
    let size = found.f_bsize as f64;
    Ok([
        found.f_blocks as f64 * size,
        found.f_bfree as f64 * size,
        found.f_bavail as f64 * size,
        found.f_files as f64,
        found.f_ffree as f64,
    ])
}

fn add(mount: &Mount, answer: &Answer, families: &mut [Family], info: &mut Family) {
    let (usage, error) = match answer {
        Answer::Usage(usage) => (Some(usage), ""),
        Answer::Error(error) => (None, error.as_str()),
    };
    let labels = [
        ("device", mount.device.as_str()),
        ("device_error", error),
        ("fstype", mount.fs_type.as_str()),
        ("mountpoint", mount.mount_point.as_str()),
    ];
    families[0].add(&labels, if usage.is_some() { 0.0 } else { 1.0 });
    families[1].add(&labels, if mount.read_only { 1.0 } else { 0.0 });
    if let Some(usage) = usage {
        for (family, value) in families[2..].iter_mut().zip(usage) {
            family.add(&labels, *value);
        }
        let labels = [
            ("device", mount.device.as_str()),
            ("major", mount.major.as_str()),
            ("minor", mount.minor.as_str()),
            ("mountpoint", mount.mount_point.as_str()),
        ];
        info.add(&labels, 1.0);
    }
}

/// The mounts that process 1 sees, or this process where that one is hidden.
fn mounts(paths: &Paths) -> Result<Vec<Mount>, CollectorError> {
    let mut path = paths.proc("1/mountinfo");
    let text = match read::text(&path) {
        Err(error) if error.is_missing() => {
            path = paths.proc("self/mountinfo");
            read::text(&path)?
        }
        text => text?,
    };
    text.lines()
        .map(|line| {
            mount(line, paths).ok_or_else(|| CollectorError::parse(&path, format!("malformed line {line:?}")))
        })
        .collect()
}

/// Reads a line as proc_pid_mountinfo(5) describes it.
fn mount(line: &str, paths: &Paths) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<_> = left.split_whitespace().collect();
    let right: Vec<_> = right.split_whitespace().collect();
    let (major, minor) = left.get(2)?.split_once(':')?;
    let mount_point = left.get(4)?.replace("\\040", " ").replace("\\011", "\t");
    Some(Mount {
        device: (*right.get(1)?).to_string(),
        mount_point: paths.host_name(&mount_point).to_string(),
        fs_type: (*right.first()?).to_string(),
        major: major.to_string(),
        minor: minor.to_string(),
        read_only: left.get(5)?.split(',').any(|option| option == "ro"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::super::testing::Tree;
    use super::*;

    const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
23 21 8:1 / /mnt/with\\040space ro,noatime shared:2 - xfs /dev/sda1 ro
23 21 8:1 / /mnt/with\\040space ro,noatime shared:2 - xfs /dev/sda1 ro
24 21 0:99 / /run/user/0 rw - tmpfs tmpfs rw
";

    fn half_full(path: &Path) -> io::Result<Usage> {
        if path.ends_with("run/user/0") {
            return Err(io::Error::from_raw_os_error(13));
        }
        Ok([100.0, 50.0, 40.0, 10.0, 5.0])
    }

    fn config(timeout: Duration) -> Config {
        let mut config = Config::default();
        config.filesystem.mount_timeout = timeout;
        config
    }

    #[test]
    fn mounts_are_given_once_and_errors_are_labelled() {
        let tree = Tree::new(&[("proc/1/mountinfo", MOUNTS)]);
        let text = tree.samples(build_with(&config(Duration::from_secs(30)), half_full).unwrap());
        let root = "device=\"/dev/vda\",device_error=\"\",fstype=\"ext4\",mountpoint=\"/\"";
        let space = "device=\"/dev/sda1\",device_error=\"\",fstype=\"xfs\",mountpoint=\"/mnt/with space\"";
        let denied =
            "device=\"tmpfs\",device_error=\"permission denied\",fstype=\"tmpfs\",mountpoint=\"/run/user/0\"";
        let expected = format!(
            "\
node_filesystem_avail_bytes{{{space}}} 40
node_filesystem_avail_bytes{{{root}}} 40
node_filesystem_device_error{{{space}}} 0
node_filesystem_device_error{{{root}}} 0
node_filesystem_device_error{{{denied}}} 1
node_filesystem_files{{{space}}} 10
node_filesystem_files{{{root}}} 10
node_filesystem_files_free{{{space}}} 5
node_filesystem_files_free{{{root}}} 5
node_filesystem_free_bytes{{{space}}} 50
node_filesystem_free_bytes{{{root}}} 50
node_filesystem_mount_info{{device=\"/dev/sda1\",major=\"8\",minor=\"1\",mountpoint=\"/mnt/with space\"}} 1
node_filesystem_mount_info{{device=\"/dev/vda\",major=\"254\",minor=\"0\",mountpoint=\"/\"}} 1
node_filesystem_readonly{{{space}}} 1
node_filesystem_readonly{{{root}}} 0
node_filesystem_readonly{{{denied}}} 0
node_filesystem_size_bytes{{{space}}} 100
node_filesystem_size_bytes{{{root}}} 100
"
        );
        assert_eq!(text, expected);
    }

    /// Held while the mount `/mnt/with space` is to stay stuck.
    fn gate() -> &'static Mutex<()> {
        static GATE: OnceLock<Mutex<()>> = OnceLock::new();
        GATE.get_or_init(Mutex::default)
    }

    fn stuck_behind_the_gate(path: &Path) -> io::Result<Usage> {
        if path.ends_with("mnt/with space") {
            drop(gate().lock());
        }
        half_full(path)
    }

    #[test]
    fn a_mount_that_does_not_answer_is_reported_and_asked_again_once_it_returns() {
        let tree = Tree::new(&[("proc/self/mountinfo", MOUNTS)]);
        let mut collect = build_with(&config(Duration::from_secs(1)), stuck_behind_the_gate).unwrap();
        let stuck = "node_filesystem_device_error{device=\"/dev/sda1\",device_error=\"mountpoint timeout\",\
                     fstype=\"xfs\",mountpoint=\"/mnt/with space\"} 1";
        let held = gate().lock();
        for _ in 0..2 {
            let text = tree.samples(&mut collect);
            assert!(text.contains(stuck), "{text}");
            assert!(text.contains("mountpoint=\"/\"} 100"), "{text}");
            assert!(
                text.contains("permission denied"),
                "the mounts after the stuck one are asked too: {text}"
            );
        }
        drop(held);
        // The thread wakes when the gate opens; how soon is the scheduler's affair.
        while tree.samples(&mut collect).contains(stuck) {
            thread::yield_now();
        }
        let text = tree.samples(&mut collect);
        assert!(text.contains("mountpoint=\"/mnt/with space\"} 100"), "{text}");
    }

    #[test]
    fn the_root_of_this_machine_can_be_asked() {
        let usage = statfs(Path::new("/")).unwrap();
        assert!(usage[0] > 0.0 && usage[1] <= usage[0] && usage[2] <= usage[1], "{usage:?}");
    }

    #[test]
    fn a_malformed_line_is_an_error() {
        let tree = Tree::new(&[("proc/1/mountinfo", "21 1 254:0 / / rw\n")]);
        assert!(tree.run(build_with(&config(Duration::from_secs(1)), half_full).unwrap()).1.is_err());
    }
}

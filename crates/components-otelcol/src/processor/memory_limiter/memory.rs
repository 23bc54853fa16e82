//! How much memory the process uses, and how much there is for it.

use std::path::{Path, PathBuf};

/// Where the system tells of memory.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    cgroup: PathBuf,
}

impl Memory {
    /// Of the system that this runs on.
    pub(super) fn system() -> Self {
        Self { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }

    /// Of folders instead of `/proc` and `/sys/fs/cgroup`.
    pub(super) fn below(proc: PathBuf, cgroup: PathBuf) -> Self {
        Self { proc, cgroup }
    }

    /// Bytes of this process that are in memory.
    pub(super) fn resident(&self) -> Option<u64> {
        // `statm` counts in pages of a size that it does not tell.
        kib(&self.proc.join("self/status"), "VmRSS:")
    }

    /// Bytes that this process may use: the least of the machine's and the limits of its control groups.
    pub(super) fn total(&self) -> Option<u64> {
        let machine = kib(&self.proc.join("meminfo"), "MemTotal:");
        machine.into_iter().chain(self.group_limits()).min()
    }

    /// Limits of the process's control group and all around it.
    fn group_limits(&self) -> Vec<u64> {
        let groups = std::fs::read_to_string(self.proc.join("self/cgroup")).unwrap_or_default();
        let mut limits = Vec::new();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (root, file) = match controllers {
                // Version 2: one hierarchy.
                "" => (self.cgroup.clone(), "memory.max"),
                c if c.split(',').any(|c| c == "memory") => {
                    (self.cgroup.join("memory"), "memory.limit_in_bytes")
                }
                _ => continue,
            };
            // In a container the path may be the host's; then only the root, which is the container's, is there.
            let own = Path::new(path.trim_start_matches('/'));
            let read = |group: &Path| std::fs::read_to_string(root.join(group).join(file)).ok();
            // Without a limit: "max", or in version 1 a number that exceeds every machine's memory.
            limits
                .extend(own.ancestors().filter_map(read).filter_map(|text| text.trim().parse::<u64>().ok()));
        }
        limits
    }
}

/// The value of a line such as `MemTotal:  16304 kB`, in bytes.
fn kib(file: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }
        let memory = Memory::below(root.path().join("proc"), root.path().join("cg"));
        (root, memory)
    }

    #[test]
    fn the_least_limit_of_the_groups_and_the_machine_counts() {
        const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        let machine = 1000 * 1024;
        type Files<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Files<'_>, Option<u64>); 6] = [
            (&[MEMINFO], Some(machine)),
            (&[MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("cg/a/b/memory.max", "max\n")], Some(machine)),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("cg/a/b/memory.max", "900\n"),
                    ("cg/a/memory.max", "500\n"),
                ],
                Some(500),
            ),
            (&[MEMINFO, ("proc/self/cgroup", "0::/../x\n"), ("cg/memory.max", "700\n")], Some(700)),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "5:cpu,memory:/docker/1\n4:pids:/x\n"),
                    ("cg/memory/memory.limit_in_bytes", "600\n"),
                    ("cg/memory/docker/1/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(600),
            ),
            (&[], None),
        ];
        for (files, expected) in cases {
            assert_eq!(system(files).1.total(), expected, "{files:?}");
        }
    }

    #[test]
    fn this_process_has_memory_and_less_than_there_is() {
        let memory = Memory::system();
        let (resident, total) = (memory.resident().expect("known"), memory.total().expect("known"));
        assert!(resident > 1 << 20 && resident < total, "{resident} of {total}");
    }
}

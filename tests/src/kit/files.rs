//! What tests need of file systems: all files of a folder, and a disk that is full soon.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Whether this process has the capability SYS_ADMIN, number 21 of `capabilities(7)`.
fn may_mount() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> 21 & 1 == 1)
}

/// A disk of its own for a program's storage: small, and gone with the program. It is a file system in memory, mounted
/// where only the program sees it; so a test needs root only where users may not have namespaces of their own.
pub struct SmallDisk {
    folder: tempfile::TempDir,
    size: &'static str,
    /// How `unshare` is told to make the namespace here.
    namespace: &'static str,
}

impl SmallDisk {
    /// `size` is as `mount` takes it. `None`, told as such, where nothing of this kind can be had: by a user
    /// who may have no namespaces, or in a container without the capability.
    ///
    /// # Panics
    /// Where it is refused to a process that has the capability to mount.
    pub fn of(size: &'static str) -> Option<Self> {
        let mut folder = tempfile::tempdir().expect("a folder");
        // A mount namespace, which is root's to make; or one with a user namespace in which this user is root.
        for namespace in ["--mount", "-Urm"] {
            let disk = Self { folder, size, namespace };
            let mut probe = disk.command(Path::new("true"));
            let probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            if probe.status().is_ok_and(|status| status.success()) {
                return Some(disk);
            }
            folder = disk.folder;
        }
        let why = "a small disk needs `unshare --mount` or `unshare -Urm` and a mount in it, which are refused here";
        assert!(!may_mount(), "{why}, to a process with the capability SYS_ADMIN");
        super::skipped(why);
        None
    }

    /// Where it is to the program.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command that becomes the program once the disk is there: the process has the id that was spawned.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;
        command.args([self.namespace, "--", "sh", "-c", script, "sh", self.size]);
        command.arg(self.path()).arg(program);
        command
    }
}

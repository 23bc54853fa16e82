//! Reads what is to be known about processes from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use component::Target;

use super::{CONTAINER_ID, DiscoverConfig};

/// All processes below a root folder, by number. A process that ends meanwhile, or about which something
/// that was asked for may not be read, is left out.
pub(super) fn list(root: &Path, config: &DiscoverConfig) -> io::Result<Vec<Target>> {
    let users = if config.username { users(root) } else { HashMap::new() };
    let proc = root.join("proc");
    let mut numbers: Vec<u32> =
        fs::read_dir(&proc)?.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut denied = 0;
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        match process(&proc.join(number.to_string()), number, config, &users) {
            Ok(target) => found.push(target),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied += 1,
            // Kernel threads have no program; others have just ended.
            Err(_) => {}
        }
    }
    if denied > 0 {
        tracing::debug!(denied, "processes of other users are left out: reading them needs CAP_SYS_PTRACE");
    }
    Ok(found)
}

fn process(
    folder: &Path,
    number: u32,
    config: &DiscoverConfig,
    users: &HashMap<String, String>,
) -> io::Result<Target> {
    let mut labels = vec![("__process_pid__", number.to_string())];
    let link = |name: &str| fs::read_link(folder.join(name)).map(|p| p.to_string_lossy().into_owned());
    if config.exe {
        labels.push(("__meta_process_exe", link("exe")?));
    }
    if config.cwd {
        labels.push(("__meta_process_cwd", link("cwd")?));
    }
    if config.commandline {
        let raw = fs::read(folder.join("cmdline"))?;
        let words = raw.split(|b| *b == 0).filter(|w| !w.is_empty());
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        labels.push(("__meta_process_commandline", words.join(" ")));
    }
    if config.uid || config.username {
        let status = fs::read_to_string(folder.join("status"))?;
        let uid = real_uid(&status).unwrap_or_default();
        if config.username {
            labels.push(("__meta_process_username", users.get(uid).cloned().unwrap_or_default()));
        }
        if config.uid {
            labels.push(("__meta_process_uid", uid.to_owned()));
        }
    }
    if config.container_id || config.cgroup_path {
        let cgroup = fs::read_to_string(folder.join("cgroup"))?;
        if config.container_id {
            labels.push((CONTAINER_ID, cgroup.lines().find_map(container_id).unwrap_or_default().to_owned()));
        }
        if config.cgroup_path {
            // The first version has a line a controller.
            labels.push(("__meta_process_cgroup_path", cgroup.lines().collect::<Vec<_>>().join("|")));
        }
    }
    Ok(Target::from_pairs(labels.iter().map(|(n, v)| (*n, v.as_str()))))
}

fn real_uid(status: &str) -> Option<&str> {
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()
}

/// A name of 64 hexadecimal digits, at the end of the path or before a suffix, perhaps behind a prefix:
/// `/docker/<id>`, `/system.slice/docker-<id>.scope`, `/kubepods/…/cri-containerd-<id>.scope`.
fn container_id(line: &str) -> Option<&str> {
    let last = line.rsplit_once('/')?.1.trim_end();
    let name = last.split_once('.').map_or(last, |(name, _)| name);
    let id = name.rsplit_once('-').map_or(name, |(_, id)| id);
    let hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 64 && hex).then_some(id)
}

/// Names by number, from `/etc/passwd`.
fn users(root: &Path) -> HashMap<String, String> {
    let text = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        Some((uid.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::target;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_known_by_its_control_group() {
        for (line, expected) in [
            (format!("12:pids:/docker/{ID}"), Some(ID)),
            (format!("0::/system.slice/docker-{ID}.scope"), Some(ID)),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), Some(ID)),
            (format!("0::/kubepods/burstable/pod1/{ID}"), Some(ID)),
            ("0::/user.slice/session-1.scope".to_string(), None),
            ("0::/".to_string(), None),
            (format!("0::/docker/{}", &ID[1..]), None),
            (format!("0::/docker/{}", ID.to_uppercase()), None),
        ] {
            assert_eq!(container_id(&line), expected, "{line}");
        }
    }

    /// A machine with two processes and a kernel thread.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/false\n");
        for (pid, uid, cgroup) in
            [("7", "33", format!("0::/docker/{ID}\n")), ("10", "1000", "1:a:/x\n2:b:/y\n".into())]
        {
            write(&format!("proc/{pid}/cmdline"), "/bin/web\0--port\080\0");
            write(&format!("proc/{pid}/status"), &format!("Name:\tweb\nUid:\t{uid}\t0\t0\t0\n"));
            write(&format!("proc/{pid}/cgroup"), &cgroup);
            std::os::unix::fs::symlink("/bin/web", root.path().join(format!("proc/{pid}/exe"))).unwrap();
            std::os::unix::fs::symlink("/srv", root.path().join(format!("proc/{pid}/cwd"))).unwrap();
        }
        write("proc/2/cmdline", "");
        write("proc/meminfo", "");
        root
    }

    #[test]
    fn every_label_comes_from_its_place() {
        let root = machine();
        let config = DiscoverConfig {
            cwd: true,
            exe: true,
            commandline: true,
            username: true,
            uid: true,
            container_id: true,
            cgroup_path: true,
        };
        let common = [
            ("__meta_process_exe", "/bin/web"),
            ("__meta_process_cwd", "/srv"),
            ("__meta_process_commandline", "/bin/web --port 80"),
        ];
        let cgroup = format!("0::/docker/{ID}");
        let mut first = vec![
            ("__process_pid__", "7"),
            ("__meta_process_username", "web"),
            ("__meta_process_uid", "33"),
            (CONTAINER_ID, ID),
            ("__meta_process_cgroup_path", cgroup.as_str()),
        ];
        first.extend(common);
        let mut second = vec![
            ("__process_pid__", "10"),
            ("__meta_process_uid", "1000"),
            ("__meta_process_cgroup_path", "1:a:/x|2:b:/y"),
        ];
        second.extend(common);
        assert_eq!(list(root.path(), &config).unwrap(), [target(&first), target(&second)]);
    }

    #[test]
    fn what_is_not_asked_for_is_not_read() {
        let root = machine();
        let config = DiscoverConfig {
            cwd: false,
            exe: false,
            commandline: false,
            username: false,
            uid: false,
            container_id: false,
            cgroup_path: false,
        };
        let found = list(root.path(), &config).unwrap();
        // The kernel thread, too: nothing was asked that it does not have.
        let numbers: Vec<_> = found.iter().map(|t| t.get("__process_pid__").unwrap()).collect();
        assert_eq!(numbers, ["2", "7", "10"]);
        assert!(found.iter().all(|t| t.len() == 1));
    }
}

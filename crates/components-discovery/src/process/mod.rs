//! `discovery.process` lists the processes of this machine, and joins them with containers that others found.

mod proc;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use component::eval::Invalid;
use component::{Arguments, BuildCx, Component, Error, RunCx, Stability, Target};

use crate::discovery::{self, Found, Look};

const CONTAINER_ID: &str = "__container_id__";

/// Arguments.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// Targets to join the processes with, by container.
    #[arg(default, type_name = "list(map(string))")]
    pub join: Vec<Target>,
    /// How often processes are listed.
    #[arg(default = "1m")]
    pub refresh_interval: Duration,
    /// What to find out about each process.
    #[arg(block, default)]
    pub discover_config: DiscoverConfig,
}

/// What to find out about each process.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct DiscoverConfig {
    /// Its folder, as `__meta_process_cwd`.
    #[arg(default = true)]
    pub cwd: bool,
    /// Its program, as `__meta_process_exe`.
    #[arg(default = true)]
    pub exe: bool,
    /// Its command line, as `__meta_process_commandline`.
    #[arg(default = true)]
    pub commandline: bool,
    /// Its user's name, as `__meta_process_username`.
    #[arg(default)]
    pub username: bool,
    /// Its user's number, as `__meta_process_uid`.
    #[arg(default)]
    pub uid: bool,
    /// Its container, as `__container_id__`.
    #[arg(default = true)]
    pub container_id: bool,
    /// Its control groups, as `__meta_process_cgroup_path`.
    #[arg(default)]
    pub cgroup_path: bool,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.refresh_interval.is_zero() {
            return Err(Invalid::field("refresh_interval", "refresh_interval must be longer than 0"));
        }
        Ok(())
    }
}

/// The component.
pub struct Process(Args);

impl Component for Process {
    const NAME: &'static str = "discovery.process";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = Found;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, Found), Error> {
        cx.needs_linux("processes are read from procfs, which only Linux has")?;
        Ok((Self(args), Found::default()))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        discovery::run(cx, Processes(self.0), |args, _| Ok(Processes(args))).await
    }
}

struct Processes(Args);

impl Look for Processes {
    async fn look(&mut self) -> Result<Vec<Target>, Error> {
        let config = self.0.discover_config.clone();
        let listed = tokio::task::spawn_blocking(move || proc::list(Path::new("/"), &config)).await;
        let processes = listed
            .map_err(|_| Error::other("the listing of processes was cut off"))?
            .map_err(|e| Error::io("cannot list /proc", e))?;
        Ok(join(processes, &self.0.join))
    }

    fn interval(&self) -> Duration {
        self.0.refresh_interval
    }
}

/// Each process with the labels of its container's target, which win; then the targets themselves. Targets
/// without a container come first, as they are. As Alloy: of several targets of one container the last
/// counts.
fn join(processes: Vec<Target>, others: &[Target]) -> Vec<Target> {
    if others.is_empty() {
        return processes;
    }
    let mut containers = BTreeMap::new();
    let mut joined = Vec::with_capacity(processes.len() + others.len());
    for target in others {
        match container_of(target) {
            Some(id) => {
                containers.insert(id, target);
            }
            None => joined.push(target.clone()),
        }
    }
    joined.extend(processes.into_iter().map(|process| {
        let container = container_of(&process).and_then(|id| containers.get(id));
        match container {
            Some(container) => {
                let own = process.iter().filter(|(name, _)| container.get(name).is_none());
                Target::from_pairs(own.chain(container.iter()).collect::<Vec<_>>())
            }
            None => process,
        }
    }));
    joined.extend(containers.into_values().cloned());
    joined
}

/// The container of a process, of a Kubernetes pod's target, or of a Docker target.
fn container_of(target: &Target) -> Option<&str> {
    let label = |name| target.get(name).filter(|v: &&str| !v.is_empty());
    if let Some(id) = label(CONTAINER_ID) {
        return Some(id);
    }
    if let Some(id) = label("__meta_kubernetes_pod_container_id") {
        return ["docker://", "containerd://", "cri-o://"].iter().find_map(|scheme| id.strip_prefix(scheme));
    }
    label("__meta_docker_container_id")
}

/// Reads the files below a folder, in `proc` and `etc`; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(root: &Path) {
    let config = DiscoverConfig {
        cwd: false,
        exe: false,
        commandline: true,
        username: true,
        uid: true,
        container_id: true,
        cgroup_path: true,
    };
    let _ = proc::list(root, &config);
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names};

    use super::*;
    use crate::discovery::{exported, target};

    #[test]
    fn processes_take_the_labels_of_their_container_and_the_containers_stay() {
        let process =
            |pid: &str, id: &str| target(&[("__process_pid__", pid), (CONTAINER_ID, id), ("x", "process")]);
        let pod = target(&[("__meta_kubernetes_pod_container_id", "containerd://c1"), ("x", "pod")]);
        let docker = target(&[("__meta_docker_container_id", "c2")]);
        let other = target(&[("__address__", "a")]);
        let found = join(
            vec![process("1", "c1"), process("2", "c3"), target(&[("__process_pid__", "3")])],
            &[pod.clone(), docker.clone(), other.clone()],
        );
        let merged = target(&[
            ("__process_pid__", "1"),
            (CONTAINER_ID, "c1"),
            ("__meta_kubernetes_pod_container_id", "containerd://c1"),
            ("x", "pod"),
        ]);
        assert_eq!(
            found,
            [other, merged, process("2", "c3"), target(&[("__process_pid__", "3")]), pod, docker]
        );
    }

    #[tokio::test]
    async fn this_process_is_found_with_what_was_asked_for() {
        let body = "discover_config {\n uid = true\n cwd = false\n}";
        let harness = Harness::start(ComponentDef::of::<Process>(), body, Names::default()).await;
        let exports = harness.until_exports(|e| !exported(e).is_empty()).await;
        let pid = std::process::id().to_string();
        let found = exported(&exports);
        let me =
            found.iter().find(|t| t.get("__process_pid__") == Some(&pid)).expect("this process is listed");
        let exe = std::env::current_exe().unwrap();
        assert_eq!(me.get("__meta_process_exe"), exe.to_str());
        assert!(me.get("__meta_process_uid").is_some() && me.get("__meta_process_cwd").is_none());
        assert!(me.get("__meta_process_commandline").unwrap().contains("components_discovery"));
    }
}

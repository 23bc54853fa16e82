//! Metrics about the collecting program itself, under the names that client libraries use.

use std::fs;

use super::{CollectorError, Family, read};

/// Which build this is. Dashboards find hosts by this family, so it keeps node_exporter's name.
pub(super) fn build_info(out: &mut Vec<Family>) {
    // Go's names of the architectures.
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = [
        ("branch", ""),
        ("goarch", arch),
        ("goos", std::env::consts::OS),
        ("goversion", ""),
        ("revision", ""),
        ("tags", ""),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let help = "A metric with a constant '1' value labeled by version, revision, branch, goversion from which \
                node_exporter was built, and the goos and goarch for the build.";
    out.push(Family::gauge("node_exporter_build_info", help).with(&labels, 1.0));
}

/// CPU, memory and files of this process. What cannot be read is left out, as client_golang does.
pub(crate) fn process(out: &mut Vec<Family>) {
    if let Err(error) = gather(out) {
        tracing::debug!(%error, "metrics of this process are incomplete");
    }
}

fn gather(out: &mut Vec<Family>) -> Result<(), CollectorError> {
    let path = "/proc/self/stat";
    let text = read::text(path)?;
    let (_, rest) =
        text.rsplit_once(')').ok_or_else(|| CollectorError::parse(path, "there is no program name"))?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    // Numbered from 1 in proc_pid_stat(5), where the state after the name is 3.
    let field = |number: usize| -> Result<f64, CollectorError> {
        read::parse(path, fields.get(number - 3).copied().unwrap_or_default())
    };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let boot = read::text("/proc/stat")?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")).unwrap_or_default();
    let boot: f64 = read::parse("/proc/stat", boot)?;
    let gauges = [
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", field(23)?),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            field(24)? * rustix::param::page_size() as f64,
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            boot + field(22)? / ticks,
        ),
    ];
    let help = "Total user and system CPU time spent in seconds.";
    let cpu = (field(14)? + field(15)?) / ticks;
    out.push(Family::counter("process_cpu_seconds_total", help).with(&[], cpu));
    for (name, help, value) in gauges {
        out.push(Family::gauge(name, help).with(&[], value));
    }
    limits(out)
}

fn limits(out: &mut Vec<Family>) -> Result<(), CollectorError> {
    use rustix::process::{Resource, getrlimit};
    let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX) as f64;
    let path = "/proc/self/fd";
    let open =
        fs::read_dir(path).map_err(|source| CollectorError::Read { path: path.into(), source })?.count();
    let gauges = [
        ("process_open_fds", "Number of open file descriptors.", open as f64),
        ("process_max_fds", "Maximum number of open file descriptors.", limit(Resource::Nofile)),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            limit(Resource::As),
        ),
    ];
    for (name, help, value) in gauges {
        out.push(Family::gauge(name, help).with(&[], value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_past() {
        let mut families = Vec::new();
        gather(&mut families).unwrap();
        let value = |name: &str| families.iter().find(|f| f.name == name).unwrap().metrics[0].value;
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert_eq!(families.len(), 7);
    }
}

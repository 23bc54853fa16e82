//! `sysctl`: chosen kernel settings, from `/proc/sys/`.
//!
//! An entry is `name` or `name:key,key…`; keys name the values of a setting that has several.

use signal::samples::MetricKind::Unknown;

use super::config::Config;
use super::error::ConfigError;
use super::{Collect, CollectorError, Family, Outcome, Paths, read};

/// One wanted setting.
struct Setting {
    name: String,
    keys: Vec<String>,
}

impl Setting {
    fn new(entry: &str) -> Self {
        match entry.split_once(':') {
            Some((name, keys)) => {
                Self { name: name.to_string(), keys: keys.split(',').map(str::to_string).collect() }
            }
            None => Self { name: entry.to_string(), keys: Vec::new() },
        }
    }
}

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let numeric: Vec<_> = config.sysctl.include.iter().map(|entry| Setting::new(entry)).collect();
    let texts: Vec<_> = config.sysctl.include_info.iter().map(|entry| Setting::new(entry)).collect();
    if let Some(setting) = texts.iter().find(|setting| !setting.keys.is_empty()) {
        let problem = format!("{:?} has keys, which only numeric settings can have", setting.name);
        return Err(ConfigError::Value { argument: "sysctl.include_info", problem });
    }
    Ok(Box::new(move |paths, out| collect(&numeric, &texts, paths, out)))
}

fn collect(numeric: &[Setting], texts: &[Setting], paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    for setting in numeric {
        numbers(setting, paths, out)?;
    }
    let mut info = Family::gauge("node_sysctl_info", "sysctl info");
    for setting in texts {
        let values = values(setting, paths)?;
        for (i, value) in values.iter().enumerate() {
            info.add(&[("name", &setting.name), ("value", value), ("index", &i.to_string())], 1.0);
        }
    }
    out.push(info);
    Ok(())
}

/// The values of a setting; a dot in the name is a directory.
fn values(setting: &Setting, paths: &Paths) -> Result<Vec<String>, CollectorError> {
    let path = paths.proc("sys").join(setting.name.replace('.', "/"));
    let values: Vec<_> = read::text(&path)?.split_whitespace().map(str::to_string).collect();
    if values.is_empty() {
        return Err(CollectorError::parse(path, "the setting has no values"));
    }
    Ok(values)
}

fn numbers(setting: &Setting, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("sys").join(setting.name.replace('.', "/"));
    let values = values(setting, paths)?
        .iter()
        .map(|value| read::parse::<i64>(&path, value).map(|value| value as f64))
        .collect::<Result<Vec<_>, _>>()?;
    let metric = format!("node_sysctl_{}", read::metric_name(&setting.name));
    if !setting.keys.is_empty() {
        if values.len() != setting.keys.len() {
            let problem =
                format!("{} values, but {} keys are given for them", values.len(), setting.keys.len());
            return Err(CollectorError::parse(path, problem));
        }
        for (i, (key, value)) in setting.keys.iter().zip(values).enumerate() {
            let help = format!("sysctl {}, field {i}", setting.name);
            out.push(Family::new(format!("{metric}_{key}"), help, Unknown).with(&[], value));
        }
        return Ok(());
    }
    let mut family = Family::new(metric, format!("sysctl {}", setting.name), Unknown);
    match values[..] {
        [value] => family.add(&[], value),
        _ => {
            values.iter().enumerate().for_each(|(i, value)| family.add(&[("index", &i.to_string())], *value))
        }
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn settings_are_given_as_metrics_and_as_labels() {
        let tree = Tree::new(&[
            ("proc/sys/kernel/threads-max", "7801\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("proc/sys/fs/file-nr", "1 2\n"),
            ("proc/sys/kernel/seccomp/actions_avail", "kill_process log\n"),
        ]);
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_string()).collect();
        let collect = with(build, |config| {
            config.sysctl.include =
                owned(&["kernel.threads-max", "net.ipv4.tcp_rmem:min,default,max", "fs.file-nr"]);
            config.sysctl.include_info = owned(&["kernel.seccomp.actions_avail"]);
        });
        let expected = "\
node_sysctl_fs_file_nr{index=\"0\"} 1
node_sysctl_fs_file_nr{index=\"1\"} 2
node_sysctl_info{index=\"0\",name=\"kernel.seccomp.actions_avail\",value=\"kill_process\"} 1
node_sysctl_info{index=\"1\",name=\"kernel.seccomp.actions_avail\",value=\"log\"} 1
node_sysctl_kernel_threads_max 7801
node_sysctl_net_ipv4_tcp_rmem_default 131072
node_sysctl_net_ipv4_tcp_rmem_max 6291456
node_sysctl_net_ipv4_tcp_rmem_min 4096
";
        assert_eq!(tree.samples(collect), expected);
    }

    #[test]
    fn keys_must_fit_the_values() {
        let tree = Tree::new(&[("proc/sys/a", "1 2\n")]);
        let collect = with(build, |config| config.sysctl.include = vec!["a:x".into()]);
        assert!(tree.run(collect).1.unwrap_err().to_string().contains("2 values, but 1 keys"));
        let mut config = Config::default();
        config.sysctl.include_info = vec!["a:x".into()];
        assert!(build(&config).is_err());
    }
}

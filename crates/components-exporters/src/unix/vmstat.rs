//! `vmstat`: chosen counters of the memory manager, from `/proc/vmstat`.

use signal::samples::MetricKind::Unknown;

use super::config::Config;
use super::error::ConfigError;
use super::filter::{Pattern, pattern};
use super::{Collect, CollectorError, Family, Outcome, Paths, read};

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let fields = pattern("vmstat.fields", &config.vmstat.fields)?;
    Ok(Box::new(move |paths, out| collect(&fields, paths, out)))
}

fn collect(fields: &Pattern, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("vmstat");
    for line in read::text(&path)?.lines() {
        let (field, value) = line
            .split_once(' ')
            .ok_or_else(|| CollectorError::parse(&path, format!("malformed line {line:?}")))?;
        if fields.is_match(field) {
            let help = format!("/proc/vmstat information field {field}.");
            let family = Family::new(format!("node_vmstat_{field}"), help, Unknown);
            out.push(family.with(&[], read::parse(&path, value)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn wanted_fields_are_given() {
        let tree = Tree::new(&[(
            "proc/vmstat",
            "nr_free_pages 9\npgpgin 7344136\npgfault 2320168809\noom_kill 0\n",
        )]);
        let expected = "node_vmstat_oom_kill 0\nnode_vmstat_pgfault 2320168809\nnode_vmstat_pgpgin 7344136\n";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
        let text = tree.samples(with(build, |config| config.vmstat.fields = "^nr_".into()));
        assert_eq!(text, "node_vmstat_nr_free_pages 9\n");
    }
}

//! `cpufreq`: clock frequencies and governors, from `/sys/devices/system/cpu/cpu*/cpufreq/`.

use signal::samples::MetricKind::Gauge;

use super::cpu::cpu_list;
use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Files in kilohertz and their columns.
const FREQUENCIES: [(&str, Column); 6] = [
    ("cpuinfo_cur_freq", ("node_cpu_frequency_hertz", "Current CPU thread frequency in hertz.", Gauge)),
    ("cpuinfo_min_freq", ("node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz.", Gauge)),
    ("cpuinfo_max_freq", ("node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz.", Gauge)),
    (
        "scaling_cur_freq",
        ("node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz.", Gauge),
    ),
    (
        "scaling_min_freq",
        ("node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz.", Gauge),
    ),
    (
        "scaling_max_freq",
        ("node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz.", Gauge),
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("devices/system/cpu");
    let path = root.join("offline");
    let offline = read::trimmed(&path)?;
    let offline = cpu_list(&offline)
        .ok_or_else(|| CollectorError::parse(&path, format!("{offline:?} is not a list of CPUs")))?;
    let mut families = columns(&FREQUENCIES.map(|(_, column)| column));
    let mut governors = Family::gauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor.");
    for cpu in read::numbered(&root, "cpu") {
        let dir = root.join(&cpu).join("cpufreq");
        let number = &cpu["cpu".len()..];
        if number.parse().is_ok_and(|number| offline.contains(&number)) || !dir.exists() {
            continue;
        }
        for ((file, _), family) in FREQUENCIES.iter().zip(&mut families) {
            if let Some(text) = read::attribute(dir.join(file))? {
                family.add(&[("cpu", number)], read::parse::<u64>(dir.join(file), &text)? as f64 * 1e3);
            }
        }
        let current = read::trimmed(dir.join("scaling_governor"))?;
        if !current.is_empty() {
            for governor in read::trimmed(dir.join("scaling_available_governors"))?.split_whitespace() {
                let on = if governor == current { 1.0 } else { 0.0 };
                governors.add(&[("cpu", number), ("governor", governor)], on);
            }
        }
    }
    families.push(governors);
    out.append(&mut families);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn frequencies_are_given_in_hertz_and_offline_cpus_left_out() {
        let dir = "sys/devices/system/cpu";
        let tree = Tree::new(&[
            (&format!("{dir}/offline"), "1\n"),
            (&format!("{dir}/cpu0/cpufreq/scaling_cur_freq"), "1699981\n"),
            (&format!("{dir}/cpu0/cpufreq/scaling_governor"), "powersave\n"),
            (&format!("{dir}/cpu0/cpufreq/scaling_available_governors"), "performance powersave\n"),
            (&format!("{dir}/cpu1/cpufreq/scaling_cur_freq"), "1\n"),
            (&format!("{dir}/cpuidle/current_driver"), "none\n"),
        ]);
        let expected = "\
node_cpu_scaling_frequency_hertz{cpu=\"0\"} 1699981000
node_cpu_scaling_governor{cpu=\"0\",governor=\"performance\"} 0
node_cpu_scaling_governor{cpu=\"0\",governor=\"powersave\"} 1
";
        assert_eq!(tree.samples(collect), expected);
    }
}

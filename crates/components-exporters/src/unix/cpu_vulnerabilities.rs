//! `cpu_vulnerabilities`: known flaws of the CPU, from `/sys/devices/system/cpu/vulnerabilities/`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let dir = paths.sys("devices/system/cpu/vulnerabilities");
    let mut family = Family::gauge(
        "node_cpu_vulnerabilities_info",
        "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of \
         the vulnerability. The same state is stored as a string in the label",
    );
    for name in read::names(&dir)? {
        let path = dir.join(&name);
        let text = read::trimmed(&path)?;
        let (state, mitigation) =
            state(&text).ok_or_else(|| CollectorError::parse(&path, format!("unknown state {text:?}")))?;
        family.add(&[("codename", &name), ("state", state), ("mitigation", mitigation)], 1.0);
    }
    out.push(family);
    Ok(())
}

/// The state and what follows it: `Mitigation: …`, `Vulnerable: …`, `Not affected`, `Unknown: …`.
fn state(text: &str) -> Option<(&'static str, &str)> {
    let states = [
        ("Not affected", "not affected"),
        ("Vulnerable", "vulnerable"),
        ("Mitigation", "mitigation"),
        ("Unknown", "unknown"),
        ("KVM: Mitigation", "mitigation"),
        ("KVM: Vulnerable", "vulnerable"),
        ("Processor vulnerable", "vulnerable"),
    ];
    let (prefix, state) = states.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    Some((state, text[prefix.len()..].trim_start_matches([':', ',', ' '])))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn the_state_and_the_mitigation_are_labels() {
        let dir = "sys/devices/system/cpu/vulnerabilities";
        let tree = Tree::new(&[
            (&format!("{dir}/mds"), "Vulnerable: Clear CPU buffers attempted, no microcode\n"),
            (&format!("{dir}/meltdown"), "Not affected\n"),
            (&format!("{dir}/retbleed"), "Mitigation: IBPB\n"),
        ]);
        let expected = "\
node_cpu_vulnerabilities_info{codename=\"mds\",mitigation=\"Clear CPU buffers attempted, no microcode\",state=\"vulnerable\"} 1
node_cpu_vulnerabilities_info{codename=\"meltdown\",mitigation=\"\",state=\"not affected\"} 1
node_cpu_vulnerabilities_info{codename=\"retbleed\",mitigation=\"IBPB\",state=\"mitigation\"} 1
";
        assert_eq!(tree.samples(collect), expected);
    }
}

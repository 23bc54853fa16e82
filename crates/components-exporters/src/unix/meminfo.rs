//! `meminfo`: every field of `/proc/meminfo`.
//!
//! node_exporter 1.9 gives a fixed list of fields and 1.5 gave all of them; all are given here.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("meminfo");
    for line in read::text(&path)?.lines() {
        let (field, value) = line
            .split_once(':')
            .ok_or_else(|| CollectorError::parse(&path, format!("malformed line {line:?}")))?;
        let (value, in_kilobytes) = match value.trim().strip_suffix("kB") {
            Some(value) => (value.trim(), true),
            None => (value.trim(), false),
        };
        let mut value: f64 = read::parse(&path, value)?;
        let mut name = name(field);
        if in_kilobytes {
            value *= 1024.0;
            name.push_str("_bytes");
        }
        let help = format!("Memory information field {name}.");
        out.push(Family::gauge(format!("node_memory_{name}"), help).with(&[], value));
    }
    Ok(())
}

/// `Active(anon)` is `Active_anon`.
pub(super) fn name(field: &str) -> String {
    field.replace('(', "_").replace(')', "")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn fields_in_kilobytes_are_given_in_bytes() {
        let tree = Tree::new(&[(
            "proc/meminfo",
            "MemTotal:        3742148 kB\nActive(anon):          2 kB\nHugePages_Total:       7\n",
        )]);
        assert_eq!(
            tree.samples(collect),
            "node_memory_Active_anon_bytes 2048\nnode_memory_HugePages_Total 7\nnode_memory_MemTotal_bytes 3831959552\n"
        );
    }
}

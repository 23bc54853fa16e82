//! `os`: the distribution, from `/etc/os-release` or `/usr/lib/os-release` of the host.

use std::collections::HashMap;

use super::{CollectorError, Family, Outcome, Paths, read};

/// Labels of `node_os_info`; their upper case is the name of the setting.
const LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let text = match read::optional(paths.host("/etc/os-release"))? {
        Some(text) => text,
        None => read::text(paths.host("/usr/lib/os-release")).map_err(CollectorError::missing_is_no_data)?,
    };
    let settings: HashMap<String, String> = text
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_ascii_lowercase(), unquote(value)))
        .collect();
    let setting = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    let help = format!("A metric with a constant '1' value labeled by {}.", LABELS.join(", "));
    out.push(Family::gauge("node_os_info", help).with(&LABELS.map(|label| (label, setting(label))), 1.0));
    if let Some(version) = major_minor(setting("version_id")).filter(|version| *version > 0.0) {
        let labels = [("id", setting("id")), ("id_like", setting("id_like")), ("name", setting("name"))];
        let help = "Metric containing the major.minor part of the OS version.";
        out.push(Family::gauge("node_os_version", help).with(&labels, version));
    }
    if let Some(end) = settings.get("support_end").filter(|end| !end.is_empty()) {
        let day: jiff::civil::Date = end.parse().map_err(|_| {
            CollectorError::parse(paths.host("/etc/os-release"), format!("{end:?} is not a date"))
        })?;
        let seconds = day.to_zoned(jiff::tz::TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second());
        let help = "Metric containing the end-of-life date timestamp of the OS.";
        out.push(Family::gauge("node_os_support_end_timestamp_seconds", help).with(&[], seconds as f64));
    }
    Ok(())
}

/// A value of os-release(5): bare, or in quotes of the shell.
fn unquote(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return if quote == '"' { unescape(inner) } else { inner.to_string() };
        }
    }
    value.to_string()
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// The leading `12` or `22.04` of a version.
fn major_minor(version: &str) -> Option<f64> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let major = digits(version);
    let end = match version[major..].strip_prefix('.') {
        Some(rest) => major + 1 + digits(rest),
        None => major,
    };
    (major > 0).then(|| version[..end].trim_end_matches('.').parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn settings_become_labels() {
        let tree = Tree::new(&[(
            "rootfs/usr/lib/os-release",
            "# comment\nNAME=\"Some \\\"OS\\\"\"\nID=some\nVERSION_ID='22.04'\nSUPPORT_END=2026-01-01\n",
        )]);
        let expected = "\
node_os_info{build_id=\"\",id=\"some\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"Some \\\"OS\\\"\",\
pretty_name=\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"22.04\"} 1
node_os_support_end_timestamp_seconds 1767225600
node_os_version{id=\"some\",id_like=\"\",name=\"Some \\\"OS\\\"\"} 22.04
";
        assert_eq!(tree.samples(collect), expected);
    }

    #[test]
    fn versions_are_cut_after_the_minor_part() {
        let cases =
            [("12", Some(12.0)), ("20.04.1", Some(20.04)), ("7.", Some(7.0)), ("", None), ("sid", None)];
        for (version, expected) in cases {
            assert_eq!(major_minor(version), expected, "{version}");
        }
    }

    #[test]
    fn a_host_without_the_file_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

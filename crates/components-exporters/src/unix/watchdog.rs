//! `watchdog`: watchdog timers, from `/sys/class/watchdog/*/`.

use signal::samples::MetricKind::Gauge;

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

/// Files and their columns.
const VALUES: [(&str, Column); 7] = [
    ("bootstatus", ("node_watchdog_bootstatus", "Value of /sys/class/watchdog/<watchdog>/bootstatus", Gauge)),
    ("fw_version", ("node_watchdog_fw_version", "Value of /sys/class/watchdog/<watchdog>/fw_version", Gauge)),
    ("nowayout", ("node_watchdog_nowayout", "Value of /sys/class/watchdog/<watchdog>/nowayout", Gauge)),
    (
        "timeleft",
        ("node_watchdog_timeleft_seconds", "Value of /sys/class/watchdog/<watchdog>/timeleft", Gauge),
    ),
    ("timeout", ("node_watchdog_timeout_seconds", "Value of /sys/class/watchdog/<watchdog>/timeout", Gauge)),
    (
        "pretimeout",
        ("node_watchdog_pretimeout_seconds", "Value of /sys/class/watchdog/<watchdog>/pretimeout", Gauge),
    ),
    ("access_cs0", ("node_watchdog_access_cs0", "Value of /sys/class/watchdog/<watchdog>/access_cs0", Gauge)),
];

/// Files with text, which are also the names of their labels.
const TEXTS: [&str; 5] = ["options", "identity", "state", "status", "pretimeout_governor"];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/watchdog");
    let timers = read::names(&root).map_err(CollectorError::unreadable_is_no_data)?;
    let mut families = columns(&VALUES.map(|(_, column)| column));
    let mut info = Family::gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>");
    for timer in &timers {
        for ((file, _), family) in VALUES.iter().zip(&mut families) {
            if let Some(value) = read::attribute_number(root.join(timer).join(file))? {
                family.add(&[("name", timer)], value);
            }
        }
        let mut texts = vec![("name", timer.clone())];
        for file in TEXTS {
            texts.push((file, read::attribute(root.join(timer).join(file))?.unwrap_or_default()));
        }
        let labels: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        info.add(&labels, 1.0);
    }
    families.push(info);
    out.append(&mut families);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn timers_are_given_with_what_their_driver_offers() {
        let tree = Tree::new(&[
            ("sys/class/watchdog/watchdog0/timeout", "60\n"),
            ("sys/class/watchdog/watchdog0/identity", "Software Watchdog\n"),
        ]);
        let expected = "\
node_watchdog_info{identity=\"Software Watchdog\",name=\"watchdog0\",options=\"\",pretimeout_governor=\"\",state=\"\",status=\"\"} 1
node_watchdog_timeout_seconds{name=\"watchdog0\"} 60
";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

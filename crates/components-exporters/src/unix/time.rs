//! `time`: the system's clock, its time zone and its clock sources.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.push(Family::gauge("node_time_seconds", "System time in seconds since epoch (1970).").with(&[], now));
    out.push(zone(&TimeZone::system(), Timestamp::now()));
    let mut available = Family::gauge(
        "node_time_clocksource_available_info",
        "Available clocksources read from '/sys/devices/system/clocksource'.",
    );
    let mut current = Family::gauge(
        "node_time_clocksource_current_info",
        "Current clocksource read from '/sys/devices/system/clocksource'.",
    );
    let root = paths.sys("devices/system/clocksource");
    for (i, device) in read::numbered(&root, "clocksource").iter().enumerate() {
        let number = i.to_string();
        let text = |file: &str| read::trimmed(root.join(device).join(file));
        for source in text("available_clocksource")?.split_whitespace() {
            available.add(&[("device", &number), ("clocksource", source)], 1.0);
        }
        current.add(&[("device", &number), ("clocksource", &text("current_clocksource")?)], 1.0);
    }
    out.extend([available, current]);
    Ok(())
}

fn zone(zone: &TimeZone, now: Timestamp) -> Family {
    let info = zone.to_offset_info(now);
    // A system that does not say where it is runs on UTC.
    let name = if zone.is_unknown() { "UTC" } else { info.abbreviation() };
    Family::gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.")
        .with(&[("time_zone", name)], f64::from(info.offset().seconds()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn clock_sources_are_given_by_their_order() {
        let dir = "sys/devices/system/clocksource/clocksource0";
        let tree = Tree::new(&[
            (&format!("{dir}/available_clocksource"), "tsc hpet \n"),
            (&format!("{dir}/current_clocksource"), "tsc\n"),
        ]);
        let text = tree.samples(collect);
        let expected = "\
node_time_clocksource_available_info{clocksource=\"hpet\",device=\"0\"} 1
node_time_clocksource_available_info{clocksource=\"tsc\",device=\"0\"} 1
node_time_clocksource_current_info{clocksource=\"tsc\",device=\"0\"} 1
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("node_time_seconds 1"), "{text}");
    }

    #[test]
    fn the_time_zone_is_given_with_its_name_at_that_moment() {
        let summer: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let value = |zone: &TimeZone| {
            let family = super::zone(zone, summer);
            (family.metrics[0].labels[0].1.clone(), family.metrics[0].value)
        };
        assert_eq!(value(&berlin), ("CEST".to_string(), 7200.0));
        assert_eq!(value(&TimeZone::unknown()), ("UTC".to_string(), 0.0));
    }
}

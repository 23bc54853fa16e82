//! `powersupplyclass`: batteries and mains, from `/sys/class/power_supply/*/`.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::Config;
use super::error::ConfigError;
use super::filter::{Pattern, pattern};
use super::{Collect, CollectorError, Family, Outcome, Paths, read};

/// Files and the names of their metrics, by the factor that makes base units of them.
const PLAIN: [(&str, &str); 10] = [
    ("authentic", "authentic"),
    ("calibrate", "calibrate"),
    ("capacity", "capacity"),
    ("capacity_alert_max", "capacity_alert_max"),
    ("capacity_alert_min", "capacity_alert_min"),
    ("cycle_count", "cyclecount"),
    ("online", "online"),
    ("present", "present"),
    ("time_to_empty_now", "time_to_empty_seconds"),
    ("time_to_full_now", "time_to_full_seconds"),
];

const MICRO: [(&str, &str); 31] = [
    ("current_boot", "current_boot"),
    ("current_max", "current_max"),
    ("current_now", "current_ampere"),
    ("energy_empty", "energy_empty"),
    ("energy_empty_design", "energy_empty_design"),
    ("energy_full", "energy_full"),
    ("energy_full_design", "energy_full_design"),
    ("energy_now", "energy_watthour"),
    ("voltage_boot", "voltage_boot"),
    ("voltage_max", "voltage_max"),
    ("voltage_max_design", "voltage_max_design"),
    ("voltage_min", "voltage_min"),
    ("voltage_min_design", "voltage_min_design"),
    ("voltage_now", "voltage_volt"),
    ("voltage_ocv", "voltage_ocv"),
    ("charge_control_limit", "charge_control_limit"),
    ("charge_control_limit_max", "charge_control_limit_max"),
    ("charge_counter", "charge_counter"),
    ("charge_empty", "charge_empty"),
    ("charge_empty_design", "charge_empty_design"),
    ("charge_full", "charge_full"),
    ("charge_full_design", "charge_full_design"),
    ("charge_now", "charge_ampere"),
    ("charge_term_current", "charge_term_current"),
    ("constant_charge_current", "constant_charge_current"),
    ("constant_charge_current_max", "constant_charge_current_max"),
    ("constant_charge_voltage", "constant_charge_voltage"),
    ("constant_charge_voltage_max", "constant_charge_voltage_max"),
    ("precharge_current", "precharge_current"),
    ("input_current_limit", "input_current_limit"),
    ("power_now", "power_watt"),
];

const TENTHS: [(&str, &str); 8] = [
    ("temp", "temp_celsius"),
    ("temp_alert_max", "temp_alert_max_celsius"),
    ("temp_alert_min", "temp_alert_min_celsius"),
    ("temp_ambient", "temp_ambient_celsius"),
    ("temp_ambient_max", "temp_ambient_max_celsius"),
    ("temp_ambient_min", "temp_ambient_min_celsius"),
    ("temp_max", "temp_max_celsius"),
    ("temp_min", "temp_min_celsius"),
];

/// Files with text, which are also the names of their labels.
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
];

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let ignored = pattern("powersupply.ignored_supplies", &config.powersupply.ignored_supplies)?;
    Ok(Box::new(move |paths, out| collect(&ignored, paths, out)))
}

fn collect(ignored: &Pattern, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/power_supply");
    let supplies = read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    let mut info = Family::gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>.");
    for supply in supplies.iter().filter(|name| !ignored.is_match(name)) {
        let dir = root.join(supply);
        describe(&dir, supply, &mut info)?;
        for (table, divisor) in [(&PLAIN[..], 1.0), (&MICRO[..], 1e6), (&TENTHS[..], 10.0)] {
            for (file, name) in table {
                if let Some(value) = read::attribute_number(dir.join(file))? {
                    let family = families.entry(name).or_insert_with(|| {
                        let help = format!("{name} value of /sys/class/power_supply/<power_supply>.");
                        Family::gauge(format!("node_power_supply_{name}"), help)
                    });
                    family.add(&[("power_supply", supply)], value / divisor);
                }
            }
        }
    }
    out.push(info);
    out.extend(families.into_values());
    Ok(())
}

fn describe(dir: &Path, supply: &str, info: &mut Family) -> Outcome {
    let mut texts = vec![("power_supply", supply.to_string())];
    for file in TEXTS {
        texts.extend(
            read::attribute(dir.join(file))?.filter(|text| !text.is_empty()).map(|text| (file, text)),
        );
    }
    let labels: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    info.add(&labels, 1.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn a_battery_is_given_in_base_units() {
        let tree = Tree::new(&[
            ("sys/class/power_supply/BAT0/capacity", "81\n"),
            ("sys/class/power_supply/BAT0/energy_now", "36580000\n"),
            ("sys/class/power_supply/BAT0/temp", "305\n"),
            ("sys/class/power_supply/BAT0/status", "Discharging\n"),
            ("sys/class/power_supply/BAT0/serial_number", "\n"),
            ("sys/class/power_supply/AC/online", "0\n"),
        ]);
        let expected = "\
node_power_supply_capacity{power_supply=\"BAT0\"} 81
node_power_supply_energy_watthour{power_supply=\"BAT0\"} 36.58
node_power_supply_info{power_supply=\"AC\"} 1
node_power_supply_info{power_supply=\"BAT0\",status=\"Discharging\"} 1
node_power_supply_online{power_supply=\"AC\"} 0
node_power_supply_temp_celsius{power_supply=\"BAT0\"} 30.5
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
        let text = tree.samples(with(build, |config| config.powersupply.ignored_supplies = "^BAT".into()));
        assert!(!text.contains("BAT0"), "{text}");
        assert!(matches!(Tree::new(&[]).run(with(build, |_| {})).1, Err(CollectorError::NoData)));
    }
}

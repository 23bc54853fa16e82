//! `hwmon`: sensors of the main board and its devices, from `/sys/class/hwmon/`.
//!
//! Every file is `<type><number>_<property>`; type and property decide name, unit and help.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::config::Config;
use super::error::ConfigError;
use super::filter::Filter;
use super::{Collect, CollectorError, Family, Outcome, Paths, read};

/// Types of sensors that are given; other files are not of sensors.
const TYPES: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// Properties by sensor; the value itself is property "".
type Sensors = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn build(config: &Config) -> Result<Collect, ConfigError> {
    let hwmon = &config.hwmon;
    let chips = Filter::new(
        ("hwmon.chip_exclude", &hwmon.chip_exclude),
        ("hwmon.chip_include", &hwmon.chip_include),
    )?;
    Ok(Box::new(move |paths, out| collect(&chips, paths, out)))
}

fn collect(chips: &Filter, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/hwmon");
    let names = read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut families = BTreeMap::new();
    let mut result = Ok(());
    for name in names.iter().filter(|name| root.join(name).is_dir()) {
        if let Err(error) = chip(chips, &root.join(name), &mut families) {
            result = Err(error);
        }
    }
    out.extend(families.into_values());
    result
}

fn chip(chips: &Filter, dir: &Path, families: &mut BTreeMap<String, Family>) -> Outcome {
    let chip = chip_name(dir)?;
    if chips.ignores(&chip) {
        return Ok(());
    }
    let mut sensors = Sensors::new();
    gather(dir, &mut sensors)?;
    if dir.join("device").exists() {
        gather(&dir.join("device"), &mut sensors)?;
    }
    if let Some(readable) =
        read::optional(dir.join("name"))?.map(|name| clean(&name)).filter(|name| !name.is_empty())
    {
        let help = "Annotation metric for human-readable chip names";
        family(families, "node_hwmon_chip_names", help)
            .add(&[("chip", &chip), ("chip_name", &readable)], 1.0);
    }
    for (sensor, properties) in &sensors {
        let kind = split(sensor).map_or("", |(kind, _, _)| kind);
        add(&chip, sensor, kind, properties, families);
    }
    Ok(())
}

/// Reads all sensor files of a directory; those that cannot be read are left out.
fn gather(dir: &Path, sensors: &mut Sensors) -> Outcome {
    for file in read::names(dir)? {
        let Some((kind, number, property)) = split(&file).filter(|(kind, _, _)| TYPES.contains(kind)) else {
            continue;
        };
        // Broken drivers answer EAGAIN or block on larger reads: one small read, and that is it.
        let mut buffer = [0u8; 128];
        let Ok(length) = fs::File::open(dir.join(&file)).and_then(|mut file| file.read(&mut buffer)) else {
            continue;
        };
        let value = String::from_utf8_lossy(&buffer[..length]).trim_matches('\n').to_string();
        sensors.entry(format!("{kind}{number}")).or_default().insert(property.to_string(), value);
    }
    Ok(())
}

/// Splits `temp1_max` into type, number (0 where there is none) and property (possibly empty).
fn split(file: &str) -> Option<(&str, u64, &str)> {
    let end = file.find(|c: char| c.is_ascii_digit()).unwrap_or(file.len());
    if end == file.len() {
        // Without a number the whole name is the type, as in `update_interval` and `beep_enable`.
        return (!file.is_empty()).then_some((file, 0, ""));
    }
    let (kind, rest) = file.split_at(end);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let property = match &rest[digits..] {
        "" => "",
        rest => rest.strip_prefix('_').filter(|property| !property.is_empty())?,
    };
    (!kind.is_empty()).then_some((kind, rest[..digits].parse().ok()?, property))
}

fn family<'a>(families: &'a mut BTreeMap<String, Family>, name: &str, help: &str) -> &'a mut Family {
    families.entry(name.to_string()).or_insert_with(|| Family::gauge(name.to_string(), help.to_string()))
}

/// Adds one sensor's values.
fn add(
    chip: &str,
    sensor: &str,
    kind: &str,
    properties: &BTreeMap<String, String>,
    families: &mut BTreeMap<String, Family>,
) {
    let labels = [("chip", chip), ("sensor", sensor)];
    if let Some(label) = properties.get("label") {
        let help = "Label for given chip and sensor";
        family(families, "node_hwmon_sensor_label", help).add(&[labels[0], labels[1], ("label", label)], 1.0);
    }
    let own = properties.get("").map(String::as_str).unwrap_or_default();
    let single = match kind {
        "beep_enable" => {
            let on = if own == "1" { 1.0 } else { 0.0 };
            Some(("node_hwmon_beep_enabled", "Hardware beep enabled", Some(on)))
        }
        "vrm" => {
            Some(("node_hwmon_voltage_regulator_version", "Hardware voltage regulator", own.parse().ok()))
        }
        "update_interval" => Some((
            "node_hwmon_update_interval_seconds",
            "Hardware monitor update interval",
            own.parse().ok().map(|ms: f64| ms * 0.001),
        )),
        _ => None,
    };
    if let Some((name, help, value)) = single {
        if let Some(value) = value {
            family(families, name, help).add(&labels, value);
        }
        return;
    }
    for (property, value) in properties.iter().filter(|(property, _)| *property != "label") {
        let Ok(value) = value.parse::<f64>() else { continue };
        if kind == "freq" && property == "input" {
            if let Some(label) = properties.get("label") {
                let name =
                    if properties.contains_key("") { "node_hwmon_freq_input" } else { "node_hwmon_freq" };
                let help = "Hardware monitor for GPU frequency in MHz";
                let labels = [("chip", chip), ("sensor", &clean(label))];
                family(families, &format!("{name}_freq_mhz"), help).add(&labels, value / 1e6);
            }
            continue;
        }
        let described = describe(kind, property, properties.contains_key(""));
        let family = family(families, &described.name, &described.help);
        if kind == "energy" && described.name.ends_with("_joule_total") {
            family.kind = signal::samples::MetricKind::Counter;
        }
        family.add(&labels, value * described.factor);
    }
}

/// Name, help and factor of a property.
struct Described {
    name: String,
    help: String,
    factor: f64,
}

fn describe(kind: &str, property: &str, has_own_value: bool) -> Described {
    // `input` is the value itself, unless there is a file without a property too.
    let name = match property {
        "" => format!("node_hwmon_{kind}"),
        "input" if !has_own_value => format!("node_hwmon_{kind}"),
        _ => format!("node_hwmon_{kind}_{}", clean(property)),
    };
    let monitor = |what: &str| format!("Hardware monitor {what} ({property})");
    let (suffix, help, factor) = match (kind, property) {
        (_, "fault" | "alarm") => ("", format!("Hardware sensor {property} status ({kind})"), 1.0),
        (_, "beep") => ("_enabled", "Hardware monitor sensor has beeping enabled".to_string(), 1.0),
        ("in" | "cpu", _) => ("_volts", monitor("for voltage"), 0.001),
        ("temp", "") => ("_celsius", "Hardware monitor for temperature (input)".to_string(), 0.001),
        ("temp", property) if property != "type" => ("_celsius", monitor("for temperature"), 0.001),
        ("curr", _) => ("_amps", monitor("for current"), 0.001),
        ("energy", _) => ("_joule_total", monitor("for joules used so far"), 1e-6),
        ("power", "accuracy") => ("", "Hardware monitor power meter accuracy, as a ratio".to_string(), 1e-6),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", monitor("power usage update interval"), 0.001)
        }
        ("power", _) => ("_watt", monitor("for power usage in watts"), 1e-6),
        ("humidity", _) => {
            let what = "for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)";
            ("", monitor(what), 1e-6)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            ("_rpm", monitor("for fan revolutions per minute"), 1.0)
        }
        _ => ("", format!("Hardware monitor {kind} element {property}"), 1.0),
    };
    Described { name: name + suffix, help, factor }
}

/// A name for the chip that stays the same over reboots: by preference made from the path of its
/// device, else from its name, else from the directory.
fn chip_name(dir: &Path) -> Result<String, CollectorError> {
    if let Ok(device) = fs::canonicalize(dir.join("device")) {
        let part = |path: Option<&Path>| {
            clean(&path.and_then(Path::file_name).map(|name| name.to_string_lossy()).unwrap_or_default())
        };
        let (bus, device) = (part(device.parent()), part(Some(&device)));
        if !device.is_empty() {
            return Ok(if bus.is_empty() { device } else { format!("{bus}_{device}") });
        }
    }
    if let Some(name) =
        read::optional(dir.join("name"))?.map(|name| clean(&name)).filter(|name| !name.is_empty())
    {
        return Ok(name);
    }
    let real =
        fs::canonicalize(dir).map_err(|source| CollectorError::Read { path: dir.to_path_buf(), source })?;
    Ok(clean(&real.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()))
}

/// Lower case, everything that may not stand in a metric name replaced, no `_` at the ends.
fn clean(name: &str) -> String {
    let mapped: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_' { c } else { '_' })
        .collect();
    mapped.trim_matches('_').to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tree, build as with};
    use super::*;

    #[test]
    fn file_names_are_split_into_type_number_and_property() {
        let cases = [
            ("temp1_max", Some(("temp", 1, "max"))),
            ("pwm2", Some(("pwm", 2, ""))),
            ("update_interval", Some(("update_interval", 0, ""))),
            ("in0_input", Some(("in", 0, "input"))),
            ("power1_average_interval_min", Some(("power", 1, "average_interval_min"))),
            ("fan1x", None),
            ("1abc", None),
        ];
        for (file, expected) in cases {
            assert_eq!(split(file), expected, "{file}");
        }
    }

    #[test]
    fn sensors_are_given_in_base_units_under_the_name_of_their_device() {
        let tree = Tree::new(&[
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/name", "coretemp\n"),
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_input", "55000\n"),
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_crit_alarm", "0\n"),
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_alarm", "1\n"),
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_label", "Package id 0\n"),
            ("sys/devices/platform/coretemp.0/hwmon/hwmon0/device", "->../../../coretemp.0"),
            ("sys/class/hwmon/hwmon0", "->../../devices/platform/coretemp.0/hwmon/hwmon0"),
            ("sys/class/hwmon/hwmon1/name", "nct6779\n"),
            ("sys/class/hwmon/hwmon1/in0_input", "816\n"),
            ("sys/class/hwmon/hwmon1/fan2_input", "1098\n"),
            ("sys/class/hwmon/hwmon1/pwm1", "153\n"),
            ("sys/class/hwmon/hwmon1/energy1_input", "2500000\n"),
            ("sys/class/hwmon/hwmon1/power1_average_interval", "1000\n"),
            ("sys/class/hwmon/hwmon1/beep_enable", "1\n"),
            ("sys/class/hwmon/hwmon1/update_interval", "1500\n"),
            ("sys/class/hwmon/hwmon1/curr1_max", "x\n"),
            ("sys/class/hwmon/hwmon1/uevent", "\n"),
        ]);
        let expected = "\
node_hwmon_beep_enabled{chip=\"nct6779\",sensor=\"beep_enable0\"} 1
node_hwmon_chip_names{chip=\"nct6779\",chip_name=\"nct6779\"} 1
node_hwmon_chip_names{chip=\"platform_coretemp_0\",chip_name=\"coretemp\"} 1
node_hwmon_energy_joule_total{chip=\"nct6779\",sensor=\"energy1\"} 2.5
node_hwmon_fan_rpm{chip=\"nct6779\",sensor=\"fan2\"} 1098
node_hwmon_in_volts{chip=\"nct6779\",sensor=\"in0\"} 0.8160000000000001
node_hwmon_power_average_interval_seconds{chip=\"nct6779\",sensor=\"power1\"} 1
node_hwmon_pwm{chip=\"nct6779\",sensor=\"pwm1\"} 153
node_hwmon_sensor_label{chip=\"platform_coretemp_0\",label=\"Package id 0\",sensor=\"temp1\"} 1
node_hwmon_temp_alarm{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 1
node_hwmon_temp_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 55
node_hwmon_temp_crit_alarm_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 0
node_hwmon_update_interval_seconds{chip=\"nct6779\",sensor=\"update_interval0\"} 1.5
";
        assert_eq!(tree.samples(with(build, |_| {})), expected);
        let text = tree.samples(with(build, |config| config.hwmon.chip_include = "^nct".into()));
        assert!(!text.contains("coretemp"), "{text}");
    }

    #[test]
    fn a_machine_without_sensors_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(with(build, |_| {})).1, Err(CollectorError::NoData)));
    }
}

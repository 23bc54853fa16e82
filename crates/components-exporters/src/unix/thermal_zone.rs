//! `thermal_zone`: temperatures and cooling devices, from `/sys/class/thermal/`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/thermal");
    let mut temperature = Family::gauge("node_thermal_zone_temp", "Zone temperature in Celsius");
    for zone in read::numbered(&root, "thermal_zone") {
        let attribute = |file: &str| read::attribute(root.join(&zone).join(file));
        // A zone whose sensor is off has no temperature.
        let (Some(kind), Some(temp)) = (attribute("type")?, attribute("temp")?) else { continue };
        let milli: i64 = read::parse(root.join(&zone), &temp)?;
        temperature.add(&[("zone", &zone["thermal_zone".len()..]), ("type", &kind)], milli as f64 / 1e3);
    }
    let mut current =
        Family::gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device");
    let mut maximum =
        Family::gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device");
    let result = read::numbered(&root, "cooling_device").iter().try_for_each(|device| {
        let dir = root.join(device);
        let kind = read::trimmed(dir.join("type"))?;
        let labels = [("name", &device["cooling_device".len()..]), ("type", kind.as_str())];
        maximum.add(&labels, read::number::<i64>(dir.join("max_state"))? as f64);
        current.add(&labels, read::number::<i64>(dir.join("cur_state"))? as f64);
        Ok::<_, CollectorError>(())
    });
    out.extend([temperature, current, maximum]);
    result
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn zones_and_cooling_devices_are_given() {
        let dir = "sys/class/thermal";
        let tree = Tree::new(&[
            (&format!("{dir}/thermal_zone0/type"), "cpu-thermal\n"),
            (&format!("{dir}/thermal_zone0/temp"), "-44000\n"),
            (&format!("{dir}/thermal_zone1/type"), "off\n"),
            (&format!("{dir}/cooling_device3/type"), "Processor\n"),
            (&format!("{dir}/cooling_device3/max_state"), "50\n"),
            (&format!("{dir}/cooling_device3/cur_state"), "-1\n"),
        ]);
        let expected = "\
node_cooling_device_cur_state{name=\"3\",type=\"Processor\"} -1
node_cooling_device_max_state{name=\"3\",type=\"Processor\"} 50
node_thermal_zone_temp{type=\"cpu-thermal\",zone=\"0\"} -44
";
        assert_eq!(tree.samples(collect), expected);
    }
}

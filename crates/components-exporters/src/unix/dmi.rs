//! `dmi`: what the firmware says about the machine, from `/sys/class/dmi/id/`.
//!
//! Read once: it does not change until the next boot.

use super::{Collect, CollectorError, Family, Outcome, Paths, read};

/// Files and their labels; `sys_vendor` alone is named differently.
const LABELS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("sys_vendor", "system_vendor"),
];

const HELP: &str = "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, \
bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, \
chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, \
product_uuid, product_version, system_vendor if provided by DMI.";

pub(super) fn build() -> Collect {
    let mut kept: Option<Family> = None;
    Box::new(move |paths, out| collect(&mut kept, paths, out))
}

fn collect(kept: &mut Option<Family>, paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let family = match kept {
        Some(family) => family,
        None => kept.insert(family(paths)?),
    };
    if family.metrics.is_empty() {
        return Err(CollectorError::NoData);
    }
    out.push(family.clone());
    Ok(())
}

fn family(paths: &Paths) -> Result<Family, CollectorError> {
    let dir = paths.sys("class/dmi/id");
    let mut values = Vec::new();
    for (file, label) in LABELS {
        if let Some(value) = read::attribute(dir.join(file))? {
            values.push((label, value));
        }
    }
    let mut family = Family::gauge("node_dmi_info", HELP);
    if !values.is_empty() {
        let labels: Vec<_> = values.iter().map(|(label, value)| (*label, value.as_str())).collect();
        family.add(&labels, 1.0);
    }
    Ok(family)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn only_labels_that_the_firmware_gives_are_there() {
        let tree = Tree::new(&[
            ("sys/class/dmi/id/sys_vendor", "ACME\n"),
            ("sys/class/dmi/id/bios_date", "04/12/2021\n"),
            ("sys/class/dmi/id/modalias", "dmi:x\n"),
        ]);
        let mut collect = build();
        let expected = "node_dmi_info{bios_date=\"04/12/2021\",system_vendor=\"ACME\"} 1\n";
        assert_eq!(tree.samples(&mut collect), expected);
        tree.write(&[("sys/class/dmi/id/sys_vendor", "Other\n")]);
        assert_eq!(tree.samples(&mut collect), expected);
    }

    #[test]
    fn a_machine_without_dmi_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(build()).1, Err(CollectorError::NoData)));
    }
}

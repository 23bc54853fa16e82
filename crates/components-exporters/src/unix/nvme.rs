//! `nvme`: NVMe controllers, from `/sys/class/nvme/`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/nvme");
    let devices = read::names(&root).map_err(CollectorError::missing_is_no_data)?;
    let mut info =
        Family::gauge("node_nvme_info", "Non-numeric data from /sys/class/nvme/<device>, value is always 1.");
    for device in &devices {
        let text = |file: &str| read::trimmed(root.join(device).join(file));
        let labels = [
            ("device", device.as_str()),
            ("firmware_revision", &text("firmware_rev")?),
            ("model", &text("model")?),
            ("serial", &text("serial")?),
            ("state", &text("state")?),
        ];
        info.add(&labels, 1.0);
    }
    out.push(info);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn a_controller_is_given_by_its_texts() {
        let tree = Tree::new(&[
            ("sys/class/nvme/nvme0/firmware_rev", "1B2QEXP7\n"),
            ("sys/class/nvme/nvme0/model", "Some SSD 512GB          \n"),
            ("sys/class/nvme/nvme0/serial", "S680HF8N190894I     \n"),
            ("sys/class/nvme/nvme0/state", "live\n"),
        ]);
        let expected = "node_nvme_info{device=\"nvme0\",firmware_revision=\"1B2QEXP7\",model=\"Some SSD 512GB\",\
                        serial=\"S680HF8N190894I\",state=\"live\"} 1\n";
        assert_eq!(tree.samples(collect), expected);
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

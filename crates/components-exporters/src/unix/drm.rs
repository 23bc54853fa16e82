//! `drm`: AMD graphics cards, from `/sys/class/drm/card*/device/`.

use signal::samples::MetricKind::Gauge;

use super::{Column, Family, Outcome, Paths, columns, read};

/// Files and their columns.
const VALUES: [(&str, Column); 7] = [
    ("gpu_busy_percent", ("node_drm_gpu_busy_percent", "How busy the GPU is as a percentage.", Gauge)),
    (
        "mem_info_gtt_total",
        (
            "node_drm_memory_gtt_size_bytes",
            "The size of the graphics translation table (GTT) block in bytes.",
            Gauge,
        ),
    ),
    (
        "mem_info_gtt_used",
        (
            "node_drm_memory_gtt_used_bytes",
            "The used amount of the graphics translation table (GTT) block in bytes.",
            Gauge,
        ),
    ),
    (
        "mem_info_vis_vram_total",
        ("node_drm_memory_vis_vram_size_bytes", "The size of visible VRAM in bytes.", Gauge),
    ),
    (
        "mem_info_vis_vram_used",
        ("node_drm_memory_vis_vram_used_bytes", "The used amount of visible VRAM in bytes.", Gauge),
    ),
    ("mem_info_vram_total", ("node_drm_memory_vram_size_bytes", "The size of VRAM in bytes.", Gauge)),
    ("mem_info_vram_used", ("node_drm_memory_vram_used_bytes", "The used amount of VRAM in bytes.", Gauge)),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("class/drm");
    let mut families = columns(&VALUES.map(|(_, column)| column));
    let mut info = Family::gauge("node_drm_card_info", "Card information");
    for card in read::numbered(&root, "card") {
        let dir = root.join(&card).join("device");
        // Outputs (`card0-DP-1`) have no device of their own, other vendors another driver.
        let uevent = read::optional(dir.join("uevent"))?.unwrap_or_default();
        if !uevent.lines().any(|line| line == "DRIVER=amdgpu") || card.contains('-') {
            continue;
        }
        let text = |file: &str| read::attribute(dir.join(file)).map(Option::unwrap_or_default);
        let labels = [
            ("card", card.as_str()),
            ("memory_vendor", &text("mem_info_vram_vendor")?),
            ("power_performance_level", &text("power_dpm_force_performance_level")?),
            ("unique_id", &text("unique_id")?),
            ("vendor", "amd"),
        ];
        info.add(&labels, 1.0);
        for ((file, _), family) in VALUES.iter().zip(&mut families) {
            family.add(&[("card", &card)], read::attribute_number(dir.join(file))?.unwrap_or(0.0));
        }
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
    fn only_cards_of_the_amdgpu_driver_are_given() {
        let tree = Tree::new(&[
            ("sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_CLASS=30000\n"),
            ("sys/class/drm/card0/device/gpu_busy_percent", "4\n"),
            ("sys/class/drm/card0/device/unique_id", "0123\n"),
            ("sys/class/drm/card1/device/uevent", "DRIVER=i915\n"),
        ]);
        let text = tree.samples(collect);
        assert!(text.contains("node_drm_gpu_busy_percent{card=\"card0\"} 4\n"), "{text}");
        let info = "node_drm_card_info{card=\"card0\",memory_vendor=\"\",power_performance_level=\"\",unique_id=\"0123\",vendor=\"amd\"} 1\n";
        assert!(text.contains(info), "{text}");
        assert!(!text.contains("card1"), "{text}");
    }
}

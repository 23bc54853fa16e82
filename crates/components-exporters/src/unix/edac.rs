//! `edac`: memory errors, from `/sys/devices/system/edac/mc/`.

use std::path::Path;

use signal::samples::MetricKind::Counter;

use super::{Column, Family, Outcome, Paths, columns, read};

const COLUMNS: &[Column] = &[
    ("node_edac_correctable_errors_total", "Total correctable memory errors.", Counter),
    ("node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors.", Counter),
    ("node_edac_csrow_correctable_errors_total", "Total correctable memory errors for this csrow.", Counter),
    (
        "node_edac_csrow_uncorrectable_errors_total",
        "Total uncorrectable memory errors for this csrow.",
        Counter,
    ),
];

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let root = paths.sys("devices/system/edac/mc");
    let mut families = columns(COLUMNS);
    let result = read::numbered(&root, "mc")
        .iter()
        .try_for_each(|name| controller(&root.join(name), &name["mc".len()..], &mut families));
    out.append(&mut families);
    result
}

fn controller(dir: &Path, number: &str, families: &mut [Family]) -> Outcome {
    let count = |file: &Path| read::number::<u64>(file).map(|count| count as f64);
    families[0].add(&[("controller", number)], count(&dir.join("ce_count"))?);
    families[1].add(&[("controller", number)], count(&dir.join("ue_count"))?);
    let unknown = [("controller", number), ("csrow", "unknown")];
    families[2].add(&unknown, count(&dir.join("ce_noinfo_count"))?);
    families[3].add(&unknown, count(&dir.join("ue_noinfo_count"))?);
    for row in read::numbered(dir, "csrow") {
        let labels = [("controller", number), ("csrow", &row["csrow".len()..])];
        families[2].add(&labels, count(&dir.join(&row).join("ce_count"))?);
        families[3].add(&labels, count(&dir.join(&row).join("ue_count"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn errors_are_given_by_controller_and_row() {
        let mc = "sys/devices/system/edac/mc/mc0";
        let tree = Tree::new(&[
            (&format!("{mc}/ce_count"), "1\n"),
            (&format!("{mc}/ce_noinfo_count"), "2\n"),
            (&format!("{mc}/ue_count"), "5\n"),
            (&format!("{mc}/ue_noinfo_count"), "6\n"),
            (&format!("{mc}/csrow0/ce_count"), "3\n"),
            (&format!("{mc}/csrow0/ue_count"), "4\n"),
        ]);
        let expected = "\
node_edac_correctable_errors_total{controller=\"0\"} 1
node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"0\"} 3
node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"unknown\"} 2
node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"0\"} 4
node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 6
node_edac_uncorrectable_errors_total{controller=\"0\"} 5
";
        assert_eq!(tree.samples(collect), expected);
        assert_eq!(Tree::new(&[]).samples(collect), "");
    }
}

//! `mdadm`: software RAID, from `/proc/mdstat`.

use signal::samples::MetricKind::Gauge;

use super::{CollectorError, Column, Family, Outcome, Paths, columns, read};

const COLUMNS: &[Column] = &[
    ("node_md_state", "Indicates the state of md-device.", Gauge),
    ("node_md_disks", "Number of active/failed/spare disks of device.", Gauge),
    ("node_md_disks_required", "Total number of disks of device.", Gauge),
    ("node_md_blocks", "Total number of blocks on device.", Gauge),
    ("node_md_blocks_synced", "Number of blocks synced on device.", Gauge),
];

/// One array.
#[derive(Debug, PartialEq, Default)]
struct Array<'a> {
    name: &'a str,
    state: &'a str,
    active: u64,
    required: u64,
    failed: u64,
    spare: u64,
    blocks: u64,
    synced: u64,
}

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("mdstat");
    let text = read::text(&path).map_err(CollectorError::missing_is_no_data)?;
    let mut families = columns(COLUMNS);
    let lines: Vec<_> = text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        if line.trim().is_empty()
            || line.starts_with([' ', '\t'])
            || line.starts_with("Personalities")
            || line.starts_with("unused")
        {
            continue;
        }
        let rest = &lines[i..];
        let array = array(rest)
            .ok_or_else(|| CollectorError::parse(&path, format!("malformed array at {line:?}")))?;
        add(&array, &mut families);
    }
    out.append(&mut families);
    Ok(())
}

fn add(array: &Array<'_>, families: &mut [Family]) {
    let device = ("device", array.name);
    for state in ["active", "inactive", "recovering", "resync", "check"] {
        families[0].add(&[device, ("state", state)], if array.state == state { 1.0 } else { 0.0 });
    }
    for (state, disks) in [("active", array.active), ("failed", array.failed), ("spare", array.spare)] {
        families[1].add(&[device, ("state", state)], disks as f64);
    }
    families[2].add(&[device], array.required as f64);
    families[3].add(&[device], array.blocks as f64);
    families[4].add(&[device], array.synced as f64);
}

/// Reads an array from the lines that start with its own: name and disks, status, then possibly a
/// bitmap and the progress of a synchronisation.
fn array<'a>(lines: &[&'a str]) -> Option<Array<'a>> {
    let (line, status) = (lines[0], lines.get(1)?);
    let mut fields = line.split_whitespace();
    let (name, _colon, state) = (fields.next()?, fields.next()?, fields.next()?);
    let blocks = status.split_whitespace().next()?.parse().ok()?;
    let (active, required) = if line.contains("raid0") || line.contains("linear") {
        // These have no count: every disk carries its number in brackets.
        let disks = line.matches('[').count() as u64;
        (disks, disks)
    } else if state == "inactive" {
        (0, 0)
    } else {
        let counts = status.split('[').skip(1).find_map(|piece| piece.split(']').next()?.split_once('/'))?;
        (counts.1.parse().ok()?, counts.0.parse().ok()?)
    };
    let rest = lines[2..].iter().take_while(|line| line.starts_with([' ', '\t']));
    let progress = rest.copied().find(|line| !line.contains("bitmap")).unwrap_or_default();
    let words = [("recovery", "recovering"), ("check", "check"), ("resync", "resync")];
    let syncing = words.iter().find(|(word, _)| progress.contains(word)).map(|(_, state)| *state);
    let synced = match syncing {
        None => blocks,
        Some(_) if progress.contains("PENDING") || progress.contains("DELAYED") => 0,
        Some(_) => progress.split('(').nth(1)?.split('/').next()?.parse().ok()?,
    };
    Some(Array {
        name,
        state: syncing.unwrap_or(state),
        active,
        required,
        failed: line.matches("(F)").count() as u64,
        spare: line.matches("(S)").count() as u64,
        blocks,
        synced,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn read(text: &str) -> Array<'_> {
        array(&text.lines().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn arrays_are_read_in_all_states() {
        let active = read(
            "md3 : active raid6 sda1[8] sdh1[7](F) sdg1[6](S)\n      5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/7] [UUUUUUU_]\n      bitmap: 0/1 pages\n",
        );
        let expected = Array {
            name: "md3",
            state: "active",
            active: 7,
            required: 8,
            failed: 1,
            spare: 1,
            blocks: 5_853_468_288,
            synced: 5_853_468_288,
        };
        assert_eq!(active, expected);

        let recovering = read(
            "md6 : active raid1 sdb2[2](F) sdc[1] sda2[0]\n      195310144 blocks [2/1] [U_]\n      [=>...]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec\n",
        );
        assert_eq!((recovering.state, recovering.synced), ("recovering", 16_775_552));

        let pending = read(
            "md8 : active raid1 sdb1[1] sda1[0]\n      195310144 blocks [2/2] [UU]\n      \tresync=PENDING\n",
        );
        assert_eq!((pending.state, pending.synced), ("resync", 0));

        let checking = read(
            "md9 : active raid1 sdb1[1] sda1[0]\n      100 blocks [2/2] [UU]\n      bitmap: 1/1\n      [>..]  check =  1.0% (1/100) finish=1min speed=1K/sec\n",
        );
        assert_eq!((checking.state, checking.synced), ("check", 1));

        let striped = read("md0 : active raid0 sdb1[1] sda1[0]\n      1000 blocks super 1.2 512k chunks\n");
        assert_eq!((striped.active, striped.required), (2, 2));

        let inactive = read("md1 : inactive sdb1[1](S)\n      88 blocks super 1.2\n");
        assert_eq!((inactive.state, inactive.required, inactive.spare), ("inactive", 0, 1));
    }

    #[test]
    fn every_state_is_given_for_every_array() {
        let tree = Tree::new(&[(
            "proc/mdstat",
            "Personalities : [raid1]\nmd0 : active raid1 sdb1[1] sda1[0]\n      100 blocks [2/2] [UU]\n      \nunused devices: <none>\n",
        )]);
        let expected = "\
node_md_blocks{device=\"md0\"} 100
node_md_blocks_synced{device=\"md0\"} 100
node_md_disks{device=\"md0\",state=\"active\"} 2
node_md_disks{device=\"md0\",state=\"failed\"} 0
node_md_disks{device=\"md0\",state=\"spare\"} 0
node_md_disks_required{device=\"md0\"} 2
node_md_state{device=\"md0\",state=\"active\"} 1
node_md_state{device=\"md0\",state=\"check\"} 0
node_md_state{device=\"md0\",state=\"inactive\"} 0
node_md_state{device=\"md0\",state=\"recovering\"} 0
node_md_state{device=\"md0\",state=\"resync\"} 0
";
        assert_eq!(tree.samples(collect), expected);
    }

    #[test]
    fn a_kernel_without_raid_has_no_data() {
        assert!(matches!(Tree::new(&[]).run(collect).1, Err(CollectorError::NoData)));
    }
}

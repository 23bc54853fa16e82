//! `buddyinfo`: free blocks of memory by size, from `/proc/buddyinfo`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("buddyinfo");
    let mut family = Family::gauge("node_buddyinfo_blocks", "Count of free blocks according to size.");
    for line in read::text(&path)?.lines() {
        // Node 0, zone      DMA      1      0 …
        let mut fields = line.split_whitespace();
        let (Some("Node"), Some(node), Some("zone"), Some(zone)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(CollectorError::parse(&path, format!("unexpected line {line:?}")));
        };
        for (size, blocks) in fields.enumerate() {
            let labels = [("node", node.trim_end_matches(',')), ("zone", zone), ("size", &size.to_string())];
            family.add(&labels, read::parse(&path, blocks)?);
        }
    }
    out.push(family);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn blocks_are_given_by_node_zone_and_size() {
        let tree = Tree::new(&[("proc/buddyinfo", "Node 0, zone      DMA      1      3 \n")]);
        assert_eq!(
            tree.samples(collect),
            "node_buddyinfo_blocks{node=\"0\",size=\"0\",zone=\"DMA\"} 1\n\
             node_buddyinfo_blocks{node=\"0\",size=\"1\",zone=\"DMA\"} 3\n"
        );
    }
}

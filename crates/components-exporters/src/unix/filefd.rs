//! `filefd`: open files of the whole system, from `/proc/sys/fs/file-nr`.

use super::{CollectorError, Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let path = paths.proc("sys/fs/file-nr");
    let text = read::text(&path)?;
    // Allocated, free (always 0 since Linux 2.6), maximum.
    let fields: Vec<_> = text.split_whitespace().collect();
    let [allocated, _, maximum] = fields[..] else {
        return Err(CollectorError::parse(&path, format!("{text:?} is not three numbers")));
    };
    let families = [
        ("node_filefd_allocated", "File descriptor statistics: allocated.", allocated),
        ("node_filefd_maximum", "File descriptor statistics: maximum.", maximum),
    ];
    for (name, help, value) in families {
        out.push(Family::gauge(name, help).with(&[], read::parse(&path, value)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn allocated_and_maximum_are_given() {
        let tree = Tree::new(&[("proc/sys/fs/file-nr", "1024\t0\t1631329\n")]);
        assert_eq!(tree.samples(collect), "node_filefd_allocated 1024\nnode_filefd_maximum 1631329\n");
        tree.write(&[("proc/sys/fs/file-nr", "1024\n")]);
        assert!(tree.run(collect).1.is_err());
    }
}

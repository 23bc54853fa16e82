//! `entropy`: the kernel's random pool, from `/proc/sys/kernel/random/`.

use super::{Family, Outcome, Paths, read};

pub(super) fn collect(paths: &Paths, out: &mut Vec<Family>) -> Outcome {
    let random = paths.proc("sys/kernel/random");
    let available: u64 = read::number(random.join("entropy_avail"))?;
    let size: u64 = read::number(random.join("poolsize"))?;
    out.push(
        Family::gauge("node_entropy_available_bits", "Bits of available entropy.")
            .with(&[], available as f64),
    );
    out.push(Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.").with(&[], size as f64));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn both_sizes_are_given() {
        let tree = Tree::new(&[
            ("proc/sys/kernel/random/entropy_avail", "213\n"),
            ("proc/sys/kernel/random/poolsize", "256\n"),
        ]);
        assert_eq!(
            tree.samples(collect),
            "node_entropy_available_bits 213\nnode_entropy_pool_size_bits 256\n"
        );
    }
}

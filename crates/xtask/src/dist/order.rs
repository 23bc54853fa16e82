//! In which order the linker lays out functions, from how often they ran (LLVM's text form of a profile).
//!
//! The system maps code in neighbourhoods of sixteen pages. What runs while the program waits is a thousand small
//! functions among forty thousand: scattered they keep a third of the program in memory, side by side a tenth.

use std::collections::HashMap;

/// How often functions ran, by the names that the linker knows them by.
pub(super) type Counts = HashMap<String, u64>;

/// Of a function that ran this much more often in the works than in a start, data is what it runs for.
const DATA: u64 = 20;

/// The text that `llvm-profdata merge --text` writes, read: records between empty lines, each a name, its hash, and the
/// numbers of its counters. A function that is local to its unit is `unit;name`. What counts is the sum of its counters: it
/// grows with each call, where the busiest may be that of a loop which only a start goes through.
pub(super) fn counts(profile: &str) -> Counts {
    let mut counts = Counts::new();
    for record in profile.split("\n\n") {
        let mut lines = record.lines().filter(|line| !line.starts_with(['#', ':']));
        let Some(name) = lines.next() else { continue };
        let (_, values) = record.split_once("# Counter Values:\n").unwrap_or_default();
        let counted = values.lines().map_while(|line| line.parse::<u64>().ok());
        let name = name.rsplit(';').next().unwrap_or(name);
        let count = counts.entry(name.to_owned()).or_default();
        *count = counted.fold(*count, u64::saturating_add);
    }
    counts
}

/// Functions in the order that they are to have: first what runs while the program waits (what a long wait runs more often
/// than a short one), then what runs for data, then what only a start or an end runs. What never ran comes after all of
/// them, wherever the linker likes.
pub(super) fn order(short: &Counts, long: &Counts, works: &Counts) -> String {
    let count = |of: &Counts, name: &str| of.get(name).copied().unwrap_or(0);
    let mut names: Vec<&str> = [short, long, works]
        .into_iter()
        .flatten()
        .filter(|(_, n)| **n > 0)
        .map(|(name, _)| &**name)
        .collect();
    names.sort_unstable();
    names.dedup();
    let rank = |name: &str| {
        let start = count(short, name);
        if count(long, name) > start {
            0
        } else if count(works, name) > start.max(1).saturating_mul(DATA) {
            1
        } else {
            2
        }
    };
    // Within what runs for data the busiest first; the rest by name, which keeps a crate together.
    names.sort_by_cached_key(|name| {
        let rank = rank(name);
        (rank, if rank == 1 { u64::MAX - count(works, name) } else { 0 })
    });
    names.into_iter().flat_map(|name| [name, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
# IR level Instrumentation Flag
:ir
_ZN4main
# Func Hash:
742261418966908927
# Num Counters:
2
# Counter Values:
3
7

signal.5ad1-cgu.0;_ZN6signal
# Func Hash:
12
# Num Counters:
1
# Counter Values:
0
# Num Value Kinds:
1
# ValueKind = IPVK_IndirectCallTarget:
0
# NumValueSites:
1

other.77-cgu.0;_ZN6signal
# Func Hash:
13
# Num Counters:
1
# Counter Values:
9
";

    #[test]
    fn a_function_counts_as_the_sum_of_its_counters_in_whatever_units_it_is() {
        let wanted = [("_ZN4main", 10), ("_ZN6signal", 9)];
        assert_eq!(counts(PROFILE), wanted.map(|(name, n)| (name.to_owned(), n)).into());
        assert_eq!(counts(""), Counts::new());
    }

    #[test]
    fn what_runs_while_the_program_waits_comes_first_then_what_data_runs_then_what_a_start_runs() {
        let of = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let short: Counts = of(&[("parse", 100), ("timer", 3), ("copy", 1), ("never", 0)]);
        let long: Counts = of(&[("parse", 100), ("timer", 60), ("copy", 1), ("never", 0)]);
        let works: Counts = of(&[("parse", 800), ("timer", 20), ("copy", 40), ("scan", 900), ("never", 0)]);
        assert_eq!(order(&short, &long, &works), "timer\nscan\ncopy\nparse\n");
    }
}

//! How often each function of a slim binary runs, counted in a binary that is compiled the same way.
//!
//! The counters of a profile are set before LLVM inlines and merges: their names are not those that are left to be laid
//! out. So the binary calls `mcount` at the head of each function instead, which changes none of that, and what it is
//! linked with (`calls.c`) counts by place; the linker's map tells whose place it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::order::Counts;
use super::profiled::{WORK, bench};
use super::{LLD, build, call, order};

const SOURCE: &str = include_str!("calls.c");

/// Builds the binary that counts, does the work with it, and writes the order that comes of that to `into`.
pub(super) fn make_order(root: &Path, folder: &Path, into: &Path) -> anyhow::Result<()> {
    if !LLD {
        bail!(
            "--slim --profiled lays out functions by LLVM's linker, which rustc brings for x86-64 Linux only"
        );
    }
    let folder = folder.join("calls");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let (source, object, map) = (folder.join("calls.c"), folder.join("calls.o"), folder.join("map"));
    std::fs::write(&source, SOURCE)?;
    call(Command::new("cc").args(["-O2", "-Wall", "-c", "-o"]).arg(&object).arg(&source))?;
    let flags = [
        "-Zinstrument-mcount".to_owned(),
        format!("-Clink-arg={}", object.display()),
        format!("-Clink-arg=-Wl,-Map={}", map.display()),
    ];
    let counting = build(root, true, &folder.join("counting"), &flags)?;
    let map = std::fs::read_to_string(&map).with_context(|| map.display().to_string())?;
    let sections = sections(&map);
    let mut counted = Vec::new();
    for (number, work) in WORK.iter().enumerate() {
        let file: PathBuf = folder.join(format!("{number}.calls"));
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        bench(work, &counting, "FERROALLOY_CALLS", &file)?;
        let calls =
            std::fs::read(&file).with_context(|| format!("no calls were counted: {}", file.display()))?;
        counted.push(counts(&sections, &calls));
    }
    let mut works = Counts::new();
    for (name, n) in counted[2..].iter().flatten() {
        *works.entry(name.clone()).or_default() += n;
    }
    std::fs::write(into, order::order(&counted[0], &counted[1], &works))?;
    Ok(())
}

/// A function's place in the program.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    start: u64,
    end: u64,
    name: &'a str,
}

/// The functions of a linker's map, in the order of their places. A line is an address, another one, a size, an alignment
/// and what lies there: `4ac475 4ac475 39 1 /x/y.o:(.text._RNv1a)`.
fn sections(map: &str) -> Vec<Section<'_>> {
    let line = |line: &str| -> Option<(u64, u64)> {
        let mut fields = line.split_ascii_whitespace();
        let start = u64::from_str_radix(fields.next()?, 16).ok()?;
        Some((start, start + u64::from_str_radix(fields.nth(1)?, 16).ok()?))
    };
    let of = |text| -> Option<Section<'_>> {
        let (start, end) = line(text)?;
        let name = text.rsplit_once(":(.text.")?.1.strip_suffix(')')?;
        Some(Section { start, end, name })
    };
    let mut sections: Vec<_> = map.lines().filter_map(of).collect();
    sections.sort_unstable_by_key(|section| section.start);
    sections
}

/// The calls of each function, from a file of 32-bit numbers by place.
fn counts(sections: &[Section<'_>], calls: &[u8]) -> Counts {
    let mut counts = Counts::new();
    for (place, calls) in calls.as_chunks::<4>().0.iter().enumerate() {
        let calls = u32::from_ne_bytes(*calls);
        if calls == 0 {
            continue;
        }
        // Where the call returns to may be behind the function's end.
        let place = (place as u64).saturating_sub(1);
        let at = sections.partition_point(|section| section.start <= place);
        let Some(section) = at.checked_sub(1).map(|at| &sections[at]).filter(|s| place < s.end) else {
            continue;
        };
        *counts.entry(section.name.to_owned()).or_default() += u64::from(calls);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
          4ac400           4ac400       f1    64 .text
              20               20        8     1         /a/b.o:(.text._RNv1b)
              20               20        8     1                 <b as c::D>::e
              10               10       10     1         /a/b.o:(.text._RNv1a)
              28               28        8     1         /a/c.o:(.text)
";

    #[test]
    fn calls_count_for_the_function_that_they_return_into() {
        let sections = sections(MAP);
        let section = |start, end, name| Section { start, end, name };
        assert_eq!(sections, [section(0x10, 0x20, "_RNv1a"), section(0x20, 0x28, "_RNv1b")]);
        let mut calls = vec![0_u32; 0x40];
        // The last one is behind what is known.
        for (place, n) in [(0x15, 3), (0x20, 4), (0x21, 5), (0x2c, 6)] {
            calls[place] = n;
        }
        let bytes: Vec<u8> = calls.iter().flat_map(|n| n.to_ne_bytes()).collect();
        let wanted = [("_RNv1a", 7), ("_RNv1b", 5)];
        assert_eq!(counts(&sections, &bytes), wanted.map(|(name, n)| (name.to_owned(), n)).into());
    }
}

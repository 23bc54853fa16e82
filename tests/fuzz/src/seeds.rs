//! Runs a target over its seeds and what can be made of them by chance.
//!
//! The chance is the same in each run: a target that passes passes again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use fastrand::Rng;

/// How many inputs are made of each seed, on top of the seed itself.
const MUTATIONS: usize = 40;

/// Inputs stay about as long as libFuzzer's.
const LONGEST: usize = 4096;

/// Gives `check` what the bytes stand for, as libFuzzer would; bytes that stand for nothing are left out.
pub fn input<'a, T: Arbitrary<'a>>(bytes: &'a [u8], check: fn(T)) {
    if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(bytes)) {
        check(input);
    }
}

/// Runs the target over the seeds in `seeds/NAME.txt` and their mutations; an input that breaks it is printed as the
/// line that would make it a seed.
pub fn run(name: &str, target: fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("seeds/{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let seeds: Vec<Vec<u8>> = text.lines().map(unescape).collect();
    assert!(seeds.len() > 1, "{} has no seeds", path.display());
    let mut rng = Rng::with_seed(seeds.len() as u64);
    let check = |bytes: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
            eprintln!("what broke {name}, as a line of {}:\n{}", path.display(), escape(bytes));
            resume_unwind(panic);
        }
    };
    check(b"");
    for seed in &seeds {
        check(seed);
        for _ in 0..MUTATIONS {
            check(&mutated(seed, &seeds, &mut rng));
        }
    }
}

/// A copy with one to four changes: bytes changed, put in, taken out, written twice, or taken from another seed.
fn mutated(seed: &[u8], seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(1..=16)).min(bytes.len());
        match rng.u8(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if at < bytes.len() => {
                bytes[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff]).expect("there are some")
            }
            2 => bytes.insert(at, rng.u8(..)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.extend_from_within(at..end),
            _ => {
                let other = &seeds[rng.usize(0..seeds.len())];
                let (from, to) = (rng.usize(0..=other.len()), rng.usize(0..=other.len()));
                bytes.splice(at..at, other[from.min(to)..from.max(to)].iter().copied());
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// Bytes as a line of a seeds file.
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What a line of a seeds file stands for.
///
/// # Panics
/// Where the line is not one that [`escape`] could have written.
pub fn unescape(line: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line.chars());
    while let Some(c) = rest.next() {
        let byte = match c {
            '\\' => match rest.next() {
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('t') => b'\t',
                Some(c @ ('\\' | '\'' | '"')) => c as u8,
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap_or_else(|e| panic!("\\x{digits}: {e}: {line}"))
                }
                other => panic!("\\ before {other:?}: {line}"),
            },
            c => u8::try_from(c)
                .ok()
                .filter(u8::is_ascii)
                .unwrap_or_else(|| panic!("{c:?} is not escaped: {line}")),
        };
        bytes.push(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_a_line_of_a_seeds_file() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&bytes)), bytes);
        assert!(!escape(&bytes).contains('\n'));
    }

    #[test]
    fn mutations_differ_stay_bounded_and_are_the_same_in_each_run() {
        let seeds = [vec![b'a'; LONGEST], b"short".to_vec()];
        let many = || {
            let mut rng = Rng::with_seed(7);
            (0..200).map(|i| mutated(&seeds[i % 2], &seeds, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(many(), many());
        assert!(many().iter().all(|bytes| bytes.len() <= LONGEST));
        assert!(many().iter().filter(|bytes| !seeds.contains(bytes)).count() > 150);
    }

    #[test]
    #[should_panic(expected = "found it")]
    fn a_target_that_breaks_on_a_mutation_of_a_seed_is_found() {
        run("exposition", |bytes| assert!(bytes.is_ascii() || bytes.len() < 8, "found it"));
    }
}

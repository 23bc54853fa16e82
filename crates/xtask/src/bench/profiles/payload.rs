//! Profiles rendered beforehand: the allocations of a Go program at one scrape after the other.
//!
//! As the Go runtime writes them: samples first, then mapping, locations, functions and texts. From one version to the
//! next a tenth of the samples grow; a fifth have memory in use.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Functions of the program; a stack is a path through some of them.
const FUNCTIONS: u64 = 2000;
const LOCATIONS: u64 = 4000;

/// As many versions as are asked for, each of about so many bytes.
pub fn versions(bytes: usize, count: usize) -> Vec<Vec<u8>> {
    // Tables have a size of their own; what is left is the samples', which are alike.
    let size = |samples| packed(&render(samples, 0)).len();
    let (none, some) = (size(0), size(2000));
    let samples = (bytes.saturating_sub(none) * 2000 / some.saturating_sub(none).max(1)).max(1);
    (0..count).map(|version| packed(&render(samples, version as u64))).collect()
}

fn packed(profile: &[u8]) -> Vec<u8> {
    // The level that the Go runtime packs with.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(profile).and_then(|()| encoder.finish()).expect("memory takes it")
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn message(out: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    bytes(out, field, &body);
}

/// A list of numbers in one field.
fn list(out: &mut Vec<u8>, field: u64, values: impl IntoIterator<Item = u64>) {
    message(out, field, |out| values.into_iter().for_each(|value| varint(out, value)));
}

fn render(samples: usize, version: u64) -> Vec<u8> {
    let (mut out, mut dice) = (Vec::new(), Dice(0x9e37_79b9_7f4a_7c15));
    let mut texts = vec![String::new()];
    for text in ["alloc_objects", "count", "alloc_space", "bytes", "inuse_objects", "inuse_space", "space"] {
        texts.push(text.to_owned());
    }
    for (kind, unit) in [(1, 2), (3, 4), (5, 2), (6, 4)] {
        message(&mut out, 1, |out| {
            number(out, 1, kind);
            number(out, 2, unit);
        });
    }
    for sample in 0..samples {
        let depth = 8 + dice.below(24);
        let top = dice.below(LOCATIONS);
        // Stacks share what is at their bottom.
        let stack: Vec<u64> =
            (0..depth).map(|at| 1 + (top / (1 << (at / 3)) * 31 + at) % LOCATIONS).collect();
        let (objects, size) = (1 + dice.below(100_000), 16 << dice.below(12));
        let grown = if sample % 10 == 0 { version * (1 + dice.below(50)) } else { 0 };
        let inuse = if sample % 5 == 0 { 1 + dice.below(1000) } else { 0 };
        let objects = objects + grown;
        message(&mut out, 2, |out| {
            list(out, 1, stack);
            list(out, 2, [objects, objects * size, inuse, inuse * size]);
            message(out, 3, |out| {
                number(out, 1, 4);
                number(out, 3, size);
            });
        });
    }
    message(&mut out, 3, |out| {
        number(out, 1, 1);
        number(out, 2, 0x40_0000);
        number(out, 3, 0x200_0000);
        number(out, 7, 1);
    });
    let first_function = texts.len() as u64;
    for location in 1..=LOCATIONS {
        message(&mut out, 4, |out| {
            number(out, 1, location);
            number(out, 2, 1);
            number(out, 3, 0x40_1000 + location * 37);
            message(out, 4, |out| {
                number(out, 1, 1 + location % FUNCTIONS);
                number(out, 2, 10 + location % 900);
            });
        });
    }
    for function in 0..FUNCTIONS {
        let package = function % 60;
        texts.push(format!(
            "github.com/example/service/internal/package{package}.(*Worker{function}).process"
        ));
        texts.push(format!(
            "/go/src/github.com/example/service/internal/package{package}/worker{function}.go"
        ));
        message(&mut out, 5, |out| {
            let name = first_function + 2 * function;
            number(out, 1, function + 1);
            number(out, 2, name);
            number(out, 3, name);
            number(out, 4, name + 1);
        });
    }
    texts.iter().for_each(|text| bytes(&mut out, 6, text.as_bytes()));
    number(&mut out, 9, 1_700_000_000_000_000_000 + version * 5_000_000_000);
    message(&mut out, 11, |out| {
        number(out, 1, 7);
        number(out, 2, 4);
    });
    number(&mut out, 12, 524_288);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_about_the_size_that_is_asked_for_and_differ() {
        let versions = versions(100_000, 3);
        assert!(versions.iter().all(|v| (90_000..110_000).contains(&v.len())), "{:?}", versions[0].len());
        assert!(versions[0] != versions[1] && versions[1] != versions[2]);
    }
}

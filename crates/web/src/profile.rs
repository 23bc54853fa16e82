//! CPU profiles of this process in the format of `pprof` (`profile.proto`), written by hand: the message has
//! few fields and no library of ours carries it.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use pprof::{Report, Symbol};

/// Samples a second, as Go's profiler.
const FREQUENCY: i32 = 100;

/// Samples the stacks of all threads for a while.
pub async fn cpu(duration: Duration) -> Result<Vec<u8>, String> {
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(|e| format!("the profiler cannot start (is another profile being taken?): {e}"))?;
    tokio::time::sleep(duration).await;
    // Resolving symbols takes a while: not on a thread that others wait for.
    let built =
        tokio::task::spawn_blocking(move || guard.report().build().map(|report| encode(&report, duration)));
    built.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

fn encode(report: &Report, duration: Duration) -> Vec<u8> {
    let mut profile = Profile::new();
    let nanoseconds_a_sample = 1_000_000_000 / i64::from(FREQUENCY);
    for (frames, count) in &report.data {
        let locations: Vec<u64> =
            frames.frames.iter().flatten().map(|symbol| profile.location(symbol)).collect();
        profile.sample(&locations, *count as i64, *count as i64 * nanoseconds_a_sample);
    }
    profile.finish(duration, nanoseconds_a_sample)
}

/// A `Profile` message in the making; numbers are those of `profile.proto`.
struct Profile {
    strings: HashMap<String, u64>,
    table: Vec<u8>,
    samples: Vec<u8>,
    locations: Vec<u8>,
    functions: Vec<u8>,
    known: HashMap<(String, u32), u64>,
}

impl Profile {
    fn new() -> Self {
        let mut profile = Self {
            strings: HashMap::new(),
            table: Vec::new(),
            samples: Vec::new(),
            locations: Vec::new(),
            functions: Vec::new(),
            known: HashMap::new(),
        };
        // The table begins with the empty string.
        profile.string("");
        profile
    }

    fn string(&mut self, text: &str) -> u64 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = self.strings.len() as u64;
        self.strings.insert(text.to_string(), index);
        bytes(&mut self.table, 6, text.as_bytes());
        index
    }

    /// One location and one function for each pair of name and line.
    fn location(&mut self, symbol: &Symbol) -> u64 {
        let mut name = String::new();
        let _ = write!(name, "{symbol}");
        let line = symbol.lineno.unwrap_or(0);
        if let Some(id) = self.known.get(&(name.clone(), line)) {
            return *id;
        }
        let id = self.known.len() as u64 + 1;
        let file = symbol.filename.as_ref().map(|f| f.display().to_string()).unwrap_or_default();
        let (name_index, file_index) = (self.string(&name), self.string(&file));
        let mut function = Vec::new();
        number(&mut function, 1, id);
        number(&mut function, 2, name_index);
        number(&mut function, 3, name_index);
        number(&mut function, 4, file_index);
        bytes(&mut self.functions, 5, &function);
        let mut at = Vec::new();
        number(&mut at, 1, id);
        number(&mut at, 2, u64::from(line));
        let mut location = Vec::new();
        number(&mut location, 1, id);
        bytes(&mut location, 4, &at);
        bytes(&mut self.locations, 4, &location);
        self.known.insert((name, line), id);
        id
    }

    fn sample(&mut self, locations: &[u64], count: i64, nanoseconds: i64) {
        let mut sample = Vec::new();
        for id in locations {
            number(&mut sample, 1, *id);
        }
        number(&mut sample, 2, count as u64);
        number(&mut sample, 2, nanoseconds as u64);
        bytes(&mut self.samples, 2, &sample);
    }

    fn finish(mut self, duration: Duration, period: i64) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, unit) in [("samples", "count"), ("cpu", "nanoseconds")] {
            let value_type = self.value_type(kind, unit);
            bytes(&mut out, 1, &value_type);
        }
        let period_type = self.value_type("cpu", "nanoseconds");
        out.extend(&self.samples);
        out.extend(&self.locations);
        out.extend(&self.functions);
        out.extend(&self.table);
        number(&mut out, 10, duration.as_nanos() as u64);
        bytes(&mut out, 11, &period_type);
        number(&mut out, 12, period as u64);
        out
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> Vec<u8> {
        let (kind, unit) = (self.string(kind), self.string(unit));
        let mut value_type = Vec::new();
        number(&mut value_type, 1, kind);
        number(&mut value_type, 2, unit);
        value_type
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

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_locations_are_stored_once() {
        let mut profile = Profile::new();
        let symbol = Symbol { name: Some(b"work".to_vec()), addr: None, lineno: Some(3), filename: None };
        let first = profile.location(&symbol);
        assert_eq!(profile.location(&symbol), first);
        profile.sample(&[first], 2, 20);
        let out = profile.finish(Duration::from_secs(1), 10);
        assert_eq!(out.windows(4).filter(|w| w == b"work").count(), 1);
    }
}

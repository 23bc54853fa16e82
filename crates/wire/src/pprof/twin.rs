//! The same difference, made the slow way: from decoded messages, with texts for indices.

use std::collections::BTreeMap;

use prost::Message;

use super::{Kind, MAX_COLUMNS};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub kind: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Label {
    #[prost(int64, tag = "1")]
    pub key: i64,
    #[prost(int64, tag = "2")]
    pub text: i64,
    #[prost(int64, tag = "3")]
    pub num: i64,
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "5")]
    pub filename: i64,
    #[prost(int64, tag = "6")]
    pub build_id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
}

impl Profile {
    pub(super) fn text(&self, index: i64) -> String {
        self.string_table[index as usize].clone()
    }

    /// Type and unit of the values.
    pub(super) fn columns(&self) -> Vec<(String, String)> {
        self.sample_type.iter().map(|t| (self.text(t.kind), self.text(t.unit))).collect()
    }

    /// A sample with texts for indices.
    pub(super) fn resolve(&self, sample: &Sample) -> Resolved {
        let frame = |id: &u64| {
            let location = self.location.iter().rfind(|l| l.id == *id).expect("the location is there");
            let line = |line: &Line| {
                let function =
                    self.function.iter().rfind(|f| f.id == line.function_id).expect("the function");
                (self.text(function.name), self.text(function.filename), line.line)
            };
            (location.address, location.line.iter().map(line).collect())
        };
        let label = |l: &Label| (self.text(l.key), self.text(l.text), l.num, self.text(l.num_unit));
        let mut labels: Vec<_> = sample.label.iter().map(label).collect();
        labels.sort();
        Resolved { stack: sample.location_id.iter().map(frame).collect(), labels }
    }

    /// Sums by sample.
    pub(super) fn sums(&self) -> BTreeMap<Resolved, Vec<i64>> {
        let mut sums = BTreeMap::<_, Vec<i64>>::new();
        for sample in &self.sample {
            let row = sums.entry(self.resolve(sample)).or_insert_with(|| vec![0; sample.value.len()]);
            row.iter_mut().zip(&sample.value).for_each(|(sum, value)| *sum += value);
        }
        sums
    }
}

/// Address, and function, file and line of each inlined call.
type Frame = (u64, Vec<(String, String, i64)>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resolved {
    pub stack: Vec<Frame>,
    pub labels: Vec<(String, String, i64, String)>,
}

/// What `Delta` should be.
pub(super) struct Twin {
    kind: Kind,
    /// Cumulative values, and how many settled profiles ago the sample was last there.
    settled: BTreeMap<Resolved, ([i64; 2], u32)>,
    started: bool,
    compared: u32,
}

#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    First,
    Empty,
    Written(bool, BTreeMap<Resolved, Vec<i64>>),
}

impl Twin {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, settled: BTreeMap::new(), started: false, compared: 0 }
    }

    pub(super) fn compare(&mut self, profile: &Profile, settle: bool) -> Answer {
        self.compared += 1;
        let columns = profile.columns();
        assert!(columns.len() <= MAX_COLUMNS);
        let names = match self.kind {
            Kind::Memory => [("alloc_objects", "count"), ("alloc_space", "bytes")],
            Kind::Contention => [("contentions", "count"), ("delay", "nanoseconds")],
        };
        let place = |(kind, unit): (&str, &str)| columns.iter().position(|(k, u)| k == kind && u == unit);
        let places = names.map(|name| place(name).expect("the column"));
        let sums = profile.sums();
        let cumulative: BTreeMap<_, _> =
            sums.iter().map(|(key, row)| (key.clone(), places.map(|p| row[p]))).collect();
        let both = || cumulative.iter().filter_map(|(key, new)| Some((new, self.settled.get(key)?.0)));
        let restarted = (0..2).any(|i| {
            let known = || both().filter(|(_, old)| *old != [0, 0]);
            known().map(|(new, _)| i128::from(new[i])).sum::<i128>()
                < known().map(|(_, old)| i128::from(old[i])).sum::<i128>()
        });
        let mut answer = BTreeMap::new();
        for (key, row) in &sums {
            let mut row = row.clone();
            if let Some((old, _)) = self.settled.get(key).filter(|_| !restarted) {
                places.iter().zip(old).for_each(|(p, old)| row[*p] = (row[*p] - old).max(0));
            }
            if row.iter().any(|v| *v != 0) {
                answer.insert(key.clone(), row);
            }
        }
        let first = !self.started;
        for (_, (_, seen)) in self.settled.iter_mut().filter(|(key, _)| cumulative.contains_key(key)) {
            *seen = self.compared;
        }
        if settle {
            let compared = self.compared;
            self.settled.retain(|_, (_, seen)| compared - *seen < if restarted { 1 } else { 4 });
            self.settled.extend(cumulative.into_iter().map(|(key, new)| (key, (new, compared))));
            self.started = true;
        }
        match (first, answer.is_empty()) {
            (true, _) => Answer::First,
            (false, true) => Answer::Empty,
            (false, false) => Answer::Written(restarted, answer),
        }
    }
}

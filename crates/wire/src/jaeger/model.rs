//! A batch as both formats give it; text borrows from the input.

use std::borrow::Cow;

/// Spans of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch<'a> {
    pub(super) process: Option<Process<'a>>,
    pub(super) spans: Vec<Span<'a>>,
}

/// Who made the spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Process<'a> {
    pub(super) service: Cow<'a, str>,
    pub(super) tags: Vec<Tag<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    pub(super) trace: u128,
    pub(super) id: u64,
    /// As Thrift gives it; 0 where only references tell.
    pub(super) parent: u64,
    pub(super) name: Cow<'a, str>,
    pub(super) references: Vec<Reference>,
    pub(super) flags: u32,
    pub(super) start_ns: u64,
    pub(super) duration_ns: u64,
    pub(super) tags: Vec<Tag<'a>>,
    pub(super) logs: Vec<Log<'a>>,
    /// In protobuf a span may have its own.
    pub(super) process: Option<Process<'a>>,
    pub(super) warnings: Vec<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reference {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) kind: ReferenceKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReferenceKind {
    #[default]
    ChildOf,
    FollowsFrom,
}

impl ReferenceKind {
    /// The number that both formats have for it.
    pub(super) fn from_number(number: i64) -> Self {
        if number == 0 { Self::ChildOf } else { Self::FollowsFrom }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log<'a> {
    pub(super) time_ns: u64,
    pub(super) fields: Vec<Tag<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: TagValue<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TagValue<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    /// Its bits, so that values can be compared.
    Double(u64),
    Bytes(&'a [u8]),
    /// A type that is not known.
    Other(i64),
}

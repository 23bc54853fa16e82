//! Takes a request apart by a key of its items: for each key, a request with the items of that key.
//!
//! Every item keeps its resource and scope, whose heads are repeated in each part that has a share of them.
//! Invariant: the items of a part are in the order of the request; parts are in the order of their first items.

use std::hash::Hash;

use hashbrown::HashMap;

use super::check::Schematic;
use super::schema::{Kind, Schema};
use super::split::Piece;
use crate::proto::{self, Reader, Value, push_bytes_field, push_varint, varint_len};

/// A signal whose items are directly in the scope's group.
pub trait Flat: Schematic {}
impl Flat for signal::otlp::TracesSignal {}
impl Flat for signal::otlp::LogsSignal {}

struct Item<'a> {
    part: usize,
    resource: usize,
    scope: usize,
    bytes: &'a [u8],
}

/// Numbers of the fields on the way to the items.
const GROUP: u32 = 1;
const SCOPE: u32 = 2;
const ITEM: u32 = 2;

/// Takes a request that has passed [`super::check`] apart; `key` looks at a serialised item.
///
/// # Errors
/// If the bytes are not a protobuf message, which a checked request never is, or if `key` says so.
pub fn partition<S: Flat, K: Hash + Eq + Clone, E: From<proto::Error>>(
    request: &[u8],
    mut key: impl FnMut(&[u8]) -> Result<K, E>,
) -> Result<Vec<(K, Piece)>, E> {
    let root = S::schema().0;
    let mut parts: HashMap<K, usize, foldhash::fast::FixedState> = HashMap::default();
    let mut order = Vec::new();
    let (mut resources, mut scopes, mut items) = (Vec::new(), Vec::new(), Vec::new());
    for resource in groups(request, root) {
        let (resource, schema) = resource?;
        let resource_at = resources.len();
        resources.push(head(resource, schema)?);
        for scope in groups(resource, schema) {
            let (scope, schema) = scope?;
            let scope_at = scopes.len();
            scopes.push(head(scope, schema)?);
            let mut reader = Reader::new(scope);
            while let Some(field) = reader.next_field()? {
                if let (Some(Kind::Item(_)), Value::Bytes(bytes)) =
                    (schema.0.get(field.number as usize), field.value)
                {
                    let key = key(bytes)?;
                    let part = *parts.entry(key).or_insert_with_key(|key| {
                        order.push(key.clone());
                        order.len() - 1
                    });
                    items.push(Item { part, resource: resource_at, scope: scope_at, bytes });
                }
            }
        }
    }
    // Stable: the order of the request stays within a part.
    items.sort_by_key(|item| item.part);
    let pieces = items.chunk_by(|a, b| a.part == b.part).map(|items| piece(items, &resources, &scopes));
    Ok(order.into_iter().zip(pieces).collect())
}

/// The groups inside of a group, with their schema.
fn groups<'a>(
    group: &'a [u8],
    schema: &'static Schema,
) -> impl Iterator<Item = Result<(&'a [u8], &'static Schema), proto::Error>> {
    let mut reader = Reader::new(group);
    std::iter::from_fn(move || {
        loop {
            match reader.next_field() {
                Err(error) => {
                    reader = Reader::new(b"");
                    return Some(Err(error));
                }
                Ok(None) => return None,
                Ok(Some(field)) => {
                    if let (Some(Kind::Group(inner)), Value::Bytes(bytes)) =
                        (schema.0.get(field.number as usize), field.value)
                    {
                        return Some(Ok((bytes, *inner)));
                    }
                }
            }
        }
    })
}

/// What of a group is neither a group nor an item.
fn head(group: &[u8], schema: &'static Schema) -> Result<Vec<u8>, proto::Error> {
    let mut head = Vec::new();
    let mut reader = Reader::new(group);
    while !reader.is_empty() {
        let before = reader.rest();
        let Some(field) = reader.next_field()? else { break };
        let kind = schema.0.get(field.number as usize);
        if !matches!(kind, Some(Kind::Group(_) | Kind::Item(_))) {
            head.extend_from_slice(&before[..before.len() - reader.rest().len()]);
        }
    }
    Ok(head)
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn piece(items: &[Item<'_>], resources: &[Vec<u8>], scopes: &[Vec<u8>]) -> Piece {
    let scope_len = |items: &[Item<'_>]| {
        scopes[items[0].scope].len() + items.iter().map(|item| field_len(item.bytes.len())).sum::<usize>()
    };
    let by_scope = |items: &[Item<'_>]| -> usize {
        items.chunk_by(|a, b| a.scope == b.scope).map(|items| field_len(scope_len(items))).sum()
    };
    let resource_len = |items: &[Item<'_>]| resources[items[0].resource].len() + by_scope(items);
    let total = items.chunk_by(|a, b| a.resource == b.resource).map(|items| field_len(resource_len(items)));
    let mut out = Vec::with_capacity(total.sum());
    let open = |out: &mut Vec<u8>, field: u32, len: usize| {
        push_varint(out, u64::from(field) << 3 | 2);
        push_varint(out, len as u64);
    };
    for items in items.chunk_by(|a, b| a.resource == b.resource) {
        open(&mut out, GROUP, resource_len(items));
        out.extend_from_slice(&resources[items[0].resource]);
        for items in items.chunk_by(|a, b| a.scope == b.scope) {
            open(&mut out, SCOPE, scope_len(items));
            out.extend_from_slice(&scopes[items[0].scope]);
            for item in items {
                push_bytes_field(&mut out, ITEM, item.bytes);
            }
        }
    }
    Piece { bytes: out, items: u32::try_from(items.len()).unwrap_or(u32::MAX) }
}

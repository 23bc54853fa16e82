//! Cuts a request into smaller ones without decoding it.
//!
//! A request is a tree of groups (resource, scope, and for metrics the metric and its data) whose leaves are
//! items. Whatever of a group is neither a group nor an item is its head, wherever it stands in the message:
//! each piece repeats the heads of the groups that it has a part of, so that every item keeps its resource,
//! scope and metric. An item is copied once for every group around it.
//! Invariant: the items of the pieces, one piece after the other, are those of the request in its order.

use super::check::Schematic;
use super::schema::{Kind, Schema};
use crate::proto::{self, Reader, Value, push_bytes_field};

/// Pieces may together be so many times as large as the request, or [`SMALL`].
const GROWTH: usize = 8;

/// So many bytes of pieces are never too many.
const SMALL: usize = 64 << 10;

/// Why a request cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncut {
    /// Not the protobuf message that it should be.
    #[error(transparent)]
    Proto(#[from] proto::Error),
    /// A large head around many small items would be repeated into something huge.
    #[error("the pieces would be more than {GROWTH} times as large as the request")]
    Swells,
}

/// A part of a request: a request by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The serialised request.
    pub bytes: Vec<u8>,
    /// Spans, data points or log records in it.
    pub items: u32,
}

/// Cuts a request that has passed [`super::check`]: the first piece has at most `first` items, the others at
/// most `most`; all but the last are full. Both count as at least 1.
///
/// Groups without items go into the piece that is being filled where they stand. A request without anything
/// gives no piece.
///
/// # Errors
/// If the bytes are not a protobuf message, which a checked request never is; if the pieces together would
/// be out of all proportion to the request.
pub fn split<S: Schematic>(request: &[u8], first: u32, most: u32) -> Result<Vec<Piece>, Uncut> {
    let root = Open::new(0, request, S::schema().0)?;
    let mut cutter = Cutter {
        open: vec![root],
        pieces: Vec::new(),
        items: 0,
        room: first.max(1),
        most: most.max(1),
        budget: request.len().saturating_mul(GROWTH).max(SMALL),
    };
    cutter.walk(request, S::schema().0)?;
    cutter.end()?;
    Ok(cutter.pieces)
}

/// A group that is being read.
struct Open {
    /// Its number in the group around it.
    field: u32,
    /// Serialised fields that every part of it repeats.
    head: Vec<u8>,
    /// Serialised groups and items of the part that is being filled.
    body: Vec<u8>,
    /// It has a part in a finished piece.
    cut: bool,
}

impl Open {
    fn new(field: u32, group: &[u8], schema: &Schema) -> Result<Self, proto::Error> {
        let mut head = Vec::new();
        let mut reader = Reader::new(group);
        while !reader.is_empty() {
            let before = reader.rest();
            let Some(field) = reader.next_field()? else { break };
            if !is_part(kind(schema, field.number)) {
                head.extend_from_slice(&before[..before.len() - reader.rest().len()]);
            }
        }
        Ok(Self { field, head, body: Vec::new(), cut: false })
    }

    /// The part filled so far, as a message; what follows belongs to another part.
    fn take(&mut self) -> Vec<u8> {
        let mut part = self.head.clone();
        part.append(&mut self.body);
        part
    }
}

fn kind(schema: &Schema, field: u32) -> Kind {
    schema.0.get(field as usize).copied().unwrap_or(Kind::Unknown)
}

fn is_part(kind: Kind) -> bool {
    matches!(kind, Kind::Group(_) | Kind::Item(_))
}

struct Cutter {
    /// From the request itself inwards.
    open: Vec<Open>,
    pieces: Vec<Piece>,
    /// Items in the piece that is being filled.
    items: u32,
    /// Items that it still has room for.
    room: u32,
    most: u32,
    /// Bytes that further pieces may have.
    budget: usize,
}

impl Cutter {
    fn walk(&mut self, group: &[u8], schema: &Schema) -> Result<(), Uncut> {
        let mut reader = Reader::new(group);
        while let Some(field) = reader.next_field()? {
            match (kind(schema, field.number), field.value) {
                (Kind::Group(inner), Value::Bytes(bytes)) => {
                    self.open.push(Open::new(field.number, bytes, inner)?);
                    self.walk(bytes, inner)?;
                    self.close();
                }
                (Kind::Item(_), Value::Bytes(bytes)) => self.item(field.number, bytes)?,
                (kind, _) if is_part(kind) => {
                    return Err(proto::Error::WrongWireType { field: field.number }.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn item(&mut self, field: u32, bytes: &[u8]) -> Result<(), Uncut> {
        if self.room == 0 {
            self.cut()?;
        }
        let open = self.open.last_mut().expect("the request itself is open to the end");
        push_bytes_field(&mut open.body, field, bytes);
        self.items += 1;
        self.room -= 1;
        Ok(())
    }

    /// Ends the innermost group.
    fn close(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some(mut group) = self.open.pop() else { return };
        let Some(outer) = self.open.last_mut() else { return };
        // A group that has ended exactly with a piece has nothing left to say; one that had nothing is kept.
        if !group.body.is_empty() || !group.cut {
            push_bytes_field(&mut outer.body, group.field, &group.take());
        }
    }

    /// Ends a piece inside of all open groups.
    fn cut(&mut self) -> Result<(), Uncut> {
        for inner in (1..self.open.len()).rev() {
            let (outer, inner) = self.open.split_at_mut(inner);
            let (Some(outer), Some(inner)) = (outer.last_mut(), inner.first_mut()) else { continue };
            // Groups that have begun after the last item of this piece begin in the next one.
            if !inner.body.is_empty() {
                push_bytes_field(&mut outer.body, inner.field, &inner.take());
                inner.cut = true;
            }
        }
        self.end()?;
        self.room = self.most;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Uncut> {
        let Some(root) = self.open.first_mut() else { return Ok(()) };
        if !root.body.is_empty() || (!root.cut && !root.head.is_empty()) {
            let bytes = root.take();
            root.cut = true;
            self.budget = self.budget.checked_sub(bytes.len()).ok_or(Uncut::Swells)?;
            self.pieces.push(Piece { bytes, items: self.items });
        }
        self.items = 0;
        Ok(())
    }
}

//! Edits a request in its serialised form.
//!
//! One walk from the first byte to the last: an [`Editor`] sees each resource, scope and item as bytes and says
//! which ranges become something else. What is not touched is copied in long runs, once; the lengths of the
//! groups around a change are put right when the group ends. A request that nothing changes is not copied at all.
//! Invariants: the result has passed [`super::check`] if the request and every replacement would; items keep
//! their order. Bytes that no encoder would write so (see [`super::view`]) are brought into their usual form first.

use std::ops::Range;

use bytes::Bytes;
use signal::otlp::{Malformed, OtlpRequest};

use super::check::Schematic;
use super::schema::{Kind, Schema};
use super::view::Unclear;
use crate::proto::{self, Reader, Value, push_varint, put_varint, varint_len};

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, with whatever was spliced into it.
    Keep,
    /// It goes; so do groups that have nothing left.
    Drop,
}

/// What an item stands in, as it was received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The serialised `Resource`; empty where there is none.
    pub resource: &'a [u8],
    /// The serialised `InstrumentationScope`; empty where there is none.
    pub scope: &'a [u8],
    /// The name of the metric that a data point belongs to.
    pub metric: &'a [u8],
    /// The number of the field with the item's attributes.
    pub attributes: u32,
}

/// Sees the parts of a request in their order and changes them.
pub trait Editor {
    /// Comes before everything else; and once more where the request had to be brought into its usual form,
    /// after which all parts are seen again.
    fn begin(&mut self) {}

    /// A serialised `Resource`; empty where there is none, and then one is made of what is appended.
    ///
    /// # Errors
    /// If it cannot be understood.
    fn resource(&mut self, _resource: &[u8], _splices: &mut Splices) -> Result<(), Unclear> {
        Ok(())
    }

    /// A serialised `InstrumentationScope`; not called where there is none.
    ///
    /// # Errors
    /// If it cannot be understood.
    fn scope(&mut self, _around: Around<'_>, _scope: &[u8], _splices: &mut Splices) -> Result<(), Unclear> {
        Ok(())
    }

    /// A serialised span, log record or data point.
    ///
    /// # Errors
    /// If it cannot be understood.
    fn item(&mut self, around: Around<'_>, item: &[u8], splices: &mut Splices) -> Result<Fate, Unclear>;
}

/// Changes to one part: ranges of it that become something else.
#[derive(Debug, Default)]
pub struct Splices {
    list: Vec<(Range<usize>, Range<usize>)>,
    text: Vec<u8>,
}

impl Splices {
    /// Puts what `write` appends in the place of a range of the part. Ranges must not overlap.
    pub fn replace(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.list.push((range, start..self.text.len()));
    }

    /// Leaves a range of the part out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, |_| {});
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// Applies them to a part by itself.
    pub fn apply(&mut self, part: &[u8], out: &mut Vec<u8>) {
        // Equal starts keep their order: what is appended comes in the order of appending.
        self.list.sort_by_key(|(range, _)| range.start);
        let mut copied = 0;
        for (range, text) in &self.list {
            debug_assert!(range.start >= copied && range.end >= range.start, "splices overlap");
            out.extend_from_slice(&part[copied..range.start]);
            out.extend_from_slice(&self.text[text.clone()]);
            copied = range.end;
        }
        out.extend_from_slice(&part[copied..]);
    }

    fn len_of(&self, part: usize) -> usize {
        let added: usize = self.list.iter().map(|(_, text)| text.len()).sum();
        let removed: usize = self.list.iter().map(|(range, _)| range.len()).sum();
        part + added - removed
    }
}

/// Why a request could not be edited: it is none. Checked requests never are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Uneditable {
    /// As a protobuf message.
    #[error(transparent)]
    Unclear(#[from] Unclear),
    /// As a request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Edits a request; `None` where nothing has changed.
///
/// # Errors
/// If the bytes are not a request.
pub fn edit<S: Schematic>(
    request: &OtlpRequest<S>,
    editor: &mut impl Editor,
) -> Result<Option<OtlpRequest<S>>, Uneditable> {
    let edited = match edit_bytes::<S>(request.wire(), request.items() as u32, editor) {
        Err(Unclear::Repeated) => {
            let usual = OtlpRequest::<S>::from_wire(request.wire().clone(), 0, None).into_message()?;
            let usual = OtlpRequest::<S>::from_message(usual);
            edit_bytes::<S>(usual.wire(), usual.items() as u32, editor)?
        }
        other => other?,
    };
    Ok(edited.map(|(bytes, items)| OtlpRequest::from_wire(Bytes::from(bytes), items, None)))
}

/// As [`edit`], for bytes in their usual form with so many items: the new bytes and how many items they have.
///
/// # Errors
/// If the bytes are not a request, or not in their usual form.
pub fn edit_bytes<S: Schematic>(
    request: &[u8],
    items: u32,
    editor: &mut impl Editor,
) -> Result<Option<(Vec<u8>, u32)>, Unclear> {
    editor.begin();
    let mut engine = Engine {
        request,
        editor,
        out: Vec::new(),
        copied: 0,
        frames: Vec::with_capacity(5),
        splices: Splices::default(),
        dropped: 0,
    };
    let attributes = if S::NAME == "logs" { 6 } else { 9 };
    engine.group(0..request.len(), S::schema().0, Around { attributes, ..Around::default() })?;
    if engine.copied == 0 && engine.out.is_empty() {
        return Ok(None);
    }
    engine.flush(request.len());
    Ok(Some((engine.out, items.saturating_sub(engine.dropped))))
}

/// A group that is being walked over; places are those in the request.
struct Frame {
    tag: usize,
    len: usize,
    body: usize,
    end: usize,
    /// Where its tag is in the result; none as long as nothing in it has changed.
    landed: Option<usize>,
    /// It has a group or an item that stays.
    holds: bool,
    /// Something in it was dropped.
    lost: bool,
}

struct Engine<'a, E> {
    request: &'a [u8],
    editor: &'a mut E,
    out: Vec<u8>,
    /// The request is in the result, or left out of it, up to here.
    copied: usize,
    frames: Vec<Frame>,
    splices: Splices,
    dropped: u32,
}

/// Where a field of a group is in the request.
struct Place {
    tag: usize,
    len: usize,
    body: usize,
    end: usize,
}

impl<'a, E: Editor> Engine<'a, E> {
    /// Walks over the fields of a group in a range of the request.
    fn group(
        &mut self,
        range: Range<usize>,
        schema: &'static Schema,
        around: Around<'a>,
    ) -> Result<(), Unclear> {
        let level = self.frames.len();
        let mut around = around;
        // The head comes before the first child, from every encoder.
        let (mut headed, mut begun) = (false, false);
        let mut reader = Reader::new(&self.request[range.clone()]);
        loop {
            let tag = range.end - reader.rest().len();
            let before = reader;
            let Some(field) = reader.next_field()? else { break };
            let end = range.end - reader.rest().len();
            let kind = schema.0.get(field.number as usize).copied().unwrap_or(Kind::Unknown);
            let Value::Bytes(bytes) = field.value else {
                if matches!(kind, Kind::Group(_) | Kind::Item(_)) {
                    return Err(proto::Error::WrongWireType { field: field.number }.into());
                }
                continue;
            };
            let body = end - bytes.len();
            let is_head = level > 0 && level < 4 && field.number == 1;
            match kind {
                Kind::Group(_) | Kind::Item(_) => {
                    if !begun && level == 1 && !headed {
                        self.missing_resource(tag)?;
                    }
                    // Of the kinds of data of a metric there is one.
                    if begun && level == 3 {
                        return Err(Unclear::Repeated);
                    }
                    begun = true;
                    let place = Place { tag, len: len_at(before, tag)?, body, end };
                    match kind {
                        Kind::Group(inner) => {
                            let attributes = attributes_of(level, field.number).unwrap_or(around.attributes);
                            self.child(place, inner, Around { attributes, ..around })?;
                        }
                        _ => self.item(place, around)?,
                    }
                }
                _ if is_head => {
                    if headed || begun {
                        return Err(Unclear::Repeated);
                    }
                    headed = true;
                    let place = Place { tag, len: len_at(before, tag)?, body, end };
                    around = self.head(level, place, bytes, around)?;
                }
                _ => {}
            }
        }
        if level == 1 && !headed && !begun {
            self.missing_resource(range.end)?;
        }
        Ok(())
    }

    fn head(
        &mut self,
        level: usize,
        place: Place,
        bytes: &'a [u8],
        around: Around<'a>,
    ) -> Result<Around<'a>, Unclear> {
        match level {
            1 => {
                self.editor.resource(bytes, &mut self.splices)?;
                self.splice(&place, bytes);
                Ok(Around { resource: bytes, ..around })
            }
            2 => {
                self.editor.scope(around, bytes, &mut self.splices)?;
                self.splice(&place, bytes);
                Ok(Around { scope: bytes, ..around })
            }
            _ => Ok(Around { metric: bytes, ..around }),
        }
    }

    /// A group without a resource, whose first child or end is at `at`.
    fn missing_resource(&mut self, at: usize) -> Result<(), Unclear> {
        self.editor.resource(b"", &mut self.splices)?;
        if !self.splices.is_empty() {
            self.flush(at);
            self.out.push(1 << 3 | 2);
            push_varint(&mut self.out, self.splices.len_of(0) as u64);
            self.splices.apply(b"", &mut self.out);
            self.splices.clear();
        }
        Ok(())
    }

    fn item(&mut self, place: Place, around: Around<'a>) -> Result<(), Unclear> {
        let bytes = &self.request[place.body..place.end];
        let fate = self.editor.item(around, bytes, &mut self.splices)?;
        let kept = fate == Fate::Keep;
        if kept {
            self.splice(&place, bytes);
        } else {
            self.splices.clear();
            self.flush(place.tag);
            self.copied = place.end;
            self.dropped += 1;
        }
        self.note(kept);
        Ok(())
    }

    /// Writes a part with what was spliced into it.
    fn splice(&mut self, place: &Place, bytes: &[u8]) {
        if self.splices.is_empty() {
            return;
        }
        self.flush(place.len);
        push_varint(&mut self.out, self.splices.len_of(bytes.len()) as u64);
        self.splices.apply(bytes, &mut self.out);
        self.splices.clear();
        self.copied = place.end;
    }

    fn child(&mut self, place: Place, schema: &'static Schema, around: Around<'a>) -> Result<(), Unclear> {
        let Place { tag, len, body, end } = place;
        self.frames.push(Frame { tag, len, body, end, landed: None, holds: false, lost: false });
        self.group(body..end, schema, around)?;
        let frame = self.frames.pop().expect("pushed above");
        let empty = frame.lost && !frame.holds;
        if let Some(landed) = frame.landed {
            if empty {
                self.out.truncate(landed);
                self.copied = frame.end;
            } else {
                self.flush(frame.end);
                self.put_len(&frame, landed);
            }
        }
        self.note(!empty);
        Ok(())
    }

    /// Puts the length of a finished group right.
    fn put_len(&mut self, frame: &Frame, landed: usize) {
        let at = landed + (frame.len - frame.tag);
        let width = frame.body - frame.len;
        let new = self.out.len() - at - width;
        let mut varint = [0; 10];
        let needed = put_varint(&mut varint, new as u64);
        debug_assert_eq!(needed, varint_len(new as u64));
        if needed == width {
            self.out[at..at + width].copy_from_slice(&varint[..needed]);
        } else {
            self.out.splice(at..at + width, varint[..needed].iter().copied());
        }
    }

    /// Tells the group around a part what became of it.
    fn note(&mut self, kept: bool) {
        if let Some(frame) = self.frames.last_mut() {
            frame.holds |= kept;
            frame.lost |= !kept;
        }
    }

    /// Copies what has not changed up to a place of the request.
    fn flush(&mut self, to: usize) {
        if self.out.is_empty() {
            self.out.reserve(self.request.len() + self.request.len() / 4 + 64);
        }
        let base = self.out.len();
        // From the inside: the groups around a group that has landed have landed, too.
        for frame in self.frames.iter_mut().rev() {
            if frame.landed.is_some() {
                break;
            }
            frame.landed = Some(base + frame.tag - self.copied);
        }
        self.out.extend_from_slice(&self.request[self.copied..to]);
        self.copied = to;
    }
}

/// Where the length of a field is whose tag is at `tag`.
fn len_at(field: Reader<'_>, tag: usize) -> Result<usize, proto::Error> {
    let mut reader = field;
    let all = reader.rest().len();
    reader.varint()?;
    Ok(tag + all - reader.rest().len())
}

/// The number of the attributes of data points, by the field of the metric that they are in.
fn attributes_of(level: usize, field: u32) -> Option<u32> {
    match (level, field) {
        // Exponential histograms; gauges, sums and summaries; histograms.
        (3, 10) => Some(1),
        (3, 5 | 7 | 11) => Some(7),
        (3, 9) => Some(9),
        _ => None,
    }
}

//! Writes `io.prometheus.write.v2.Request` bodies.
//!
//! Label sets of neighbours are nearly equal, so references are taken over from the series before; only
//! texts that differ are looked up in the request's symbol table. Field numbers are those of the published
//! specification, with start times in samples and histograms (prometheus/docs `remote_write_spec_2_0`). A series
//! without a sample or histogram is forbidden there, and receivers refuse the whole request for one: exemplars of
//! a series that has neither are left out, and counted.

use signal::samples::ExemplarPoint;
use signal::{Labels, SampleBatch, Series};

use super::plan::{Data, Group, Plan, SampleField, count};
use super::symbols::Symbols;
use super::{Counts, Options, kind_number};
use crate::native;
use crate::proto::{
    Reader, push_bytes_field, push_f64_field, push_message_field, push_varint, push_varint_field, put_varint,
    varint_len,
};

/// Writes remote write 2 bodies. Keeps nothing from one request to the next but its buffers.
#[derive(Debug)]
pub struct V2Encoder {
    symbols: Symbols,
    /// The `timeseries` fields, which follow the symbols.
    series: Vec<u8>,
    refs: Vec<u8>,
    scratch: Vec<u8>,
    metadata: Vec<Metadata>,
}

/// The `metadata` field of the series of a family: at most two bytes of header, two of type and six for each
/// reference. Length 0: not made yet.
#[derive(Clone, Copy, Debug)]
struct Metadata {
    bytes: [u8; 16],
    len: u8,
}

/// A label of the series before, with the references that it got.
struct Known<'a> {
    /// The label as it is among [`Series::wire_fields`].
    field: &'a [u8],
    name: &'a [u8],
    name_ref: u32,
    value_ref: u32,
    /// Where the packed references of this label end in `refs`.
    refs_end: usize,
}

impl Default for V2Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl V2Encoder {
    /// An encoder without buffers yet.
    pub fn new() -> Self {
        Self {
            symbols: Symbols::new(),
            series: Vec::new(),
            refs: Vec::new(),
            scratch: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// The requests that a batch becomes.
    pub fn requests<'a>(&'a mut self, batch: &'a SampleBatch, options: Options) -> V2Requests<'a> {
        V2Requests {
            batch,
            plan: Plan::new(batch, options, false),
            sample: SampleField::new(),
            exemplars: Vec::new(),
            known: Vec::new(),
            encoder: self,
        }
    }
}

/// Writes the requests of one batch, one after the other.
pub struct V2Requests<'a> {
    batch: &'a SampleBatch,
    plan: Plan<'a>,
    sample: SampleField,
    exemplars: Vec<&'a ExemplarPoint>,
    known: Vec<Known<'a>>,
    encoder: &'a mut V2Encoder,
}

impl<'a> V2Requests<'a> {
    /// Appends the next body to `out` and tells what it holds; `None` when all is written.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<Counts> {
        self.plan.start_request();
        self.known.clear();
        let encoder = &mut *self.encoder;
        encoder.symbols.clear();
        encoder.series.clear();
        encoder.metadata.clear();
        encoder.metadata.resize(self.batch.families.len(), Metadata { bytes: [0; 16], len: 0 });
        let mut counts = Counts::default();
        while let Some(group) = self.plan.next_group(&mut self.exemplars) {
            count(&mut counts, &group, self.exemplars.len());
            self.write_refs(group.series);
            let metadata = self.metadata_of(group.family);
            let only = match group.data {
                Data::Points(run) if self.exemplars.is_empty() => run.only().filter(|p| p.start_ms == 0),
                _ => None,
            };
            match only {
                Some(point) => {
                    let (sample, len) = self.sample.padded(point.timestamp_ms, point.value);
                    let parts = len + usize::from(metadata.len);
                    let out = &mut self.encoder.series;
                    push_series_start(out, &self.encoder.refs, parts);
                    push_padded(out, sample, len);
                    push_padded(out, &metadata.bytes, metadata.len.into());
                }
                None => self.write_other(&group, metadata),
            }
            self.exemplars.clear();
        }
        if counts == Counts::default() {
            return None;
        }
        out.reserve(self.encoder.symbols.bytes().len() + self.encoder.series.len());
        out.extend_from_slice(self.encoder.symbols.bytes());
        out.extend_from_slice(&self.encoder.series);
        Some(counts)
    }

    /// Exemplars that could not go with any sample or histogram; known when all is written.
    pub fn left_out(&self) -> Counts {
        Counts { exemplars: self.plan.exemplars_left(), ..Counts::default() }
    }

    /// Puts the packed references of a label set into `refs`.
    fn write_refs(&mut self, series: &'a Series) {
        let V2Encoder { refs, symbols, .. } = &mut *self.encoder;
        let known = &mut self.known;
        // A label that two series have in common is one piece of memory: nothing is compared but addresses.
        let same_field = |known: &[Known<'_>], i: usize, field: &[u8]| {
            known.get(i).is_some_and(|known| std::ptr::eq(known.field, field))
        };
        let fields = series.wire_fields();
        // Labels up to the first that differs keep also the bytes of their references.
        let kept = fields.clone().enumerate().take_while(|(i, field)| same_field(known, *i, field)).count();
        refs.truncate(if kept == 0 { 0 } else { known[kept - 1].refs_end });
        for (i, field) in fields.enumerate().skip(kept) {
            if !same_field(known, i, field) {
                let (name, value) = split_label(field);
                let same_name = |known: &[Known<'_>]| known.get(i).is_some_and(|k| k.name == name);
                let mut same = same_name(known);
                if !same {
                    // Labels that this series lacks stand before its next one, for names are sorted.
                    let gone = known[i..].iter().take_while(|k| k.name < name).count();
                    known.drain(i..i + gone);
                    same = same_name(known);
                }
                if same {
                    let label = &mut known[i];
                    if !std::ptr::eq(label.field, field) {
                        label.value_ref = symbols.of(value);
                    }
                    (label.name, label.field) = (name, field);
                } else {
                    let (name_ref, value_ref) = (symbols.of(name), symbols.of(value));
                    known.insert(i, Known { field, name, name_ref, value_ref, refs_end: 0 });
                }
            }
            let label = &mut known[i];
            push_refs(refs, label.name_ref, label.value_ref);
            label.refs_end = refs.len();
        }
        known.truncate(series.len());
    }

    fn metadata_of(&mut self, family: u32) -> Metadata {
        const NONE: Metadata = Metadata { bytes: [0; 16], len: 0 };
        let Some(slot) = self.encoder.metadata.get_mut(family as usize) else { return NONE };
        if slot.len == 0 {
            let family = &self.batch.families[family as usize];
            let help = self.encoder.symbols.of(family.help.as_bytes());
            let unit = self.encoder.symbols.of(family.unit.as_bytes());
            let mut len = 2;
            for (tag, value) in [(0x08, kind_number(family.kind)), (0x18, help.into()), (0x20, unit.into())] {
                if value != 0 {
                    slot.bytes[len] = tag;
                    // No value has more than 32 bits: five bytes.
                    let mut varint = [0; 10];
                    let n = put_varint(&mut varint, value);
                    slot.bytes[len + 1..len + 1 + n].copy_from_slice(&varint[..n]);
                    len += 1 + n;
                }
            }
            slot.bytes[..2].copy_from_slice(&[0x2a, len as u8 - 2]);
            slot.len = len as u8;
        }
        *slot
    }

    /// A series with several samples, start times, histograms or exemplars.
    fn write_other(&mut self, group: &Group<'a>, metadata: Metadata) {
        let mut body = std::mem::take(&mut self.encoder.scratch);
        body.clear();
        match group.data {
            Data::Points(points) => {
                for point in points.iter() {
                    let sample = self.sample.bytes(point.timestamp_ms, point.value);
                    if point.start_ms == 0 {
                        body.extend_from_slice(sample);
                        continue;
                    }
                    push_message_field(&mut body, 2, |out| {
                        out.extend_from_slice(&sample[2..]);
                        push_varint_field(out, 3, point.start_ms as u64);
                    });
                }
            }
            Data::Histograms(histograms) => {
                for point in histograms {
                    let write = |out: &mut Vec<u8>| {
                        native::write(&point.histogram, point.timestamp_ms, point.start_ms, out)
                    };
                    push_message_field(&mut body, 3, write);
                }
            }
            Data::Nothing => {}
        }
        for exemplar in &self.exemplars {
            push_exemplar(exemplar, &mut self.encoder.symbols, &mut body);
        }
        let out = &mut self.encoder.series;
        push_series_start(out, &self.encoder.refs, body.len() + usize::from(metadata.len));
        out.extend_from_slice(&body);
        push_padded(out, &metadata.bytes, metadata.len.into());
        self.encoder.scratch = body;
    }
}

/// Appends two references, mostly of one or two bytes each.
#[inline]
fn push_refs(out: &mut Vec<u8>, name: u32, value: u32) {
    if name < 0x80 && value < 0x80 {
        out.extend_from_slice(&[name as u8, value as u8]);
    } else {
        push_varint(out, name.into());
        push_varint(out, value.into());
    }
}

/// Name and value of one of [`Series::wire_fields`]: `0x0A len { 0x0A len name 0x12 len value }`.
#[inline]
fn split_label(field: &[u8]) -> (&[u8], &[u8]) {
    const OURS: &str = "label sets are built by us in exactly this form";
    if let [_, ..=0x7f, _, name_len, ..] = field {
        // All lengths inside are shorter still: one byte each.
        let (name, value) = field[4..].split_at(usize::from(*name_len));
        return (name, &value[2..]);
    }
    let mut outer = Reader::new(&field[1..]);
    let label = outer.delimited().expect(OURS);
    let mut reader = Reader::new(&label[1..]);
    let name = reader.delimited().expect(OURS);
    let mut reader = Reader::new(&reader.rest()[1..]);
    let value = reader.delimited().expect(OURS);
    (name, value)
}

/// Begins a `timeseries` field: its labels, and `parts` bytes that follow.
#[inline]
fn push_series_start(out: &mut Vec<u8>, refs: &[u8], parts: usize) {
    let len = 1 + varint_len(refs.len() as u64) + refs.len() + parts;
    out.reserve(len + 64);
    out.push(0x2a);
    push_varint(out, len as u64);
    out.push(0x0a);
    push_varint(out, refs.len() as u64);
    out.extend_from_slice(refs);
}

/// Appends the first `len` bytes of an array: copying all of it takes no call.
#[inline]
fn push_padded<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

fn push_exemplar(exemplar: &ExemplarPoint, symbols: &mut Symbols, out: &mut Vec<u8>) {
    push_message_field(out, 4, |out| {
        let refs = label_refs(&exemplar.labels, symbols);
        if !refs.is_empty() {
            push_bytes_field(out, 1, &refs);
        }
        push_f64_field(out, 2, exemplar.value);
        if exemplar.timestamp_ms != 0 {
            push_varint_field(out, 3, exemplar.timestamp_ms as u64);
        }
    });
}

fn label_refs(labels: &Labels, symbols: &mut Symbols) -> Vec<u8> {
    let mut refs = Vec::new();
    for (name, value) in labels.iter() {
        push_varint(&mut refs, u64::from(symbols.of(name.as_bytes())));
        push_varint(&mut refs, u64::from(symbols.of(value.as_bytes())));
    }
    refs
}

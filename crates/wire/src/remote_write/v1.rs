//! Writes `prometheus.WriteRequest` bodies: the label bytes of a series beside fresh samples.

use signal::samples::{ExemplarPoint, HistogramPoint};
use signal::{FamilyMetadata, SampleBatch};

use super::plan::{Data, Plan, Run, SampleField, count};
use super::{Counts, Options, kind_number};
use crate::native;
use crate::proto::{push_bytes_field, push_f64_field, push_message_field, push_varint, push_varint_field};

/// Writes remote write 1 bodies. Keeps nothing from one batch to the next but its buffers.
#[derive(Debug, Default)]
pub struct V1Encoder {
    scratch: Vec<u8>,
}

impl V1Encoder {
    /// An encoder without buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The requests that a batch becomes.
    pub fn requests<'a>(&'a mut self, batch: &'a SampleBatch, options: Options) -> V1Requests<'a> {
        V1Requests {
            plan: Plan::new(batch, options, true),
            sample: SampleField::new(),
            exemplars: Vec::new(),
            scratch: &mut self.scratch,
        }
    }
}

/// Writes the requests of one batch, one after the other.
pub struct V1Requests<'a> {
    plan: Plan<'a>,
    sample: SampleField,
    exemplars: Vec<&'a ExemplarPoint>,
    scratch: &'a mut Vec<u8>,
}

impl V1Requests<'_> {
    /// Appends the next body to `out` and tells what it holds; `None` when all is written.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<Counts> {
        self.plan.start_request();
        let mut counts = Counts::default();
        while let Some(group) = self.plan.next_group(&mut self.exemplars) {
            count(&mut counts, &group, self.exemplars.len());
            let labels = group.series.wire_len();
            let only = match group.data {
                Data::Points(run) if self.exemplars.is_empty() => run.only(),
                _ => None,
            };
            match only {
                Some(point) => {
                    let sample = self.sample.bytes(point.timestamp_ms, point.value);
                    out.reserve(labels + sample.len() + 11);
                    out.push(0x0a);
                    push_varint(out, (labels + sample.len()) as u64);
                    group.series.wire_fields().for_each(|field| out.extend_from_slice(field));
                    out.extend_from_slice(sample);
                }
                None => {
                    self.scratch.clear();
                    group.series.wire_fields().for_each(|field| self.scratch.extend_from_slice(field));
                    match group.data {
                        Data::Points(points) => push_points(points, &mut self.sample, self.scratch),
                        Data::Histograms(histograms) => push_histograms(histograms, self.scratch),
                        Data::Nothing => {}
                    }
                    self.exemplars.iter().for_each(|e| push_exemplar(e, self.scratch));
                    push_bytes_field(out, 1, self.scratch);
                }
            }
            self.exemplars.clear();
        }
        (counts != Counts::default()).then_some(counts)
    }
}

fn push_points(points: Run<'_>, sample: &mut SampleField, out: &mut Vec<u8>) {
    for point in points.iter() {
        out.extend_from_slice(sample.bytes(point.timestamp_ms, point.value));
    }
}

fn push_histograms(histograms: &[HistogramPoint], out: &mut Vec<u8>) {
    for point in histograms {
        push_message_field(out, 4, |out| native::write(&point.histogram, point.timestamp_ms, 0, out));
    }
}

fn push_exemplar(exemplar: &ExemplarPoint, out: &mut Vec<u8>) {
    push_message_field(out, 3, |out| {
        out.extend_from_slice(exemplar.labels.wire_bytes());
        push_f64_field(out, 2, exemplar.value);
        if exemplar.timestamp_ms != 0 {
            push_varint_field(out, 3, exemplar.timestamp_ms as u64);
        }
    });
}

/// Appends a body of metadata, which version 1 sends apart from samples and at its own pace.
pub fn encode_metadata<'a>(
    families: impl IntoIterator<Item = &'a FamilyMetadata>,
    out: &mut Vec<u8>,
) -> Counts {
    let mut counts = Counts::default();
    for family in families {
        counts.metadata += 1;
        push_message_field(out, 3, |out| {
            if kind_number(family.kind) != 0 {
                push_varint_field(out, 1, kind_number(family.kind));
            }
            for (field, text) in [(2, &family.name), (4, &family.help), (5, &family.unit)] {
                if !text.is_empty() {
                    push_bytes_field(out, field, text.as_bytes());
                }
            }
        });
    }
    counts
}

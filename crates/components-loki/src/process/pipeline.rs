//! The stages in order, and how an entry goes through them.
//!
//! Data path: batch → each entry as a [`Record`] through the stages → [`Collector`] → pieces for `forward_to`.
//! Nothing waits here: a stage that slows entries down says from when on they may go (`Cx::not_before`), and
//! the pieces carry that along. A batch that no stage changes comes out as it went in, not as a copy.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use component::Error;
use hashbrown::HashSet;
use signal::logs::{Entry, Hold, LogBatch};
use signal::{Labels, Logs};
use tokio::time::Instant;

pub use super::counters::Counters;
use super::labels::LabelCache;
use super::record::{Buffers, Kept, Record};
use super::stages::Stage;

/// Entries that may go at nearly the same time share a piece.
const PACE: Duration = Duration::from_millis(50);

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// It goes on to the next stage.
    Next,
    /// It goes no further; the stage has counted it with a reason.
    Drop,
}

/// A stage that makes one entry of one, or none.
pub trait MapStage: Send {
    /// Works on a record.
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow;

    /// Opens what building may not touch, files above all. Called once, before the first record.
    fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// A stage that makes any number of entries of one, or keeps entries back.
pub trait FlatMapStage: Send {
    /// Works on a record: hands to `next` what is to go on.
    fn process(&mut self, record: &mut Record<'_>, next: &mut Next<'_>);

    /// When the first of the entries kept back is to go on.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Hands on what has been kept back: what is due by now, or all of it.
    fn flush(&mut self, _which: Flush, _next: &mut Next<'_>) {}

    /// Whether it keeps entries back at all: then batches go through one at a time, so that a block that is
    /// flushed never overtakes lines that came before it.
    fn keeps_back(&self) -> bool {
        true
    }

    /// As [`MapStage::open`].
    fn open(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Which of the entries kept back are to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Those that are due at this time.
    Due(Instant),
    /// All: the stage is about to go.
    All,
}

impl Flush {
    /// Whether an entry that is due at `due` is among them.
    pub fn covers(self, due: Instant) -> bool {
        match self {
            Self::Due(now) => due <= now,
            Self::All => true,
        }
    }
}

/// A stage that runs.
pub enum Node {
    /// One entry of one.
    Map(Box<dyn MapStage>),
    /// Any number of one.
    FlatMap(Box<dyn FlatMapStage>),
}

impl Node {
    /// A stage that makes one entry of one, or none.
    pub fn map(stage: impl MapStage + 'static) -> Self {
        Self::Map(Box::new(stage))
    }

    /// A stage that makes any number of entries of one.
    pub fn flat_map(stage: impl FlatMapStage + 'static) -> Self {
        Self::FlatMap(Box::new(stage))
    }

    fn open(&mut self) -> Result<(), Error> {
        match self {
            Self::Map(stage) => stage.open(),
            Self::FlatMap(stage) => stage.open(),
        }
    }
}

/// What stages are built with.
pub struct StageCx<'a> {
    /// The component's own metrics that stages share.
    pub counters: &'a Counters,
    /// The node.
    pub node: &'a component::BuildCx,
}

/// What stages see besides the record.
pub struct Cx {
    /// The time of the batch, or of the flush.
    pub now: Instant,
    /// The same by the wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// A number that is another for every batch.
    pub batch: u64,
    hold: Option<Hold>,
    pace: Cell<Option<Instant>>,
    cache: RefCell<LabelCache>,
    spare: RefCell<Vec<Buffers>>,
}

impl Cx {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            wall_ns: 0,
            batch: 0,
            hold: None,
            pace: Cell::new(None),
            cache: RefCell::default(),
            spare: RefCell::default(),
        }
    }

    fn begin(&mut self, hold: Option<Hold>) {
        self.now = Instant::now();
        self.wall_ns = signal::clock::now_ns();
        self.batch += 1;
        self.hold = hold;
        self.pace.set(None);
    }

    /// This entry and all after it may not go on to `forward_to` before this time: the sender waits.
    pub fn not_before(&self, time: Instant) {
        self.pace.set(self.pace.get().max(Some(time)));
    }

    /// The promise of the batch under way, for stages that keep a part of it.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// An owned copy of a record, for stages that keep it back. It keeps the batch's promise.
    pub fn keep(&self, record: &Record<'_>) -> Kept {
        record.keep(&mut self.cache.borrow_mut(), self.batch, self.hold())
    }

    /// The label set of a record as it is now. Equal sets are mostly one allocation.
    pub fn labels(&self, record: &Record<'_>) -> Labels {
        self.cache.borrow_mut().resolve(&record.labels)
    }
}

/// Where records go that have passed all stages.
pub trait Out {
    /// Takes one.
    fn take(&mut self, record: &mut Record<'_>, cx: &Cx);
}

/// The rest of the pipeline, as a stage sees it.
pub struct Next<'n> {
    stages: &'n mut [Node],
    out: &'n mut (dyn Out + 'n),
    /// What stages see besides the record.
    pub cx: &'n Cx,
}

impl Next<'_> {
    /// Sends a record through the rest of the stages.
    pub fn run(&mut self, record: &mut Record<'_>) {
        for i in 0..self.stages.len() {
            match &mut self.stages[i] {
                Node::Map(stage) => {
                    if stage.process(record, self.cx) == Flow::Drop {
                        return;
                    }
                }
                Node::FlatMap(_) => {
                    let (head, rest) = self.stages.split_at_mut(i + 1);
                    if let Node::FlatMap(stage) = &mut head[i] {
                        stage.process(record, &mut Next { stages: rest, out: &mut *self.out, cx: self.cx });
                    }
                    return;
                }
            }
        }
        self.out.take(record, self.cx);
    }

    /// Sends what a stage has kept back through the rest of the stages.
    pub fn run_kept(&mut self, kept: &Kept) {
        let mut buffers = self.cx.spare.borrow_mut().pop().unwrap_or_default();
        self.run(&mut Record::of_kept(kept, &mut buffers));
        self.cx.spare.borrow_mut().push(buffers);
    }

    /// Sends a record through stages of one's own first: what passes them goes on here. As at the start of a
    /// pipeline, labels become part of the extracted map.
    pub fn run_through(&mut self, stages: &mut [Node], record: &mut Record<'_>) {
        record.extract_labels();
        let cx = self.cx;
        Next { stages, out: self, cx }.run(record);
    }

    /// Flushes stages of one's own: what they kept back goes through those after them and on here.
    pub fn flush_through(&mut self, stages: &mut [Node], which: Flush) {
        let cx = self.cx;
        flush(stages, which, self, cx);
    }
}

impl Out for Next<'_> {
    fn take(&mut self, record: &mut Record<'_>, _cx: &Cx) {
        self.run(record);
    }
}

fn flush(stages: &mut [Node], which: Flush, out: &mut dyn Out, cx: &Cx) {
    for i in 0..stages.len() {
        let (head, rest) = stages.split_at_mut(i + 1);
        if let Node::FlatMap(stage) = &mut head[i] {
            stage.flush(which, &mut Next { stages: rest, out: &mut *out, cx });
        }
    }
}

/// When the first of the entries that these stages keep back is to go on.
pub fn due(stages: &[Node]) -> Option<Instant> {
    let due = |node: &Node| if let Node::FlatMap(stage) = node { stage.due() } else { None };
    stages.iter().filter_map(due).min()
}

/// Whether one of them keeps entries back.
pub fn keeps_back(stages: &[Node]) -> bool {
    stages.iter().any(|node| matches!(node, Node::FlatMap(stage) if stage.keeps_back()))
}

/// Builds stages that do not run yet.
pub fn build(stages: &[Stage], cx: &StageCx<'_>) -> Result<Vec<Node>, Error> {
    stages.iter().map(|stage| stage.build(cx)).collect()
}

/// Opens what stages need before the first record.
pub fn open(stages: &mut [Node]) -> Result<(), Error> {
    stages.iter_mut().try_for_each(Node::open)
}

/// For each new stage the old one that it goes on as: equal ones at the beginning, at the end, and between them
/// those at the same place.
fn staying(old: &[Stage], new: &[Stage]) -> Vec<Option<usize>> {
    let shorter = old.len().min(new.len());
    let first = (0..shorter).take_while(|i| old[*i] == new[*i]).count();
    let equal_from_end = |i: &usize| old[old.len() - 1 - i] == new[new.len() - 1 - i];
    let last = (0..shorter - first).take_while(equal_from_end).count();
    let place = |i: usize| {
        if i >= new.len() - last {
            return Some(old.len() - (new.len() - i));
        }
        (i < old.len() - last && old[i] == new[i]).then_some(i)
    };
    (0..new.len()).map(place).collect()
}

/// A part of what came out of a batch.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The sender waits until then.
    pub not_before: Option<Instant>,
    /// What goes to `forward_to`.
    pub batch: Logs,
}

/// The stages of a component, with what they remember.
pub struct Pipeline {
    stages: Vec<Stage>,
    nodes: Vec<Node>,
    buffers: Buffers,
    cx: Cx,
    keeps_back: bool,
    counters: Counters,
}

impl Pipeline {
    /// Builds the stages; nothing is opened yet.
    pub fn new(stages: &[Stage], cx: &StageCx<'_>) -> Result<Self, Error> {
        let nodes = build(stages, cx)?;
        Ok(Self {
            stages: stages.to_vec(),
            keeps_back: keeps_back(&nodes),
            nodes,
            buffers: Buffers::default(),
            cx: Cx::new(),
            counters: cx.counters.clone(),
        })
    }

    /// Opens what stages need before the first record.
    pub fn open(&mut self) -> Result<(), Error> {
        open(&mut self.nodes)
    }

    /// Replaces the stages. Those that stay keep what they remember. The others give out what they have kept
    /// back: it goes through the stages that were behind them.
    pub fn update(&mut self, stages: &[Stage], cx: &StageCx<'_>) -> Result<Vec<Piece>, Error> {
        let stay = staying(&self.stages, stages);
        let mut built = Vec::with_capacity(stages.len());
        for (stage, old) in stages.iter().zip(&stay) {
            let mut node = if old.is_some() { None } else { Some(stage.build(cx)?) };
            node.as_mut().map_or(Ok(()), Node::open)?;
            built.push(node);
        }
        // From here on nothing fails.
        let gone = |old: &usize| !stay.contains(&Some(*old));
        let flushed = self.collect(None, |nodes, collector, cx| {
            for i in (0..nodes.len()).filter(gone) {
                let (head, rest) = nodes.split_at_mut(i + 1);
                if let Node::FlatMap(stage) = &mut head[i] {
                    stage.flush(Flush::All, &mut Next { stages: rest, out: collector, cx });
                }
            }
        });
        let mut old: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        let place = |(new, from): (Option<Node>, &Option<usize>)| new.or_else(|| old[(*from)?].take());
        self.nodes = built.into_iter().zip(&stay).filter_map(place).collect();
        self.stages = stages.to_vec();
        self.keeps_back = keeps_back(&self.nodes);
        Ok(flushed)
    }

    /// Whether a stage keeps entries back.
    pub fn keeps_back(&self) -> bool {
        self.keeps_back
    }

    /// When the first of the entries kept back is to go on.
    pub fn due(&self) -> Option<Instant> {
        if self.keeps_back { due(&self.nodes) } else { None }
    }

    /// Sends a batch through the stages.
    pub fn process(&mut self, batch: &Logs) -> Vec<Piece> {
        if self.nodes.is_empty() {
            return vec![Piece { not_before: None, batch: batch.clone() }];
        }
        let mut buffers = std::mem::take(&mut self.buffers);
        let pieces = self.collect(Some(batch), |nodes, collector, cx| {
            for (i, entry) in batch.entries.iter().enumerate() {
                collector.at = i;
                let mut record = Record::new(entry, batch.labels(entry), &mut buffers);
                Next { stages: &mut *nodes, out: &mut *collector, cx }.run(&mut record);
            }
        });
        self.buffers = buffers;
        pieces
    }

    /// Lets go what stages have kept back.
    pub fn flush(&mut self, which: Flush) -> Vec<Piece> {
        self.collect(None, |nodes, collector, cx| flush(nodes, which, collector, cx))
    }

    /// Lets go what is due by now.
    pub fn flush_due(&mut self) -> Vec<Piece> {
        let now = Instant::now();
        if self.due().is_some_and(|due| due <= now) { self.flush(Flush::Due(now)) } else { Vec::new() }
    }

    fn collect(
        &mut self,
        batch: Option<&Logs>,
        work: impl FnOnce(&mut [Node], &mut Collector<'_>, &Cx),
    ) -> Vec<Piece> {
        self.cx.begin(batch.and_then(|b| b.hold.clone()));
        let mut collector = Collector { source: batch, at: 0, passed: 0, open: None, pieces: Vec::new() };
        work(&mut self.nodes, &mut collector, &self.cx);
        // Kept for longer, it would look as if entries were kept back.
        self.cx.hold = None;
        self.counters.label_cache_overflows.inc_by(self.cx.cache.get_mut().take_overflows());
        collector.finish()
    }
}

/// Gathers what passes. As long as all entries pass unchanged it only counts them.
struct Collector<'b> {
    source: Option<&'b Logs>,
    /// The entry of the batch that is under way.
    at: usize,
    /// How many entries of the batch, from the first on, have passed unchanged.
    passed: usize,
    open: Option<OpenPiece>,
    pieces: Vec<Piece>,
}

struct OpenPiece {
    builder: signal::logs::LogBuilder,
    /// When its first entry may go, and its last; it goes as a whole with the last.
    first: Option<Instant>,
    not_before: Option<Instant>,
    /// Promises of other batches, and the numbers of these.
    holds: Vec<Hold>,
    held: HashSet<u64, foldhash::fast::RandomState>,
}

impl Out for Collector<'_> {
    fn take(&mut self, record: &mut Record<'_>, cx: &Cx) {
        let pace = cx.pace.get().filter(|time| *time > cx.now);
        if self.open.is_none() && self.pieces.is_empty() {
            if self.passed == self.at && self.source.is_some() && pace.is_none() && record.is_unchanged() {
                self.passed += 1;
                return;
            }
            self.begin(None);
            self.copy_passed();
        }
        if !self.open.as_ref().is_some_and(|piece| piece.takes(pace)) {
            self.close();
            self.begin(pace);
        }
        let piece = self.open.as_mut().expect("begun above");
        if piece.builder.is_empty() {
            piece.first = pace;
        }
        piece.not_before = pace;
        let labels = cx.labels(record);
        let stream = piece.builder.stream(&labels);
        piece.builder.push(record.entry(stream));
        // That of the batch under way is added at the end.
        for (batch, hold) in record.holds().iter().filter(|(batch, _)| *batch != cx.batch) {
            if piece.held.insert(*batch) {
                piece.holds.push(hold.clone());
            }
        }
    }
}

impl OpenPiece {
    fn takes(&self, pace: Option<Instant>) -> bool {
        let near = |first: Instant, pace: Instant| pace < first + PACE;
        self.builder.is_empty()
            || self.first == pace
            || self.first.zip(pace).is_some_and(|(first, pace)| near(first, pace))
    }
}

impl Collector<'_> {
    fn begin(&mut self, not_before: Option<Instant>) {
        let received_ms = self.source.map_or(0, |b| b.received_ms);
        let builder = signal::logs::LogBuilder::new(received_ms, None);
        self.open = Some(OpenPiece {
            builder,
            first: not_before,
            not_before,
            holds: Vec::new(),
            held: HashSet::default(),
        });
    }

    /// The entries that only were counted so far.
    fn copy_passed(&mut self) {
        let (Some(batch), Some(piece)) = (self.source, &mut self.open) else { return };
        for entry in &batch.entries[..self.passed] {
            let stream = piece.builder.stream(batch.labels(entry));
            piece.builder.push(Entry { stream, ..entry.clone() });
        }
    }

    fn close(&mut self) {
        let Some(piece) = self.open.take() else { return };
        if piece.builder.is_empty() {
            return;
        }
        let mut batch: LogBatch = piece.builder.finish().into_batch();
        batch.hold = Hold::all(self.source.and_then(|b| b.hold.clone()).into_iter().chain(piece.holds));
        self.pieces.push(Piece { not_before: piece.not_before, batch: batch.into() });
    }

    fn finish(mut self) -> Vec<Piece> {
        if self.open.is_none() && self.pieces.is_empty() {
            match self.source {
                Some(batch) if self.passed == batch.len() => {
                    return vec![Piece { not_before: None, batch: batch.clone() }];
                }
                _ => {
                    self.begin(None);
                    self.copy_passed();
                }
            }
        }
        self.close();
        self.pieces
    }
}

#[cfg(test)]
mod tests;

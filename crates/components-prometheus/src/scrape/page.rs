//! From a page to a batch.
//!
//! Data path: page → parser, told what line to expect → the target's cache → series with the target's labels
//! → points. A line that was on the last page costs a comparison and a point; only a new line is parsed,
//! given the target's labels and interned. What the cache has and the page has not becomes stale markers.
//! Once a page has come twice with the same lines, the next like it is read as a row ([`Memory::repeat`]): only
//! its values are taken, and no series is touched.
//! Invariant: a page counts as a whole or not at all, as in Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use signal::histogram::{HistogramCounts, NativeHistogram, ResetHint};
use signal::samples::{ExemplarPoint, HistogramPoint, NO_FAMILY, Point, STALE_NAN};
use signal::{
    FamilyList, LabelsBuilder, METRIC_NAME, MetricKind, Patience, Row, SampleBatch, Series, SeriesList,
};
use wire::exposition::{Event, Exemplar, Format, HistogramSample, Options, Parser, Sample, parse_series};

use super::cache::{FRESH, Found, HISTOGRAM, IN_FAMILY, Lines, Part, Role, STATED, UNSENT, Walk};
use super::classic::{Collector, Line};
use super::family::Families;
pub use super::rules::{Limits, Refused, Rules};
use super::rules::{add_target_labels, beyond, broken, kind_word};

/// Samples may claim to be from the future by this much. As prometheus/scrape: `maxAheadTime`.
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;
/// Characters of an exemplar's labels. As prometheus/model/exemplar: `ExemplarMaxLabelSetLength`.
const MAX_EXEMPLAR_LABELS: usize = 128;

/// What is remembered of a target from one page to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// What the lines were made with.
    made_with: Option<(Format, Rules)>,
    lines: Lines,
    families: Families,
    /// The series of `lines` have not been marked stale since.
    live: bool,
    /// Series of lines that cannot be compared any more.
    leftover: Vec<(Series, u16)>,
    /// By series, the last exemplar sent.
    exemplars: HashMap<usize, u64, foldhash::fast::RandomState>,
    /// Time of the last page.
    last_ms: i64,
    /// The last page had the lines of the one before, each with a value and no more.
    plain: bool,
    pattern: Option<Pattern>,
    patience: Patience,
}

/// What the next page is if it only has other values.
#[derive(Debug)]
struct Pattern {
    /// The series of the lines, and behind them those that the scrape reports.
    list: Arc<SeriesList>,
    /// Of what is not lines, as [`Lines::repeat`] tells it.
    comments: u64,
}

/// Buffers that all targets share.
#[derive(Default)]
pub struct Scratch {
    builder: LabelsBuilder,
    collector: Collector,
}

/// What a page held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Samples on the page.
    pub scraped: usize,
    /// Samples that are left after the target's labels were given: all of them, as scrapes have no rules.
    pub added: usize,
    /// Series that the last page did not have, and of which a sample was sent.
    pub series_added: usize,
    /// Samples left out: their series was on the page before.
    pub repeated: usize,
    /// Samples left out: their time is too far ahead.
    pub ahead: usize,
}

impl Tally {
    /// Of a page that has the lines of the one before.
    pub(super) fn repeated(samples: usize) -> Self {
        Self { scraped: samples, added: samples, ..Self::default() }
    }

    /// Each line is one sample that is sent.
    fn is_plain(&self) -> bool {
        *self == Self::repeated(self.scraped)
    }
}

/// Reads a page and appends its samples and the stale markers of what it has no more. On an error the batch
/// has only stale markers: all series of the target have ended.
pub fn read(
    memory: &mut Memory,
    scratch: &mut Scratch,
    rules: &Rules,
    (format, body): (Format, &[u8]),
    now_ms: i64,
    batch: &mut SampleBatch,
) -> (Tally, Result<(), Refused>) {
    if memory.made_with.as_ref().is_none_or(|(f, r)| *f != format || !r.same_series(rules)) {
        memory.forget_lines(rules);
    }
    if memory.made_with.as_ref().is_none_or(|(f, r)| *f != format || r != rules) {
        memory.made_with = Some((format, rules.clone()));
    }
    batch.points.listed().reserve(memory.lines.len() + 8);
    memory.pattern = None;
    memory.families.begin();
    scratch.collector.reset();
    let mut reader = Reader {
        rules,
        format,
        now_ms,
        last_ms: memory.last_ms,
        walk: Walk::new(&mut memory.lines, rules.convert_classic),
        families: &mut memory.families,
        exemplars: &mut memory.exemplars,
        builder: &mut scratch.builder,
        collector: &mut scratch.collector,
        batch,
        kind: MetricKind::Unknown,
        tally: Tally::default(),
        accepted: 0,
        too_many_buckets: false,
    };
    let result = reader.page(body);
    let (tally, walk) = (reader.tally, reader.walk);
    match result {
        Ok(()) => {
            let mut ended = std::mem::take(&mut memory.leftover);
            let live = memory.live;
            memory.plain = walk.is_repeated() && ended.is_empty() && tally.is_plain();
            walk.finish(|series, flags, part| {
                if live {
                    ended.extend(series.map(|s| (s, flags)));
                    ended.extend(part.histogram.map(|s| (s, of_histogram(flags))));
                }
            });
            memory.families.end();
            if !ended.is_empty() {
                memory.mark_ended(ended, rules, now_ms, batch);
            }
            (memory.live, memory.last_ms) = (true, now_ms);
            (tally, Ok(()))
        }
        Err(message) => {
            walk.abandon();
            memory.fail(rules, now_ms, batch);
            (tally, Err(message))
        }
    }
}

impl Memory {
    /// Reads a page that differs from the last one in nothing but values: those, in the order of
    /// [`Memory::row`]'s series. `None` where it may be another page: then [`read`] has to look.
    pub fn repeat(
        &mut self,
        rules: &Rules,
        (format, body): (Format, &[u8]),
        now_ms: i64,
    ) -> Option<Vec<f64>> {
        let pattern = self.pattern.as_ref()?;
        if self.made_with.as_ref().is_none_or(|(f, r)| *f != format || r != rules) {
            return None;
        }
        let mut values = Vec::with_capacity(pattern.list.len());
        if self.lines.repeat(body, &mut values) != Some(pattern.comments) {
            // Another page comes: a pattern is worth its making again when that one has repeated itself.
            self.pattern = None;
            return None;
        }
        self.last_ms = now_ms;
        Some(values)
    }

    /// The samples of a page that [`Memory::repeat`] has read, with those that the scrape reports at the end.
    pub fn row(&self, timestamp_ms: i64, values: Vec<f64>) -> Option<Row> {
        Some(Row::new(self.pattern.as_ref()?.list.clone(), timestamp_ms, values))
    }

    /// Makes a row of the batch of a page, and remembers its series, if the page before was like this one.
    /// The batch ends with the points that the scrape reports, `reports` of them.
    pub fn learn(&mut self, body: &[u8], reports: usize, batch: &mut SampleBatch) {
        if !std::mem::take(&mut self.plain) || batch.points.len() != self.lines.len() + reports {
            return;
        }
        let Some(time) = batch.points.iter().next().map(|p| p.timestamp_ms) else { return };
        let alike = batch.points.iter().all(|p| p.timestamp_ms == time && p.start_ms == 0);
        if !alike || !batch.histograms.is_empty() || !batch.exemplars.is_empty() {
            return;
        }
        let mut values = Vec::with_capacity(batch.points.len());
        let Some(comments) = self.lines.repeat(body, &mut values) else { return };
        values.extend(batch.points.iter().skip(values.len()).map(|p| p.value));
        let points = batch.points.listed().drain(..);
        let (series, family) = points.map(|p| (p.series, p.family)).unzip();
        let list = Arc::new(SeriesList::new(series, family, batch.families.clone()));
        batch.points = Row::new(list.clone(), time, values).into();
        self.lines.share(&list);
        self.pattern = Some(Pattern { list, comments });
    }

    /// The batch of the last page is gone: packs the series unless the pages that come are likely to need them.
    pub(super) fn rest(&mut self) {
        // Exemplars are known by the addresses of their series.
        if self.exemplars.is_empty() {
            self.lines.rest(&mut self.patience);
        }
    }

    /// Lines of the last page.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The reported series are others from now on.
    pub(super) fn forget_row(&mut self) {
        self.pattern = None;
    }

    /// The target's page could not be had: all its series have ended. What was read of a broken page is taken
    /// out of the batch.
    pub fn fail(&mut self, rules: &Rules, now_ms: i64, batch: &mut SampleBatch) {
        (self.plain, self.pattern) = (false, None);
        batch.points.clear();
        batch.histograms.clear();
        batch.exemplars.clear();
        batch.families = FamilyList::default();
        let mut ended = std::mem::take(&mut self.leftover);
        if self.live {
            self.lines.for_each(|entry| {
                if entry.flags & FRESH == 0 {
                    ended.extend(entry.series.cloned().map(|s| (s, entry.flags)));
                    ended.extend(entry.histogram.cloned().map(|s| (s, of_histogram(entry.flags))));
                }
            });
        }
        self.lines.settle();
        self.live = false;
        self.exemplars.clear();
        push_stale(ended, rules, now_ms, batch);
    }

    /// Series whose lines cannot be compared with those of the next page: they have ended unless it has them.
    fn forget_lines(&mut self, rules: &Rules) {
        let lines = std::mem::take(&mut self.lines);
        if self.live {
            lines.for_each(|entry| {
                self.leftover.extend(entry.series.cloned().map(|s| (s, entry.flags)));
                self.leftover.extend(entry.histogram.cloned().map(|s| (s, of_histogram(entry.flags))));
            });
        }
        // What had times of its own stays untracked, whatever the new rules say.
        self.leftover.retain(|(_, flags)| flags & STATED == 0 || rules.track_timestamps_staleness);
    }

    /// Lines have gone; their series have ended only where no other line has them.
    fn mark_ended(&mut self, ended: Vec<(Series, u16)>, rules: &Rules, now_ms: i64, batch: &mut SampleBatch) {
        let mut by_id: BTreeMap<usize, (Series, u16)> = ended.into_iter().map(|e| (e.0.id(), e)).collect();
        self.lines.for_each(|entry| {
            for series in entry.series.into_iter().chain(entry.histogram) {
                by_id.remove(&series.id());
            }
        });
        for id in by_id.keys() {
            self.exemplars.remove(id);
        }
        push_stale(by_id.into_values(), rules, now_ms, batch);
    }
}

/// The flags of a histogram that a line is a part of.
fn of_histogram(flags: u16) -> u16 {
    flags & !UNSENT | HISTOGRAM
}

fn push_stale(
    ended: impl IntoIterator<Item = (Series, u16)>,
    rules: &Rules,
    now_ms: i64,
    batch: &mut SampleBatch,
) {
    let mut told = hashbrown::HashSet::<usize, foldhash::fast::RandomState>::default();
    let tracked =
        |flags: u16| flags & UNSENT == 0 && (flags & STATED == 0 || rules.track_timestamps_staleness);
    for (series, flags) in ended.into_iter().filter(|(_, flags)| tracked(*flags)) {
        if !told.insert(series.id()) {
            continue;
        }
        if flags & HISTOGRAM != 0 {
            let histogram = Arc::new(NativeHistogram::stale());
            let point =
                HistogramPoint { series, timestamp_ms: now_ms, histogram, start_ms: 0, family: NO_FAMILY };
            batch.histograms.push(point);
        } else {
            let point =
                Point { series, timestamp_ms: now_ms, value: STALE_NAN, start_ms: 0, family: NO_FAMILY };
            batch.points.push(point);
        }
    }
}

struct Reader<'a> {
    rules: &'a Rules,
    format: Format,
    now_ms: i64,
    last_ms: i64,
    walk: Walk<'a>,
    families: &'a mut Families,
    exemplars: &'a mut HashMap<usize, u64, foldhash::fast::RandomState>,
    builder: &'a mut LabelsBuilder,
    collector: &'a mut Collector,
    batch: &'a mut SampleBatch,
    /// Of the last TYPE line.
    kind: MetricKind,
    tally: Tally,
    /// Samples that count towards the limit.
    accepted: usize,
    too_many_buckets: bool,
}

/// What a line is made into.
struct Resolved {
    series: Option<Series>,
    flags: u16,
    part: Part,
    new: bool,
}

impl Reader<'_> {
    fn page(&mut self, body: &[u8]) -> Result<(), Refused> {
        let options =
            Options { created_as_start: self.rules.start_zero, native_histograms: self.rules.native };
        let mut parser = Parser::new(self.format, body, options);
        let families = self.rules.needs_families();
        loop {
            // Matched where it lies: an event is too large to be moved for every sample.
            match parser.next_predicted(|rest| self.walk.predict(rest)) {
                Ok(Some(Event::Sample(ref sample))) => self.sample(sample)?,
                Ok(Some(Event::Histogram(sample))) => self.histogram(*sample)?,
                Ok(Some(Event::Type { name, kind })) => {
                    self.kind = kind;
                    if families {
                        self.families.set_kind(&name, kind);
                    }
                }
                Ok(Some(Event::Help { name, text })) if families => self.families.set_help(&name, &text),
                Ok(Some(Event::Unit { name, unit })) if families => self.families.set_unit(&name, &unit),
                Ok(Some(Event::Help { .. } | Event::Unit { .. })) => {}
                Ok(None) => break,
                Err(error) => return Err(broken(error)),
            }
        }
        let last = self.collector.end();
        self.push_histogram(last);
        if self.rules.limits.samples > 0 && self.accepted > self.rules.limits.samples {
            return Err(beyond(format!(
                "sample_limit of {} exceeded: the page has {} samples",
                self.rules.limits.samples, self.accepted
            )));
        }
        if self.too_many_buckets {
            return Err(beyond(format!(
                "native_histogram_bucket_limit of {} exceeded",
                self.rules.bucket_limit
            )));
        }
        Ok(())
    }

    #[inline]
    fn sample(&mut self, sample: &Sample<'_>) -> Result<(), Refused> {
        let stated = if self.rules.honor_timestamps { sample.timestamp_ms } else { None };
        let mark = if stated.is_some() { STATED } else { 0 };
        self.tally.scraped += 1;
        let line = match self.walk.find(sample.raw) {
            Found::Known { series, flags, part } => {
                *flags = *flags & !(STATED | HISTOGRAM) | mark;
                let (series, flags) = (series.cloned(), *flags);
                match part {
                    None => return self.push_sample(series, flags, false, sample, stated),
                    Some(part) => Resolved { series, flags, part: part.clone(), new: false },
                }
            }
            Found::Repeated => self.repeated(sample.raw, stated)?,
            Found::New => self.add(sample.raw, mark)?,
        };
        if let Some(histogram) = &line.part.histogram {
            // Counted once, with the histogram.
            if line.series.is_none() {
                self.tally.scraped -= 1;
            }
            self.collect(histogram, &line, sample, stated.unwrap_or(self.now_ms))?;
        }
        self.push_sample(line.series, line.flags, line.new, sample, stated)
    }

    #[inline]
    fn push_sample(
        &mut self,
        series: Option<Series>,
        flags: u16,
        new: bool,
        sample: &Sample<'_>,
        stated: Option<i64>,
    ) -> Result<(), Refused> {
        let Some(series) = series else { return Ok(()) };
        self.tally.added += 1;
        if !self.accept(stated) {
            return Ok(());
        }
        let timestamp_ms = stated.unwrap_or(self.now_ms);
        let family = self.family(flags, sample.raw);
        if flags & UNSENT != 0 {
            self.first_sent();
        }
        if let Some(exemplar) = &sample.exemplar {
            self.exemplar(&series, exemplar, timestamp_ms)?;
        }
        let (value, start_ms) = (sample.value, sample.start_ms);
        if self.starts(start_ms, timestamp_ms, new) {
            let series = series.clone();
            self.batch.points.push(Point { series, timestamp_ms: start_ms, value: 0.0, start_ms, family });
        }
        self.batch.points.push(Point { series, timestamp_ms, value, start_ms, family });
        Ok(())
    }

    fn histogram(&mut self, sample: HistogramSample<'_>) -> Result<(), Refused> {
        let stated = if self.rules.honor_timestamps { sample.timestamp_ms } else { None };
        let time = stated.unwrap_or(self.now_ms);
        let mark = HISTOGRAM | if stated.is_some() { STATED } else { 0 };
        self.tally.scraped += 1;
        let line = match self.walk.find(sample.raw) {
            Found::Known { series, flags, .. } => {
                *flags = *flags & !(STATED | HISTOGRAM) | mark;
                Resolved { series: series.cloned(), flags: *flags, part: Part::default(), new: false }
            }
            Found::Repeated => self.repeated(sample.raw, stated)?,
            Found::New => self.add(sample.raw, mark)?,
        };
        let Some(series) = line.series else { return Ok(()) };
        self.tally.added += 1;
        if !self.accept(stated) {
            return Ok(());
        }
        if self.rules.convert_classic {
            self.collector.seen_native(&series);
        }
        let family = self.family(line.flags, sample.raw);
        let mut histogram = sample.histogram;
        if !histogram.has_custom_buckets() {
            histogram.reduce_resolution(self.rules.max_schema);
        }
        if self.rules.bucket_limit > 0 && !histogram.limit_buckets(self.rules.bucket_limit) {
            self.too_many_buckets = true;
            return Ok(());
        }
        if line.flags & UNSENT != 0 {
            self.first_sent();
        }
        for exemplar in &sample.exemplars {
            self.exemplar(&series, exemplar, time)?;
        }
        if self.starts(sample.start_ms, time, line.new) {
            let zero = zero_like(&histogram);
            self.batch.histograms.push(HistogramPoint {
                series: series.clone(),
                timestamp_ms: sample.start_ms,
                histogram: Arc::new(zero),
                start_ms: sample.start_ms,
                family,
            });
        }
        let (histogram, start_ms) = (Arc::new(histogram), sample.start_ms);
        self.batch.histograms.push(HistogramPoint {
            series,
            timestamp_ms: time,
            histogram,
            start_ms,
            family,
        });
        Ok(())
    }

    /// Whether the sample is to be sent; counts it.
    #[inline]
    fn accept(&mut self, stated: Option<i64>) -> bool {
        // As prometheus/scrape: what is left out for its time counts towards the limit.
        self.accepted += 1;
        if stated.is_some_and(|time| self.is_ahead(time)) {
            self.tally.ahead += 1;
            return false;
        }
        self.rules.limits.samples == 0 || self.accepted <= self.rules.limits.samples
    }

    #[inline]
    fn is_ahead(&self, time: i64) -> bool {
        time > self.now_ms + MAX_AHEAD_MS
    }

    /// Whether a counter has started since the last page. As prometheus/tsdb: `AppendSTZeroSample`, which
    /// refuses starts at or before the last sample.
    #[inline]
    fn starts(&self, start_ms: i64, time: i64, new: bool) -> bool {
        self.rules.start_zero && start_ms > 0 && start_ms < time && (new || start_ms > self.last_ms)
    }

    #[inline]
    fn family(&mut self, flags: u16, raw: &[u8]) -> u32 {
        if !self.rules.metadata || flags & IN_FAMILY == 0 || !self.families.leads(raw) {
            return NO_FAMILY;
        }
        self.families.index(Arc::make_mut(&mut self.batch.families))
    }

    /// A line that the page had before: sent only if it states its own time.
    #[cold]
    fn repeated(&mut self, raw: &[u8], stated: Option<i64>) -> Result<Resolved, Refused> {
        if stated.is_none() {
            // It counts as a series that the target exposes, as in Prometheus.
            self.tally.repeated += 1;
            self.tally.added += 1;
            return Ok(Resolved { series: None, flags: 0, part: Part::default(), new: false });
        }
        let (series, in_family, part) = self.resolve(raw)?;
        Ok(Resolved { series, flags: if in_family { IN_FAMILY } else { 0 }, part, new: false })
    }

    #[cold]
    fn add(&mut self, raw: &[u8], mark: u16) -> Result<Resolved, Refused> {
        let (series, in_family, part) = self.resolve(raw)?;
        let flags = mark | if in_family { IN_FAMILY } else { 0 };
        self.walk.add(raw, series.clone(), flags, part.clone());
        Ok(Resolved { series, flags: flags | UNSENT, part, new: true })
    }

    /// The line at hand has a series that the pages before had not, or of which nothing was sent. As
    /// prometheus/scrape: a series counts as added when its first sample is, not when that is left out.
    #[cold]
    fn first_sent(&mut self) {
        self.walk.sent();
        self.tally.series_added += 1;
    }

    /// The series of a line, whether it belongs to the family at hand, and of which histogram it is a part.
    fn resolve(&mut self, raw: &[u8]) -> Result<(Option<Series>, bool, Part), Refused> {
        self.parse(raw)?;
        let Some(metric) = self.builder.get(METRIC_NAME) else {
            return Err(broken("a series has no metric name (no __name__ label)"));
        };
        let in_family = self.rules.needs_families() && self.families.holds(metric);
        let mut part = Part::default();
        if self.rules.convert_classic && in_family && self.kind == MetricKind::Histogram {
            part = self.part()?;
            if part.histogram.is_some() {
                if !self.rules.keep_classic {
                    return Ok((None, in_family, part));
                }
                self.parse(raw)?;
            }
        }
        Ok((Some(self.series(in_family)?), in_family, part))
    }

    fn parse(&mut self, raw: &[u8]) -> Result<(), Refused> {
        parse_series(self.format, raw, self.kind, self.builder).map_err(broken)
    }

    /// The histogram of the family at hand that the labels in the builder are a part of; takes them apart.
    fn part(&mut self) -> Result<Part, Refused> {
        let metric = self.builder.get(METRIC_NAME).unwrap_or_default();
        let role = match metric.strip_prefix(self.families.name()) {
            Some("_count") => Role::Count,
            Some("_sum") => Role::Sum,
            Some("_bucket") => match self.builder.get("le").and_then(|le| le.parse().ok()) {
                Some(bound) => Role::Bucket(bound),
                None => return Ok(Part::default()),
            },
            _ => return Ok(Part::default()),
        };
        let name = self.families.name().to_owned();
        self.builder.set(METRIC_NAME, &name);
        self.builder.del("le");
        Ok(Part { histogram: Some(self.series(true)?), role })
    }

    /// The series of the scraped labels in the builder.
    fn series(&mut self, in_family: bool) -> Result<Series, Refused> {
        if self.rules.type_and_unit && in_family {
            self.builder.set("__type__", kind_word(self.families.kind()));
            self.builder.set("__unit__", self.families.unit());
        }
        add_target_labels(self.builder, &self.rules.labels, self.rules.honor_labels);
        self.rules.check_labels(self.builder)?;
        Ok(self.builder.build_series())
    }

    #[cold]
    fn collect(
        &mut self,
        histogram: &Series,
        line: &Resolved,
        sample: &Sample<'_>,
        time: i64,
    ) -> Result<(), Refused> {
        let family = self.family(line.flags, sample.raw);
        let told = Line { value: sample.value, timestamp_ms: time, start_ms: sample.start_ms, family };
        let done = self.collector.add(histogram, line.part.role, told);
        self.push_histogram(done);
        // A histogram is one series, and has one count.
        if line.flags & UNSENT != 0 && line.part.role == Role::Count && !self.is_ahead(time) {
            self.first_sent();
        }
        match &sample.exemplar {
            // Native histograms keep only exemplars that say when they were.
            Some(exemplar) if exemplar.timestamp_ms.is_some() => self.exemplar(histogram, exemplar, time),
            _ => Ok(()),
        }
    }

    fn push_histogram(&mut self, done: Option<HistogramPoint>) {
        let Some(mut point) = done else { return };
        self.tally.scraped += 1;
        self.tally.added += 1;
        let stated = (point.timestamp_ms != self.now_ms).then_some(point.timestamp_ms);
        if !self.accept(stated) {
            return;
        }
        if self.rules.bucket_limit > 0
            && !Arc::make_mut(&mut point.histogram).limit_buckets(self.rules.bucket_limit)
        {
            self.too_many_buckets = true;
            return;
        }
        self.batch.histograms.push(point);
    }

    /// Sends an exemplar, unless the target shows the one that it showed last time.
    #[cold]
    fn exemplar(&mut self, series: &Series, exemplar: &Exemplar<'_>, time: i64) -> Result<(), Refused> {
        use std::hash::BuildHasher;
        exemplar.parse_labels(self.builder).map_err(broken)?;
        let characters: usize = self.builder.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        if characters > MAX_EXEMPLAR_LABELS {
            return Ok(());
        }
        let labels = self.builder.build();
        let print = (labels.hash(), exemplar.value.to_bits(), exemplar.timestamp_ms);
        let print = self.exemplars.hasher().hash_one(print);
        if self.exemplars.insert(series.id(), print) != Some(print) {
            let timestamp_ms = exemplar.timestamp_ms.unwrap_or(time);
            let series = series.clone();
            self.batch.exemplars.push(ExemplarPoint { series, labels, value: exemplar.value, timestamp_ms });
        }
        Ok(())
    }
}

/// A histogram without observations in the same buckets. As prometheus/tsdb: `AppendHistogramSTZeroSample`.
fn zero_like(histogram: &NativeHistogram) -> NativeHistogram {
    let counts = match &histogram.counts {
        HistogramCounts::Int { .. } => HistogramCounts::Int {
            count: 0,
            zero_count: 0,
            positive_deltas: Vec::new(),
            negative_deltas: Vec::new(),
        },
        HistogramCounts::Float { .. } => HistogramCounts::Float {
            count: 0.0,
            zero_count: 0.0,
            positive_counts: Vec::new(),
            negative_counts: Vec::new(),
        },
    };
    NativeHistogram {
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        sum: 0.0,
        counts,
        positive_spans: Vec::new(),
        negative_spans: Vec::new(),
        custom_values: histogram.custom_values.clone(),
        reset_hint: ResetHint::Yes,
    }
}

#[cfg(test)]
impl Memory {
    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }
}

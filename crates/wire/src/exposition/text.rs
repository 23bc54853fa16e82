//! The two text formats, entry by entry.
//!
//! A sample line is: raw series text, value, optional time, optional exemplar. If it begins with the text
//! that the caller predicts, the end of the series is known without looking; else a scan that knows quotes
//! finds it. Labels are never taken apart here. Grammar: prometheus/model/textparse `promlex.l` and
//! `openmetricslex.l`.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};
use signal::MetricKind;

use super::created::CreatedSeries;
use super::number::{parse_float, short_decimal};
use super::series::{self, Text};
use super::{Error, Event, Exemplar, ExemplarLabels, Options, Sample};

/// Which of the two grammars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Blanks and tabs anywhere, times in whole milliseconds, free comments, quotes may span lines.
    Prometheus,
    /// Exactly one blank between parts, times in seconds, exemplars, `# EOF` at the end.
    OpenMetrics,
}

/// Reads one text exposition.
#[derive(Debug)]
pub(crate) struct TextParser<'a> {
    body: &'a [u8],
    pos: usize,
    dialect: Dialect,
    kind: MetricKind,
    /// `# EOF` was read.
    ended: bool,
    /// Kept only where `_created` series are taken as start times.
    created: Option<CreatedSeries>,
}

impl<'a> TextParser<'a> {
    pub(crate) fn new(dialect: Dialect, body: &'a [u8], options: Options) -> Self {
        let created = options.created_as_start && dialect == Dialect::OpenMetrics;
        Self {
            body,
            pos: 0,
            dialect,
            kind: MetricKind::Unknown,
            ended: false,
            created: created.then(CreatedSeries::default),
        }
    }

    pub(crate) fn kind(&self) -> MetricKind {
        self.kind
    }

    /// A second parser at the same place, which does not look for `_created` series itself.
    pub(super) fn lookahead(&self) -> Self {
        Self {
            body: self.body,
            pos: self.pos,
            dialect: self.dialect,
            kind: self.kind,
            ended: self.ended,
            created: None,
        }
    }

    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// Counts lines up to where the parser stands.
    pub(super) fn line(&self) -> usize {
        1 + memchr::memchr_iter(b'\n', &self.body[..self.pos.min(self.body.len())]).count()
    }

    /// Skips to the start of the next line, for a reader that collects errors.
    pub(super) fn skip_line(&mut self) {
        self.pos = memchr(b'\n', self.rest()).map_or(self.body.len(), |i| self.pos + i + 1);
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.body[self.pos..]
    }

    #[inline]
    pub(crate) fn next(
        &mut self,
        mut predict: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Option<Event<'a>>, Error> {
        loop {
            let rest = self.rest();
            let raw_len = match predict(rest).filter(|len| ends_at(rest, *len)) {
                Some(len) => len,
                None => match self.entry()? {
                    Entry::Skipped => continue,
                    Entry::End => return Ok(None),
                    Entry::Metadata(event) => return Ok(Some(event)),
                    Entry::Series(len) => len,
                },
            };
            let mut sample = self.sample(raw_len)?;
            if self.created.is_some() {
                if self.is_created_series(sample.raw) {
                    continue;
                }
                sample.start_ms = self.start_of(sample.raw);
            }
            return Ok(Some(Event::Sample(sample)));
        }
    }

    /// What begins here, where the prediction failed.
    fn entry(&mut self) -> Result<Entry<'a>, Error> {
        if self.dialect == Dialect::Prometheus {
            self.pos += blanks(self.rest());
        }
        let rest = self.rest();
        match (rest.first(), self.dialect) {
            (None, Dialect::Prometheus) => Ok(Entry::End),
            (None, Dialect::OpenMetrics) if self.ended => Ok(Entry::End),
            (None, Dialect::OpenMetrics) => Err(self.no_eof()),
            (Some(b'\n'), Dialect::Prometheus) => {
                self.pos += 1;
                Ok(Entry::Skipped)
            }
            (Some(b'#'), Dialect::Prometheus) => self.prometheus_comment(),
            (Some(b'#'), Dialect::OpenMetrics) => self.openmetrics_comment(),
            (Some(first), dialect) if *first == b'{' || series::is_name_start(*first) => {
                series::raw_len(dialect, rest).map(Entry::Series).map_err(|m| self.error(m))
            }
            (Some(_), _) => Err(self.error("expected a metric name, '{' or '#' at the start of a line")),
        }
    }

    /// The rest of a sample line, behind its series text.
    #[inline]
    fn sample(&mut self, raw_len: usize) -> Result<Sample<'a>, Error> {
        let rest = self.rest();
        let raw = &rest[..raw_len];
        let after = &rest[raw_len..];
        // By far the commonest line: one blank, a short number, a line break.
        if let [b' ', number @ ..] = after
            && let Some((value, len)) = short_decimal(number)
            && number.get(len) == Some(&b'\n')
        {
            self.pos += raw_len + 1 + len + 1;
            return Ok(Sample { raw, value, timestamp_ms: None, start_ms: 0, exemplar: None });
        }
        match self.dialect {
            Dialect::Prometheus => self.prometheus_sample(raw, after),
            Dialect::OpenMetrics => self.openmetrics_sample(raw, after),
        }
    }

    fn prometheus_sample(&mut self, raw: &'a [u8], after: &'a [u8]) -> Result<Sample<'a>, Error> {
        let text = &after[blanks(after)..];
        let end =
            text.iter().position(|b| matches!(b, b' ' | b'\t' | b'\n' | b'{' | 0)).unwrap_or(text.len());
        let value = self.value(&text[..end], raw)?;
        let text = &text[end..];
        let text = &text[blanks(text)..];
        let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let timestamp_ms = match &text[..digits] {
            [] => None,
            stated => {
                Some(integer(stated).ok_or_else(|| self.error("the timestamp does not fit into 64 bits"))?)
            }
        };
        let text = &text[digits..];
        let text = &text[blanks(text)..];
        let text = match text {
            [] => text,
            [b'\n', rest @ ..] => rest,
            _ if timestamp_ms.is_some() => {
                return Err(self.error("expected the line to end behind the timestamp"));
            }
            _ => {
                return Err(self.error(
                    "expected a timestamp in whole milliseconds or the end of the line behind the value",
                ));
            }
        };
        self.pos = self.body.len() - text.len();
        Ok(Sample { raw, value, timestamp_ms, start_ms: 0, exemplar: None })
    }

    fn openmetrics_sample(&mut self, raw: &'a [u8], after: &'a [u8]) -> Result<Sample<'a>, Error> {
        let (token, mut text) = openmetrics_token(after)
            .ok_or_else(|| self.error("expected one blank and a value behind the series"))?;
        let value = self.value(token, raw)?;
        let mut timestamp_ms = None;
        if !text.starts_with(b" # {")
            && let Some((token, rest)) = openmetrics_token(text)
        {
            timestamp_ms = Some(self.seconds(token)?);
            text = rest;
        }
        let mut exemplar = None;
        if text.starts_with(b" # {") {
            let (found, rest) = self.exemplar(&text[3..])?;
            exemplar = Some(found);
            text = rest;
        }
        match text {
            [b'\n', rest @ ..] => self.pos = self.body.len() - rest.len(),
            [] => return Err(self.no_eof()),
            _ => {
                return Err(self.error(
                    "expected the line to end, ' ' and a timestamp in seconds, or ' # {' and an exemplar",
                ));
            }
        }
        Ok(Sample { raw, value, timestamp_ms, start_ms: 0, exemplar })
    }

    /// `text` begins at the brace. Everything is checked here; labels are taken apart again on demand.
    fn exemplar(&self, text: &'a [u8]) -> Result<(Exemplar<'a>, &'a [u8]), Error> {
        let len = series::raw_len(Dialect::OpenMetrics, text).map_err(|m| self.error(m))?;
        let labels = &text[..len];
        series::check_exemplar(labels).map_err(|m| self.error(m))?;
        let (token, mut rest) = openmetrics_token(&text[len..])
            .ok_or_else(|| self.error("expected one blank and a value behind the exemplar's labels"))?;
        let value = self.value(token, labels)?;
        let mut timestamp_ms = None;
        if let Some((token, after)) = openmetrics_token(rest) {
            timestamp_ms = Some(self.seconds(token)?);
            rest = after;
        }
        Ok((Exemplar { value, timestamp_ms, labels: ExemplarLabels::Text(labels) }, rest))
    }

    #[inline]
    fn value(&self, token: &[u8], raw: &[u8]) -> Result<f64, Error> {
        parse_float(token).ok_or_else(|| {
            let shown = if token.is_empty() { "nothing".to_owned() } else { format!("'{}'", excerpt(token)) };
            self.error(format!("expected a number behind '{}', found {shown}", excerpt(raw)))
        })
    }

    fn seconds(&self, token: &[u8]) -> Result<i64, Error> {
        let seconds = parse_float(token).filter(|s| s.is_finite());
        let seconds = seconds.ok_or_else(|| {
            self.error(format!("expected a timestamp in seconds, found '{}'", excerpt(token)))
        })?;
        Ok((seconds * 1000.0) as i64)
    }

    /// `#` in the Prometheus dialect: HELP, TYPE or any text.
    fn prometheus_comment(&mut self) -> Result<Entry<'a>, Error> {
        let line = self.rest();
        let text = &line[1..];
        let gap = blanks(text);
        let keyword = match &text[gap..] {
            [b'H', b'E', b'L', b'P', b' ' | b'\t', ..] if gap > 0 => Keyword::Help,
            [b'T', b'Y', b'P', b'E', b' ' | b'\t', ..] if gap > 0 => Keyword::Type,
            _ => {
                self.skip_line();
                return Ok(Entry::Skipped);
            }
        };
        let text = &text[gap + 4..];
        let text = &text[blanks(text)..];
        let (name, rest) = self.metadata_name(text, keyword)?;
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        // The lexer takes the rest of the line and drops its first byte, which should be the blank.
        let value = &rest[..end];
        let value = if blanks(value) == value.len() { &[] } else { &value[1..] };
        let next = self.body.len() - rest.len() + (end + 1).min(rest.len());
        self.metadata(keyword, name, value, next)
    }

    /// `#` in the OpenMetrics dialect: one of four keywords, with exact blanks.
    fn openmetrics_comment(&mut self) -> Result<Entry<'a>, Error> {
        let line = self.rest();
        let keyword = match line {
            [b'#', b' ', b'E', b'O', b'F', rest @ ..] => {
                return match rest {
                    [] | [b'\n'] => {
                        self.pos = self.body.len();
                        self.ended = true;
                        Ok(Entry::End)
                    }
                    _ => Err(self.error("nothing may follow '# EOF'")),
                };
            }
            [b'#', b' ', b'H', b'E', b'L', b'P', b' ', ..] => Keyword::Help,
            [b'#', b' ', b'T', b'Y', b'P', b'E', b' ', ..] => Keyword::Type,
            [b'#', b' ', b'U', b'N', b'I', b'T', b' ', ..] => Keyword::Unit,
            _ => {
                return Err(self.error(
                    "expected '# HELP ', '# TYPE ', '# UNIT ' or '# EOF': OpenMetrics has no free comments",
                ));
            }
        };
        let (name, rest) = self.metadata_name(&line[7..], keyword)?;
        let end = memchr(b'\n', rest).ok_or_else(|| self.no_eof())?;
        let [b' ', value @ ..] = &rest[..end] else {
            return Err(
                self.error(format!("expected one blank behind the metric name in {}", keyword.word()))
            );
        };
        let next = self.body.len() - rest.len() + end + 1;
        self.metadata(keyword, name, value, next)
    }

    fn metadata_name(&self, text: &'a [u8], keyword: Keyword) -> Result<(Text<'a>, &'a [u8]), Error> {
        let found = match text.first() {
            Some(b'"') => series::quoted(text, true).map(|(name, len)| (Text::quoted(name), &text[len..])),
            Some(first) if series::is_name_start(*first) => {
                let (name, rest) = text.split_at(series::name_len(text));
                Some((Text::bare(name), rest))
            }
            _ => None,
        };
        found.ok_or_else(|| self.error(format!("expected a metric name behind {}", keyword.word())))
    }

    fn metadata(
        &mut self,
        keyword: Keyword,
        name: Text<'a>,
        value: &'a [u8],
        next: usize,
    ) -> Result<Entry<'a>, Error> {
        let name = name.decode().ok_or_else(|| self.error("the metric name is not valid UTF-8"))?;
        let event = match keyword {
            Keyword::Type => {
                let kind = self.metric_kind(value).ok_or_else(|| {
                    self.error(format!("'{}' is not a metric type of this format", excerpt(value)))
                })?;
                self.kind = kind;
                Event::Type { name, kind }
            }
            Keyword::Help => {
                let text =
                    std::str::from_utf8(value).map_err(|_| self.error("the help text is not valid UTF-8"))?;
                Event::Help { name, text: series::unescape(text, self.dialect == Dialect::OpenMetrics) }
            }
            Keyword::Unit => {
                let unit =
                    std::str::from_utf8(value).map_err(|_| self.error("the unit is not valid UTF-8"))?;
                if !unit.is_empty() && !has_unit(&name, unit) {
                    return Err(self
                        .error(format!("the unit '{unit}' is not the suffix of the metric name '{name}'")));
                }
                Event::Unit { name, unit: Cow::Borrowed(unit) }
            }
        };
        self.pos = next;
        Ok(Entry::Metadata(event))
    }

    fn metric_kind(&self, word: &[u8]) -> Option<MetricKind> {
        Some(match (word, self.dialect) {
            (b"counter", _) => MetricKind::Counter,
            (b"gauge", _) => MetricKind::Gauge,
            (b"histogram", _) => MetricKind::Histogram,
            (b"summary", _) => MetricKind::Summary,
            (b"untyped", Dialect::Prometheus) | (b"unknown", Dialect::OpenMetrics) => MetricKind::Unknown,
            (b"gaugehistogram", Dialect::OpenMetrics) => MetricKind::GaugeHistogram,
            (b"info", Dialect::OpenMetrics) => MetricKind::Info,
            (b"stateset", Dialect::OpenMetrics) => MetricKind::StateSet,
            _ => return None,
        })
    }

    fn is_created_series(&self, raw: &[u8]) -> bool {
        super::created::kind_has_start(self.kind)
            && series::metric_name(raw).is_some_and(|n| n.ends_with(b"_created"))
    }

    fn start_of(&mut self, raw: &'a [u8]) -> i64 {
        let Some(mut created) = self.created.take() else { return 0 };
        let start = created.start_of(self, raw);
        self.created = Some(created);
        start
    }

    fn no_eof(&self) -> Error {
        self.error("the exposition must end with a '# EOF' line: it may have been cut short")
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::Line { line: self.line(), message: message.into() }
    }
}

/// What stands at the start of a line.
enum Entry<'a> {
    Skipped,
    End,
    Metadata(Event<'a>),
    /// A series of that many bytes.
    Series(usize),
}

#[derive(Clone, Copy)]
enum Keyword {
    Help,
    Type,
    Unit,
}

impl Keyword {
    fn word(self) -> &'static str {
        match self {
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
        }
    }
}

/// Whether a metric name ends in `_` and the unit.
pub(super) fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

/// Whether a series whose text is the first `len` bytes is at its end there.
#[inline]
fn ends_at(text: &[u8], len: usize) -> bool {
    // A brace ends the series; a bare name might go on, or labels might follow blanks.
    len > 0
        && (text[len - 1] == b'}'
            || (text.get(len) == Some(&b' ')
                && !matches!(text.get(len + 1), Some(b' ' | b'\t' | b'{') | None)))
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// One blank and a token: the token and what follows.
fn openmetrics_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b' ', token @ ..] = text else { return None };
    let end = memchr3(b' ', b'\n', 0, token).unwrap_or(token.len());
    (end > 0).then(|| token.split_at(end))
}

fn integer(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |n, d| n.checked_mul(10)?.checked_add(i64::from(d - b'0')))
}

/// The start of some input, for an error message.
pub(super) fn excerpt(text: &[u8]) -> String {
    let end = memchr2(b'\n', 0, text).unwrap_or(text.len());
    let shown = String::from_utf8_lossy(&text[..end.min(80)]).into_owned();
    if end > 80 { shown + "…" } else { shown }
}

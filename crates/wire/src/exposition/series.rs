//! Series text of the text formats: where it ends, and what labels it holds.
//!
//! The slow half of the parser: it runs once for each series that a scraper has not seen, and for
//! exemplars. As prometheus/model/textparse: `parseLVals`.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};
use signal::{LabelsBuilder, METRIC_NAME, MetricKind};

use super::Error;
use super::number::{format_bound, parse_float};
use super::text::{Dialect, excerpt};

/// A name or value as it stands: quotes removed, escapes not yet undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    quoted: bool,
}

impl<'a> Text<'a> {
    pub(super) fn bare(bytes: &'a [u8]) -> Self {
        Self { bytes, quoted: false }
    }

    pub(super) fn quoted(bytes: &'a [u8]) -> Self {
        Self { bytes, quoted: true }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The text itself; `None` if it is not UTF-8.
    pub(super) fn decode(self) -> Option<Cow<'a, str>> {
        let text = std::str::from_utf8(self.bytes).ok()?;
        Some(if self.quoted { unescape(text, true) } else { Cow::Borrowed(text) })
    }
}

/// Undoes `\\`, `\n` and, with `quotes`, `\"`; other escapes stay as they are, as in Prometheus.
pub(super) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (replacement, taken) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ("\\", 2),
            Some(b'n') => ("\n", 2),
            Some(b'"') if quotes => ("\"", 2),
            _ => ("\\", 1),
        };
        out.push_str(replacement);
        rest = &rest[at + taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Bytes of an unquoted metric name.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        byte += 1;
    }
    table
};

pub(super) fn is_name_start(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)] && !byte.is_ascii_digit()
}

/// Length of the unquoted metric name that `text` begins with; 0 if there is none.
pub(super) fn name_len(text: &[u8]) -> usize {
    match text.first() {
        Some(first) if is_name_start(*first) => {
            text.iter().position(|b| !NAME_BYTES[usize::from(*b)]).unwrap_or(text.len())
        }
        _ => 0,
    }
}

/// The inside of the quotes that `text` begins with, and the length with quotes.
pub(super) fn quoted(text: &[u8], multiline: bool) -> Option<(&[u8], usize)> {
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let found =
            at + if multiline { memchr2(b'"', b'\\', rest)? } else { memchr3(b'"', b'\\', b'\n', rest)? };
        match text[found] {
            b'"' => return Some((&text[1..found], found + 1)),
            b'\\' if text.get(found + 1).is_some_and(|b| *b != b'\n') => at = found + 2,
            _ => return None,
        }
    }
}

/// Length of the series text that `text` begins with: a name, labels in braces, or both. Only quotes and
/// braces are looked at.
pub(super) fn raw_len(dialect: Dialect, text: &[u8]) -> Result<usize, String> {
    let name = name_len(text);
    let gap = if name > 0 { gap(dialect, &text[name..]) } else { 0 };
    let mut at = name + gap;
    if text.get(at) != Some(&b'{') {
        return Ok(name);
    }
    at += 1;
    loop {
        let Some(found) = memchr3(b'"', b'}', b'\n', &text[at..]) else {
            return Err(format!("the labels of '{}' are not closed by '}}'", excerpt(text)));
        };
        at += found;
        match text[at] {
            b'}' => return Ok(at + 1),
            b'"' => {
                let (_, len) = quoted(&text[at..], dialect == Dialect::Prometheus)
                    .ok_or_else(|| format!("the quotes in '{}' are not closed", excerpt(text)))?;
                at += len;
            }
            // Blanks and, as in Prometheus, no line breaks may stand between labels.
            _ => return Err(format!("the line ends inside the labels of '{}'", excerpt(text))),
        }
    }
}

/// Blanks that the dialect allows between tokens.
fn gap(dialect: Dialect, text: &[u8]) -> usize {
    match dialect {
        Dialect::Prometheus => text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count(),
        Dialect::OpenMetrics => 0,
    }
}

/// The metric name of a series text as it stands, quotes removed; `None` where the text is broken.
pub(super) fn metric_name(raw: &[u8]) -> Option<&[u8]> {
    match name_len(raw) {
        0 => walk(Dialect::OpenMetrics, raw, false, |_, _| Ok(())).ok()?.map(Text::bytes),
        len => Some(&raw[..len]),
    }
}

/// Calls `label` for each label of a series text in its order and returns the metric name. With `exemplar`
/// a name is not allowed.
pub(super) fn walk<'a>(
    dialect: Dialect,
    raw: &'a [u8],
    exemplar: bool,
    mut label: impl FnMut(Text<'a>, Text<'a>) -> Result<(), String>,
) -> Result<Option<Text<'a>>, String> {
    let skip = |text: &'a [u8]| &text[gap(dialect, text)..];
    let fail = |what: &str, at: &[u8]| Err(format!("{what} at '{}' in '{}'", excerpt(at), excerpt(raw)));
    let len = name_len(raw);
    let mut name = (len > 0).then(|| Text::bare(&raw[..len]));
    let mut rest = match skip(&raw[len..]) {
        [] => return Ok(name),
        [b'{', rest @ ..] => skip(rest),
        other => return fail("expected '{'", other),
    };
    loop {
        let (token, after) = match rest.first() {
            Some(b'}') if rest.len() == 1 => return Ok(name),
            Some(b'"') => match quoted(rest, dialect == Dialect::Prometheus) {
                Some((text, len)) => (Text::quoted(text), skip(&rest[len..])),
                None => return fail("the quotes are not closed", rest),
            },
            Some(first) if is_name_start(*first) && *first != b':' => {
                let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                (Text::bare(&rest[..len]), skip(&rest[len..]))
            }
            _ => return fail("expected a label name or '}'", rest),
        };
        if token.quoted && !exemplar && matches!(after.first(), Some(b',' | b'}')) {
            if name.replace(token).is_some() {
                return fail("the metric name is given twice", rest);
            }
            rest = if after[0] == b',' { skip(&after[1..]) } else { after };
            continue;
        }
        let [b'=', after @ ..] = after else { return fail("expected '=' behind the label name", after) };
        let after = skip(after);
        let value =
            if after.first() == Some(&b'"') { quoted(after, dialect == Dialect::Prometheus) } else { None };
        let Some((value, len)) = value else { return fail("expected a label value in quotes", after) };
        label(token, Text::quoted(value))?;
        rest = skip(&after[len..]);
        rest = match (rest.first(), dialect) {
            (Some(b','), _) => skip(&rest[1..]),
            (Some(b'}'), _) => rest,
            // The lexer of Prometheus text lets labels stand beside each other without a comma.
            (Some(_), Dialect::Prometheus) => rest,
            _ => return fail("expected ',' or '}' behind a label", rest),
        };
    }
}

pub(super) fn series_labels(
    dialect: Dialect,
    raw: &[u8],
    kind: MetricKind,
    builder: &mut LabelsBuilder,
) -> Result<(), Error> {
    let mut pairs = Vec::with_capacity(16);
    let bound = match kind {
        MetricKind::Histogram => "le",
        MetricKind::Summary => "quantile",
        _ => "",
    };
    let name = walk(dialect, raw, false, |name, value| {
        let name = utf8(name, "label name")?;
        let mut value = utf8(value, "label value")?;
        if name == bound
            && let Some(number) = parse_float(value.as_bytes())
        {
            value = Cow::Owned(format_bound(number));
        }
        pairs.push((name, value));
        Ok(())
    });
    let name = name.and_then(|name| name.ok_or_else(|| format!("'{}' has no metric name", excerpt(raw))));
    let name = name.and_then(|name| utf8(name, "metric name")).map_err(Error::Series)?;
    if name.is_empty() {
        return Err(Error::Series(format!("'{}' has an empty metric name", excerpt(raw))));
    }
    pairs.push((Cow::Borrowed(METRIC_NAME), name));
    fill(pairs, builder).map_err(|message| Error::Series(format!("{message} in '{}'", excerpt(raw))))
}

pub(super) fn exemplar_labels(raw: &[u8], builder: &mut LabelsBuilder) -> Result<(), Error> {
    let mut pairs = Vec::with_capacity(4);
    walk(Dialect::OpenMetrics, raw, true, |name, value| {
        pairs.push((utf8(name, "label name")?, utf8(value, "label value")?));
        Ok(())
    })
    .and_then(|_| fill(pairs, builder))
    .map_err(Error::Series)
}

pub(super) fn check_exemplar(raw: &[u8]) -> Result<(), String> {
    walk(Dialect::OpenMetrics, raw, true, |name, value| {
        utf8(name, "label name")?;
        utf8(value, "label value").map(drop)
    })
    .map(drop)
}

fn utf8<'a>(text: Text<'a>, what: &str) -> Result<Cow<'a, str>, String> {
    text.decode().ok_or_else(|| format!("the {what} '{}' is not valid UTF-8", excerpt(text.bytes)))
}

/// Puts pairs into a cleared builder. Sorting first keeps a hostile series of very many labels from costing
/// more than n·log n.
pub(super) fn fill(
    mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)>,
    builder: &mut LabelsBuilder,
) -> Result<(), String> {
    builder.clear();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = pairs.windows(2).find(|p| p[0].0 == p[1].0) {
        return Err(format!("the label '{}' is given twice", excerpt(twice[0].0.as_bytes())));
    }
    for (name, value) in &pairs {
        if name.is_empty() {
            return Err("a label has an empty name".to_owned());
        }
        if value.is_empty() {
            builder.note_blank(name);
        } else {
            builder.set(name, value);
        }
    }
    Ok(())
}

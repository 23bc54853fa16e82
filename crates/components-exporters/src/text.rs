//! Reading of the Prometheus text format 0.0.4 into families of our own exporters.
//!
//! Meant for small texts that people or scripts wrote: it checks what client_golang's parser
//! checks and says in which line the mistake is.

use signal::exposition::{Family, Metric};
use signal::samples::MetricKind;
use std::collections::HashMap;

/// A mistake in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// A family as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The family; without a HELP line its help is empty.
    pub family: Family,
    /// Whether there was a HELP line.
    pub has_help: bool,
}

/// Reads a text; families come in order of their first line. The last line needs no line feed.
pub fn parse(text: &str) -> Result<Vec<Parsed>, TextError> {
    let mut parser = Parser::default();
    for (i, line) in text.lines().enumerate() {
        parser.line(line.trim()).map_err(|problem| TextError { line: i + 1, problem })?;
    }
    Ok(parser
        .families
        .into_iter()
        .map(|state| Parsed { family: state.family, has_help: state.has_help })
        .collect())
}

/// A family while it is read.
struct State {
    family: Family,
    has_help: bool,
    has_type: bool,
}

#[derive(Default)]
struct Parser {
    families: Vec<State>,
    positions: HashMap<String, usize>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match line.strip_prefix('#') {
            Some(comment) => self.comment(comment.trim_start()),
            None if line.is_empty() => Ok(()),
            None => self.sample(line),
        }
    }

    fn family(&mut self, name: &str) -> &mut State {
        let position = *self.positions.entry(name.to_string()).or_insert_with(|| {
            let family = Family::new(name.to_string(), "", MetricKind::Unknown);
            self.families.push(State { family, has_help: false, has_type: false });
            self.families.len() - 1
        });
        &mut self.families[position]
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
        if !matches!(keyword, "HELP" | "TYPE") {
            return Ok(());
        }
        let rest = rest.trim_start();
        let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        if !is_name(name) {
            return Err(format!("{name:?} is not a metric name"));
        }
        let state = self.family(name);
        if keyword == "HELP" {
            if state.has_help {
                return Err(format!("a second HELP line for {name}"));
            }
            state.has_help = true;
            state.family.help = unescape(rest.trim_start(), false)?.into();
            return Ok(());
        }
        if state.has_type || !state.family.metrics.is_empty() {
            return Err(format!("a second TYPE line for {name}, or one after its samples"));
        }
        state.has_type = true;
        state.family.kind = match rest.trim().to_ascii_lowercase().as_str() {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "untyped" => MetricKind::Unknown,
            "summary" => MetricKind::Summary,
            "histogram" => MetricKind::Histogram,
            other => return Err(format!("unknown metric type {other:?}")),
        };
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace()).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !is_name(name) {
            return Err(format!("{name:?} is not a metric name"));
        }
        let rest = rest.trim_start();
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().ok_or("the sample has no value")?;
        let value = value.parse::<f64>().map_err(|_| format!("{value:?} is not a number"))?;
        let timestamp_ms = words
            .next()
            .map(|word| {
                word.parse::<i64>().map_err(|_| format!("{word:?} is not a timestamp in milliseconds"))
            })
            .transpose()?;
        if let Some(word) = words.next() {
            return Err(format!("{word:?} follows the sample"));
        }
        let (family, suffix) = self.of_sample(name);
        check_series(family.kind, suffix, &labels)?;
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value)).collect();
        family.metrics.push(Metric { suffix, labels, value, timestamp_ms });
        Ok(())
    }

    /// The family of a sample: `x_count` belongs to `x` where that is a summary or histogram.
    fn of_sample(&mut self, name: &str) -> (&mut Family, &'static str) {
        let suffixes = [
            ("_bucket", &[MetricKind::Histogram][..]),
            ("_sum", &[MetricKind::Histogram, MetricKind::Summary]),
            ("_count", &[MetricKind::Histogram, MetricKind::Summary]),
        ];
        let found = suffixes.iter().find_map(|(suffix, kinds)| {
            let position = *self.positions.get(name.strip_suffix(suffix)?)?;
            kinds.contains(&self.families[position].family.kind).then_some((position, *suffix))
        });
        match found.filter(|_| !self.positions.contains_key(name)) {
            Some((position, suffix)) => (&mut self.families[position].family, suffix),
            None => (&mut self.family(name).family, ""),
        }
    }
}

/// Buckets need a limit and quantiles a share, both numbers.
fn check_series(kind: MetricKind, suffix: &str, labels: &[(String, String)]) -> Result<(), String> {
    let needed = match (kind, suffix) {
        (MetricKind::Histogram, "_bucket") => "le",
        (MetricKind::Summary, "") => "quantile",
        _ => return Ok(()),
    };
    match labels.iter().find(|(name, _)| name == needed) {
        Some((_, value)) if value.parse::<f64>().is_ok() => Ok(()),
        Some((_, value)) => Err(format!("label {needed} is {value:?}, which is not a number")),
        None => Err(format!("label {needed} is missing")),
    }
}

type Labels = Vec<(String, String)>;

/// Reads labels up to the closing brace; gives them and what follows.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or("the labels are not closed by a brace")?;
        let name = name.trim();
        if !is_label(name) {
            return Err(format!("{name:?} is not a label name"));
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err(format!("label {name} is there twice"));
        }
        let after = after
            .trim_start()
            .strip_prefix('"')
            .ok_or_else(|| format!("the value of label {name} is not quoted"))?;
        let end =
            closing_quote(after).ok_or_else(|| format!("the value of label {name} has no closing quote"))?;
        labels.push((name.to_string(), unescape(&after[..end], true)?));
        rest = after[end + 1..].trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("a comma or a closing brace is missing between labels".into()),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let found = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        found
    })
}

/// Resolves `\\`, `\n` and, in label values, `\"`.
fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\').1.then(|| chars.next()) {
            None => out.push(c),
            Some(Some('\\')) => out.push('\\'),
            Some(Some('n')) => out.push('\n'),
            Some(Some('"')) if quotes => out.push('"'),
            Some(other) => {
                return Err(format!(
                    "invalid escape sequence \\{}",
                    other.map_or(String::new(), String::from)
                ));
            }
        }
    }
    Ok(out)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn is_label(name: &str) -> bool {
    is_name(name) && !name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Family> {
        parse(text).unwrap().into_iter().map(|parsed| parsed.family).collect()
    }

    #[test]
    fn families_are_read_with_help_type_labels_and_escapes() {
        let text = "# HELP a_total some \\\\ help\\nmore\n# TYPE a_total counter\n# a comment\n\
                    a_total{x=\"q\\\"\\\\\\n\", y=\"\",} 1.5 1700000000000\nb +Inf";
        let mut a =
            Family::counter("a_total", "some \\ help\nmore").with(&[("x", "q\"\\\n"), ("y", "")], 1.5);
        a.metrics[0].timestamp_ms = Some(1_700_000_000_000);
        let b = Family::new("b", "", MetricKind::Unknown).with(&[], f64::INFINITY);
        assert_eq!(parsed(text), [a, b]);
        assert!(!parse("b 1\n").unwrap()[0].has_help);
    }

    #[test]
    fn series_of_histograms_and_summaries_belong_to_their_family() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n\
                    # TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\nother_count 1\n";
        let families = parsed(text);
        let shape: Vec<_> = families
            .iter()
            .map(|f| (f.name.as_ref(), f.metrics.iter().map(|m| m.suffix).collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            shape,
            [
                ("h", vec!["_bucket", "_bucket", "_sum", "_count"]),
                ("s", vec!["", "_sum", "_count"]),
                ("other_count", vec![""])
            ]
        );
    }

    #[test]
    fn what_is_read_is_written_back_the_same() {
        let text = "# HELP a \n# TYPE a gauge\na{x=\"1\"} 2\n# HELP h x\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
        let mut out = String::new();
        signal::exposition::write_text(&parsed(text), &mut out);
        assert_eq!(out, text);
    }

    #[test]
    fn mistakes_are_reported_with_their_line() {
        let cases = [
            ("a 1\n1a 2\n", "line 2: \"1a\" is not a metric name"),
            ("a x\n", "line 1: \"x\" is not a number"),
            ("a\n", "line 1: the sample has no value"),
            ("a 1 x\n", "line 1: \"x\" is not a timestamp in milliseconds"),
            ("a 1 2 3\n", "line 1: \"3\" follows the sample"),
            ("a{x=\"1\"\n", "line 1: a comma or a closing brace is missing between labels"),
            ("a{x=1} 1\n", "line 1: the value of label x is not quoted"),
            ("a{x=\"1} 1\n", "line 1: the value of label x has no closing quote"),
            ("a{x=\"1\",x=\"2\"} 1\n", "line 1: label x is there twice"),
            ("a{x:y=\"1\"} 1\n", "line 1: \"x:y\" is not a label name"),
            ("a{x=\"\\q\"} 1\n", "line 1: invalid escape sequence \\q"),
            (
                "# TYPE a counter\n# TYPE a gauge\n",
                "line 2: a second TYPE line for a, or one after its samples",
            ),
            ("# TYPE a thing\n", "line 1: unknown metric type \"thing\""),
            ("# HELP a x\n# HELP a y\n", "line 2: a second HELP line for a"),
            ("# TYPE h histogram\nh_bucket 1\n", "line 2: label le is missing"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}

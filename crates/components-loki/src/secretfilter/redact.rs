//! Taking secrets out of a line.
//!
//! Invariant: every byte of every occurrence of a secret is replaced, whatever else it overlaps with.

use std::fmt::Write as _;
use std::ops::Range;

use sha1::{Digest, Sha1};

use super::detect::{Detector, Finding};

/// What stands in a secret's place.
#[derive(Clone, Debug, PartialEq)]
pub enum Redaction {
    /// A text with the rule's name and the secret's hash in it.
    Template(Vec<Piece>),
    /// So many per cent of the secret are left out, and `...` says so; 100: `REDACTED`.
    Percent(u8),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// `$SECRET_NAME`
    Name,
    /// `$SECRET_HASH`: SHA-1 in hexadecimal.
    Hash,
}

impl Redaction {
    /// From `redact_with`, or `redact_percent` where that is empty.
    pub fn new(with: &str, percent: u8) -> Self {
        if with.is_empty() {
            return Self::Percent(percent);
        }
        let mut pieces = Vec::new();
        let mut rest = with;
        while !rest.is_empty() {
            let at = rest.find("$SECRET_NAME").into_iter().chain(rest.find("$SECRET_HASH")).min();
            let (text, after) = rest.split_at(at.unwrap_or(rest.len()));
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_string()));
            }
            if let Some(after) = after.strip_prefix("$SECRET_NAME") {
                pieces.push(Piece::Name);
                rest = after;
            } else if let Some(after) = after.strip_prefix("$SECRET_HASH") {
                pieces.push(Piece::Hash);
                rest = after;
            } else {
                rest = "";
            }
        }
        Self::Template(pieces)
    }

    fn write(&self, out: &mut String, rule: &str, secret: &str) {
        match self {
            Self::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Name => out.push_str(rule),
                        Piece::Hash => {
                            for byte in Sha1::digest(secret.as_bytes()) {
                                let _ = write!(out, "{byte:02x}");
                            }
                        }
                    }
                }
            }
            Self::Percent(100..) => out.push_str("REDACTED"),
            Self::Percent(percent) => {
                // As gitleaks/report: `maskSecret` rounds half to even.
                let shown = secret.len() as f64 * f64::from(100 - percent) / 100.0;
                let mut shown = shown.round_ties_even() as usize;
                while !secret.is_char_boundary(shown) {
                    shown -= 1;
                }
                out.push_str(&secret[..shown]);
                out.push_str("...");
            }
        }
    }
}

/// The line without its secrets.
pub fn redact(line: &str, findings: &[Finding], detector: &Detector, redaction: &Redaction) -> String {
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    for (covered, finding) in places(line, findings) {
        out.push_str(&line[at..covered.start]);
        redaction.write(&mut out, &detector.rule(finding.rule).id, &line[finding.secret.clone()]);
        at = covered.end;
    }
    out.push_str(&line[at..]);
    out
}

/// Where secrets are, each with its longest finding. Those that overlap are one place.
fn places<'f>(line: &str, findings: &'f [Finding]) -> Vec<(Range<usize>, &'f Finding)> {
    let mut places: Vec<(Range<usize>, &Finding)> = Vec::new();
    for finding in findings {
        let secret = &line[finding.secret.clone()];
        let everywhere = memchr::memmem::find_iter(line.as_bytes(), secret.as_bytes());
        places.extend(everywhere.map(|start| (start..start + secret.len(), finding)));
    }
    places.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut merged: Vec<(Range<usize>, &Finding)> = Vec::new();
    for (range, finding) in places {
        match merged.last_mut() {
            Some((covered, longest)) if range.start < covered.end => {
                covered.end = covered.end.max(range.end);
                if finding.secret.len() > longest.secret.len() {
                    *longest = finding;
                }
            }
            _ => merged.push((range, finding)),
        }
    }
    merged
}

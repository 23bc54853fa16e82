//! Reads a pattern by RE2's rules and writes it in a form that means the same to the `regex` crate.
//!
//! What is written carries no flags of its own: every literal, class and assertion says in place what it
//! matches, so nothing depends on how the `regex` crate scopes or reads flags. Facts about the syntax and
//! the words of errors are those of Go's regexp/syntax.

use super::SyntaxError;
use super::escape::{
    before, char_escape, class_char, class_escape, fail, posix_class, push_range, push_set, split_char,
};

/// A pattern for the `regex` crate and the names of its groups (`""` for none), the whole match first.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) pattern: String,
    pub(super) names: Vec<String>,
}

/// Groups within groups. Go stops at a thousand; the `regex` crate compiles recursively, and a pattern must
/// never exhaust the stack of a worker thread.
pub(super) const MAX_DEPTH: u32 = 100;

/// Most repetitions that counted repeats may multiply to.
const MAX_REPEAT: u32 = 1000;

/// Matches nothing.
const NOTHING: &str = r"[^\x00-\x{10FFFF}]";

pub(super) fn translate(pattern: &str) -> Result<Translated, SyntaxError> {
    let mut parser = Parser {
        all: pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() * 2),
        flags: Flags::default(),
        frames: Vec::new(),
        weight: 1,
        atom: None,
        names: vec![String::new()],
    };
    parser.run()?;
    Ok(Translated { pattern: parser.out, names: parser.names })
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    ungreedy: bool,
}

/// What a repetition would apply to.
#[derive(Clone, Copy)]
struct Atom {
    /// Where it begins in the output.
    start: usize,
    /// What the counted repeats within multiply to, at most.
    weight: u32,
    /// A repetition would bind to only a part of it.
    wrap: bool,
}

/// An open group.
struct Frame {
    flags: Flags,
    weight: u32,
    start: usize,
}

struct Parser<'a> {
    all: &'a str,
    rest: &'a str,
    out: String,
    flags: Flags,
    frames: Vec<Frame>,
    /// Of what has been read in the current group.
    weight: u32,
    atom: Option<Atom>,
    names: Vec<String>,
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        // Where the repetition just before began; RE2 does not stack them.
        let mut last_repeat: Option<&'a str> = None;
        while let Some((c, after)) = split_char(self.rest) {
            let here = self.rest;
            let mut repeat = None;
            match c {
                '(' if after.starts_with('?') => self.perl_group()?,
                '(' => {
                    self.rest = after;
                    self.names.push(String::new());
                    self.open("(", self.flags)?;
                }
                '|' => {
                    self.rest = after;
                    self.finish_atom();
                    self.out.push('|');
                }
                ')' => {
                    self.rest = after;
                    self.close()?;
                }
                '^' | '$' => {
                    self.rest = after;
                    let text = match (c, self.flags.multi_line) {
                        ('^', true) => "(?m:^)",
                        ('^', false) => r"\A",
                        (_, true) => "(?m:$)",
                        (_, false) => r"\z",
                    };
                    self.push(text, true);
                }
                '.' => {
                    self.rest = after;
                    self.push(if self.flags.dot_newline { "(?s:.)" } else { r"[^\n]" }, false);
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.rest = after;
                    self.repeat(here, last_repeat, c.encode_utf8(&mut [0; 4]), None)?;
                    repeat = Some(here);
                }
                '{' => match counted(here) {
                    Some((min, max, after)) => {
                        self.rest = after;
                        let text = before(here, after);
                        let valid = |n: u32| n <= MAX_REPEAT;
                        if !valid(min) || max.is_some_and(|max| !valid(max) || min > max) {
                            return fail("invalid repeat count", text);
                        }
                        self.repeat(here, last_repeat, text, Some((min, max)))?;
                        repeat = Some(here);
                    }
                    None => {
                        self.rest = after;
                        self.literal(c);
                    }
                },
                '\\' => self.escape()?,
                c => {
                    self.rest = after;
                    self.literal(c);
                }
            }
            last_repeat = repeat;
        }
        if !self.frames.is_empty() {
            return fail("missing closing )", self.all);
        }
        Ok(())
    }

    fn finish_atom(&mut self) {
        if let Some(atom) = self.atom.take() {
            self.weight = self.weight.max(atom.weight);
        }
    }

    fn push(&mut self, text: &str, wrap: bool) {
        self.finish_atom();
        self.atom = Some(Atom { start: self.out.len(), weight: 1, wrap });
        self.out.push_str(text);
    }

    fn literal(&mut self, c: char) {
        self.literal_code(u32::from(c));
    }

    /// A literal by its code, which may be half a surrogate pair: that matches nothing.
    fn literal_code(&mut self, code: u32) {
        let Some(c) = char::from_u32(code) else { return self.push(NOTHING, false) };
        let mut text = String::new();
        // Escaped, angle brackets would be the word boundaries of the `regex` crate.
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            text.push('\\');
        }
        text.push(c);
        if self.flags.fold_case && (c.is_alphabetic() || !c.is_ascii()) {
            text = format!("(?i:{text})");
        }
        self.push(&text, false);
    }

    fn set(&mut self, items: &str, negated: bool) {
        let not = if negated { "^" } else { "" };
        let text =
            if self.flags.fold_case { format!("(?i:[{not}{items}])") } else { format!("[{not}{items}]") };
        self.push(&text, false);
    }

    fn open(&mut self, text: &str, inner: Flags) -> Result<(), SyntaxError> {
        if self.frames.len() >= MAX_DEPTH as usize {
            return fail("expression nests too deeply", self.all);
        }
        self.finish_atom();
        self.frames.push(Frame { flags: self.flags, weight: self.weight, start: self.out.len() });
        self.weight = 1;
        self.flags = inner;
        self.out.push_str(text);
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        self.finish_atom();
        let Some(frame) = self.frames.pop() else { return fail("unexpected )", self.all) };
        self.out.push(')');
        self.atom = Some(Atom { start: frame.start, weight: self.weight, wrap: false });
        self.weight = frame.weight;
        self.flags = frame.flags;
        Ok(())
    }

    /// `*`, `+`, `?` or `{min,max}`, which has been read; a `?` behind it turns its greed.
    fn repeat(
        &mut self,
        here: &'a str,
        last_repeat: Option<&'a str>,
        text: &str,
        count: Option<(u32, Option<u32>)>,
    ) -> Result<(), SyntaxError> {
        let mut lazy = self.flags.ungreedy;
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
            lazy = !lazy;
        }
        if let Some(last) = last_repeat {
            return fail("invalid nested repetition operator", before(last, self.rest));
        }
        let operator = before(here, self.rest);
        let Some(mut atom) = self.atom else {
            return fail("missing argument to repetition operator", operator);
        };
        if let Some((min, max)) = count {
            let most = max.unwrap_or(min);
            // As regexp/syntax: `repeatIsValid`, where a repeat of zero hides what it repeats.
            atom.weight = if max == Some(0) { 1 } else { atom.weight.saturating_mul(most.max(1)) };
            if (min >= 2 || max.is_some_and(|max| max >= 2)) && atom.weight > MAX_REPEAT {
                return fail("invalid repeat count", operator);
            }
        }
        if atom.wrap {
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(text);
        if lazy {
            self.out.push('?');
        }
        self.atom = Some(Atom { wrap: true, ..atom });
        Ok(())
    }

    /// `(?:…)`, `(?flags)`, `(?flags:…)`, `(?P<name>…)`, `(?<name>…)`.
    fn perl_group(&mut self) -> Result<(), SyntaxError> {
        let here = self.rest;
        if let Some(named) = here.strip_prefix("(?P<").or_else(|| here.strip_prefix("(?<"))
            && !named.is_empty()
        {
            let Some((name, after)) = named.split_once('>') else {
                return fail("invalid named capture", here);
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return fail("invalid named capture", before(here, after));
            }
            self.names.push(name.to_owned());
            self.rest = after;
            return self.open("(", self.flags);
        }
        let mut flags = self.flags;
        let (mut on, mut seen, mut rest) = (true, false, &here[2..]);
        while let Some((c, after)) = split_char(rest) {
            rest = after;
            match c {
                'i' => flags.fold_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => flags.ungreedy = on,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' | ')' if on || seen => {
                    self.rest = after;
                    if c == ':' {
                        return self.open("(?:", flags);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        fail("invalid or unsupported Perl syntax", before(here, rest))
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let here = self.rest;
        let after = here.get(2..).unwrap_or_default();
        match here.as_bytes().get(1) {
            Some(b'A') => self.push(r"\A", true),
            Some(b'z') => self.push(r"\z", true),
            Some(b'b') => self.push(r"(?-u:\b)", true),
            Some(b'B') => self.push(r"(?-u:\B)", true),
            Some(b'C') => return fail("invalid escape sequence", &here[..2]),
            Some(b'Q') => {
                let (quoted, after) = after.split_once(r"\E").unwrap_or((after, ""));
                quoted.chars().for_each(|c| self.literal(c));
                self.rest = after;
                return Ok(());
            }
            _ => {
                if let Some((items, negated, after)) = class_escape(here)? {
                    self.set(&items, negated);
                    self.rest = after;
                } else {
                    let (code, after) = char_escape(here)?;
                    self.literal_code(code);
                    self.rest = after;
                }
                return Ok(());
            }
        }
        self.rest = after;
        Ok(())
    }

    fn class(&mut self) -> Result<(), SyntaxError> {
        let here = self.rest;
        let mut rest = &here[1..];
        let negated = rest.starts_with('^');
        if negated {
            rest = &rest[1..];
        }
        let mut items = String::new();
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            if let Some((set, not, after)) = posix_class(rest)? {
                push_set(&mut items, set, not);
                rest = after;
                continue;
            }
            if let Some((set, not, after)) = class_escape(rest)? {
                push_set(&mut items, &set, not);
                rest = after;
                continue;
            }
            let range = rest;
            let (low, after) = class_char(rest, here)?;
            rest = after;
            let mut high = low;
            if rest.starts_with('-') && rest.len() >= 2 && !rest.starts_with("-]") {
                let (code, after) = class_char(&rest[1..], here)?;
                rest = after;
                high = code;
                if high < low {
                    return fail("invalid character class range", before(range, rest));
                }
            }
            push_range(&mut items, low, high);
        }
        self.rest = &rest[1..];
        if items.is_empty() {
            // Only halves of surrogate pairs.
            self.push(if negated { "(?s:.)" } else { NOTHING }, false);
        } else {
            self.set(&items, negated);
        }
        Ok(())
    }
}

/// `{n}`, `{n,}`, `{n,m}`; `None` where the brace is plain text. Numbers beyond all bounds are `u32::MAX`.
fn counted(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, rest) = number(text.strip_prefix('{')?)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, Some(min), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, None, rest));
    }
    let (max, rest) = number(rest)?;
    Some((min, Some(max), rest.strip_prefix('}')?))
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

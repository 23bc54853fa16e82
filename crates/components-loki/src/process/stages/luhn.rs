//! `stage.luhn` replaces numbers that pass Luhn's check, as those of payment cards do.

use std::borrow::Cow;
use std::ops::Range;

use component::eval::Invalid;
use component::{Arguments, Error};
use signal::Regex;
use smallvec::SmallVec;

use crate::process::extracted::Value;
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.luhn`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What stands in for a number.
    #[arg(default = "**REDACTED**")]
    pub replacement: String,
    /// Extracted value to look at, which becomes the line; else the line.
    pub source: Option<String>,
    /// Fewest digits of a number.
    #[arg(default = 13)]
    pub min_length: i64,
    /// Characters that may stand between the digits of a number.
    #[arg(default)]
    pub delimiters: String,
    /// Regular expression whose matches are left alone.
    #[arg(default)]
    pub skip_regex: String,
}

/// Most digits of a number that is checked; card numbers have up to 19. As Alloy, whose numbers have 63 bits.
const MOST_DIGITS: usize = 19;

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.source.as_deref() == Some("") {
            return Err(Invalid::field("source", "must name an extracted value, or be left out"));
        }
        Regex::new(&self.skip_regex)
            .map(drop)
            .map_err(|error| Invalid::field("skip_regex", error.to_string()))
    }

    pub(super) fn build(&self, _cx: &StageCx<'_>) -> Result<Node, Error> {
        let skip = Regex::new(&self.skip_regex).map_err(|e| Error::argument("skip_regex", e.to_string()))?;
        // As Alloy: empty and impossible values are the default ones.
        let replacement = if self.replacement.is_empty() { "**REDACTED**" } else { &self.replacement };
        Ok(Node::map(Luhn {
            replacement: replacement.to_owned(),
            source: self.source.clone(),
            min_length: usize::try_from(self.min_length).ok().filter(|n| *n > 0).unwrap_or(13),
            delimiters: self.delimiters.clone(),
            skip: Some(skip).filter(|_| !self.skip_regex.is_empty()),
        }))
    }
}

struct Luhn {
    replacement: String,
    source: Option<String>,
    min_length: usize,
    delimiters: String,
    skip: Option<Regex>,
}

impl MapStage for Luhn {
    fn process(&mut self, record: &mut Record<'_>, _cx: &Cx) -> Flow {
        match &self.source {
            None => {
                if let Cow::Owned(line) = self.redacted(&record.line) {
                    record.line.set(line);
                }
            }
            Some(source) => {
                // As Alloy: numbers and other values that are no text are left alone.
                let Some(Value::Text(text)) = record.extracted.get(source) else { return Flow::Next };
                let line = match self.redacted(text) {
                    // As Alloy: with skip_regex a text without a number changes nothing.
                    Cow::Borrowed(_) if self.skip.is_some() => return Flow::Next,
                    redacted => redacted.into_owned(),
                };
                record.line.set(line);
            }
        }
        Flow::Next
    }
}

impl Luhn {
    fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        // As Alloy: the expression is only asked where there is something to leave alone.
        let skipped = match &self.skip {
            Some(_) if !self.numbers(text, &[]).any(|number| number.valid) => return text.into(),
            Some(skip) => matches(skip, text),
            None => Vec::new(),
        };
        let mut out = String::new();
        let mut copied = 0;
        for number in self.numbers(text, &skipped).filter(|number| number.valid) {
            out.push_str(&text[copied..number.start]);
            out.push_str(&self.replacement);
            copied = number.last_digit;
        }
        if copied == 0 {
            return text.into();
        }
        out.push_str(&text[copied..]);
        out.into()
    }

    /// Runs of digits with delimiters in between, outside of what is skipped.
    fn numbers<'a>(
        &'a self,
        text: &'a str,
        skipped: &'a [Range<usize>],
    ) -> impl Iterator<Item = Number> + 'a {
        let mut at = 0;
        let mut skipped = skipped;
        std::iter::from_fn(move || {
            loop {
                let start = text.as_bytes()[at..].iter().position(u8::is_ascii_digit)? + at;
                while skipped.first().is_some_and(|skip| skip.end <= start) {
                    skipped = &skipped[1..];
                }
                let limit = skipped.first().map_or(text.len(), |skip| skip.start);
                if limit <= start {
                    at = skipped[0].end;
                    continue;
                }
                let number = self.number(text, start, limit);
                at = number.end;
                return Some(number);
            }
        })
    }

    fn number(&self, text: &str, start: usize, limit: usize) -> Number {
        let mut digits = SmallVec::<[u8; 32]>::new();
        let (mut end, mut last_digit) = (start, start);
        for c in text[start..limit].chars() {
            if c.is_ascii_digit() {
                digits.push(c as u8 - b'0');
                last_digit = end + 1;
            } else if !self.delimiters.contains(c) {
                break;
            }
            end += c.len_utf8();
        }
        Number { start, end, last_digit, valid: self.is_valid(&digits) }
    }

    fn is_valid(&self, digits: &[u8]) -> bool {
        if digits.len() < self.min_length || digits.len() > MOST_DIGITS {
            return false;
        }
        let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit }))
            .sum();
        sum.is_multiple_of(10)
    }
}

/// A run of digits.
struct Number {
    start: usize,
    /// Behind the delimiters that follow it.
    end: usize,
    /// Behind its last digit.
    last_digit: usize,
    /// Whether it is to be replaced.
    valid: bool,
}

/// All matches that hold something.
fn matches(regex: &Regex, text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at <= text.len()
        && let Some(range) = regex.find_at(text, at)
    {
        let step = text[range.end..].chars().next().map_or(1, char::len_utf8);
        at = if range.is_empty() { range.end + step } else { range.end };
        if !range.is_empty() {
            found.push(range);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::process::testkit::{Bench, Case, check, refused};

    #[test]
    fn numbers_that_pass_the_check_are_replaced() {
        check(
            "stage.luhn { }",
            &[
                Case::new("pay 4539148803436467 now").gives(Case::new("pay **REDACTED** now")),
                Case::new("4539148803436467").gives(Case::new("**REDACTED**")),
                Case::new("x4539148803436467y4539148803436467")
                    .gives(Case::new("x**REDACTED**y**REDACTED**")),
                // Another last digit, too short, too long, none at all.
                Case::new("pay 4539148803436468 now").same(),
                Case::new("59").same(),
                Case::new("00000000000000000000000000").same(),
                Case::new("no digits").same(),
                Case::new("4539-1488-0343-6467").same(),
            ],
        );
        check(
            "stage.luhn { replacement = \"#\"\n min_length = 2 }",
            &[Case::new("59 a 58 18").gives(Case::new("# a 58 #"))],
        );
    }

    #[test]
    fn delimiters_may_stand_between_digits_and_stay_behind_them() {
        check(
            "stage.luhn { delimiters = \"- \" }",
            &[
                Case::new("pay 4539-1488 0343-6467 now").gives(Case::new("pay **REDACTED** now")),
                Case::new("4539 1488 0343 6467 - ").gives(Case::new("**REDACTED** - ")),
                Case::new("4539-1488-0343-6468").same(),
                Case::new("- 1 - 2").same(),
            ],
        );
    }

    #[test]
    fn what_the_expression_matches_is_left_alone() {
        check(
            "stage.luhn { skip_regex = \"id=[0-9]+\" }",
            &[
                Case::new("id=4539148803436467 4539148803436467")
                    .gives(Case::new("id=4539148803436467 **REDACTED**")),
                Case::new("4539148803436467").gives(Case::new("**REDACTED**")),
                Case::new("id=4539148803436467").same(),
            ],
        );
        check(
            "stage.luhn { skip_regex = \"-9[0-9]*\"\n delimiters = \"-\" }",
            &[
                // As Alloy: nothing in this text would be replaced, so nothing is split.
                Case::new("4539148803436467-94539148803436467").same(),
                Case::new("4539148803436467-94539148803436467 4539148803436467")
                    .gives(Case::new("**REDACTED**-94539148803436467 **REDACTED**")),
            ],
        );
    }

    #[test]
    fn a_source_becomes_the_line() {
        let card = || Case::new("line").labels([("card", "n 4539148803436467")]);
        check(
            "stage.luhn { source = \"card\" }",
            &[
                card().gives(Case::new("n **REDACTED**").labels([("card", "n 4539148803436467")])),
                Case::new("line").same(),
            ],
        );
    }

    #[test]
    fn arguments_are_checked() {
        refused("stage.luhn { source = \"\" }", "must name an extracted value");
        refused("stage.luhn { skip_regex = \"(\" }", "missing closing )");
    }

    proptest! {
        #[test]
        fn whatever_comes_only_digits_and_what_is_between_them_go(
            line in "[0-9 a-]{0,60}|.{0,40}",
            skip in "(|a|[0-9]{3}|-)",
        ) {
            let text = format!("stage.luhn {{ min_length = 2\n replacement = \"#\"\n delimiters = \"-\"\n skip_regex = \"{skip}\" }}");
            let batch = crate::process::testkit::batch(&[Case::new(line.clone())], None);
            let pieces = Bench::new(&text).pipeline.process(&batch);
            let got = &pieces[0].batch.entries[0].line;
            let rest = |text: &str| text.chars().filter(|c| !c.is_ascii_digit() && !"-#".contains(*c)).collect::<String>();
            prop_assert_eq!(rest(got), rest(&line));
        }
    }
}

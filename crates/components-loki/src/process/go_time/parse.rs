//! Reading a time by a layout. Allocates nothing.

use super::layout::{Layout, OffsetForm, Step};
use super::{DAYS_BEFORE, MONTHS, WEEKDAYS, days_in, is_leap};

/// What a text says about a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'v> {
    /// 0 where the layout has no year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// Seconds since midnight.
    pub second_of_day: i64,
    /// Nanoseconds of the second.
    pub nanos: i64,
    /// What it says about its zone.
    pub zone: Zone<'v>,
    /// The abbreviation of its zone, whether or not there is an offset too; empty where there is none.
    pub zone_name: &'v str,
}

/// What a text says about its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone<'v> {
    /// Nothing.
    Unsaid,
    /// Seconds east of UTC.
    Offset(i64),
    /// An abbreviation.
    Named(&'v str),
}

/// Why a text is not a time of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not fit the layout.
    #[error("the text does not fit the format")]
    Mismatch,
    /// There is more than the layout has.
    #[error("there is text behind the time")]
    Extra,
    /// A number is too large for its place.
    #[error("{0} out of range")]
    Range(&'static str),
    /// The day of the year says something else than month and day.
    #[error("the day of the year does not match the {0}")]
    YearDay(&'static str),
}

type Result<T> = std::result::Result<T, ParseError>;

/// What has been read so far.
struct Reading<'v> {
    rest: &'v str,
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    afternoon: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    name: &'v str,
}

impl Layout {
    /// Reads a time.
    ///
    /// # Errors
    /// Where the text does not fit the layout, or names a time that there is not.
    pub fn parse<'v>(&self, value: &'v str) -> Result<Parsed<'v>> {
        let mut reading = Reading {
            rest: value,
            year: 0,
            month: None,
            day: None,
            year_day: None,
            hour: 0,
            minute: 0,
            second: 0,
            nanos: 0,
            afternoon: None,
            utc: false,
            offset: None,
            name: "",
        };
        for (i, step) in self.steps.iter().enumerate() {
            let next = || self.steps[i + 1..].iter().find(|next| !matches!(next, Step::Text(_)));
            reading.take(step, next)?;
        }
        if !reading.rest.is_empty() {
            return Err(ParseError::Extra);
        }
        reading.finish()
    }
}

fn digit(text: &str, at: usize) -> Option<i64> {
    text.as_bytes().get(at).filter(|b| b.is_ascii_digit()).map(|b| i64::from(b - b'0'))
}

impl<'v> Reading<'v> {
    fn take<'s>(&mut self, step: &Step, next: impl FnOnce() -> Option<&'s Step>) -> Result<()> {
        match step {
            Step::Text(text) => self.skip(text)?,
            Step::Year => {
                let year = self.fixed(2)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
            }
            Step::LongYear => self.year = self.fixed(4)?,
            Step::Month => self.month = Some(self.name(&MONTHS, 3)?),
            Step::LongMonth => self.month = Some(self.name(&MONTHS, usize::MAX)?),
            Step::NumMonth | Step::ZeroMonth => {
                let month = self.number(*step == Step::ZeroMonth)?;
                self.month = Some(within(month, 1, 12, "month")?);
            }
            // A day of the week is checked to be one, and that is all.
            Step::Weekday => drop(self.name(&WEEKDAYS, 3)?),
            Step::LongWeekday => drop(self.name(&WEEKDAYS, usize::MAX)?),
            Step::Day | Step::UnderDay | Step::ZeroDay => {
                if *step == Step::UnderDay {
                    self.space();
                }
                self.day = Some(self.number(*step == Step::ZeroDay)?);
            }
            Step::UnderYearDay | Step::ZeroYearDay => {
                if *step == Step::UnderYearDay {
                    self.space();
                    self.space();
                }
                self.year_day = Some(self.up_to_three(*step == Step::ZeroYearDay)?);
            }
            Step::Hour => self.hour = within(self.number(false)?, 0, 23, "hour")?,
            Step::Hour12 | Step::ZeroHour12 => {
                self.hour = within(self.number(*step == Step::ZeroHour12)?, 0, 12, "hour")?;
            }
            Step::Minute | Step::ZeroMinute => {
                self.minute = within(self.number(*step == Step::ZeroMinute)?, 0, 59, "minute")?;
            }
            Step::Second | Step::ZeroSecond => self.seconds(*step == Step::ZeroSecond, next())?,
            Step::UpperPm => self.half_of_day("PM", "AM")?,
            Step::LowerPm => self.half_of_day("pm", "am")?,
            Step::Offset(form) => self.offset(*form)?,
            Step::ZoneName => self.zone_name()?,
            Step::Fraction0(digits, _) => self.fraction(usize::from(*digits))?,
            Step::Fraction9(..) => self.fraction_if_any()?,
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// Text that stands for itself; runs of spaces are equal.
    fn skip(&mut self, text: &str) -> Result<()> {
        let mut text = text;
        while !text.is_empty() {
            if text.starts_with(' ') {
                if !self.rest.is_empty() && !self.rest.starts_with(' ') {
                    return Err(ParseError::Mismatch);
                }
                text = text.trim_start_matches(' ');
                self.rest = self.rest.trim_start_matches(' ');
                continue;
            }
            let until = text.find(' ').unwrap_or(text.len());
            self.rest = self.rest.strip_prefix(&text[..until]).ok_or(ParseError::Mismatch)?;
            text = &text[until..];
        }
        Ok(())
    }

    fn space(&mut self) {
        self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest);
    }

    /// One or two digits, or exactly two.
    fn number(&mut self, two: bool) -> Result<i64> {
        let first = digit(self.rest, 0).ok_or(ParseError::Mismatch)?;
        let Some(second) = digit(self.rest, 1) else {
            if two {
                return Err(ParseError::Mismatch);
            }
            self.advance(1);
            return Ok(first);
        };
        self.advance(2);
        Ok(first * 10 + second)
    }

    /// One to three digits, or exactly three.
    fn up_to_three(&mut self, three: bool) -> Result<i64> {
        let mut number = 0;
        let mut count = 0;
        while count < 3
            && let Some(next) = digit(self.rest, count)
        {
            number = number * 10 + next;
            count += 1;
        }
        if count == 0 || three && count != 3 {
            return Err(ParseError::Mismatch);
        }
        self.advance(count);
        Ok(number)
    }

    /// So many digits.
    fn fixed(&mut self, count: usize) -> Result<i64> {
        let mut number = 0;
        for at in 0..count {
            number = number * 10 + digit(self.rest, at).ok_or(ParseError::Mismatch)?;
        }
        self.advance(count);
        Ok(number)
    }

    /// The place, from one, of a name in a list; case does not matter, as in Go.
    fn name(&mut self, names: &[&str], length: usize) -> Result<i64> {
        for (i, name) in names.iter().enumerate() {
            let name = &name[..length.min(name.len())];
            let found = self.rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
            if found {
                self.advance(name.len());
                return Ok(i as i64 + 1);
            }
        }
        Err(ParseError::Mismatch)
    }

    /// Seconds; a fraction may follow although the layout has none.
    fn seconds(&mut self, two: bool, next: Option<&Step>) -> Result<()> {
        self.second = within(self.number(two)?, 0, 59, "second")?;
        if matches!(next, Some(Step::Fraction0(..) | Step::Fraction9(..))) {
            return Ok(());
        }
        self.fraction_if_any()
    }

    /// A fraction of so many digits, with its point.
    fn fraction(&mut self, digits: usize) -> Result<()> {
        if !self.rest.starts_with(['.', ',']) {
            return Err(ParseError::Mismatch);
        }
        let mut nanos = 0;
        for at in 1..=digits {
            let next = digit(self.rest, at).ok_or(ParseError::Mismatch)?;
            if at <= 9 {
                nanos = nanos * 10 + next;
            }
        }
        self.nanos = (digits..9).fold(nanos, |nanos, _| nanos * 10);
        self.advance(1 + digits);
        Ok(())
    }

    fn fraction_if_any(&mut self) -> Result<()> {
        if !self.rest.starts_with(['.', ',']) {
            return Ok(());
        }
        let digits = self.rest.as_bytes()[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 { Ok(()) } else { self.fraction(digits) }
    }

    fn half_of_day(&mut self, afternoon: &str, morning: &str) -> Result<()> {
        let is_afternoon = self.rest.starts_with(afternoon);
        if !is_afternoon && !self.rest.starts_with(morning) {
            return Err(ParseError::Mismatch);
        }
        self.afternoon = Some(is_afternoon || self.afternoon == Some(true));
        self.advance(2);
        Ok(())
    }

    fn offset(&mut self, form: OffsetForm) -> Result<()> {
        if form.iso && self.rest.starts_with('Z') {
            self.advance(1);
            self.utc = true;
            return Ok(());
        }
        let sign = match self.rest.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(ParseError::Mismatch),
        };
        self.advance(1);
        // Offsets of 24 hours or 60 minutes are written by some; Go takes them.
        let hours = within(self.fixed(2)?, 0, 24, "time zone offset hour")?;
        let mut part = |wanted: bool, most: &'static str| -> Result<i64> {
            if !wanted {
                return Ok(0);
            }
            if form.colon {
                self.rest = self.rest.strip_prefix(':').ok_or(ParseError::Mismatch)?;
            }
            within(self.fixed(2)?, 0, 60, most)
        };
        let minutes = part(form.minutes, "time zone offset minute")?;
        let seconds = part(form.seconds, "time zone offset second")?;
        self.offset = Some(sign * ((hours * 60 + minutes) * 60 + seconds));
        Ok(())
    }

    fn zone_name(&mut self) -> Result<()> {
        if let Some(rest) = self.rest.strip_prefix("UTC") {
            self.rest = rest;
            self.utc = true;
            return Ok(());
        }
        let length = zone_name_length(self.rest).ok_or(ParseError::Mismatch)?;
        self.name = &self.rest[..length];
        self.advance(length);
        Ok(())
    }

    fn finish(self) -> Result<Parsed<'v>> {
        let hour = match self.afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let (month, day) = match self.year_day {
            Some(year_day) => self.month_and_day(year_day)?,
            None => (self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        if day < 1 || day > days_in(self.year, month) {
            return Err(ParseError::Range("day"));
        }
        let zone = match (self.utc, self.offset, self.name) {
            (true, ..) => Zone::Offset(0),
            (_, Some(offset), _) => Zone::Offset(offset),
            (.., "") => Zone::Unsaid,
            (.., name) => Zone::Named(name),
        };
        let second_of_day = (hour * 60 + self.minute) * 60 + self.second;
        let (year, nanos, zone_name) = (self.year, self.nanos, self.name);
        Ok(Parsed { year, month, day, second_of_day, nanos, zone, zone_name })
    }

    fn month_and_day(&self, year_day: i64) -> Result<(i64, i64)> {
        let leap_day = is_leap(self.year) && year_day == 60;
        let shifted = year_day - i64::from(is_leap(self.year) && year_day > 60);
        if !(1..=365).contains(&shifted) {
            return Err(ParseError::Range("day-of-year"));
        }
        let (month, day) = if leap_day {
            (2, 29)
        } else {
            let month = DAYS_BEFORE.iter().rposition(|before| *before < shifted).unwrap_or(0);
            (month as i64 + 1, shifted - DAYS_BEFORE[month])
        };
        if self.month.is_some_and(|said| said != month) {
            return Err(ParseError::YearDay("month"));
        }
        if self.day.is_some_and(|said| said != day) {
            return Err(ParseError::YearDay("day"));
        }
        Ok((month, day))
    }
}

fn within(number: i64, least: i64, most: i64, what: &'static str) -> Result<i64> {
    if (least..=most).contains(&number) { Ok(number) } else { Err(ParseError::Range(what)) }
}

/// Length of the zone abbreviation at the start of a text. As time/format: `parseTimeZone`.
fn zone_name_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.len() < 3 {
        return None;
    }
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix("GMT") {
        return Some(3 + signed_offset_length(rest).unwrap_or(0));
    }
    if matches!(bytes[0], b'+' | b'-') {
        return signed_offset_length(text);
    }
    match bytes.iter().take(6).take_while(|b| b.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 if bytes[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if bytes[4] == b'T' => Some(5),
        _ => None,
    }
}

/// Length of `+03` or `-4`: hours up to 23.
fn signed_offset_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['+', '-'])?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let hours: u64 = rest[..digits].parse().ok()?;
    (hours <= 23).then_some(1 + digits)
}

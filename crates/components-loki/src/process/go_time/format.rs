//! Writing a time by a layout.

use std::fmt::Write as _;

use super::layout::{Layout, OffsetForm, Step};
use super::zone::Moment;
use super::{MONTHS, WEEKDAYS, civil_from_days, days_from_civil};

impl Layout {
    /// Appends a moment as seen where it is.
    pub fn format(&self, moment: &Moment, out: &mut String) {
        let wall = moment.seconds.saturating_add(moment.offset);
        let (days, second_of_day) = (wall.div_euclid(86_400), wall.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
        let year_day = days - days_from_civil(year, 1, 1) + 1;
        let month_name = MONTHS[month as usize - 1];
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS[(days + 4).rem_euclid(7) as usize];
        for step in &self.steps {
            // Writing to a string does not fail.
            let _ = match step {
                Step::Text(text) => out.write_str(text),
                Step::LongMonth => out.write_str(month_name),
                Step::Month => out.write_str(&month_name[..3]),
                Step::NumMonth => write!(out, "{month}"),
                Step::ZeroMonth => write!(out, "{month:02}"),
                Step::LongWeekday => out.write_str(weekday),
                Step::Weekday => out.write_str(&weekday[..3]),
                Step::Day => write!(out, "{day}"),
                Step::UnderDay => write!(out, "{day:2}"),
                Step::ZeroDay => write!(out, "{day:02}"),
                Step::UnderYearDay => write!(out, "{year_day:3}"),
                Step::ZeroYearDay => write!(out, "{year_day:03}"),
                Step::Hour => write!(out, "{hour:02}"),
                Step::Hour12 => write!(out, "{hour12}"),
                Step::ZeroHour12 => write!(out, "{hour12:02}"),
                Step::Minute => write!(out, "{minute}"),
                Step::ZeroMinute => write!(out, "{minute:02}"),
                Step::Second => write!(out, "{second}"),
                Step::ZeroSecond => write!(out, "{second:02}"),
                Step::LongYear if year < 0 => write!(out, "-{:04}", -year),
                Step::LongYear => write!(out, "{year:04}"),
                Step::Year => write!(out, "{:02}", year.rem_euclid(100)),
                Step::UpperPm => out.write_str(if hour >= 12 { "PM" } else { "AM" }),
                Step::LowerPm => out.write_str(if hour >= 12 { "pm" } else { "am" }),
                Step::ZoneName => zone_name(moment, out),
                Step::Offset(form) => offset(moment.offset, *form, out),
                Step::Fraction0(digits, point) => fraction(moment.nanos, *digits, *point, false, out),
                Step::Fraction9(digits, point) => fraction(moment.nanos, *digits, *point, true, out),
            };
        }
    }
}

fn zone_name(moment: &Moment, out: &mut String) -> std::fmt::Result {
    if !moment.name.is_empty() {
        return out.write_str(&moment.name);
    }
    let form = OffsetForm { iso: false, colon: false, minutes: true, seconds: false };
    offset(moment.offset, form, out)
}

fn offset(seconds: i64, form: OffsetForm, out: &mut String) -> std::fmt::Result {
    if form.iso && seconds == 0 {
        return out.write_char('Z');
    }
    let minutes = seconds / 60;
    let sign = if minutes < 0 || form.seconds && seconds < 0 { '-' } else { '+' };
    let size = seconds.abs();
    write!(out, "{sign}{:02}", size / 3600)?;
    let colon = if form.colon { ":" } else { "" };
    if form.minutes {
        write!(out, "{colon}{:02}", size / 60 % 60)?;
    }
    if form.seconds {
        write!(out, "{colon}{:02}", size % 60)?;
    }
    Ok(())
}

fn fraction(nanos: i64, digits: u8, point: char, trim: bool, out: &mut String) -> std::fmt::Result {
    let all = format!("{nanos:09}");
    let digits = usize::from(digits);
    let mut shown = all[..digits.min(9)].to_owned();
    shown.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
    let shown = if trim { shown.trim_end_matches('0') } else { &shown };
    if shown.is_empty() && trim {
        return Ok(());
    }
    write!(out, "{point}{shown}")
}

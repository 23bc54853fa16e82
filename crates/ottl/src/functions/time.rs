//! Converters of times and durations.

use jiff::tz::TimeZone;

use super::Takes::{Int, Str, Value as Any};
use super::{Args, Function, Param, optional, param};
use crate::duration;
use crate::error::EvalError;
use crate::expr::Env;
use crate::time::{Layout, weekday, zoned};
use crate::value::{Time, Value};

const TIME: &[Param] = &[param("time", Any)];
const DURATION: &[Param] = &[param("duration", Any)];

pub(super) const TABLE: &[Function] = &[
    Function::convert("Day", TIME, |args, env| clock(args, env, |t| i64::from(t.day()))),
    Function::convert("Duration", &[param("duration", Str)], |args, env| {
        let text = args.str(0, env)?;
        let nanos = duration::parse(&text);
        nanos.map(Value::Duration).ok_or_else(|| EvalError::new(format!("`{text}` is no duration")))
    }),
    Function::convert("FormatTime", &[param("time", Any), param("format", Str)], |args, env| {
        let time = args.time(0, env)?;
        Ok(Value::string(match args.ready::<Layout>() {
            Some(layout) => layout.format(&time),
            None => Layout::new(&args.str(1, env)?).map_err(EvalError::new)?.format(&time),
        }))
    })
    .prepared(|args| prepare_layout(args, 1)),
    Function::convert("Hour", TIME, |args, env| clock(args, env, |t| i64::from(t.hour()))),
    Function::convert("Hours", DURATION, |args, env| float(args, env, 3_600_000_000_000)),
    Function::convert("Microseconds", DURATION, |args, env| Ok(Value::Int(args.duration(0, env)? / 1_000))),
    Function::convert("Milliseconds", DURATION, |args, env| {
        Ok(Value::Int(args.duration(0, env)? / 1_000_000))
    }),
    Function::convert("Minute", TIME, |args, env| clock(args, env, |t| i64::from(t.minute()))),
    Function::convert("Minutes", DURATION, |args, env| float(args, env, 60_000_000_000)),
    Function::convert("Month", TIME, |args, env| clock(args, env, |t| i64::from(t.month()))),
    Function::convert("Nanosecond", TIME, |args, env| clock(args, env, |t| i64::from(t.subsec_nanosecond()))),
    Function::convert("Nanoseconds", DURATION, |args, env| Ok(Value::Int(args.duration(0, env)?))),
    Function::convert("Now", &[], |_, _| Ok(Value::Time(Time { at: now(), zone: TimeZone::UTC }))),
    Function::convert("Second", TIME, |args, env| clock(args, env, |t| i64::from(t.second()))),
    Function::convert("Seconds", DURATION, |args, env| float(args, env, 1_000_000_000)),
    Function::convert(
        "Time",
        &[param("target", Str), param("format", Str), optional("location", Str), optional("locale", Str)],
        time,
    )
    .prepared(|args| {
        if let Some(locale) = args.fixed(3)
            && !is_english(locale)
        {
            return Err(format!("names of months and days in the language `{locale}` are not supported"));
        }
        if let Some(location) = args.fixed(2) {
            zone(location).map_err(|error| error.0)?;
        }
        prepare_layout(args, 1)
    }),
    Function::convert("TruncateTime", &[param("time", Any), param("duration", Any)], truncate),
    Function::convert("Unix", &[param("seconds", Int), optional("nanoseconds", Int)], |args, env| {
        let (seconds, nanos) = (args.int(0, env)?, args.int_or(1, env, 0)?);
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let at = jiff::Timestamp::from_nanosecond(nanos);
        let at = at.map_err(|_| EvalError::new(format!("{seconds} seconds are no time")))?;
        Ok(Value::Time(Time { at, zone: TimeZone::UTC }))
    }),
    Function::convert("UnixMicro", TIME, |args, env| Ok(Value::Int(args.time(0, env)?.at.as_microsecond()))),
    Function::convert("UnixMilli", TIME, |args, env| Ok(Value::Int(args.time(0, env)?.at.as_millisecond()))),
    Function::convert("UnixNano", TIME, |args, env| Ok(Value::Int(args.time(0, env)?.nanos()))),
    Function::convert("UnixSeconds", TIME, |args, env| Ok(Value::Int(args.time(0, env)?.at.as_second()))),
    Function::convert("Weekday", TIME, |args, env| clock(args, env, |t| weekday(t.weekday()))),
    Function::convert("Year", TIME, |args, env| clock(args, env, |t| i64::from(t.year()))),
];

/// The clock that data is stamped with.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(signal::clock::now_ns())).expect("nanoseconds of 64 bits fit")
}

fn clock<'a>(args: &'a Args, env: &Env<'a>, read: fn(&jiff::Zoned) -> i64) -> Result<Value<'a>, EvalError> {
    Ok(Value::Int(read(&zoned(&args.time(0, env)?))))
}

fn float<'a>(args: &'a Args, env: &Env<'a>, unit: i64) -> Result<Value<'a>, EvalError> {
    let nanos = args.duration(0, env)?;
    Ok(Value::Double((nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64))
}

fn prepare_layout(args: &mut Args, at: usize) -> Result<(), String> {
    if let Some(format) = args.fixed(at) {
        let layout = Layout::new(format)?;
        args.keep(layout);
    }
    Ok(())
}

fn is_english(locale: &str) -> bool {
    locale.is_empty() || locale.split(['-', '_']).next().is_some_and(|l| l.eq_ignore_ascii_case("en"))
}

fn zone(location: &str) -> Result<TimeZone, EvalError> {
    match location {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::system()),
        name => {
            TimeZone::get(name).map_err(|_| EvalError::new(format!("the time zone `{name}` is not known")))
        }
    }
}

fn time<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let text = args.str(0, env)?;
    if text.is_empty() {
        return Err(EvalError::new("an empty text is no time"));
    }
    let locale = args.str_or(3, env, "")?;
    if !is_english(&locale) {
        return Err(EvalError::new(format!("the language `{locale}` is not supported")));
    }
    let zone = zone(&args.str_or(2, env, "")?)?;
    let parsed = match args.ready::<Layout>() {
        Some(layout) => layout.parse(&text, &zone),
        None => Layout::new(&args.str(1, env)?).and_then(|layout| layout.parse(&text, &zone)),
    };
    parsed.map(Value::Time).map_err(EvalError::new)
}

/// As Go's `Time.Truncate`: multiples count from the year 1.
fn truncate<'a>(args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let (time, step) = (args.time(0, env)?, i128::from(args.duration(1, env)?));
    if step <= 0 {
        return Ok(Value::Time(time));
    }
    /// Seconds from the year 1 to 1970.
    const YEAR_ONE: i128 = 62_135_596_800;
    let nanos = time.at.as_nanosecond();
    let past = (nanos + YEAR_ONE * 1_000_000_000).rem_euclid(step);
    let at = jiff::Timestamp::from_nanosecond(nanos - past);
    let at = at.map_err(|_| EvalError::new("the time is too early"))?;
    Ok(Value::Time(Time { at, zone: time.zone }))
}

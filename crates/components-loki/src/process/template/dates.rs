//! Sprig's functions on dates, with Go's layouts.
//!
//! A time is a dictionary with hidden keys; the methods of Go's `time.Time` that take no argument and give a
//! number or a name are keys of it too, so that `now.Unix` works.

use std::sync::{Arc, LazyLock};

use component::eval::parse_duration;
use gotmpl::Value;

use super::args::{Args, Map, error, text};
use super::budget::Result;
use crate::process::go_time::{Layout, Location, Moment, Zone};

const SECONDS: &str = "\0seconds";
const NANOS: &str = "\0nanos";
const OFFSET: &str = "\0offset";
const NAME: &str = "\0name";

static LOCAL: LazyLock<Location> = LazyLock::new(Location::local);
/// As Go's `Time.String`.
static SHOWN: LazyLock<Layout> = LazyLock::new(|| Layout::new("2006-01-02 15:04:05.999999999 -0700 MST"));
static RFC3339: LazyLock<Layout> = LazyLock::new(|| Layout::new("2006-01-02T15:04:05.999999999Z07:00"));
/// Elements of a time that are methods in Go.
static METHODS: LazyLock<[(&str, Layout, bool); 8]> = LazyLock::new(|| {
    [
        ("Year", Layout::new("2006"), true),
        ("Month", Layout::new("January"), false),
        ("Day", Layout::new("2"), true),
        ("Hour", Layout::new("15"), true),
        ("Minute", Layout::new("4"), true),
        ("Second", Layout::new("5"), true),
        ("YearDay", Layout::new("__2"), true),
        ("Weekday", Layout::new("Monday"), false),
    ]
});

pub(super) fn is_time(map: &Map) -> bool {
    map.contains_key(SECONDS)
}

fn value(moment: &Moment) -> Value {
    let mut map = Map::new();
    map.insert(SECONDS.into(), Value::Int(moment.seconds));
    map.insert(NANOS.into(), Value::Int(moment.nanos));
    map.insert(OFFSET.into(), Value::Int(moment.offset));
    map.insert(NAME.into(), Value::String((&*moment.name).into()));
    let milli = moment.seconds.wrapping_mul(1000).wrapping_add(moment.nanos / 1_000_000);
    let micro = moment.seconds.wrapping_mul(1_000_000).wrapping_add(moment.nanos / 1000);
    let nano = moment.seconds.wrapping_mul(1_000_000_000).wrapping_add(moment.nanos);
    for (name, number) in [
        ("Unix", moment.seconds),
        ("UnixMilli", milli),
        ("UnixMicro", micro),
        ("UnixNano", nano),
        ("Nanosecond", moment.nanos),
    ] {
        map.insert(name.into(), Value::Int(number));
    }
    for (name, layout, number) in METHODS.iter() {
        let mut out = String::new();
        layout.format(moment, &mut out);
        let parsed = if *number { out.trim().parse().ok().map(Value::Int) } else { None };
        map.insert((*name).into(), parsed.unwrap_or_else(|| Value::String(out.into())));
    }
    Value::Map(Arc::new(map))
}

fn moment(map: &Map) -> Option<Moment> {
    let int = |key: &str| map.get(key).and_then(Value::as_int);
    let name = map.get(NAME).and_then(Value::as_str)?.into();
    Some(Moment { seconds: int(SECONDS)?, nanos: int(NANOS)?, offset: int(OFFSET)?, name })
}

pub(super) fn shown(map: &Map) -> String {
    formatted(&SHOWN, map)
}

pub(super) fn rfc3339(map: &Map) -> String {
    formatted(&RFC3339, map)
}

fn formatted(layout: &Layout, map: &Map) -> String {
    let mut out = String::new();
    if let Some(moment) = moment(map) {
        layout.format(&moment, &mut out);
    }
    out
}

fn now_moment() -> Moment {
    let nanos = signal::clock::now_ns();
    LOCAL.see(nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

pub(super) fn now(args: &Args<'_>) -> Result<Value> {
    if args.len() != 0 {
        return error("now takes no argument; its method Format is the function date: now | date \"2006\"");
    }
    Ok(value(&now_moment()))
}

fn time_arg(args: &Args<'_>, at: usize) -> Result<Moment> {
    let found = match args.get(at) {
        Value::Map(map) => moment(map),
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => error(format!("{}: wrong type for value; expected time.Time", args.name)),
    }
}

/// What Sprig takes for a date: a time, seconds since the epoch, or else now.
fn lenient(value: &Value) -> Moment {
    match value {
        Value::Int(seconds) => LOCAL.see(*seconds, 0),
        Value::Map(map) => moment(map).unwrap_or_else(now_moment),
        _ => now_moment(),
    }
}

fn in_zone(layout: &str, date: &Value, zone: &str) -> Result<Value> {
    let at = lenient(date);
    let seen = match zone {
        "Local" => LOCAL.see(at.seconds, at.nanos),
        zone => Location::load(zone).unwrap_or_else(|_| Location::utc()).see(at.seconds, at.nanos),
    };
    let mut out = String::new();
    Layout::new(layout).format(&seen, &mut out);
    text(out)
}

pub(super) fn date(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    in_zone(args.text(0)?, args.get(1), "Local")
}

pub(super) fn date_in_zone(args: &Args<'_>) -> Result<Value> {
    args.exactly(3)?;
    in_zone(args.text(0)?, args.get(1), args.text(2)?)
}

pub(super) fn html_date(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    in_zone("2006-01-02", args.get(0), "Local")
}

pub(super) fn html_date_in_zone(args: &Args<'_>) -> Result<Value> {
    args.exactly(2)?;
    in_zone("2006-01-02", args.get(0), args.text(1)?)
}

/// `dateModify duration time`; what is no duration changes nothing, unless it `must` be one.
pub(super) fn modify(args: &Args<'_>, must: bool) -> Result<Value> {
    args.exactly(2)?;
    let at = time_arg(args, 1)?;
    match parse_duration(args.text(0)?) {
        Ok(nanos) => {
            let sum = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos) + i128::from(nanos);
            let seconds = i64::try_from(sum.div_euclid(1_000_000_000)).unwrap_or(at.seconds);
            let nanos = sum.rem_euclid(1_000_000_000) as i64;
            Ok(value(&Moment { seconds, nanos, ..at }))
        }
        Err(problem) if must => error(problem),
        Err(_) => Ok(value(&at)),
    }
}

/// `toDate layout text`; the year 1 where it does not fit, unless it `must`.
pub(super) fn to_date(args: &Args<'_>, must: bool) -> Result<Value> {
    args.exactly(2)?;
    match Layout::new(args.text(0)?).parse(args.text(1)?) {
        Ok(parsed) => {
            let at = LOCAL.resolve(&parsed, &LOCAL);
            let here = LOCAL.see(at.seconds, at.nanos);
            let local = matches!(parsed.zone, Zone::Offset(offset) if offset == here.offset);
            Ok(value(if local { &here } else { &at }))
        }
        Err(problem) if must => error(problem.to_string()),
        Err(_) => Ok(value(&Moment { seconds: -62_135_596_800, nanos: 0, offset: 0, name: "UTC".into() })),
    }
}

pub(super) fn unix_epoch(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(time_arg(args, 0)?.seconds.to_string())
}

/// A duration as Go's `Duration.String`: `1h0m5.5s`.
fn go_duration(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let decimal = |n: u64, unit: u64| {
        let digits = format!("{:0width$}", n % unit, width = unit.ilog10() as usize);
        let fraction = if unit == 1 { "" } else { digits.trim_end_matches('0') };
        if fraction.is_empty() { (n / unit).to_string() } else { format!("{}.{fraction}", n / unit) }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => {
            let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match minutes {
                0 => format!("{sign}{seconds}s"),
                1..60 => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{}h{}m{seconds}s", minutes / 60, minutes % 60),
            }
        }
    }
}

/// Whole seconds, rounded, since a date.
pub(super) fn ago(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let (now, then) = (now_moment(), lenient(args.get(0)));
    let nanos = i128::from(now.seconds - then.seconds) * 1_000_000_000 + i128::from(now.nanos - then.nanos);
    let seconds = (nanos + 500_000_000).div_euclid(1_000_000_000);
    text(go_duration(i64::try_from(seconds * 1_000_000_000).unwrap_or(i64::MAX)))
}

/// `duration seconds`.
pub(super) fn duration(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let seconds = match args.get(0) {
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Int(n) => *n,
        _ => 0_i64,
    };
    text(go_duration(seconds.wrapping_mul(1_000_000_000)))
}

/// A duration in its largest unit: `2h10m5s` is `2h`.
pub(super) fn duration_round(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    let nanos = match args.get(0) {
        Value::String(text) => parse_duration(text).unwrap_or(0),
        Value::Int(n) => *n,
        Value::Map(map) => match moment(map) {
            Some(then) => (now_moment().seconds - then.seconds).saturating_mul(1_000_000_000),
            None => 0,
        },
        _ => 0,
    };
    let seconds = nanos.unsigned_abs() as f64 / 1e9;
    for (unit, name) in
        [(31_536_000_u64, "y"), (2_592_000, "mo"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")]
    {
        if seconds > unit as f64 {
            return text(format!("{}{name}", nanos.unsigned_abs() / 1_000_000_000 / unit));
        }
    }
    text("0s")
}

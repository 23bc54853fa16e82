//! Places with their offsets from UTC, and moments as seen there.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::parse::{Parsed, Zone};
use super::{civil_from_days, days_from_civil};

/// A place whose offset from UTC is known at any time.
#[derive(Clone, Debug)]
pub struct Location {
    zone: TimeZone,
    /// Abbreviations that have been in use, with their offsets, oldest first.
    names: Box<[(Box<str>, i64)]>,
}

/// A moment and how it is seen somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanos: i64,
    /// Seconds east of UTC.
    pub offset: i64,
    /// Abbreviation of the zone; empty where there is none.
    pub name: Box<str>,
}

/// Most transitions of a zone that are looked at for abbreviations.
const TRANSITIONS: usize = 1024;

impl Location {
    /// UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, names: [("UTC".into(), 0)].into() }
    }

    /// The place that the machine is set to.
    pub fn local() -> Self {
        Self::of(TimeZone::system())
    }

    /// A place of the IANA database such as `Europe/Berlin`; `Local`, `UTC` and an empty name as in Go.
    ///
    /// # Errors
    /// If the database has no such place.
    pub fn load(name: &str) -> Result<Self, jiff::Error> {
        match name {
            "" | "UTC" => Ok(Self::utc()),
            "Local" => Ok(Self::local()),
            name => TimeZone::get(name).map(Self::of),
        }
    }

    fn of(zone: TimeZone) -> Self {
        let mut names: Vec<(Box<str>, i64)> = Vec::new();
        let mut note = |name: &str, offset: i64| {
            if !names.iter().any(|(known, at)| &**known == name && *at == offset) {
                names.insert(0, (name.into(), offset));
            }
        };
        // 2037: what comes later repeats the last rule.
        let end = Timestamp::from_second(2_145_916_800).expect("a constant in range");
        let mut first = end;
        for transition in zone.preceding(end).take(TRANSITIONS) {
            note(transition.abbreviation(), i64::from(transition.offset().seconds()));
            first = transition.timestamp();
        }
        let before = Timestamp::from_second(first.as_second() - 1).unwrap_or(Timestamp::MIN);
        let info = zone.to_offset_info(before);
        note(info.abbreviation(), i64::from(info.offset().seconds()));
        Self { zone, names: names.into() }
    }

    fn offset_at(&self, seconds: i64) -> i64 {
        let at =
            Timestamp::from_second(seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second()));
        at.map_or(0, |at| i64::from(self.zone.to_offset(at).seconds()))
    }

    /// A moment as seen here.
    pub fn see(&self, seconds: i64, nanos: i64) -> Moment {
        let offset = self.offset_at(seconds);
        let at =
            Timestamp::from_second(seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second()));
        let name = match at {
            Ok(at) => self.zone.to_offset_info(at).abbreviation().into(),
            Err(_) => "".into(),
        };
        Moment { seconds, nanos, offset, name }
    }

    /// The offset that an abbreviation stands for here. As time/zoneinfo: `lookupName`.
    fn offset_named(&self, name: &str, seconds: i64) -> Option<i64> {
        let named = || self.names.iter().filter(|(known, _)| &**known == name).map(|(_, offset)| *offset);
        named().find(|offset| self.offset_at(seconds - offset) == *offset).or_else(|| named().next())
    }

    /// The offset of a time that has been read. A time that a place did not have, or had twice, is resolved as
    /// Go does it: by the offset in force at the first guess.
    fn offset_of(&self, parsed: &Parsed<'_>, elsewhere: &Self) -> i64 {
        let wall = wall(parsed);
        match parsed.zone {
            Zone::Offset(offset) => offset,
            // Of an abbreviation that is not known here nothing is known, as in Go.
            Zone::Named(name) => elsewhere.offset_named(name, wall).unwrap_or(0),
            Zone::Unsaid => self.offset_at(wall - self.offset_at(wall)),
        }
    }

    /// Seconds since the epoch of a time that has been read here; `elsewhere` is where abbreviations of zones
    /// are looked up. Allocates nothing.
    pub fn seconds(&self, parsed: &Parsed<'_>, elsewhere: &Self) -> i64 {
        wall(parsed) - self.offset_of(parsed, elsewhere)
    }

    /// When a time was that has been read here, as seen in the zone that it names.
    pub fn resolve(&self, parsed: &Parsed<'_>, elsewhere: &Self) -> Moment {
        let offset = self.offset_of(parsed, elsewhere);
        let seconds = wall(parsed) - offset;
        let (offset, name) = match parsed.zone {
            Zone::Unsaid => return self.see(seconds, parsed.nanos),
            Zone::Offset(0) if parsed.zone_name.is_empty() => (0, "UTC"),
            // Go takes `GMT+3` for UTC when it reads it, and for three hours more when it writes it.
            Zone::Named(name) if offset == 0 && name.starts_with("GMT") => {
                (name[3..].parse::<i64>().unwrap_or(0) * 3600, name)
            }
            Zone::Offset(_) | Zone::Named(_) => (offset, parsed.zone_name),
        };
        Moment { seconds, nanos: parsed.nanos, offset, name: name.into() }
    }

    /// Year and month that the place is in.
    pub fn year_and_month(&self, seconds: i64) -> (i64, i64) {
        let (year, month, _) = civil_from_days((seconds + self.offset_at(seconds)).div_euclid(86_400));
        (year, month)
    }
}

/// Seconds since the epoch if the clock on the wall showed UTC.
fn wall(parsed: &Parsed<'_>) -> i64 {
    days_from_civil(parsed.year, parsed.month, parsed.day) * 86_400 + parsed.second_of_day
}

//! Times as text: strptime-like formats, and what lies under them.

use jiff::Zoned;

use crate::value::Time;

/// The time in its zone.
pub(crate) fn zoned(time: &Time) -> Zoned {
    time.at.to_zoned(time.zone.clone())
}

/// As Go writes times into JSON.
pub(crate) fn rfc3339(time: &Time) -> String {
    let zoned = zoned(time);
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%.f").to_string();
    let seconds = zoned.offset().seconds();
    if seconds == 0 {
        return format!("{text}Z");
    }
    let (sign, size) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    format!("{text}{sign}{:02}:{:02}", size / 3600, size / 60 % 60)
}

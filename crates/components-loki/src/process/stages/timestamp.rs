//! `stage.timestamp` takes an entry's time from an extracted value.

use std::sync::LazyLock;

use component::eval::Invalid;
use component::{ArgEnum, Arguments, Error};
use quick_cache::unsync::Cache;
use signal::Labels;

use crate::process::go_time::{Layout, Location};
use crate::process::pipeline::{Cx, Flow, MapStage, Node, StageCx};
use crate::process::record::Record;

/// `stage.timestamp`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// Extracted value that holds the time.
    pub source: String,
    /// A layout of Go, the name of one such as `RFC3339`, or `Unix`, `UnixMs`, `UnixUs`, `UnixNs`.
    pub format: String,
    /// Formats to try where `format` does not fit.
    #[arg(default)]
    pub fallback_formats: Vec<String>,
    /// Place of the IANA database for times without a zone; else UTC.
    pub location: Option<String>,
    /// What to do without a time.
    #[arg(default, code_type = "string")]
    pub action_on_failure: OnFailure,
    /// What to do where an entry of the same labels has just had the same time.
    #[arg(default, code_type = "string")]
    pub action_on_duplicate_timestamp: OnDuplicate,
}

/// What to do without a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum OnFailure {
    /// One nanosecond more than the last time of the same labels.
    #[default]
    #[arg(default, alias = "")]
    Fudge,
    /// Keep the time that the entry has.
    Skip,
}

/// What to do where an entry of the same labels has just had the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum OnDuplicate {
    /// One nanosecond more, so that the order of entries shows.
    #[default]
    #[arg(default, alias = "")]
    Fudge,
    /// Keep the time.
    Keep,
}

/// Label sets whose last time is remembered. As Alloy's.
const REMEMBERED: usize = 10_000;

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.source.is_empty() {
            return Err(Invalid::field("source", "must name an extracted value"));
        }
        if self.format.is_empty() {
            let message = "must be a layout such as \"2006-01-02T15:04:05Z07:00\" or a name such as RFC3339";
            return Err(Invalid::field("format", message));
        }
        if let Some(name) = &self.location
            && let Err(error) = Location::load(name)
        {
            return Err(Invalid::field(
                "location",
                format!("{name:?} is not a place of the time zone database: {error}"),
            ));
        }
        Ok(())
    }

    pub(super) fn build(&self, cx: &StageCx<'_>) -> Result<Node, Error> {
        let location = match &self.location {
            Some(name) => Location::load(name).map_err(|e| Error::argument("location", e.to_string()))?,
            None => Location::utc(),
        };
        let formats: Vec<Format> = std::iter::once(&self.format)
            .chain(&self.fallback_formats)
            .map(|text| Format::new(text))
            .collect();
        for (format, text) in formats.iter().zip(std::iter::once(&self.format).chain(&self.fallback_formats))
        {
            if let Format::Layout(layout) = format
                && !layout.has_elements()
            {
                tracing::warn!(node = %cx.node.id(), format = %text, "stage.timestamp: the format is no name that is known and shows no part of a time, so it fits none");
            }
        }
        let remembers = self.action_on_failure == OnFailure::Fudge
            || self.action_on_duplicate_timestamp == OnDuplicate::Fudge;
        Ok(Node::map(Timestamp {
            source: self.source.clone(),
            formats,
            named: self.location.is_some(),
            location,
            on_failure: self.action_on_failure,
            on_duplicate: self.action_on_duplicate_timestamp,
            last: if remembers { Some(Cache::new(REMEMBERED)) } else { None },
        }))
    }
}

/// How a time is written.
enum Format {
    /// Seconds since the epoch, with or without a fraction.
    Unix,
    /// Since the epoch, in units of so many nanoseconds.
    Units(i64),
    Layout(Layout),
}

static LOCAL: LazyLock<Location> = LazyLock::new(Location::local);

impl Format {
    fn new(text: &str) -> Self {
        match text {
            "Unix" => Self::Unix,
            "UnixMs" => Self::Units(1_000_000),
            "UnixUs" => Self::Units(1_000),
            "UnixNs" => Self::Units(1),
            text => Self::Layout(Layout::named(text).unwrap_or_else(|| Layout::new(text))),
        }
    }

    /// Nanoseconds since the epoch. Abbreviations of zones are looked up in `elsewhere`.
    fn parse(&self, text: &str, location: &Location, elsewhere: &Location, wall_ns: i64) -> Option<i64> {
        match self {
            Self::Unix => unix(text),
            Self::Units(nanos) => text.parse::<i64>().ok()?.checked_mul(*nanos),
            Self::Layout(layout) => {
                let mut parsed = layout.parse(text).ok()?;
                if !layout.has_year() {
                    parsed.year = year_of(parsed.month, wall_ns);
                }
                let seconds = location.seconds(&parsed, elsewhere);
                seconds.checked_mul(1_000_000_000)?.checked_add(parsed.nanos)
            }
        }
    }
}

/// `1700000000`, `1700000000.25`. As Alloy: the fraction counts up, whatever the sign of the seconds.
fn unix(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().ok()?;
    let digits = i32::try_from(fraction.len()).ok()?;
    let fraction = fraction.parse::<i64>().ok()? as f64 * 10_f64.powi(9 - digits);
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction as i64)
}

/// The year of a time that does not tell it: this year, but in January last December was last year, and the
/// other way round.
fn year_of(month: i64, wall_ns: i64) -> i64 {
    let (year, now) = LOCAL.year_and_month(wall_ns.div_euclid(1_000_000_000));
    match (month, now) {
        (12, 1) => year - 1,
        (1, 12) => year + 1,
        _ => year,
    }
}

struct Timestamp {
    source: String,
    formats: Vec<Format>,
    location: Location,
    /// Whether the configuration names the place.
    named: bool,
    on_failure: OnFailure,
    on_duplicate: OnDuplicate,
    last: Option<Cache<Labels, Last>>,
}

/// The last time of a label set, as it was read and as it was given out.
#[derive(Clone, Copy)]
struct Last {
    read_ns: i64,
    given_ns: i64,
}

impl Timestamp {
    fn read(&self, record: &Record<'_>, cx: &Cx) -> Option<i64> {
        let text = record.extracted.text(&self.source)?;
        let elsewhere = if self.named { &self.location } else { &*LOCAL };
        self.formats.iter().find_map(|format| format.parse(&text, &self.location, elsewhere, cx.wall_ns))
    }
}

impl MapStage for Timestamp {
    fn process(&mut self, record: &mut Record<'_>, cx: &Cx) -> Flow {
        let read = self.read(record, cx);
        let Some(last) = &mut self.last else {
            record.timestamp_ns = read.unwrap_or(record.timestamp_ns);
            return Flow::Next;
        };
        let labels = cx.labels(record);
        let before = last.get(&labels).copied();
        let now = match (read, before) {
            (Some(read_ns), Some(before))
                if self.on_duplicate == OnDuplicate::Fudge && before.read_ns == read_ns =>
            {
                Last { read_ns, given_ns: before.given_ns.saturating_add(1) }
            }
            (Some(read_ns), _) => Last { read_ns, given_ns: read_ns },
            (None, Some(before)) if self.on_failure == OnFailure::Fudge => {
                Last { given_ns: before.given_ns.saturating_add(1), ..before }
            }
            (None, _) => return Flow::Next,
        };
        record.timestamp_ns = now.given_ns;
        last.insert(labels, now);
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::process::testkit::{Bench, Case, check, refused};

    /// An entry whose label `t` holds its time.
    fn case(time: &str) -> Case {
        Case::new("x").labels([("t", time)])
    }

    fn stage(rest: &str) -> String {
        format!("stage.timestamp {{\n source = \"t\"\n{rest}\n}}")
    }

    #[test]
    fn times_are_read_by_their_format() {
        for (format, time, ns) in [
            ("RFC3339", "2024-01-02T03:04:05Z", 1_704_164_645_000_000_000),
            ("RFC3339Nano", "2024-01-02T03:04:05.123456789+01:00", 1_704_161_045_123_456_789),
            ("2006-01-02 15:04:05,000", "2024-01-02 03:04:05,250", 1_704_164_645_250_000_000),
            ("Unix", "1700000000", 1_700_000_000_000_000_000),
            ("Unix", "1700000000.25", 1_700_000_000_250_000_000),
            ("Unix", "-1.5", -500_000_000),
            ("UnixMs", "1700000000123", 1_700_000_000_123_000_000),
            ("UnixUs", "1700000000123456", 1_700_000_000_123_456_000),
            ("UnixNs", "1700000000123456789", 1_700_000_000_123_456_789),
            ("RubyDate", "Tue Jan 02 03:04:05 +0000 2024", 1_704_164_645_000_000_000),
        ] {
            let text = stage(&format!(" format = \"{format}\""));
            check(&text, &[case(time).gives(case(time).at(ns))]);
        }
    }

    #[test]
    fn what_is_no_time_leaves_the_entry_its_own() {
        for (format, time) in [
            ("RFC3339", "soon"),
            ("Unix", "1.2.3"),
            ("Unix", "99999999999999"),
            ("UnixMs", "1.5"),
            ("UnixMs", "9999999999999999"),
            ("RFC3339", "0001-01-01T00:00:00Z"),
            ("RFC3339", ""),
        ] {
            check(&stage(&format!(" format = \"{format}\"")), &[case(time).same(), Case::new("none").same()]);
        }
    }

    #[test]
    fn other_formats_and_the_place_are_asked() {
        let text = stage(
            " format = \"RFC3339\"\n fallback_formats = [\"2006-01-02 15:04:05\", \"Unix\"]\n location = \"Europe/Berlin\"",
        );
        check(
            &text,
            &[
                case("2024-07-02 03:04:05").gives(case("2024-07-02 03:04:05").at(1_719_882_245_000_000_000)),
                case("2024-01-02 03:04:05").gives(case("2024-01-02 03:04:05").at(1_704_161_045_000_000_000)),
                case("17").gives(case("17").at(17_000_000_000)),
                case("2024-01-02T03:04:05Z")
                    .gives(case("2024-01-02T03:04:05Z").at(1_704_164_645_000_000_000)),
            ],
        );
        let text = stage(" format = \"2006-01-02 15:04:05 MST\"\n location = \"Europe/Berlin\"");
        let summer = "2024-07-02 03:04:05 CEST";
        check(&text, &[case(summer).gives(case(summer).at(1_719_882_245_000_000_000))]);
    }

    #[test]
    fn a_missing_year_is_the_one_that_makes_the_time_near() {
        let ns = |year, month, day| days(year, month, day) * 86_400_000_000_000;
        fn days(year: i64, month: i64, day: i64) -> i64 {
            crate::process::go_time::days_from_civil(year, month, day)
        }
        assert_eq!(year_of(12, ns(2024, 1, 5)), 2023);
        assert_eq!(year_of(1, ns(2023, 12, 30)), 2024);
        assert_eq!(year_of(12, ns(2023, 12, 30)), 2023);
        assert_eq!(year_of(2, ns(2024, 6, 30)), 2024);
        let layout = Format::new("Jan _2 15:04:05");
        let read = layout.parse("Dec 31 23:59:59", &Location::utc(), &Location::utc(), ns(2024, 1, 1));
        assert_eq!(read, Some(1_704_067_199_000_000_000));
        // A 29th of February of a year without one is the 1st of March, as Go has it.
        let read = layout.parse("Feb 29 00:00:00", &Location::utc(), &Location::utc(), ns(2023, 3, 2));
        assert_eq!(read, Some(ns(2023, 3, 1)));
    }

    #[test]
    fn without_a_time_the_last_one_of_the_labels_counts_on() {
        let entry = |time: &str, app: &str| Case::new(time).labels([("app", app)]);
        let stages = |more: &str| {
            format!(
                "stage.regex {{ expression = \"(?P<t>.*)\" }}\nstage.timestamp {{ source = \"t\"\n format = \"Unix\"\n {more} }}"
            )
        };
        let times = |more: &str| -> Vec<String> {
            let mut bench = Bench::new(&stages(more));
            let came = [entry("5", "a"), entry("x", "a"), entry("y", "a"), entry("z", "b"), entry("5", "a")];
            bench
                .run(&came)
                .iter()
                .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(times(""), ["5000000000", "5000000001", "5000000002", "1000000000", "5000000003"]);
        assert_eq!(
            times("action_on_failure = \"skip\""),
            ["5000000000", "1000000000", "1000000000", "1000000000", "5000000001"]
        );
        assert_eq!(
            times("action_on_duplicate_timestamp = \"keep\""),
            ["5000000000", "5000000001", "5000000002", "1000000000", "5000000000"]
        );
        assert_eq!(
            times("action_on_failure = \"skip\"\n action_on_duplicate_timestamp = \"keep\""),
            ["5000000000", "1000000000", "1000000000", "1000000000", "5000000000"]
        );
    }

    #[test]
    fn arguments_are_checked() {
        refused("stage.timestamp { source = \"\"\n format = \"Unix\" }", "must name an extracted value");
        refused("stage.timestamp { source = \"t\"\n format = \"\" }", "must be a layout");
        refused("stage.timestamp { source = \"t\" }", "format");
        refused(
            "stage.timestamp { source = \"t\"\n format = \"Unix\"\n location = \"No/Where\" }",
            "No/Where",
        );
        refused(
            "stage.timestamp { source = \"t\"\n format = \"Unix\"\n action_on_failure = \"drop\" }",
            "fudge",
        );
        refused(
            "stage.timestamp { source = \"t\"\n format = \"Unix\"\n action_on_duplicate_timestamp = \"skip\" }",
            "keep",
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(time in ".{0,40}", format in ".{1,20}") {
            for format in [Format::new(&format), Format::Unix, Format::Units(1_000_000)] {
                let _ = format.parse(&time, &Location::utc(), &Location::utc(), 0);
            }
        }

        #[test]
        fn seconds_with_a_fraction_are_read(seconds in -9_000_000_000_i64..9_000_000_000, nanos in 0_u32..1_000_000_000) {
            let read = unix(&format!("{seconds}.{nanos:09}"));
            prop_assert_eq!(read, Some(seconds * 1_000_000_000 + i64::from(nanos)));
        }
    }
}

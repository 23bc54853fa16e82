//! Against a table that Go made.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Made by Go, see its head.
const VECTORS: &str = include_str!("../../../testdata/go_time.txt");

#[test]
fn times_are_read_and_written_as_go_does_it() {
    let mut places: HashMap<&str, Location> = HashMap::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        count += 1;
        let columns: Vec<&str> = line.split('\t').collect();
        let text = |column: usize| serde_json::from_str::<String>(columns[column]).expect("a text");
        let (layout, value) = (Layout::new(&text(0)), text(1));
        let place = places
            .entry(columns[2])
            .or_insert_with(|| Location::load(columns[2]).expect("a place of the database"));
        let read = layout.parse(&value).map(|parsed| place.resolve(&parsed, place));
        let fits = match (&read, columns[3]) {
            (Err(_), "!") => true,
            (Ok(at), seconds) if seconds != "!" => {
                let mut again = String::new();
                layout.format(at, &mut again);
                at.seconds.to_string() == seconds
                    && at.nanos.to_string() == columns[4]
                    // An offset or a name that is also the place's is seen as the place's in Go.
                    && (again == text(6) || !columns[2].is_empty())
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!("{line}\n    {read:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 700);
}

#[test]
fn days_and_dates_are_each_other() {
    for (date, days) in [
        ((1970, 1, 1), 0),
        ((2000, 2, 29), 11_016),
        ((2000, 3, 1), 11_017),
        ((1, 1, 1), -719_162),
        ((0, 1, 1), -719_528),
        ((9999, 12, 31), 2_932_896),
        ((1969, 12, 31), -1),
    ] {
        assert_eq!(days_from_civil(date.0, date.1, date.2), days);
        assert_eq!(civil_from_days(days), date);
    }
}

#[test]
fn layouts_have_names_and_know_whether_they_have_a_year() {
    assert!(Layout::named("RFC3339Nano").expect("a name").has_year());
    assert!(Layout::named("RFC822").expect("a name").has_year());
    assert_eq!(Layout::named("rfc3339"), None);
    assert!(!Layout::new("Jan _2 15:04:05").has_year());
    assert!(!Layout::new("no time").has_elements());
}

proptest! {
    #[test]
    fn any_layout_takes_or_refuses_any_text(layout in ".{0,30}", value in ".{0,30}") {
        let layout = Layout::new(&layout);
        if let Ok(parsed) = layout.parse(&value) {
            let at = Location::utc().resolve(&parsed, &Location::utc());
            layout.format(&at, &mut String::new());
        }
    }

    #[test]
    fn texts_that_look_like_times_are_read_or_refused(
        layout in "(2006|06|Jan|01|02|_2|__2|002|15|03|3|04|05|5|PM|MST|Z07:00|-0700|\\.000|,999|[ :-]){0,10}",
        value in "([0-9]{1,4}|jan|PM|UTC|GMT\\+3|Z|[-+:., ]){0,12}",
    ) {
        let layout = Layout::new(&layout);
        if let Ok(parsed) = layout.parse(&value) {
            let at = Location::utc().resolve(&parsed, &Location::utc());
            layout.format(&at, &mut String::new());
        }
    }

    #[test]
    fn what_is_written_is_read_again(seconds in -62_000_000_000_i64..250_000_000_000, nanos in 0_i64..1_000_000_000) {
        let at = Location::utc().see(seconds, nanos);
        let layout = Layout::named("RFC3339Nano").expect("a name");
        let mut out = String::new();
        layout.format(&at, &mut out);
        let parsed = layout.parse(&out).expect("what we write, we read");
        prop_assert_eq!((Location::utc().seconds(&parsed, &Location::utc()), parsed.nanos), (seconds, nanos));
    }
}

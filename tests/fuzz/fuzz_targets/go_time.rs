//! Any text as a layout of Go, any other as a time of it: no panic; a time that tells all of itself is read
//! again as it was written.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_loki::process::go_time::{Layout, Location};

fuzz::target!(|input: (&str, &str)| {
    let (layout, value) = input;
    let utc = Location::utc();
    let layout = Layout::new(layout);
    let Ok(parsed) = layout.parse(value) else { return };
    let moment = utc.resolve(&parsed, &utc);
    layout.format(&moment, &mut String::new());
    let whole = Layout::new("2006-01-02T15:04:05.999999999-07:00:00");
    let mut out = String::new();
    whole.format(&moment, &mut out);
    // Offsets of a day and more are taken, but cannot be written.
    if let Ok(again) = whole.parse(&out) {
        assert_eq!((utc.seconds(&again, &utc), again.nanos), (moment.seconds, moment.nanos));
    }
});

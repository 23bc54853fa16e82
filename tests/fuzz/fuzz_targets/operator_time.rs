//! Any text as a layout of `time_parser`, of all kinds, any other as a time of it: no panic, and it ends.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::operators::times::Layout;
use components_otelcol::operators::value::{Value, time_text};

fuzz::target!(|input: (u8, &str, &str)| {
    let (choice, layout, value) = input;
    let kind = ["strptime", "gotime", "epoch"][usize::from(choice % 3)];
    let location = ["UTC", "Europe/Berlin", "America/New_York"][usize::from(choice / 3 % 3)];
    let Ok(layout) = Layout::new(kind, layout, Some(location)) else { return };
    for value in [Value::from(value), value.parse().map_or(Value::Null, Value::Float)] {
        if let Ok(ns) = layout.read(&value, 1_700_000_000_000_000_000) {
            assert!(!time_text(ns).is_empty());
        }
    }
});

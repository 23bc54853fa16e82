//! Any text as metrics of prometheus.exporter.static and of the textfile collector: no panic, and what is written of them
//! is read as the same.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_exporters::text::parse;
use signal::exposition::{Family, write_text};

fn read(text: &str) -> Option<Vec<Family>> {
    Some(parse(text).ok()?.into_iter().map(|parsed| parsed.family).collect())
}

fn written(families: &[Family]) -> String {
    let mut out = String::new();
    write_text(families, &mut out);
    out
}

fuzz::target!(|text: &str| {
    let Some(families) = read(text) else { return };
    let page = written(&families);
    let again = parse(&page).unwrap_or_else(|error| panic!("{error}: {page}"));
    assert_eq!(written(&again.into_iter().map(|parsed| parsed.family).collect::<Vec<_>>()), page);
});

//! Any text as a query of every database and as a URL: it is masked without a panic, and a URL that is masked stays so.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::processor::redaction::read_arbitrary;

fuzz::target!(|text: &str| {
    read_arbitrary(text);
});

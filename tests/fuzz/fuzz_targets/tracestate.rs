//! Any text as a trace state: no panic, and what is written of it is the same again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_otelcol::processor::probabilistic_sampler::read_arbitrary;

fuzz::target!(|text: &str| {
    read_arbitrary(text);
});

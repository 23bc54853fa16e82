//! Any text as a configuration of each program that is converted: no panic, it ends, what is written has no mistake that
//! a parser finds, and each problem says what to do.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::LazyLock;

use component::Registry;
use convert::{Format, convert};
use syntax::Source;

fuzz::target!(|text: &str| {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(catalog::all);
    let source = Source::new("fuzz.yaml", text);
    for format in Format::ALL {
        let converted = convert(&source, format, "", &REGISTRY);
        let _ = convert::report(&converted.problems);
        if let Some(text) = converted.text {
            let (_, problems) = syntax::parse(&Source::new("out.alloy", text.as_str()));
            assert_eq!(problems, [], "{text}");
        }
    }
});

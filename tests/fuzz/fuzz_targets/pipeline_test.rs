//! Any text as a file of pipeline tests: no panic, and what is wrong with it has a place in it and can be shown.
#![cfg_attr(feature = "libfuzzer", no_main)]

fuzz::target!(|text: &str| {
    if let Err(problems) = pipeline_test::read_arbitrary(text) {
        assert!(!problems.is_empty());
        let _ = syntax::render(&problems, false);
    }
});

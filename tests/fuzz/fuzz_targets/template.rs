//! Any text as a Go template on any data: no panic, it ends, its result is bounded, and it leaves no half result.
#![cfg_attr(feature = "libfuzzer", no_main)]

use components_loki::process::template::{Data, Template};

fuzz::target!(|input: (&str, &str)| {
    let (source, value) = input;
    let Ok(template) = Template::parse(source) else { return };
    let mut data = Data::new();
    for name in ["Value", "Entry", "a"] {
        data.set(name, value);
    }
    let mut out = "before".to_owned();
    let result = template.render(&data, &mut out);
    assert!(out.starts_with("before") && out.len() <= (8 << 20) + 6);
    if let Err(error) = result {
        assert_eq!(out, "before");
        assert!(!error.to_string().contains("panicked"), "{error}");
    }
});

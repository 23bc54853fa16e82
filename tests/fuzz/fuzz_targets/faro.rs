//! Any bytes as a payload of the Faro SDK: no panic, lines that are lines, and no more of them than their length allows.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::faro::{Format, Payload, memory, text};

fuzz::target!(|body: &[u8]| {
    let text = text(body);
    let Ok(payload) = Payload::read(&text) else { return };
    let Ok(mut exceptions) = payload.exceptions() else { return };
    exceptions.iter_mut().flat_map(|e| e.frames()).for_each(|frame| frame.filename = "x".into());
    for format in [Format::Logfmt, Format::Json] {
        let mut bytes = 0;
        let _ = payload.lines(&exceptions, format, text.len(), |_, line| {
            assert!(!line.contains('\n'));
            bytes += line.len();
        });
        assert!(bytes <= memory(text.len()));
    }
});

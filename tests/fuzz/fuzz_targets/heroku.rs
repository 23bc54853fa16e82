//! Any body as one of Heroku's drain: no panic, and each message takes something off the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::syslog::heroku::{frame, parse};

fuzz_target!(|body: &[u8]| {
    let mut rest = body;
    while let Ok((message, after)) = frame(rest) {
        assert!(after.len() < rest.len());
        rest = after;
        let _ = parse(&String::from_utf8_lossy(message));
    }
});

//! Any body as one of Heroku's drain: no panic, and each message takes something off the body.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::syslog::heroku::{frame, parse};

fuzz::target!(|body: &[u8]| {
    let mut rest = body;
    while let Ok((message, after)) = frame(rest) {
        assert!(after.len() < rest.len());
        rest = after;
        let _ = parse(&String::from_utf8_lossy(message));
    }
});

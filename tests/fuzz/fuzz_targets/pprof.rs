//! Any bytes as profiles: two of them are compared without a panic, and what is written is a profile again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::pprof::{Delta, Kind, Outcome, Scratch, shape, sniff, unpack};

const LIMIT: usize = 1 << 20;

fuzz::target!(|bodies: (&[u8], &[u8])| {
    let (mut scratch, mut buffer) = (Scratch::default(), Vec::new());
    for kind in [Kind::Memory, Kind::Contention] {
        let mut delta = Delta::with_limit(kind, 100);
        for body in [bodies.0, bodies.1, bodies.0] {
            let _ = sniff(body);
            let Ok(profile) = unpack(body, LIMIT, &mut buffer) else { continue };
            let all = shape(profile);
            let mut out = Vec::new();
            if let Ok(Outcome::Written { .. }) = delta.compare(profile, &mut scratch, &mut out) {
                // A value type whose name is not there is nothing to the comparison.
                if let Ok(all) = all {
                    let written = shape(&out).expect("what is made of a sound profile is one");
                    assert_eq!(written.columns.len(), all.columns.len());
                    assert!(written.samples <= all.samples);
                }
            } else {
                assert!(out.is_empty());
            }
            delta.settle();
            assert!(delta.len() <= 100);
        }
    }
});

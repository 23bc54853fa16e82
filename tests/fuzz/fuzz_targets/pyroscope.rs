//! Any body as a push request of either form and any text as a query of `/ingest`: no panic, bounded memory, and what
//! is taken can be written and read again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use signal::profiles::ProfileBody;
use wire::pyroscope::{
    check_labels, connect, decode, decode_json, parse_name, parse_query, push_series, write_query,
};

fuzz::target!(|body: &[u8]| {
    let _ = connect::parse_error(body);
    if let Some(query) = std::str::from_utf8(body).ok().and_then(|text| parse_query(text).ok()) {
        let again =
            parse_query(&write_query(&query.labels, &query.parameters)).expect("what we write, we read");
        assert_eq!(again.parameters, query.parameters);
    }
    if let Some(labels) = std::str::from_utf8(body).ok().and_then(|text| parse_name(text).ok()) {
        let _ = check_labels(&labels);
    }
    let body = bytes::Bytes::copy_from_slice(body);
    for profiles in [decode(&body, 1 << 20), decode_json(&body, 1 << 20)].into_iter().flatten() {
        let mut out = Vec::new();
        for profile in &profiles {
            let ProfileBody::Pprof(pprof) = &profile.body else { panic!("only the Push API is read here") };
            push_series(&mut out, &profile.labels, std::iter::once(pprof));
        }
        assert_eq!(decode(&out.into(), 1 << 24).expect("what we write, we read"), profiles);
    }
});

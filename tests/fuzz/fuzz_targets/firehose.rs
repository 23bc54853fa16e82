//! Any body as a request of Firehose, any bytes as a record and as an envelope of CloudWatch Logs: no panic, and
//! no more memory than the limit.
#![cfg_attr(feature = "libfuzzer", no_main)]

use wire::firehose::{Data, cloud_watch, record, request};

const LIMIT: usize = 1 << 20;

fuzz::target!(|body: &[u8]| {
    let _ = cloud_watch(body);
    let Ok(request) = request(body) else { return };
    for one in &request.records {
        match record(&one.data, LIMIT) {
            Ok(Data::CloudWatch(data)) => {
                assert!(data.len() <= LIMIT);
                let _ = cloud_watch(&data);
            }
            Ok(Data::Direct(data)) => assert!(data.len() <= one.data.len()),
            Err(error) => assert!(!error.reason().is_empty()),
        }
    }
});

//! Entries as records, receipts, and entries that come back from the exporter.

use component::otel::OtelInput;
use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef};
use proptest::prelude::*;
use signal::logs::{Entry, Hold, LogBuilder, Receipt};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// Labels, time and line of an entry.
type Sent<'a> = (&'a [(&'a str, &'a str)], i64, &'a str);

fn batch(entries: &[Sent<'_>], hold: Option<Hold>) -> Logs {
    let mut builder = LogBuilder::new(7, hold);
    for (stream, timestamp_ns, line) in entries {
        let stream = builder.stream(&labels(stream));
        builder.push(Entry { stream, timestamp_ns: *timestamp_ns, line: (*line).into(), metadata: None });
    }
    builder.finish()
}

fn shown(logs: &OtlpLogs) -> Vec<String> {
    let message = logs.requests[0].message().expect("decodes");
    let records = &message.resource_logs[0].scope_logs[0].log_records;
    let line = |record: &LogRecord| {
        let attributes: Vec<String> = record
            .attributes
            .iter()
            .map(|a| format!("{}={}", a.key, crate::value::text(a.value.as_ref())))
            .collect();
        let body = crate::value::text(record.body.as_ref());
        format!(
            "{body} @{} ~{} {}",
            record.time_unix_nano,
            record.observed_time_unix_nano,
            attributes.join(" ")
        )
    };
    records.iter().map(line).collect()
}

#[test]
fn labels_become_attributes_and_are_named_in_the_hint() {
    let mut sent =
        batch(&[(&[("job", "a"), ("filename", "/var/log/x.log")], 3, "one"), (&[], 4, "two")], None);
    sent.make_mut().entries[0].metadata = Some(labels(&[("job", "hidden"), ("trace", "t")]));
    let records = records(&sent);
    assert_eq!(
        shown(&records),
        [
            "one @3 ~7000000 log.file.path=/var/log/x.log log.file.name=x.log loki.attribute.labels=filename,job filename=/var/log/x.log job=a trace=t",
            "two @4 ~7000000 ",
        ]
    );
    assert_eq!((records.items(), records.received_ms), (2, 7));
}

#[tokio::test]
async fn a_receipt_is_held_until_the_consumers_have_answered() {
    struct Waiting(tokio::sync::Semaphore);
    impl Consumer<OtlpLogs> for Waiting {
        fn consume(&self, _batch: OtlpLogs) -> BoxFuture<'_, Result<(), Rejected>> {
            Box::pin(async {
                self.0.acquire().await.expect("open").forget();
                Ok(())
            })
        }
    }
    let port = Port::<OtlpLogs>::detached("waiting");
    let waiting = std::sync::Arc::new(Waiting(tokio::sync::Semaphore::new(0)));
    let _ = port.attach_shared(waiting.clone());
    let next = OtelInput { logs: Some(port.receiver()), ..OtelInput::default() };
    let names = Names::default().with("next", next.to_value());
    let harness = Harness::start(ComponentDef::of::<Loki>(), "output { logs = [next] }", names).await;
    let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
    let receiver = Receiver::<Logs>::from_value(&exports["receiver"]).expect("a receiver");
    let receipt = Receipt::new();
    let sending = receiver.send(batch(&[(&[("a", "b")], 1, "x")], Some(receipt.hold())));
    tokio::pin!(sending);
    assert!(futures_util::poll!(&mut sending).is_pending());
    assert!(!receipt.is_settled());
    waiting.0.add_permits(1);
    sending.await.expect("taken");
    assert!(receipt.is_settled());
    harness.update("output { }").await.expect("valid");
    let refused = receiver.send(batch(&[(&[], 1, "x")], None)).await;
    assert!(matches!(refused, Err(Rejected::Permanent(message)) if message.contains("no consumer for logs")));
}

/// Sends entries through the receiver and then through the exporter.
async fn there_and_back(sent: Logs) -> Logs {
    let sink = Sink::<Logs>::new();
    let names = Names::default().with("next", sink.value());
    let definition = ComponentDef::of::<crate::exporter::loki::Loki>();
    let exporter = Harness::start(definition, "forward_to = [next]", names).await;
    let component::eval::Value::Object(exports) = exporter.node.exports() else { panic!("an object") };
    let names = Names::default().with("next", exports["input"].clone());
    let receiver = Harness::start(ComponentDef::of::<Loki>(), "output { logs = [next] }", names).await;
    let component::eval::Value::Object(exports) = receiver.node.exports() else { panic!("an object") };
    let receiver = Receiver::<Logs>::from_value(&exports["receiver"]).expect("a receiver");
    receiver.send(sent).await.expect("taken");
    sink.take().remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn entries_come_back_with_their_labels_times_and_lines(
        entries in prop::collection::vec(
            (prop::collection::btree_map("[a-z]{1,2}|filename", "\\PC{1,6}", 0..4), 1_i64..1_000, "\\PC{0,12}"),
            1..6,
        ),
    ) {
        let mut builder = LogBuilder::new(0, None);
        for (stream, timestamp_ns, line) in &entries {
            let stream = builder.stream(&Labels::from_pairs(stream.iter()));
            builder.push(Entry { stream, timestamp_ns: *timestamp_ns, line: line.as_str().into(), metadata: None });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let back = runtime.block_on(there_and_back(builder.finish()));
        prop_assert_eq!(back.len(), entries.len());
        for (entry, (stream, timestamp_ns, line)) in back.entries.iter().zip(&entries) {
            let mut expected = stream.clone();
            expected.insert("exporter".into(), "OTLP".into());
            prop_assert_eq!(back.labels(entry), &Labels::from_pairs(expected.iter()));
            prop_assert_eq!(entry.timestamp_ns, *timestamp_ns);
            let json: serde_json::Value = serde_json::from_str(&entry.line).expect("JSON");
            prop_assert_eq!(json["body"].as_str(), Some(line.as_str()));
        }
    }
}

//! The same promises on several threads and real files, where wake-ups can race.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Backoff, BoxFuture, Config, DiskConfig, Fsync, OnFull, Outcome, Queue, Record, Transport, inspect,
};

/// Fails every third attempt, yields in between, and remembers numbers by key.
#[derive(Default)]
struct Flaky {
    attempts: Mutex<u64>,
    delivered: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Transport for Flaky {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let turn = {
                let mut attempts = self.attempts.lock();
                *attempts += 1;
                *attempts
            };
            if turn % 3 == 0 {
                return Outcome::Retry {
                    reason: "server",
                    message: "503".into(),
                    after: None,
                    limited: false,
                };
            }
            let mut delivered = self.delivered.lock();
            for record in records {
                let number = u64::from_le_bytes(record.body[..8].try_into().unwrap());
                delivered.entry(record.key).or_default().push(number);
            }
            Outcome::Delivered
        })
    }
}

const PRODUCERS: u64 = 8;
const RECORDS: u64 = 150;

async fn produce(queue: Queue, key: u64) {
    for number in 0..RECORDS {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(200, 1);
        let record = Record {
            body: Bytes::from(body),
            items: 1,
            key,
            group: 0,
            created_ms: i64::MAX,
            newest_ms: 0,
            kind: 0,
        };
        queue.append(record).await.expect("a blocking queue accepts everything");
    }
}

/// Small bounds, so that producers wait, records spill and segments turn over.
fn tight(disk: Option<DiskConfig>) -> Config {
    Config {
        memory_bytes: 4_000,
        on_full: OnFull::Block,
        disk,
        lanes: 4,
        min_senders: 4,
        max_senders: 4,
        batch_items: 5,
        backoff: Backoff { min: Duration::from_micros(1), max: Duration::from_millis(2) },
        ..Config::default()
    }
}

async fn everything_arrives_in_order(config: Config) {
    let transport = Arc::new(Flaky::default());
    let queue = Queue::open(config, transport.clone()).await.unwrap();
    let producers: Vec<_> = (0..PRODUCERS).map(|key| tokio::spawn(produce(queue.clone(), key))).collect();
    for producer in producers {
        producer.await.unwrap();
    }
    queue.drain(Duration::from_secs(60)).await;
    let stats = queue.stats();
    assert_eq!((stats.sent.records, stats.queued.records), (PRODUCERS * RECORDS, 0), "{stats:?}");
    let delivered = transport.delivered.lock();
    assert_eq!(delivered.len() as u64, PRODUCERS);
    for numbers in delivered.values() {
        assert_eq!(*numbers, (0..RECORDS).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_share_a_small_queue_in_memory() {
    everything_arrives_in_order(tight(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_share_a_small_queue_on_disk_under_every_fsync_policy() {
    for fsync in [Fsync::Never, Fsync::Interval(Duration::from_millis(5)), Fsync::Always] {
        let folder = tempfile::tempdir().unwrap();
        let disk =
            DiskConfig { max_bytes: 20_000, segment_bytes: 2_000, fsync, ..DiskConfig::new(folder.path()) };
        everything_arrives_in_order(tight(Some(disk))).await;
        let left = inspect(folder.path()).unwrap();
        assert_eq!((left.segments.len(), left.damaged_bytes, left.set_aside.len()), (0, 0, 0));
    }
}

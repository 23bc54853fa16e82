//! What a queue promises its owner, one promise a test.

mod disk;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, advance, sleep, timeout};

use super::fake_fs::{FakeFs, Process};
use super::simulation::Jumping;
use crate::{
    Amount, AppendError, Backoff, BoxFuture, Config, DiskConfig, Fsync, OnFull, OpenError, Outcome, Queue,
    Record, Transport, inspect, queue::Surroundings,
};

/// Answers from a script, `Delivered` after its end, and remembers what it was given and when.
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<Call>>,
    began: Instant,
}

enum Answer {
    Now(Outcome),
    Never,
}

#[derive(Debug, Clone, PartialEq)]
struct Call {
    at_ms: u64,
    bodies: Vec<String>,
    attempt: u32,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Script> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Script { answers, calls: Mutex::default(), began: Instant::now() })
    }

    fn bodies(&self) -> Vec<String> {
        self.calls.lock().iter().map(|call| call.bodies.join("+")).collect()
    }

    fn times(&self) -> Vec<u64> {
        self.calls.lock().iter().map(|call| call.at_ms).collect()
    }
}

impl Transport for Script {
    fn send<'a>(&'a self, records: &'a [Record], attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let bodies =
                records.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect();
            let at_ms = self.began.elapsed().as_millis() as u64;
            self.calls.lock().push(Call { at_ms, bodies, attempt });
            let answer = self.answers.lock().pop_front();
            match answer {
                Some(Answer::Now(outcome)) => outcome,
                Some(Answer::Never) => std::future::pending().await,
                None => Outcome::Delivered,
            }
        })
    }
}

fn retry() -> Answer {
    Answer::Now(Outcome::Retry { reason: "server", message: "503".into(), after: None, limited: false })
}

fn limited(after_seconds: u64) -> Answer {
    let after = Some(Duration::from_secs(after_seconds));
    Answer::Now(Outcome::Retry { reason: "limited", message: "429".into(), after, limited: true })
}

fn text(body: &str) -> Record {
    Record {
        body: Bytes::from(body.to_owned()),
        items: 1,
        key: 0,
        group: 0,
        created_ms: NOW,
        newest_ms: 5,
        kind: 0,
    }
}

const NOW: i64 = 1_700_000_000_000;

fn one_lane() -> Config {
    Config { lanes: 1, batch_items: 1, ..Config::default() }
}

fn on_disk(config: Config) -> Config {
    let disk =
        DiskConfig { max_bytes: 4_000, segment_bytes: 400, fsync: Fsync::Never, ..DiskConfig::new("q") };
    Config { disk: Some(disk), ..config }
}

async fn open_on(disk: &FakeFs, config: &Config, transport: Arc<dyn Transport>) -> (Queue, Arc<Process>) {
    let process = disk.process();
    let clock = Arc::new(Jumping { origin: Instant::now(), offset: AtomicI64::new(0) });
    let surroundings = Surroundings { fs: Some(process.clone()), clock, seed: 1 };
    (Queue::open_in(config.clone(), transport, surroundings).await.unwrap(), process)
}

async fn open(config: &Config, transport: Arc<dyn Transport>) -> Queue {
    open_on(&FakeFs::new(1), config, transport).await.0
}

/// Lets everything that can happen without time passing happen.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn records_of_one_key_arrive_in_order_and_are_counted() {
    let script = Script::new([]);
    let queue = open(&one_lane(), script.clone()).await;
    for body in ["a", "bb", "ccc"] {
        queue.append(text(body)).await.unwrap();
    }
    settle().await;
    assert_eq!(script.bodies(), ["a", "bb", "ccc"]);
    let stats = queue.stats();
    assert_eq!((stats.sent.records, stats.sent.items, stats.sent.bytes), (3, 3, 6));
    assert_eq!((stats.newest_sent_ms, stats.queued.records, stats.send_seconds.count), (Some(5), 0, 3));
    assert!(stats.last_success_ms.is_some() && stats.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn records_of_one_group_share_an_attempt_past_those_of_others_and_keep_their_order() {
    let script =
        Script::new([retry(), Answer::Now(Outcome::Split { reason: "bad", message: String::new() })]);
    let config = Config { batch_wait: Duration::from_secs(1), batch_items: 3, ..one_lane() };
    let queue = open(&config, script.clone()).await;
    for (body, group) in [("a1", 1), ("b1", 2), ("a2", 1), ("c1", 3), ("b2", 2), ("a3", 1), ("a4", 1)] {
        queue.append(Record { group, ..text(body) }).await.unwrap();
    }
    sleep(Duration::from_secs(10)).await;
    // The retry goes out again as it was; the split one by one; then the others by their front.
    assert_eq!(script.bodies(), ["a1+a2+a3", "a1+a2+a3", "a1", "a2", "a3", "b1+b2", "c1", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_a_fence() {
    let script = Script::new([retry()]);
    let config = Config { lanes: 8, max_senders: 8, min_senders: 8, batch_items: 100, ..Config::default() };
    let queue = open(&config, script.clone()).await;
    let append = async |body: &str, key| queue.append(Record { key, ..text(body) }).await.unwrap();
    append("old 1", 1).await;
    append("old 1 too", 1).await;
    queue.fence();
    for key in 0..8 {
        append("new", key).await;
    }
    settle().await;
    assert_eq!(script.bodies(), ["old 1+old 1 too"], "the first attempt, which fails");
    sleep(Duration::from_secs(5)).await;
    let bodies = script.bodies();
    assert_eq!(bodies[1], "old 1+old 1 too");
    assert_eq!(bodies[2..].join("+").matches("new").count(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_transport_is_told_what_of_which_group_is_dropped() {
    struct Refusing(Mutex<Vec<(&'static str, u64, u64)>>);
    impl Transport for Refusing {
        fn send<'a>(&'a self, _: &'a [Record], _: u32) -> BoxFuture<'a, Outcome> {
            Box::pin(async { Outcome::Drop { reason: "bad", message: String::new() } })
        }
        fn dropped(&self, reason: &'static str, group: u64, amount: Amount) {
            self.0.lock().push((reason, group, amount.items));
        }
    }
    let refusing = Arc::new(Refusing(Mutex::default()));
    let config =
        Config { batch_items: 100, batch_wait: Duration::from_secs(5), lanes: 1, ..Config::default() };
    let queue = open(&config, refusing.clone()).await;
    for group in [1, 2, 1] {
        queue.append(Record { group, ..text("x") }).await.unwrap();
    }
    sleep(Duration::from_secs(6)).await;
    queue.append(Record { group: 3, ..text("y") }).await.unwrap();
    queue.drain(Duration::ZERO).await;
    assert_eq!(*refusing.0.lock(), [("bad", 1, 2), ("bad", 2, 1), ("shutdown", 3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn waiting_records_share_an_attempt_up_to_the_limits_and_their_kind() {
    let script = Script::new([Answer::Now(Outcome::Delivered)]);
    let config = Config { batch_items: 3, batch_wait: Duration::from_secs(5), ..one_lane() };
    let queue = open(&config, script.clone()).await;
    for body in ["a", "b", "c", "d"] {
        queue.append(text(body)).await.unwrap();
    }
    queue.append(Record { kind: 1, ..text("meta") }).await.unwrap();
    settle().await;
    assert_eq!(script.bodies(), ["a+b+c"], "a full batch does not wait");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(script.bodies(), ["a+b+c", "d", "meta"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_repeated_whole_with_growing_delays() {
    let script = Script::new([retry(), retry(), retry(), retry()]);
    let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(4) };
    let queue = open(&Config { backoff, ..one_lane() }, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    queue.append(text("b")).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(script.bodies(), ["a", "a", "a", "a", "a", "b"]);
    let times = script.times();
    for (pair, full) in times.windows(2).zip([1_000, 2_000, 4_000, 4_000]) {
        let waited = pair[1] - pair[0];
        assert!((full / 2..=full + 1).contains(&waited), "waited {waited} ms, not half to all of {full}");
    }
    assert_eq!(queue.stats().retried.records, 4);
    assert_eq!(script.calls.lock().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 1]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_pauses_the_whole_endpoint_and_holds_senders_to_the_minimum() {
    let script = Script::new([limited(20)]);
    let config = Config { lanes: 4, max_senders: 4, batch_items: 1, ..Config::default() };
    let queue = open(&config, script.clone()).await;
    for key in 0..4 {
        queue.append(Record { key, ..text("x") }).await.unwrap();
    }
    sleep(Duration::from_secs(19)).await;
    assert_eq!(script.times(), [0]);
    let stats = queue.stats();
    assert_eq!((stats.senders, stats.limited_for.is_some()), (1, true));
    sleep(Duration::from_secs(2)).await;
    assert_eq!((script.times().len(), queue.stats().limited_for), (5, None));
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_bounded() {
    let script = Script::new([limited(u64::MAX)]);
    let queue =
        open(&Config { retry_after_max: Duration::from_secs(60), ..one_lane() }, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(script.bodies(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn limited_records_are_dropped_when_they_are_not_to_be_retried() {
    let script = Script::new([limited(1)]);
    let queue = open(&Config { retry_limited: false, ..one_lane() }, script).await;
    queue.append(text("a")).await.unwrap();
    settle().await;
    assert_eq!(queue.stats().dropped["limited"].records, 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_their_maximum_under_the_transports_reason() {
    let script = Script::new([retry(), retry()]);
    let queue = open(&Config { max_attempts: Some(2), ..one_lane() }, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    queue.append(text("b")).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!((script.bodies().join(" "), queue.stats().dropped["server"].records), ("a a b".into(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_split_so_that_only_the_culprit_is_dropped() {
    let split = || Answer::Now(Outcome::Split { reason: "bad", message: "400".into() });
    let script = Script::new([split(), Answer::Now(Outcome::Delivered), split()]);
    let config = Config { batch_items: 3, batch_wait: Duration::from_secs(1), ..one_lane() };
    let queue = open(&config, script.clone()).await;
    for body in ["a", "b", "c"] {
        queue.append(text(body)).await.unwrap();
    }
    settle().await;
    assert_eq!(script.bodies(), ["a+b+c", "a", "b", "c"]);
    let stats = queue.stats();
    assert_eq!((stats.sent.records, stats.dropped["bad"].records), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_beside_which_its_like_would_not_fit_waits_for_no_company() {
    let script = Script::new([]);
    let wait = Duration::from_secs(1);
    let config = Config { batch_items: 10, batch_alone: 6, batch_wait: wait, ..one_lane() };
    let queue = open(&config, script.clone()).await;
    let of = |body, items| Record { items, ..text(body) };
    queue.append(of("large", 6)).await.unwrap();
    settle().await;
    assert_eq!(script.bodies(), ["large"]);
    queue.append(of("small", 5)).await.unwrap();
    queue.append(of("next", 3)).await.unwrap();
    settle().await;
    assert_eq!(script.bodies(), ["large"]);
    sleep(wait).await;
    assert_eq!(script.bodies(), ["large", "small+next"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_is_abandoned_and_repeated() {
    let script = Script::new([Answer::Never]);
    let queue = open(&Config { attempt_timeout: Duration::from_secs(7), ..one_lane() }, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(script.bodies(), ["a", "a"]);
    assert_eq!(queue.stats().last_error.unwrap().reason, "timeout");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_lane_leaves_the_others_alone() {
    let script = Script::new([Answer::Never]);
    let config = Config { lanes: 2, min_senders: 2, max_senders: 2, batch_items: 1, ..Config::default() };
    let queue = open(&config, script.clone()).await;
    for (key, body) in [(0, "stuck"), (1, "b"), (0, "behind"), (1, "d")] {
        queue.append(Record { key, ..text(body) }).await.unwrap();
    }
    settle().await;
    assert_eq!(script.bodies(), ["stuck", "b", "d"]);
    let stats = queue.stats();
    assert_eq!((stats.in_flight.records, stats.queued.records, stats.attempts_in_flight), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_blocks_in_order_until_there_is_room() {
    let script = Script::new([Answer::Never]);
    let config = Config { memory_items: 2, attempt_timeout: Duration::from_secs(10), ..one_lane() };
    let queue = open(&config, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    queue.append(text("b")).await.unwrap();
    let waiting = ["c", "d", "e"].map(|body| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.append(text(body)).await })
    });
    settle().await;
    assert_eq!(queue.stats().waiting_appends, 3);
    assert!(timeout(Duration::from_secs(1), queue.append(text("cancelled"))).await.is_err());
    for append in waiting {
        append.await.unwrap().unwrap();
    }
    settle().await;
    assert_eq!(script.bodies(), ["a", "a", "b", "c", "d", "e"]);
    assert_eq!(queue.stats().waiting_appends, 0);
}

#[tokio::test(start_paused = true)]
async fn a_small_record_does_not_overtake_a_large_one_that_waits_for_room() {
    let script = Script::new([Answer::Never]);
    let config = Config { memory_bytes: 1_000, ..one_lane() };
    let queue = open(&config, script.clone()).await;
    queue.append(text(&"a".repeat(500))).await.unwrap();
    let waiting = ["b".repeat(700), "c".to_owned()].map(|body| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.append(text(&body)).await })
    });
    settle().await;
    assert_eq!((queue.stats().queued.records, queue.stats().waiting_appends), (1, 2));
    for append in waiting {
        append.await.unwrap().unwrap();
    }
    settle().await;
    let firsts: Vec<String> = script.bodies().iter().map(|body| body[..1].to_owned()).collect();
    assert_eq!(firsts, ["a", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_in_flight_whose_segment_made_room_is_dropped_if_its_attempt_fails() {
    let script = Script::new([Answer::Never]);
    let config =
        Config { on_full: OnFull::DropOldest, attempt_timeout: Duration::from_secs(9), ..one_lane() };
    let disk = FakeFs::new(1);
    let (queue, _) = open_on(&disk, &on_disk(config), script.clone()).await;
    for number in 0..40 {
        queue.append(text(&format!("{number:-<90}"))).await.unwrap();
        settle().await;
        assert!(queue.stats().disk_bytes <= 4_000);
    }
    let before = queue.stats().dropped["queue_full"].records;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(queue.stats().dropped["queue_full"].records, before + 1);
    assert_eq!(script.bodies().iter().filter(|body| body.starts_with("0-")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_or_drops_the_oldest_if_told_to() {
    let script = Script::new([Answer::Never]);
    let reject = Config { memory_items: 2, on_full: OnFull::Reject, ..one_lane() };
    let queue = open(&reject, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    settle().await;
    queue.append(text("b")).await.unwrap();
    assert!(matches!(queue.append(text("c")).await, Err(AppendError::Full)));
    assert_eq!(queue.stats().rejected.records, 1);
    queue.reconfigure(Config { on_full: OnFull::DropOldest, ..reject }).unwrap();
    queue.append(text("d")).await.unwrap();
    let stats = queue.stats();
    assert_eq!((stats.dropped["queue_full"].records, stats.queued.records), (1, 2));
    let next = Script::new([]);
    queue.set_transport(next.clone());
    assert_eq!(queue.drain(Duration::from_secs(400)).await.sent.records, 2);
    assert_eq!(next.bodies(), ["a", "d"], "a was left to its attempt and b made room");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_dropped_but_a_clock_jump_drops_nothing() {
    let script = Script::new((0..1_000).map(|_| retry()));
    let clock = Arc::new(Jumping { origin: Instant::now(), offset: AtomicI64::new(0) });
    let surroundings = Surroundings { fs: None, clock: clock.clone(), seed: 1 };
    let config = Config { max_age: Duration::from_secs(100), ..one_lane() };
    let queue = Queue::open_in(config, script, surroundings).await.unwrap();
    queue.append(text("a")).await.unwrap();
    queue.append(Record { created_ms: NOW - 60_000, ..text("already a minute old") }).await.unwrap();
    clock.offset.store(86_400_000, std::sync::atomic::Ordering::Relaxed);
    sleep(Duration::from_secs(30)).await;
    let stats = queue.stats();
    assert_eq!((stats.queued.records, stats.oldest_age), (2, Some(Duration::from_secs(30))));
    queue.append(Record { created_ms: NOW + 86_430_000, ..text("made after the jump") }).await.unwrap();
    // A record behind a younger one waits for it: order comes first.
    sleep(Duration::from_secs(75)).await;
    assert_eq!(queue.stats().dropped["too_old"].records, 2);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(queue.stats().dropped["too_old"].records, 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_transport_is_tried_at_once() {
    let dead = Script::new((0..1_000).map(|_| limited(300)));
    let queue = open(&one_lane(), dead).await;
    queue.append(text("a")).await.unwrap();
    settle().await;
    let alive = Script::new([]);
    queue.set_transport(alive.clone());
    settle().await;
    assert_eq!(alive.bodies(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn another_number_of_lanes_keeps_the_order_of_each_key() {
    let script = Script::new((0..40).map(|_| retry()));
    let queue = open(&Config { lanes: 3, batch_items: 1, ..Config::default() }, script.clone()).await;
    let mut expected = vec![Vec::new(); 5];
    for number in 0..60_u64 {
        let body = format!("{}:{number}", number % 5);
        expected[number as usize % 5].push(body.clone());
        queue.append(Record { key: number % 5, ..text(&body) }).await.unwrap();
        if number % 20 == 10 {
            let lanes = [7, 1, 4][number as usize / 20];
            queue.reconfigure(Config { lanes, batch_items: 1, ..Config::default() }).unwrap();
            advance(Duration::from_millis(7)).await;
        }
    }
    assert_eq!(queue.drain(Duration::from_secs(100)).await.sent.records, 60);
    for (key, expected) in expected.into_iter().enumerate() {
        let mut sent: Vec<String> =
            script.bodies().into_iter().filter(|body| body.starts_with(&format!("{key}:"))).collect();
        sent.dedup();
        assert_eq!(sent, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_stops_at_its_deadline_and_the_rest_is_sent_by_the_next_process() {
    let disk = FakeFs::new(1);
    let script = Script::new([Answer::Now(Outcome::Delivered), Answer::Never]);
    let config = on_disk(one_lane());
    let (queue, _) = open_on(&disk, &config, script).await;
    for body in ["a", "b", "c"] {
        queue.append(text(body)).await.unwrap();
    }
    let began = Instant::now();
    let drained = queue.drain(Duration::from_secs(3)).await;
    assert_eq!((drained.sent.records, drained.left.records, began.elapsed().as_secs()), (1, 2, 3));
    assert_eq!(queue.drain(Duration::from_secs(3)).await, drained);
    assert!(matches!(queue.append(text("d")).await, Err(AppendError::Closed)));
    let next = Script::new([]);
    let (queue, _) = open_on(&disk, &config, next.clone()).await;
    settle().await;
    assert_eq!(next.bodies(), ["b", "c"]);
    assert_eq!(queue.stats().recovered.records, 2);
    queue.drain(Duration::ZERO).await;
    assert_eq!(disk.names(), ["cursor"], "a queue that is empty leaves no segments");
}

#[tokio::test(start_paused = true)]
async fn without_a_disk_a_drain_counts_what_it_could_not_send() {
    let queue = open(&one_lane(), Script::new([Answer::Never])).await;
    queue.append(text("a")).await.unwrap();
    let drained = queue.drain(Duration::from_secs(1)).await;
    assert_eq!((drained.dropped.records, queue.stats().dropped["shutdown"].records), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_closing_queue_turns_waiting_appends_away() {
    let config = Config { memory_items: 1, ..one_lane() };
    let queue = open(&config, Script::new([Answer::Never])).await;
    queue.append(text("a")).await.unwrap();
    let waiting = [queue.clone(), queue.clone()]
        .map(|queue| tokio::spawn(async move { queue.append(text("b")).await }));
    settle().await;
    queue.drain(Duration::from_secs(1)).await;
    for append in waiting {
        assert!(matches!(append.await.unwrap(), Err(AppendError::Closed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_given_up_can_be_taken_back_with_all_that_is_queued() {
    for config in [one_lane(), on_disk(one_lane())] {
        let dead = Script::new((0..1_000).map(|_| retry()));
        let queue = open(&config, dead).await;
        for body in ["a", "b"] {
            queue.append(text(body)).await.unwrap();
        }
        assert!(timeout(Duration::from_secs(1), queue.drain(Duration::from_secs(600))).await.is_err());
        assert!(matches!(queue.append(text("no")).await, Err(AppendError::Closed)));
        assert!(queue.reopen().await, "in time");
        let script = Script::new([]);
        queue.set_transport(script.clone());
        queue.append(text("c")).await.unwrap();
        assert_eq!(queue.drain(Duration::from_secs(600)).await.left, Amount::default());
        assert_eq!(script.bodies(), ["a", "b", "c"]);
        assert!(!queue.reopen().await, "too late");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_room_has_been_sent_back_when_a_drain_is_taken_back() {
    let dead = Script::new((0..1_000).map(|_| retry()));
    let queue = open(&Config { memory_items: 1, max_items: 1, ..one_lane() }, dead).await;
    queue.append(text("a")).await.unwrap();
    let waiting: Vec<_> = ["b", "c"]
        .map(|body| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.append(text(body)).await })
        })
        .into();
    settle().await;
    assert_eq!(queue.stats().waiting_appends, 2);
    assert!(timeout(Duration::ZERO, queue.drain(Duration::from_secs(600))).await.is_err());
    assert!(queue.reopen().await);
    assert_eq!(queue.stats().waiting_appends, 0);
    for appended in waiting {
        assert!(matches!(appended.await.unwrap(), Err(AppendError::Closed)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drain_comes_whoever_waits_for_it() {
    let dead = Script::new((0..1_000).map(|_| retry()));
    let disk = FakeFs::new(1);
    let (queue, _process) = open_on(&disk, &on_disk(one_lane()), dead).await;
    queue.append(text("a")).await.unwrap();
    {
        let drain = queue.drain(Duration::ZERO);
        tokio::pin!(drain);
        // Dropped when it has come to its end, and has not told yet.
        let _ = timeout(Duration::ZERO, &mut drain).await;
        settle().await;
    }
    assert!(!queue.reopen().await);
    assert_eq!(queue.drain(Duration::ZERO).await.left.records, 1);
}

//! The whole engine by seed: several endpoints with faults, kills, reloads and clock jumps, under paused time.
//!
//! Invariants: a record that `append` accepted is delivered at least once or counted as dropped; first deliveries
//! of a key are in order; nothing is delivered that was not appended; when the faults end everything drains; a
//! dead endpoint does not delay a healthy one. `DELIVERY_SEEDS=from..to` runs other seeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::fake_fs::FakeFs;
use crate::{
    Backoff, BoxFuture, Config, DiskConfig, Fsync, Growth, Handover, OnFull, Outcome, Queue, Record, Stats,
    Transport,
    queue::{Clock, Surroundings},
};

/// Tokio's clock with jumps.
pub(super) struct Jumping {
    pub(super) origin: Instant,
    pub(super) offset: AtomicI64,
}

impl Clock for Jumping {
    fn unix_ms(&self) -> i64 {
        1_700_000_000_000 + self.origin.elapsed().as_millis() as i64 + self.offset.load(Ordering::Relaxed)
    }
}

/// How an endpoint behaves just now.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Weather {
    Fine,
    /// Percent of attempts that fail in some way.
    Stormy(u8),
    Dead,
    Limiting,
}

/// Process life and number, in order of delivery, by key and group.
type Deliveries = BTreeMap<(u64, u64), Vec<(u64, u64)>>;

struct Endpoint {
    weather: Mutex<Weather>,
    rng: Mutex<fastrand::Rng>,
    delivered: Mutex<Deliveries>,
    life: AtomicU64,
    busy: Mutex<BTreeSet<u64>>,
}

impl Endpoint {
    fn new(seed: u64) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            weather: Mutex::new(Weather::Fine),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            delivered: Mutex::default(),
            life: AtomicU64::new(0),
            busy: Mutex::default(),
        })
    }

    fn random(&self, below: u64) -> u64 {
        self.rng.lock().u64(0..below)
    }

    async fn answer(&self, records: &[Record]) -> Outcome {
        let weather = *self.weather.lock();
        let chance = match weather {
            Weather::Fine => 0,
            Weather::Stormy(percent) => u64::from(percent),
            Weather::Dead | Weather::Limiting => 100,
        };
        sleep(Duration::from_millis(self.random(80))).await;
        if self.random(100) >= chance {
            return self.accept(records);
        }
        let after = (self.random(2) == 0).then(|| Duration::from_secs(self.random(20)));
        let retry = |reason, after, limited| Outcome::Retry { reason, message: "no".into(), after, limited };
        match (weather, self.random(12)) {
            (Weather::Limiting, _) | (_, 0) => retry("limited", after, true),
            (_, 1) => retry("unavailable", after, false),
            (_, 2) => std::future::pending().await,
            // Accepted, but the answer got lost.
            (Weather::Stormy(_), 3) => {
                self.accept(records);
                retry("reset", None, false)
            }
            (Weather::Stormy(_), 4) => Outcome::Drop { reason: "bad", message: "never".into() },
            (Weather::Stormy(_), 5) if records.len() > 1 => {
                Outcome::Split { reason: "bad", message: "one of them".into() }
            }
            (Weather::Stormy(_), 6) => panic!("a transport may panic"),
            _ => retry("server", None, false),
        }
    }

    fn accept(&self, records: &[Record]) -> Outcome {
        let life = self.life.load(Ordering::Relaxed);
        let mut delivered = self.delivered.lock();
        for record in records {
            delivered.entry((record.key, record.group)).or_default().push((life, number(record)));
        }
        Outcome::Delivered
    }
}

impl Transport for Endpoint {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            assert!(records.iter().all(|record| record.kind == records[0].kind), "kinds are not mixed");
            assert!(records.iter().all(|record| record.group == records[0].group), "groups are not mixed");
            let keys: BTreeSet<u64> = records.iter().map(|record| record.key).collect();
            let _busy = Busy::new(self, keys);
            self.answer(records).await
        })
    }
}

/// Holds that no key is ever in two attempts.
struct Busy<'a>(&'a Endpoint, BTreeSet<u64>);

impl<'a> Busy<'a> {
    fn new(endpoint: &'a Endpoint, keys: BTreeSet<u64>) -> Busy<'a> {
        let mut busy = endpoint.busy.lock();
        assert!(busy.is_disjoint(&keys), "a key is in two attempts");
        busy.extend(&keys);
        drop(busy);
        Busy(endpoint, keys)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().retain(|key| !self.1.contains(key));
    }
}

fn number(record: &Record) -> u64 {
    u64::from_le_bytes(record.body[..8].try_into().unwrap())
}

/// One endpoint with its queue, and what its owner knows.
struct Site {
    name: String,
    config: Config,
    disk: FakeFs,
    clock: Arc<Jumping>,
    endpoint: Arc<Endpoint>,
    queue: Queue,
    /// Whether the disk may fail. Then a kill may bring records back that were already dropped.
    faulty_disk: bool,
    rng: fastrand::Rng,
    next: u64,
    /// Number → key and group.
    accepted: BTreeMap<u64, (u64, u64)>,
    /// Dropped by queues that are gone.
    dropped_before: u64,
}

fn random_config(rng: &mut fastrand::Rng, disk: bool) -> Config {
    let lanes = rng.usize(1..6);
    Config {
        memory_bytes: rng.u64(800..6_000),
        memory_items: rng.u64(20..1_000),
        disk: disk.then(|| DiskConfig {
            max_bytes: rng.u64(3_000..20_000),
            segment_bytes: rng.u64(200..2_000),
            fsync: [Fsync::Never, Fsync::Always, Fsync::Interval(Duration::from_millis(500))]
                [rng.usize(0..3)],
            ..DiskConfig::new("queue")
        }),
        max_records: rng.usize(10..200),
        max_items: if rng.bool() { u64::MAX } else { rng.u64(50..2_000) },
        max_age: Duration::from_secs(rng.u64(30..3_600)),
        on_full: [OnFull::Block, OnFull::DropOldest, OnFull::Reject][rng.usize(0..3)],
        min_senders: rng.usize(1..3),
        max_senders: rng.usize(1..8),
        lanes,
        batch_items: rng.u64(1..40),
        batch_bytes: rng.u64(1..2_000),
        batch_wait: Duration::from_millis(rng.u64(0..300)),
        batch_alone: rng.u64(1..40),
        growth: Growth::default(),
        backoff: Backoff {
            min: Duration::from_millis(rng.u64(1..100)),
            max: Duration::from_secs(rng.u64(1..8)),
        },
        retry_limited: rng.u8(0..8) > 0,
        max_attempts: (rng.u8(0..4) == 0).then(|| rng.u32(1..6)),
        retry_after_max: Duration::from_secs(10),
        attempt_timeout: Duration::from_secs(rng.u64(1..10)),
    }
}

impl Site {
    async fn new(name: String, seed: u64) -> Site {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = rng.u8(0..3) > 0;
        let config = random_config(&mut rng, disk);
        let clock = Arc::new(Jumping { origin: Instant::now(), offset: AtomicI64::new(0) });
        let endpoint = Endpoint::new(rng.u64(..));
        let fake = FakeFs::new(rng.u64(..));
        let queue = open(&config, &fake, &clock, &endpoint, rng.u64(..)).await;
        Site {
            name,
            config,
            disk: fake,
            clock,
            endpoint,
            queue,
            faulty_disk: rng.bool(),
            rng,
            next: 0,
            accepted: BTreeMap::new(),
            dropped_before: 0,
        }
    }

    async fn append(&mut self) {
        let number = self.next;
        let mut body = number.to_le_bytes().to_vec();
        body.resize(8 + self.rng.usize(0..300), 0xAB);
        let created_ms = self.clock.unix_ms();
        let key = self.rng.u64(0..8);
        let kind = u8::from(self.rng.u8(0..10) == 0);
        let group = self.rng.u64(0..3).saturating_sub(self.rng.u64(0..3));
        let items = self.rng.u32(1..10);
        let record =
            Record { body: Bytes::from(body), items, key, group, created_ms, newest_ms: created_ms, kind };
        self.next += 1;
        let limit = Duration::from_millis(self.rng.u64(1..3_000));
        // Otherwise refused; or cut off, which accepts nothing if it waited and may have if it was syncing.
        if let Ok(Ok(())) = timeout(limit, self.queue.append(record)).await {
            self.accepted.insert(number, (key, group));
        }
    }

    async fn event(&mut self) {
        match self.rng.u8(0..100) {
            0..60 => self.append().await,
            60..72 => sleep(Duration::from_millis(self.rng.u64(0..2_000))).await,
            72..78 => {
                let weather = [
                    Weather::Fine,
                    Weather::Stormy(self.rng.u8(1..100)),
                    Weather::Stormy(30),
                    Weather::Dead,
                    Weather::Limiting,
                ];
                *self.endpoint.weather.lock() = weather[self.rng.usize(0..weather.len())];
            }
            78..83 => {
                let config = random_config(&mut self.rng, self.config.disk.is_some());
                self.queue.reconfigure(config.clone()).expect("the folder is the same");
                self.config = config;
            }
            83..86 if self.rng.bool() => self.queue.fence(),
            83..86 => self.queue.set_transport(self.endpoint.clone()),
            86..89 => {
                let jump = self.rng.i64(-86_400_000..86_400_000);
                self.clock.offset.fetch_add(jump, Ordering::Relaxed);
            }
            89..91 => sleep(Duration::from_secs(self.rng.u64(0..120))).await,
            91..92 => self.change_hands().await,
            92..94 if self.faulty_disk => self.disk.set_failing(self.rng.u8(0..40)),
            94..96 if self.faulty_disk => {
                self.disk.set_capacity(self.rng.bool().then(|| self.rng.usize(500..10_000)))
            }
            96..98 if self.config.disk.is_some() => self.kill().await,
            92..98 => {}
            _ => self.restart().await,
        }
    }

    /// A drain that a successor cuts short: the queue goes on with everything that is in it.
    async fn change_hands(&mut self) {
        let before = self.queue.stats();
        let patience = Duration::from_millis(self.rng.u64(0..3_000));
        let over = timeout(patience, self.queue.drain(Duration::from_secs(600))).await.is_ok();
        let reopened = self.queue.reopen().await;
        assert!(!(over && reopened), "{}", self.name);
        if !reopened {
            self.queue.drain(Duration::ZERO).await;
            return self.kill().await;
        }
        let stats = self.queue.stats();
        assert!(!stats.closed && stats.recovered == before.recovered);
        check_sums(&stats);
        self.queue.set_transport(self.endpoint.clone());
    }

    /// SIGKILL and a new process.
    async fn kill(&mut self) {
        self.forget();
        self.disk.restart();
        self.disk.set_capacity(None);
        self.reopen().await;
    }

    /// SIGTERM and a new process.
    async fn restart(&mut self) {
        let drained = self.queue.drain(Duration::from_millis(self.rng.u64(0..5_000))).await;
        let stats = self.queue.stats();
        if self.config.disk.is_some() {
            assert_eq!(drained.left, stats.queued);
        } else {
            assert_eq!((stats.queued.records, drained.left.records), (0, 0));
        }
        self.kill().await;
    }

    fn forget(&mut self) {
        let stats = self.queue.stats();
        check_sums(&stats);
        self.dropped_before += stats.dropped_total().records;
        self.endpoint.busy.lock().clear();
        self.endpoint.life.fetch_add(1, Ordering::Relaxed);
    }

    async fn reopen(&mut self) {
        // The old handle must be gone first, as an old process would be.
        let idle = Queue::open(Config::default(), self.endpoint.clone()).await.unwrap();
        drop(std::mem::replace(&mut self.queue, idle));
        sleep(Duration::from_millis(1)).await;
        self.queue = open(&self.config, &self.disk, &self.clock, &self.endpoint, self.rng.u64(..)).await;
        if self.config.disk.is_none() {
            self.accepted.retain(|number, key| {
                self.endpoint
                    .delivered
                    .lock()
                    .get(key)
                    .is_some_and(|numbers| numbers.iter().any(|(_, known)| known == number))
            });
        }
    }

    /// The faults end; everything must drain.
    async fn settle(&mut self) {
        self.disk.set_failing(0);
        self.disk.set_capacity(None);
        *self.endpoint.weather.lock() = Weather::Fine;
        for _ in 0..60 {
            if self.queue.stats().queued.records == 0 {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let stats = self.queue.stats();
        assert_eq!(stats.queued.records, 0, "{}: not drained: {stats:?}", self.name);
        check_sums(&stats);
        self.check_deliveries(&stats);
    }

    fn check_deliveries(&self, stats: &Stats) {
        let delivered = self.endpoint.delivered.lock();
        let mut firsts: BTreeSet<u64> = BTreeSet::new();
        for (key, numbers) in delivered.iter() {
            let mut newest = None;
            let mut newest_life = 0;
            for &(life, number) in numbers {
                assert!(number < self.next, "{}: {number} was never appended", self.name);
                if self.faulty_disk && life > newest_life {
                    newest = None;
                }
                newest_life = life;
                if firsts.insert(number) {
                    assert!(
                        newest < Some(number),
                        "{}: key and group {key:?} out of order at {number}",
                        self.name
                    );
                    newest = Some(number);
                }
            }
        }
        let missing = self.accepted.keys().filter(|number| !firsts.contains(number)).count() as u64;
        let dropped = self.dropped_before + stats.dropped_total().records;
        assert!(missing <= dropped, "{}: {missing} missing, {dropped} dropped: {stats:?}", self.name);
    }
}

async fn open(
    config: &Config,
    disk: &FakeFs,
    clock: &Arc<Jumping>,
    endpoint: &Arc<Endpoint>,
    seed: u64,
) -> Queue {
    let fs: Arc<dyn crate::fs::Fs> = disk.process();
    let surroundings = Surroundings { fs: Some(fs), clock: clock.clone(), seed };
    Queue::open_in(config.clone(), endpoint.clone(), surroundings).await.expect("a queue always opens")
}

fn check_sums(stats: &Stats) {
    let mut came = stats.recovered;
    came += stats.appended;
    let mut went = stats.sent;
    went += stats.dropped_total();
    went += stats.queued;
    assert_eq!(came, went, "{stats:?}");
}

fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("DELIVERY_SEEDS") else { return default };
    let (from, to) = text.split_once("..").expect("DELIVERY_SEEDS is from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Names the seed if the test ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with DELIVERY_SEEDS={}..{}", self.0, self.0 + 1);
        }
    }
}

fn paused(seed: u64, test: impl AsyncFnOnce()) {
    let _seed = Seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(test());
}

fn silence_expected_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"a transport may panic") {
            default(info);
        }
    }));
}

#[test]
fn nothing_is_lost_or_reordered_under_faults_kills_reloads_and_clock_jumps() {
    silence_expected_panics();
    for seed in seeds(0..400) {
        paused(seed, async || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let sites =
                (0..rng.usize(1..4)).map(|site| (site, rng.u64(..), rng.usize(20..160))).collect::<Vec<_>>();
            let tasks = sites.into_iter().map(|(site, seed, events)| {
                tokio::task::spawn(async move {
                    let mut site = Site::new(format!("site {site}"), seed).await;
                    for _ in 0..events {
                        site.event().await;
                    }
                    site.settle().await;
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("the site's invariants hold");
            }
        });
    }
}

#[test]
fn a_dead_endpoint_does_not_delay_a_healthy_one() {
    for seed in seeds(0..100) {
        paused(seed, async || {
            let mut healthy = Site::new("healthy".into(), seed).await;
            let mut dead = Site::new("dead".into(), seed + 1).await;
            *dead.endpoint.weather.lock() = Weather::Dead;
            healthy.config = Config { disk: healthy.config.disk.clone(), ..Config::default() };
            healthy.queue.reconfigure(healthy.config.clone()).unwrap();
            for _ in 0..50 {
                healthy.append().await;
                dead.append().await;
            }
            sleep(Duration::from_secs(5)).await;
            let (healthy, dead) = (healthy.queue.stats(), dead.queue.stats());
            assert_eq!((healthy.queued.records, healthy.dropped_total().records), (0, 0));
            assert_eq!(dead.sent.records, 0);
        });
    }
}

/// Takes its time, and everything once; sometimes not now.
struct Careful {
    rng: Mutex<fastrand::Rng>,
    /// Longest time that an attempt takes, milliseconds.
    slowest: u64,
    taken: Mutex<BTreeMap<u64, Vec<u64>>>,
    in_flight: Mutex<BTreeSet<u64>>,
}

/// A queue's way to it, as writers have it.
struct Way {
    to: Arc<Careful>,
    handover: Handover,
}

impl Transport for Way {
    fn send<'a>(&'a self, records: &'a [Record], _attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(self.handover.or(records, async move {
            self.to.in_flight.lock().extend(records.iter().map(number));
            let (wait, fails) = {
                let mut rng = self.to.rng.lock();
                (rng.u64(0..self.to.slowest), rng.u8(0..4) == 0)
            };
            let outcome = if fails {
                sleep(Duration::from_millis(wait)).await;
                Outcome::Retry { reason: "no", message: "no".into(), after: None, limited: false }
            } else {
                // It has taken them, but says so only later.
                for record in records {
                    self.to.taken.lock().entry(record.key).or_default().push(number(record));
                }
                sleep(Duration::from_millis(wait)).await;
                Outcome::Delivered
            };
            self.to.in_flight.lock().retain(|n| !records.iter().any(|record| number(record) == *n));
            outcome
        }))
    }
}

/// Hands a queue over while it sends; answers what was taken by key, and what was in flight at that moment.
async fn hand_over(seed: u64, slowest: u64) -> (BTreeMap<u64, Vec<u64>>, BTreeSet<u64>, u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let careful = Arc::new(Careful {
        rng: Mutex::new(rng.fork()),
        slowest,
        taken: Mutex::default(),
        in_flight: Mutex::default(),
    });
    let clock = Arc::new(Jumping { origin: Instant::now(), offset: AtomicI64::new(0) });
    let disk = FakeFs::new(rng.u64(..));
    let backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(100) };
    let config =
        Config { lanes: 4, min_senders: 4, batch_items: rng.u64(1..10), backoff, ..Config::default() };
    let way = || Arc::new(Way { to: careful.clone(), handover: Handover::default() });
    let (old_way, new_way) = (way(), way());
    let surroundings = Surroundings { fs: None, clock: clock.clone(), seed };
    let old = Queue::open_in(config.clone(), old_way.clone(), surroundings).await.expect("memory");
    let fs: Arc<dyn crate::fs::Fs> = disk.process();
    let surroundings = Surroundings { fs: Some(fs), clock: clock.clone(), seed };
    let on_disk = Config { disk: Some(DiskConfig::new("queue")), ..config };
    let new = Queue::open_in(on_disk, new_way, surroundings).await.expect("a disk");
    let count = rng.u64(1..80);
    let append = async |queue: &Queue, n: u64, key: u64| {
        let body = Bytes::from(n.to_le_bytes().to_vec());
        let ms = clock.unix_ms();
        let record = Record { body, items: 1, key, group: 0, created_ms: ms, newest_ms: ms, kind: 0 };
        queue.append(record).await.expect("there is room");
    };
    for n in 0..count {
        append(&old, n, rng.u64(0..6)).await;
        sleep(Duration::from_millis(rng.u64(0..20))).await;
    }
    sleep(Duration::from_millis(rng.u64(0..300))).await;
    let in_flight = careful.in_flight.lock().clone();
    old_way.handover.begin(new.clone());
    old.set_transport(old_way.clone());
    let drained = old.drain(Duration::from_secs(60)).await;
    assert_eq!(drained.dropped.records, 0, "all of it has moved");
    assert_eq!(old.stats().dropped_total().records, 0, "nothing was dropped on the way");
    new.drain(Duration::from_secs(36_000)).await;
    let taken = careful.taken.lock().clone();
    (taken, in_flight, count)
}

#[test]
fn a_queue_that_moves_to_disk_sends_nothing_twice_and_loses_nothing() {
    for seed in seeds(0..200) {
        paused(seed, async || {
            let (taken, _, count) = hand_over(seed, 800).await;
            let mut all: Vec<u64> = taken.values().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            for (key, numbers) in taken {
                assert!(numbers.is_sorted(), "key {key} out of order: {numbers:?}");
            }
        });
    }
}

#[test]
fn an_attempt_that_hangs_does_not_keep_a_queue_from_moving() {
    for seed in seeds(0..50) {
        paused(seed, async || {
            let began = Instant::now();
            // Longer than the grace, so that some are abandoned.
            let (taken, in_flight, count) = hand_over(seed, 40_000).await;
            let mut all: Vec<u64> = taken.values().flatten().copied().collect();
            all.sort_unstable();
            let twice: BTreeSet<u64> = all.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
            assert!(twice.is_subset(&in_flight), "{twice:?} of {in_flight:?}");
            all.dedup();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            assert!(began.elapsed() < Duration::from_secs(40_000));
        });
    }
}

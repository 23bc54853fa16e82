//! What a queue on disk promises: order, its budget, full and damaged devices.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_memory_cannot_hold_is_read_back_from_disk_in_order() {
    let script = Script::new([retry()]);
    let config = on_disk(Config { memory_items: 3, ..one_lane() });
    let queue = open(&config, script.clone()).await;
    let bodies: Vec<String> = (0..20).map(|number| format!("record {number}")).collect();
    for body in &bodies {
        queue.append(text(body)).await.unwrap();
    }
    let stats = queue.stats();
    assert_eq!((stats.in_memory.records, stats.queued.records), (3, 20));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(script.bodies()[1..], bodies);
    assert_eq!(queue.stats().in_memory, crate::Amount::default());
}

#[tokio::test(start_paused = true)]
async fn a_full_device_blocks_with_an_error_to_see_and_heals() {
    let disk = FakeFs::new(1);
    disk.set_capacity(Some(150));
    let script = Script::new((0..3).map(|_| retry()));
    let config = on_disk(one_lane());
    let (queue, _) = open_on(&disk, &config, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    assert!(timeout(Duration::from_secs(5), queue.append(text(&"b".repeat(100)))).await.is_err());
    let stats = queue.stats();
    assert!(stats.trouble(Duration::from_secs(60)).is_some_and(|trouble| trouble.contains("(disk)")));
    assert_eq!((stats.last_error.unwrap().reason, stats.appended.records), ("disk", 1));
    disk.set_capacity(None);
    queue.append(text("c")).await.unwrap();
    assert_eq!(queue.stats().trouble(Duration::from_secs(60)), None);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(script.bodies().last().unwrap(), "c");
    assert_eq!(queue.stats().damaged_records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_device_that_costs_data_is_told_of_until_it_has_cost_none_for_a_minute() {
    let disk = FakeFs::new(1);
    disk.set_capacity(Some(300));
    let dead = Script::new((0..1_000).map(|_| retry()));
    let config = on_disk(Config { on_full: OnFull::DropOldest, ..one_lane() });
    let (queue, _) = open_on(&disk, &config, dead).await;
    let trouble = || queue.stats().trouble(Duration::from_secs(86_400)).is_some_and(|t| t.contains("(disk)"));
    while queue.stats().dropped_total().records == 0 {
        assert!(!trouble());
        queue.append(text(&"a".repeat(60))).await.unwrap();
    }
    disk.set_capacity(None);
    for told in [true, false] {
        queue.append(text("b")).await.unwrap();
        assert_eq!(trouble(), told);
        sleep(Duration::from_secs(61)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_smaller_than_a_segment_heals_by_what_is_delivered() {
    let limits: [fn(&FakeFs); 2] = [|disk| disk.set_capacity(Some(600)), |disk| disk.set_quota(600)];
    for limit in limits {
        let disk = FakeFs::new(1);
        limit(&disk);
        let script = Script::new((0..3).map(|_| retry()));
        let mut config = on_disk(one_lane());
        let budget = config.disk.as_mut().expect("on disk");
        (budget.max_bytes, budget.segment_bytes) = (1 << 20, 1 << 17);
        let (queue, _) = open_on(&disk, &config, script.clone()).await;
        let bodies: Vec<String> = (0..40).map(|number| format!("{number:0>60}")).collect();
        for body in &bodies {
            timeout(Duration::from_secs(600), queue.append(text(body))).await.expect("room comes").unwrap();
        }
        sleep(Duration::from_secs(20)).await;
        let mut sent = script.bodies();
        sent.dedup();
        assert_eq!(sent, bodies);
        assert_eq!(queue.stats().damaged_records, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_never_keeps_a_small_device_full() {
    for on_full in [OnFull::Block, OnFull::DropOldest, OnFull::Reject] {
        let disk = FakeFs::new(1);
        disk.set_capacity(Some(600));
        let mut config = on_disk(Config { on_full, ..one_lane() });
        let budget = config.disk.as_mut().expect("on disk");
        (budget.max_bytes, budget.segment_bytes) = (1 << 20, 1 << 17);
        let script = Script::new([]);
        let (queue, _) = open_on(&disk, &config, script.clone()).await;
        for number in 0..40 {
            let append = timeout(Duration::from_millis(1), queue.append(text(&format!("{number:0>60}"))));
            append.await.expect("there is room, at once").expect("taken");
            // The back end is well.
            sleep(Duration::from_secs(5)).await;
        }
        let stats = queue.stats();
        assert_eq!((stats.sent.records, stats.dropped_total().records, stats.rejected.records), (40, 0, 0));
        assert_eq!(stats.trouble(Duration::from_secs(60)), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_disk_budget_holds_under_every_policy() {
    for on_full in [OnFull::Block, OnFull::DropOldest, OnFull::Reject] {
        let disk = FakeFs::new(1);
        let script = Script::new((0..10_000).map(|_| retry()));
        let (queue, _) = open_on(&disk, &on_disk(Config { on_full, ..one_lane() }), script).await;
        let mut accepted = 0;
        for _ in 0..100 {
            let append = timeout(Duration::from_millis(50), queue.append(text(&"x".repeat(50)))).await;
            accepted += u64::from(matches!(append, Ok(Ok(()))));
            assert!(queue.stats().disk_bytes <= 4_000);
        }
        let stats = queue.stats();
        let dropped = stats.dropped_total().records;
        assert_eq!(accepted, stats.queued.records + dropped);
        assert!(stats.queued.records >= 28, "the budget is used: {stats:?}");
        assert_eq!(dropped > 0, on_full == OnFull::DropOldest);
        assert_eq!(stats.rejected.records > 0, on_full == OnFull::Reject);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_can_never_fit_is_refused_at_once() {
    let queue = open(&on_disk(one_lane()), Script::new([])).await;
    let refused = queue.append(text(&"x".repeat(4_000))).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes: 4_000, limit: 3_908 })));
    queue.append(text(&"x".repeat(3_900))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fsync_always_answers_after_the_sync_and_interval_syncs_in_the_background() {
    let disk = FakeFs::new(1);
    let mut config = on_disk(one_lane());
    for (fsync, at_once, later) in
        [(Fsync::Always, 1, 1), (Fsync::Interval(Duration::from_secs(2)), 0, 1), (Fsync::Never, 0, 0)]
    {
        config.disk.as_mut().unwrap().fsync = fsync;
        let (queue, process) = open_on(&disk, &config, Script::new([])).await;
        queue.append(text("a")).await.unwrap();
        assert_eq!(process.syncs(), at_once, "{fsync:?}");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(process.syncs(), later, "{fsync:?}");
        queue.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn damage_costs_only_itself_and_is_set_aside() {
    let disk = FakeFs::new(1);
    let config = on_disk(one_lane());
    let (queue, _) = open_on(&disk, &config, Script::new([Answer::Never])).await;
    for number in 0..12 {
        queue.append(text(&format!("{number:-^80}"))).await.unwrap();
    }
    drop(queue);
    settle().await;
    disk.restart();
    let segments: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
    disk.damage(&segments[0], |bytes| bytes[3] ^= 1);
    disk.damage(&segments[1], |bytes| bytes[100] ^= 1);
    let script = Script::new([]);
    let (queue, _) = open_on(&disk, &config, script.clone()).await;
    settle().await;
    let stats = queue.stats();
    assert_eq!((stats.damaged_records, stats.sent.records), (2, 9), "two of 12 in each segment");
    let aside: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".damaged")).collect();
    assert_eq!(aside, [format!("{}.damaged", segments[0]), format!("{}.damaged", segments[1])]);
}

#[tokio::test(start_paused = true)]
async fn damage_that_appears_while_running_is_counted_and_the_rest_goes_on() {
    let disk = FakeFs::new(1);
    let config = on_disk(Config { memory_items: 1, batch_items: 10, ..one_lane() });
    let script = Script::new([Answer::Never]);
    let (queue, _) =
        open_on(&disk, &Config { attempt_timeout: Duration::from_secs(5), ..config }, script.clone()).await;
    queue.append(text("a")).await.unwrap();
    settle().await;
    for body in ["b", "c", "d"] {
        queue.append(text(body)).await.unwrap();
    }
    // The header is 28 bytes and a frame of one byte 57: this is the body of c.
    disk.damage("0000000000000000.seg", |bytes| bytes[28 + 57 * 2 + 56] ^= 1);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(script.bodies(), ["a", "a", "b+d"]);
    let stats = queue.stats();
    assert_eq!((stats.dropped["damaged"].records, stats.damaged_records, stats.queued.records), (1, 1, 0));
}

#[tokio::test]
async fn a_real_folder_survives_is_locked_and_can_be_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Some(DiskConfig::new(folder.path().join("q")));
    let config = Config { disk, max_age: Duration::from_secs(1 << 40), ..one_lane() };
    let never = Script::new([Answer::Never]);
    let queue = Queue::open(config.clone(), never).await.unwrap();
    for body in ["a", "bb"] {
        queue.append(text(body)).await.unwrap();
    }
    let second = Queue::open(config.clone(), Script::new([])).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    assert_eq!(queue.drain(Duration::ZERO).await.left.records, 2);
    let inspection = inspect(folder.path().join("q")).unwrap();
    assert_eq!((inspection.queued.records, inspection.queued.bytes, inspection.damaged_records), (2, 3, 0));
    let records: Vec<_> = inspection.records().map(|stored| stored.unwrap()).collect();
    assert_eq!(
        records.iter().map(|stored| (&stored.record.body[..], stored.done)).collect::<Vec<_>>(),
        [(&b"a"[..], false), (b"bb", false)]
    );
    assert_eq!(records[1].record, text("bb"));
    let script = Script::new([]);
    let queue = Queue::open(config, script.clone()).await.unwrap();
    assert_eq!(queue.drain(Duration::from_secs(60)).await.sent.records, 2);
    assert_eq!(script.bodies(), ["a", "bb"]);
}

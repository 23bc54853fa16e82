//! Refusals, kills, storms, holes, and files that cannot be read.

use super::*;

#[tokio::test(start_paused = true)]
async fn lines_carry_the_labels_of_their_target_and_times_that_differ() {
    let mut rig = Rig::new();
    rig.write("a.log", "same\nsame\r\nsame\n");
    rig.start(&rig.target("a.log")).await;
    rig.until(3).await;
    let batch = &rig.batches[0];
    let path = rig.at("a.log");
    let expected = signal::Labels::from_pairs([("filename", path.to_str().unwrap()), ("job", "x")]);
    assert_eq!(batch.streams, [expected]);
    let mut times: Vec<i64> = batch.entries.iter().map(|e| e.timestamp_ns).collect();
    times.dedup();
    assert_eq!((times.len(), rig.lines.clone()), (3, vec!["same".to_string(); 3]));
    assert_eq!(rig.metric("loki_source_file_read_lines_total", &path), Some(3.0));
    rig.rest().await;
    assert_eq!(rig.metric("loki_source_file_read_bytes_total", &path), Some(16.0));
    assert_eq!(rig.metric("loki_source_file_file_bytes_total", &path), Some(16.0));
    rig.update("targets = []").await;
    rig.rest().await;
    assert_eq!(rig.metric("loki_source_file_read_lines_total", &path), None);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_or_blocks_loses_nothing_and_what_it_will_never_take_is_counted() {
    let mut rig = Rig::new();
    rig.refuse();
    rig.write("a.log", &numbered(0..50_000));
    rig.start(&rig.target("a.log")).await;
    rig.asked().await;
    rig.rest().await;
    assert!(rig.lines.is_empty());
    rig.set(Mode::Block);
    rig.write("a.log", &numbered(50_000..60_000));
    rig.rest().await;
    rig.accept();
    rig.expect(0..60_000).await;
    rig.set(Mode::Answer(Err(Rejected::Permanent("bad".into()))));
    rig.write("a.log", "dropped\ndropped\n");
    rig.asked().await;
    rig.rest().await;
    rig.accept();
    rig.write("a.log", "line 60000\n");
    rig.expect(0..=60_000).await;
    assert_eq!(rig.metric("loki_source_file_dropped_lines_total", &rig.at("a.log")), Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_rotations_under_a_sink_that_refuses_loses_nothing() {
    for mode in [Mode::Answer(Err(Rejected::Retryable("full".into()))), Mode::Block] {
        let mut rig = Rig::new();
        rig.write("a.log", &numbered(0..10));
        rig.set(mode.clone());
        rig.start(&rig.target("a.log")).await;
        rig.asked().await;
        for round in 1..40 {
            for i in (1..round).rev() {
                let next = rig.at(&format!("a.log.{}", i + 1));
                std::fs::rename(rig.at(&format!("a.log.{i}")), next).unwrap();
            }
            std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
            rig.write("a.log", &numbered(round * 10..round * 10 + 10));
            // Some are seen, others come and go unseen.
            if round % 3 == 0 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        }
        rig.accept();
        eprintln!("{mode:?}");
        rig.expect(0..400).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_nothing_is_missing_and_only_what_was_not_persisted_comes_again() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..100));
    rig.start(&rig.target("a.log")).await;
    rig.until(100).await;
    rig.rest().await;
    rig.write("a.log", &numbered(100..200));
    rig.until(200).await;
    // The positions as they were before the last lines were persisted.
    let stored = std::fs::read(rig.positions_path()).unwrap();
    rig.stop().await;
    std::fs::write(rig.positions_path(), stored).unwrap();
    rig.write("a.log", &numbered(200..300));
    rig.start(&rig.target("a.log")).await;
    rig.until(400).await;
    rig.rest().await;
    let expected: Vec<String> = (0..200).chain(100..300).map(|n| format!("line {n}")).collect();
    assert_eq!(rig.lines, expected);
}

#[tokio::test(start_paused = true)]
async fn a_position_waits_for_what_others_keep_back() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..100));
    rig.start(&rig.target("a.log")).await;
    rig.until(100).await;
    rig.rest().await;
    let offset = |rig: &Rig| {
        let loaded = tail::positions::load(&rig.positions_path());
        loaded.records.into_values().next().map(|r| r.value)
    };
    let settled = numbered(0..100).len().to_string();
    assert_eq!(offset(&rig), Some(settled.clone()));
    rig.set(Mode::Hold);
    rig.write("a.log", &numbered(100..150));
    rig.until(150).await;
    rig.write("a.log", &numbered(150..200));
    rig.until(200).await;
    rig.rest().await;
    assert_eq!(offset(&rig), Some(settled), "reading goes on, the position does not");
    rig.accept();
    rig.rest().await;
    assert_eq!(offset(&rig), Some(numbered(0..200).len().to_string()));
    // What is still kept back at the end comes again.
    rig.set(Mode::Hold);
    rig.write("a.log", &numbered(200..210));
    rig.until(210).await;
    rig.stop().await;
    rig.accept();
    rig.lines.clear();
    rig.start(&rig.target("a.log")).await;
    rig.expect(200..210).await;
}

#[tokio::test(start_paused = true)]
async fn holes_are_skipped_when_something_follows_and_waited_with_until_then() {
    let mut rig = Rig::new();
    rig.write("a.log", "line 0\n");
    rig.start(&rig.target("a.log")).await;
    rig.until(1).await;
    let file = std::fs::File::options().write(true).open(rig.at("a.log")).unwrap();
    file.set_len(50 << 20).unwrap();
    rig.rest().await;
    rig.write("a.log", "line 1\nli");
    rig.until(2).await;
    rig.write("a.log", "ne 2\n");
    rig.expect(0..3).await;
    let skipped = rig.metric("loki_source_file_skipped_nul_bytes_total", &rig.at("a.log"));
    assert_eq!(skipped, Some((50 << 20) as f64 - 7.0));
    // One that begins in the middle of a line ends it.
    rig.write("a.log", "line 3");
    let size = file.metadata().unwrap().len();
    file.set_len(size + (5 << 20)).unwrap();
    rig.write("a.log", "line 4\n");
    rig.expect(0..5).await;
    // At the end of a file that is rotated away nothing is waited with.
    let size = file.metadata().unwrap().len();
    file.set_len(size + (1 << 20)).unwrap();
    std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
    rig.write("a.log", "line 5\n");
    rig.expect(0..6).await;
    let skipped = rig.metric("loki_source_file_skipped_nul_bytes_total", &rig.at("a.log"));
    assert_eq!(skipped, Some((56 << 20) as f64 - 7.0));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_truncated_and_grows_past_the_old_place_at_once_is_read_from_its_start() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..100));
    rig.start(&rig.target("a.log")).await;
    rig.until(100).await;
    std::fs::write(rig.at("a.log"), numbered(100..300)).unwrap();
    rig.expect(0..300).await;
    // To the same size.
    let text = numbered(300..500);
    assert_eq!(text.len(), numbered(100..300).len());
    std::fs::write(rig.at("a.log"), text).unwrap();
    rig.expect(0..500).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_written_anew_with_the_same_lines_and_more_is_not_read_twice() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..100));
    rig.start(&rig.target("a.log")).await;
    rig.until(100).await;
    rig.write("next", &numbered(0..150));
    std::fs::rename(rig.at("next"), rig.at("a.log")).unwrap();
    rig.until(150).await;
    rig.stop().await;
    rig.write("next", &numbered(0..200));
    std::fs::rename(rig.at("next"), rig.at("a.log")).unwrap();
    rig.start(&rig.target("a.log")).await;
    rig.expect(0..200).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_adds_to_a_renamed_file_before_it_opens_the_new_one_is_read() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    rig.start(&rig.target("a.log")).await;
    rig.until(10).await;
    let mut old = std::fs::File::options().append(true).open(rig.at("a.log")).unwrap();
    std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
    rig.write("a.log", &numbered(10..20));
    rig.until(20).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    old.write_all(numbered(20..30).as_bytes()).unwrap();
    rig.expect(0..30).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_is_let_go_and_one_that_comes_is_read_from_its_start() {
    let mut rig = Rig::new();
    let body = format!("{}tail_from_end = true", rig.target("a.log"));
    rig.start(&body).await;
    rig.rest().await;
    rig.write("a.log", &numbered(0..10));
    rig.until(10).await;
    std::fs::remove_file(rig.at("a.log")).unwrap();
    rig.rest().await;
    let open = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let paths = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        paths.filter(|p| p.to_string_lossy().starts_with(rig.at("a.log").to_str().unwrap())).count()
    };
    assert_eq!(open(), 0, "a deleted file is not kept open");
    rig.write("a.log", &numbered(10..20));
    rig.expect(0..20).await;
}

#[tokio::test(start_paused = true)]
async fn folders_and_files_without_permission_are_waited_with() {
    let mut rig = Rig::new();
    std::fs::create_dir(rig.at("a.log")).unwrap();
    rig.start(&rig.target("a.log")).await;
    rig.rest().await;
    std::fs::remove_dir(rig.at("a.log")).unwrap();
    rig.write("a.log", &numbered(0..10));
    rig.until(10).await;
    // Root reads everything, so that a missing permission is a path through a file here.
    std::fs::create_dir(rig.at("d")).unwrap();
    rig.write("d/b.log", &numbered(10..20));
    let blocked = rig.at("blocked");
    std::fs::write(&blocked, "").unwrap();
    rig.update(&rig.target("blocked/b.log")).await;
    rig.rest().await;
    std::fs::remove_file(&blocked).unwrap();
    std::fs::rename(rig.at("d"), &blocked).unwrap();
    rig.expect(0..20).await;
}

#[tokio::test(start_paused = true)]
async fn unchanged_files_go_on_through_updates_and_a_target_that_was_away_does_too() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    rig.write("b.log", "");
    rig.start(&rig.target("a.log")).await;
    rig.until(10).await;
    let both = format!(
        "targets = [{{__path__ = {:?}, job = \"x\"}}, {{__path__ = {:?}}}]",
        rig.at("a.log"),
        rig.at("b.log")
    );
    rig.update(&both).await;
    rig.write("b.log", &numbered(10..20));
    rig.until(20).await;
    rig.write("b.log", &numbered(20..30));
    // What was written before a target leaves is still read.
    rig.update(&format!("{}encoding = \"windows-1252\"", rig.target("a.log"))).await;
    rig.until(30).await;
    rig.rest().await;
    rig.write("b.log", &numbered(30..40));
    rig.rest().await;
    rig.update(&both).await;
    rig.write("a.log", &numbered(40..50));
    rig.expect(0..50).await;
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_matches_rotated_files_reads_each_line_once() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    let body = |rig: &Rig| {
        let file_match = "file_match {\nenabled = true\nsync_period = \"1s\"\n}";
        format!("targets = [{{__path__ = {:?}}}]\n{file_match}", rig.at("a.log*"))
    };
    rig.start(&body(&rig)).await;
    rig.until(10).await;
    for round in 1..4 {
        for i in (1..round).rev() {
            std::fs::rename(rig.at(&format!("a.log.{i}")), rig.at(&format!("a.log.{}", i + 1))).unwrap();
        }
        std::fs::rename(rig.at("a.log"), rig.at("a.log.1")).unwrap();
        rig.write("a.log", &numbered(round * 10..round * 10 + 10));
        rig.until(round * 10 + 10).await;
        tokio::time::sleep(Duration::from_secs(round as u64 * 20)).await;
    }
    rig.expect(0..40).await;
    rig.stop().await;
    rig.start(&body(&rig)).await;
    rig.write("a.log", &numbered(40..50));
    rig.expect(0..50).await;
}

#[tokio::test(start_paused = true)]
async fn old_files_are_not_begun_with_and_a_begun_one_is_not_left() {
    let mut rig = Rig::new();
    rig.write("old.log", "line 9\n");
    rig.write("new.log", "line 0\n");
    let touch = |path: PathBuf, ago: u64| {
        let time = std::time::SystemTime::now() - Duration::from_secs(ago);
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(time)).unwrap();
    };
    touch(rig.at("old.log"), 7200);
    let file_match = "file_match {\nenabled = true\nsync_period = \"1s\"\nignore_older_than = \"1h\"\n}";
    let body = format!("targets = [{{__path__ = {:?}}}]\n{file_match}", rig.at("*.log"));
    rig.start(&body).await;
    rig.until(1).await;
    rig.rest().await;
    assert_eq!(rig.lines, ["line 0"]);
    touch(rig.at("new.log"), 7200);
    rig.rest().await;
    rig.write("new.log", "line 1\n");
    rig.until(2).await;
    rig.write("old.log", "line 10\n");
    rig.rest().await;
    assert_eq!(rig.lines, ["line 0", "line 1", "line 9", "line 10"]);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_files_share_buffers_and_are_all_read() {
    let mut rig = Rig::new();
    let count = 3000;
    for i in 0..count {
        rig.write(&format!("{i}.log"), &format!("line {i}\n"));
    }
    let file_match = "file_match {\nenabled = true\n}";
    rig.start(&format!("targets = [{{__path__ = {:?}}}]\n{file_match}", rig.at("*.log"))).await;
    rig.until(count).await;
    for i in 0..count {
        rig.write(&format!("{i}.log"), &format!("line {}\n", count + i));
    }
    rig.until(2 * count).await;
    rig.rest().await;
    let mut numbers: Vec<usize> = rig.lines.iter().map(|l| l[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2 * count));
    rig.stop().await;
    assert_eq!(tail::positions::load(&rig.positions_path()).records.len(), count);
}

#[tokio::test(start_paused = true)]
async fn a_busy_file_does_not_keep_others_waiting() {
    let mut rig = Rig::new();
    rig.write(
        "big.log",
        &"x".repeat(99).lines().map(|l| format!("{l}\n")).collect::<String>().repeat(200_000),
    );
    rig.write("small.log", "line 0\n");
    let target = |name: &str| format!("{{__path__ = {:?}}}", rig.at(name));
    let body = format!("targets = [{}, {}]", target("big.log"), target("small.log"));
    rig.start(&body).await;
    rig.until(200_001).await;
    let small = rig.lines.iter().position(|l| l == "line 0").unwrap();
    assert!(small < 100_000, "it came after {small} lines of the other");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_away_for_long_goes_on_where_it_was() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    rig.start(&rig.target("a.log")).await;
    rig.until(10).await;
    std::fs::rename(rig.at("a.log"), rig.at("elsewhere")).unwrap();
    rig.rest().await;
    rig.write("elsewhere", &numbered(10..20));
    std::fs::rename(rig.at("elsewhere"), rig.at("a.log")).unwrap();
    rig.expect(0..20).await;
}

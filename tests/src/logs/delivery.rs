//! What is promised about log lines, fault by fault, with the real program.

use std::time::{Duration, Instant};

use super::{DISK, Pipeline, all_arrive, each_arrives_once};
use crate::kit::{Answer, Journal, Loki, Mode, Program, SmallDisk, eventually, get};

#[test]
fn lines_that_a_loki_refuses_for_now_are_kept_and_sent_later() {
    let cases = [
        Mode::Answer(Answer::status(500)),
        Mode::Answer(Answer::status(503).with_header("Retry-After", "1")),
        Mode::Answer(Answer::status(429).with_header("Retry-After", "1")),
        Mode::Hang,
        Mode::Garbage(b"\x00\x01 no protocol at all\r\n\r\n"),
    ];
    std::thread::scope(|scope| {
        for mode in cases {
            scope.spawn(move || {
                let folder = tempfile::tempdir().expect("a folder");
                let journal = Journal::create(&folder.path().join("app.log"));
                let loki = Loki::start();
                loki.set(mode);
                let path = folder.path().join("app.log");
                let program = Program::start(&Pipeline::new(&path, &loki).config());
                journal.write(1000);
                eventually("it was tried more than once", || match loki.requests() {
                    tries if tries > 1 => Ok(()),
                    tries => Err(format!("{tries}\n{}", program.log())),
                });
                loki.set(Mode::Accept);
                each_arrives_once(&loki, 1, 1000, &program);
                assert_eq!(program.metric("loki_write_dropped_entries_total"), 0.0);
            });
        }
    });
}

#[test]
fn lines_that_a_loki_refuses_for_good_are_counted_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let loki = Loki::start();
    loki.set(Mode::Answer(Answer::status(400)));
    let program = Program::start(&Pipeline::new(&path, &loki).config());
    journal.write(100);
    eventually("drops are counted", || {
        let page = get(program.address, "/metrics")?.body;
        let dropped = page.lines().filter(|l| {
            l.starts_with("loki_write_dropped_entries_total{") && l.contains("reason=\"ingester_error\"")
        });
        let dropped: f64 = dropped.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        match dropped {
            100.0 => Ok(()),
            dropped => Err(format!("{dropped}\n{}", program.log())),
        }
    });
    assert!(program.log().matches("level=error").count() <= 1, "told once a minute\n{}", program.log());
    loki.set(Mode::Accept);
    journal.write(100);
    each_arrives_once(&loki, 101, 200, &program);
}

/// The queue is smaller than what is written: the file waits, not memory.
#[test]
fn a_file_waits_where_it_is_while_its_loki_is_gone_for_longer_than_memory_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::with_padding(&path, 1000);
    let mut loki = Loki::start();
    loki.go_down();
    const LINES: u64 = 40_000;
    let program = Program::start(&Pipeline::new(&path, &loki).config());
    let before = program.resident();
    journal.write(LINES);
    let size = std::fs::metadata(&path).expect("there").len() as f64;
    // Alloy's default queue holds ten batches of a megabyte.
    let read = stands_still(&program, "loki_source_file_read_bytes_total");
    assert!(read > 0.0 && read < size / 2.0, "{read} of {size} bytes are read");
    let grown = program.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    loki.come_back();
    each_arrives_once(&loki, 1, LINES, &program);
}

#[test]
fn with_a_queue_on_disk_lines_wait_there_and_the_file_may_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::with_padding(&path, 1000);
    let mut loki = Loki::start();
    loki.go_down();
    const LINES: u64 = 20_000;
    let program = Program::start(&Pipeline { write: DISK, ..Pipeline::new(&path, &loki) }.config());
    journal.write(LINES);
    let size = std::fs::metadata(&path).expect("there").len() as f64;
    eventually("the whole file is read", || match program.metric("loki_source_file_read_bytes_total") {
        read if read >= size => Ok(()),
        read => Err(format!("{read} of {size}\n{}", program.log())),
    });
    std::fs::remove_file(&path).expect("removed");
    loki.come_back();
    each_arrives_once(&loki, 1, LINES, &program);
}

#[test]
fn one_loki_that_is_down_does_not_delay_another() {
    for mode in [Mode::Hang, Mode::Answer(Answer::status(500))] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.log");
        let journal = Journal::create(&path);
        let (dead, alive) = (Loki::start(), Loki::start());
        dead.set(mode);
        let pipeline = Pipeline { lokis: vec![&dead, &alive], ..Pipeline::new(&path, &dead) };
        let program = Program::start(&pipeline.config());
        // For as long as this takes, the other one is down.
        journal.write(10_000);
        each_arrives_once(&alive, 1, 10_000, &program);
        dead.set(Mode::Accept);
        all_arrive(&dead, 1, 10_000, &program);
    }
}

/// The value of a metric once it has not changed for a second.
fn stands_still(program: &Program, metric: &str) -> f64 {
    let (mut last, mut since) = (-1.0, Instant::now());
    eventually("it stands still", || {
        let value = program.metric(metric);
        if value != last {
            (last, since) = (value, Instant::now());
        }
        match value > 0.0 && since.elapsed() > Duration::from_secs(1) {
            true => Ok(value),
            false => Err(format!("{metric} {value}\n{}", program.log())),
        }
    })
}

#[test]
fn a_full_disk_stops_the_reading_and_loses_nothing() {
    let Some(disk) = SmallDisk::of("4m") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::with_padding(&path, 1000);
    let mut loki = Loki::start();
    loki.go_down();
    // More than the disk has; a segment, the unit in which room becomes free, is an eighth of it.
    let write = "wal {\n\t\tenabled  = true\n\t\tmax_size = \"8MiB\"\n\t}";
    let config = Pipeline { write, ..Pipeline::new(&path, &loki) }.config();
    let mut program = Program::prepare(&config);
    program.store_on(disk);
    program.launch();
    program.wait_ready();
    const LINES: u64 = 30_000;
    journal.write(LINES);
    let size = std::fs::metadata(&path).expect("there").len() as f64;
    let read = stands_still(&program, "loki_source_file_read_bytes_total");
    assert!(read < size, "{read} of {size} bytes are read");
    eventually("the node says so", || {
        let body = get(program.address, "/api/v0/web/components/loki.write.default")?.body;
        match body.contains("\"unhealthy\"") {
            true => Ok(()),
            false => Err(body),
        }
    });
    loki.come_back();
    each_arrives_once(&loki, 1, LINES, &program);
    // And the queue is whole: what comes now goes through it too.
    journal.write(1000);
    each_arrives_once(&loki, 1, LINES + 1000, &program);
}

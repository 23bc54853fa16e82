//! The end of the program, expected and not, and what is found damaged at the next start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DISK, Pipeline, all_arrive, each_arrives_once};
use crate::kit::{Answer, Journal, Loki, Mode, Program, eventually, files};

#[test]
fn sigterm_sends_what_is_queued_and_the_next_start_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let loki = Loki::start();
    let mut program = Program::start(&Pipeline::new(&path, &loki).config());
    for _ in 0..3 {
        let writing = journal.keep_writing(100, Duration::from_millis(2));
        std::thread::sleep(Duration::from_millis(300));
        program.signal(rustix::process::Signal::TERM);
        assert!(program.wait().success(), "{}", program.log());
        drop(writing);
        program.launch();
        program.wait_ready();
    }
    each_arrives_once(&loki, 1, journal.written(), &program);
}

#[test]
fn sigterm_while_loki_is_down_leaves_lines_on_disk_and_the_next_start_sends_them() {
    let write = "wal {\n\t\tenabled = true\n\t\tdrain_timeout = \"1s\"\n\t}";
    sigterm_while_loki_is_down(write);
}

/// What is in memory only is given up at the end of the program; but then it is in the file still, and its position
/// has not been moved.
#[test]
fn sigterm_while_loki_is_down_leaves_lines_in_their_file_where_the_queue_is_in_memory() {
    sigterm_while_loki_is_down("");
}

fn sigterm_while_loki_is_down(write: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let mut loki = Loki::start();
    loki.go_down();
    let mut program = Program::start(&Pipeline { write, ..Pipeline::new(&path, &loki) }.config());
    journal.write(5000);
    let read = || program.metric("loki_source_file_read_lines_total");
    eventually("lines are read", || if read() >= 5000.0 { Ok(()) } else { Err(program.log()) });
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    loki.come_back();
    program.launch();
    program.wait_ready();
    each_arrives_once(&loki, 1, 5000, &program);
}

/// Kills the program at times that differ from round to round: the position is never ahead of the queue.
#[test]
fn after_kill_9_no_line_is_missing() {
    no_line_is_missing_after_kill_9(DISK);
}

/// The position is never ahead of what is sent.
#[test]
fn after_kill_9_no_line_is_missing_where_the_queue_is_in_memory() {
    no_line_is_missing_after_kill_9("");
}

fn no_line_is_missing_after_kill_9(write: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let loki = Loki::start();
    let mut program = Program::prepare(&Pipeline { write, ..Pipeline::new(&path, &loki) }.config());
    for round in 0..6u64 {
        if round % 2 == 0 {
            loki.set(Mode::Answer(Answer::status(500)));
        }
        let writing = journal.keep_writing(20, Duration::from_millis(1));
        program.launch();
        program.wait_ready();
        // Long enough in some rounds that positions are written, too short in others.
        std::thread::sleep(Duration::from_millis(100 + 370 * ((round * 7) % 5)));
        program.kill();
        drop(writing);
        loki.set(Mode::Accept);
    }
    program.launch();
    program.wait_ready();
    let written = journal.written();
    let arrived = all_arrive(&loki, 1, written, &program);
    assert!(arrived.keys().all(|n| (1..=written).contains(n)), "nothing that was never written");
}

#[test]
fn damaged_queue_and_positions_files_do_not_keep_the_program_from_starting() {
    let cuts: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 7),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..].iter_mut().take(16).for_each(|b| *b ^= 0xff);
        },
    ];
    std::thread::scope(|scope| {
        for cut in cuts {
            scope.spawn(move || damaged(cut));
        }
    });
}

fn damaged(cut: fn(&mut Vec<u8>)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let mut loki = Loki::start();
    let config = Pipeline { write: DISK, ..Pipeline::new(&path, &loki) }.config();
    let mut program = Program::start(&config);
    journal.write(2000);
    all_arrive(&loki, 1, 2000, &program);
    loki.go_down();
    journal.write(2000);
    let read = || program.metric("loki_source_file_read_lines_total");
    eventually("lines are read", || if read() >= 4000.0 { Ok(()) } else { Err(program.log()) });
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    let mut damaged = Vec::new();
    for file in files(&program.storage()) {
        let mut bytes = fs::read(&file).expect("read");
        if bytes.len() > 64 {
            cut(&mut bytes);
            fs::write(&file, bytes).expect("written");
            damaged.push(file);
        }
    }
    let named = |part: &str| damaged.iter().any(|f| f.to_string_lossy().contains(part));
    assert!(named("positions.yml") && named("loki.write.default"), "{damaged:?}");
    loki.come_back();
    program.launch();
    program.wait_ready();
    journal.write(2000);
    // The positions may be lost, and the file be read anew; nothing that is in it is missing.
    all_arrive(&loki, 4001, 6000, &program);
    all_arrive(&loki, 1, 2000, &program);
}

/// A file of which another program has read some lines already.
fn half_read(folder: &Path) -> (Journal, PathBuf, u64) {
    let path = folder.join("app.log");
    let journal = Journal::create(&path);
    journal.write(100);
    let position = fs::metadata(&path).expect("there").len();
    journal.write(100);
    (journal, path, position)
}

#[test]
fn promtails_positions_are_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_journal, path, position) = half_read(folder.path());
    let legacy = folder.path().join("positions.yaml");
    let other = folder.path().join("other.log");
    let text = format!("positions:\n  {}: \"{position}\"\n  {}: \"77\"\n", path.display(), other.display());
    fs::write(&legacy, text).expect("written");
    let loki = Loki::start();
    let source = format!("legacy_positions_file = \"{}\"", legacy.display());
    let program = Program::start(&Pipeline { source: &source, ..Pipeline::new(&path, &loki) }.config());
    each_arrives_once(&loki, 101, 200, &program);
}

#[test]
fn alloys_positions_are_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_journal, path, position) = half_read(folder.path());
    let loki = Loki::start();
    let mut program = Program::prepare(&Pipeline::new(&path, &loki).config());
    let own = program.storage().join("loki.source.file.default");
    fs::create_dir_all(&own).expect("a folder");
    let text = format!(
        "positions:\n  ? path: {}\n    labels: '{{job=\"app\"}}'\n  : \"{position}\"\n",
        path.display()
    );
    fs::write(own.join("positions.yml"), text).expect("written");
    program.launch();
    program.wait_ready();
    each_arrives_once(&loki, 101, 200, &program);
}

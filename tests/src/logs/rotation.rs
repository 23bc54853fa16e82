//! Rotation under load, by every way that is common: each line arrives once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Pipeline, each_arrives_once};
use crate::kit::{Journal, Loki, Open, Program, eventually};

/// Rotates an open log; `turn` counts from 1.
type Rotate = fn(&mut Open, u64);

fn numbered(path: &Path, place: u64, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{place}{suffix}", path.display()))
}

/// Makes the first place free, as logrotate does: the youngest of the old files has the lowest number.
fn make_room(path: &Path, turn: u64, suffix: &str) {
    for place in (1..turn).rev() {
        fs::rename(numbered(path, place, suffix), numbered(path, place + 1, suffix)).expect("renamed");
    }
}

fn rename(log: &mut Open, turn: u64) {
    make_room(log.path(), turn, "");
    fs::rename(log.path(), numbered(log.path(), 1, "")).expect("renamed");
    // The program has not heard yet and writes to the old file for a moment.
    log.write(10);
    log.reopen();
}

fn rename_and_compress(log: &mut Open, turn: u64) {
    make_room(log.path(), turn, ".gz");
    let old = numbered(log.path(), 1, "");
    fs::rename(log.path(), &old).expect("renamed");
    log.reopen();
    log.write(10);
    let status = Command::new("gzip").arg(&old).status().expect("gzip");
    assert!(status.success());
}

fn delete_and_create(log: &mut Open, _turn: u64) {
    // What a reader could not have seen is gone by nobody's fault: it gets a moment.
    std::thread::sleep(Duration::from_millis(600));
    fs::remove_file(log.path()).expect("removed");
    log.reopen();
}

fn copy_and_truncate(log: &mut Open, turn: u64) {
    let path = log.path().to_path_buf();
    make_room(&path, turn, "");
    fs::copy(&path, numbered(&path, 1, "")).expect("copied");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(0).expect("truncated");
}

/// As Kubernetes does it: the path is a link, and leads to another file from now on.
fn swap_link(log: &mut Open, turn: u64) {
    let path = log.path().to_path_buf();
    let target = path.with_file_name(format!("{turn}.log"));
    fs::write(&target, "").expect("created");
    let next = path.with_file_name("next");
    std::os::unix::fs::symlink(&target, &next).expect("linked");
    fs::rename(&next, &path).expect("swapped");
    log.reopen();
}

fn under_load(rotate: Rotate, turns: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    if rotate as usize == swap_link as Rotate as usize {
        fs::write(folder.path().join("0.log"), "").expect("created");
        std::os::unix::fs::symlink(folder.path().join("0.log"), &path).expect("linked");
    }
    let journal = Journal::create(&path);
    let loki = Loki::start();
    let program = Program::start(&Pipeline::new(&path, &loki).config());
    let writing = journal.keep_writing(20, Duration::from_millis(2));
    for turn in 1..=turns {
        std::thread::sleep(Duration::from_millis(120 + 60 * (turn % 3)));
        rotate(&mut journal.hold(), turn);
    }
    std::thread::sleep(Duration::from_millis(100));
    drop(writing);
    each_arrives_once(&loki, 1, journal.written(), &program);
}

#[test]
fn each_line_arrives_once_while_files_are_renamed() {
    under_load(rename, 12);
}

#[test]
fn each_line_arrives_once_while_files_are_renamed_and_compressed() {
    under_load(rename_and_compress, 12);
}

#[test]
fn each_line_arrives_once_while_files_are_deleted_and_created() {
    under_load(delete_and_create, 5);
}

#[test]
fn each_line_arrives_once_while_files_are_copied_and_truncated() {
    under_load(copy_and_truncate, 12);
}

#[test]
fn each_line_arrives_once_while_a_link_is_swapped() {
    under_load(swap_link, 12);
}

/// Nobody reads while the files turn: the next start finds where it was. Of a link only the place where it
/// led is known: what it led to in between and nobody has seen is nowhere to be found.
#[test]
fn rotations_while_the_program_is_down_lose_nothing() {
    for (rotate, turns) in [(rename as Rotate, 3), (rename_and_compress, 3), (swap_link, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.log");
        if rotate as usize == swap_link as Rotate as usize {
            fs::write(folder.path().join("0.log"), "").expect("created");
            std::os::unix::fs::symlink(folder.path().join("0.log"), &path).expect("linked");
        }
        let journal = Journal::create(&path);
        let loki = Loki::start();
        let mut program = Program::start(&Pipeline::new(&path, &loki).config());
        journal.write(500);
        super::all_arrive(&loki, 1, 500, &program);
        program.signal(rustix::process::Signal::TERM);
        assert!(program.wait().success(), "{}", program.log());
        for turn in 1..=turns {
            journal.write(500);
            rotate(&mut journal.hold(), turn);
        }
        journal.write(500);
        program.launch();
        program.wait_ready();
        each_arrives_once(&loki, 1, journal.written(), &program);
    }
}

/// Debian's own logrotate, by its three ways.
#[test]
fn each_line_arrives_once_under_logrotate() {
    std::thread::scope(|scope| {
        for way in ["create", "create\n\tcompress", "copytruncate"] {
            scope.spawn(move || logrotate(way));
        }
    });
}

fn logrotate(way: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    let journal = Journal::create(&path);
    let conf = folder.path().join("logrotate.conf");
    let text = format!("{} {{\n\trotate 10\n\tsize 1\n\t{way}\n\tsu root root\n}}\n", path.display());
    let text = if rustix::process::geteuid().is_root() { text } else { text.replace("\tsu root root\n", "") };
    fs::write(&conf, text).expect("written");
    let loki = Loki::start();
    let program = Program::start(&Pipeline::new(&path, &loki).config());
    let writing = journal.keep_writing(20, Duration::from_millis(2));
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(300));
        let mut log = journal.hold();
        let mut logrotate = Command::new("logrotate");
        logrotate.arg("--force").arg("--state").arg(folder.path().join("state")).arg(&conf);
        let output =
            logrotate.output().unwrap_or_else(|e| panic!("logrotate: {e}: install it, as .ci/run does"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        log.reopen();
    }
    drop(writing);
    let rotated = eventually("logrotate has rotated", || {
        let names = fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name());
        let rotated = names.filter(|n| n.to_string_lossy().starts_with("app.log.")).count();
        if rotated > 1 { Ok(rotated) } else { Err(rotated.to_string()) }
    });
    assert!(rotated > 1);
    each_arrives_once(&loki, 1, journal.written(), &program);
}

//! The end of the program, expected and not, and what is found damaged at the next start.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::{DISK, PAUSE, Pipeline, all_arrive, arrive, each_arrives_once};
use crate::kit::pyroscope::{Load, Pyroscope, Way};
use crate::kit::{Answer, Mode, files};

#[test]
fn sigterm_sends_profiles_that_clients_were_told_are_taken() {
    let pyroscope = Pyroscope::start();
    let pipeline = Pipeline::new(&pyroscope);
    let mut program = pipeline.start();
    let load = pipeline.load();
    for _ in 0..3 {
        load.wait_taken(50);
        program.signal(Signal::TERM);
        assert!(program.wait().success(), "{}", program.log());
        pipeline.launch(&mut program);
    }
    let sent = load.finish();
    all_arrive(&pyroscope, &sent, &program);
}

#[test]
fn sigterm_while_a_pyroscope_is_down_leaves_profiles_on_disk_and_the_next_start_sends_them() {
    let mut pyroscope = Pyroscope::start();
    pyroscope.go_down();
    let endpoint = "queue_config {\n\t\t\tdrain_timeout = \"1s\"\n\t\t}";
    let pipeline = Pipeline { write: DISK, endpoint, ..Pipeline::new(&pyroscope) };
    let mut program = pipeline.start();
    pipeline.send(1..=100);
    program.signal(Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    pyroscope.come_back();
    pipeline.launch(&mut program);
    each_arrives_once(&pyroscope, 1, 100, &program);
}

/// Kills the program at times that differ from round to round.
#[test]
fn after_kill_9_every_profile_that_a_client_was_told_is_taken_arrives() {
    let pyroscope = Pyroscope::start();
    let pipeline = Pipeline { write: DISK, ..Pipeline::new(&pyroscope) };
    let mut program = pipeline.start();
    let load = Load::start(pipeline.address, 100, Duration::from_millis(1));
    for round in 0..6u64 {
        if round % 2 == 0 {
            pyroscope.set(Mode::Answer(Answer::status(500)));
        }
        load.wait_taken(5 + 37 * ((round * 7) % 5));
        program.kill();
        pyroscope.set(Mode::Accept);
        pipeline.launch(&mut program);
    }
    let sent = load.finish();
    assert!(sent.iter().all(|client| client.taken > 20), "{sent:?}");
    all_arrive(&pyroscope, &sent, &program);
}

#[test]
fn a_damaged_queue_of_profiles_does_not_keep_the_program_from_starting() {
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
    let mut pyroscope = Pyroscope::start();
    let endpoint = "queue_config {\n\t\t\tdrain_timeout = \"10ms\"\n\t\t}";
    let pipeline = Pipeline { write: DISK, endpoint, ..Pipeline::new(&pyroscope) };
    let mut program = pipeline.start();
    pyroscope.go_down();
    let load = Load::start(pipeline.address, 100, PAUSE);
    load.wait_taken(100);
    let sent = load.finish();
    program.signal(Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
    let mut damaged = 0;
    for file in files(&program.storage()) {
        let mut bytes = fs::read(&file).expect("read");
        if bytes.len() > 64 && file.to_string_lossy().contains("pyroscope.write.default") {
            cut(&mut bytes);
            fs::write(&file, bytes).expect("written");
            damaged += 1;
        }
    }
    assert!(damaged > 0, "the queue has files");
    pyroscope.come_back();
    pipeline.launch(&mut program);
    let first = sent.iter().map(|client| client.offered).max().expect("clients") + 1;
    pipeline.send(first..=first + 20);
    for way in Way::ALL {
        arrive(&pyroscope, way, first, first + 20, &program);
        // What is whole is there, and nothing that was never sent.
        assert!(pyroscope.numbers(way.name()).keys().all(|n| (1..=first + 20).contains(n)));
    }
}

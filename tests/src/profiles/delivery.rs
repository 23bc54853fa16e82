//! What is promised about profiles while Pyroscopes fail.

use std::time::Duration;

use super::{DISK, PAUSE, Pipeline, all_arrive, arrive, counted, counts, each_arrives_once};
use crate::kit::pyroscope::{Load, Pyroscope, Way};
use crate::kit::{Answer, Mode, SmallDisk, eventually, get};

#[test]
fn profiles_that_a_pyroscope_refuses_for_now_are_kept_and_sent_later() {
    let connect = |status, code: &str| {
        let answer = Answer::status(status).with_header("Content-Type", "application/json");
        Mode::Answer(Answer { body: format!("{{\"code\":\"{code}\",\"message\":\"not now\"}}"), ..answer })
    };
    let cases = [
        Mode::Answer(Answer::status(500)),
        Mode::Answer(Answer::status(503).with_header("Retry-After", "1")),
        Mode::Answer(Answer::status(429).with_header("Retry-After", "1")),
        connect(503, "unavailable"),
        connect(429, "resource_exhausted"),
        Mode::Hang,
        Mode::Garbage(b"\x00\x01 no protocol at all\r\n\r\n"),
    ];
    // A few at a time: each is a program of its own.
    for some in cases.chunks(4) {
        std::thread::scope(|scope| {
            for mode in some {
                scope.spawn(move || refused_for_now(mode));
            }
        });
    }
}

fn refused_for_now(mode: &Mode) {
    let pyroscope = Pyroscope::start();
    pyroscope.set(mode.clone());
    let hangs = matches!(mode, Mode::Hang);
    let pipeline = Pipeline { timeout: if hangs { "1s" } else { "20s" }, ..Pipeline::new(&pyroscope) };
    let program = pipeline.start();
    pipeline.send(1..=10);
    counts(&program, "pyroscope_write_retries_total", "", 2.0);
    pyroscope.set(Mode::Accept);
    if hangs {
        // An attempt that was answered too late for the short time is made again.
        Way::ALL.iter().for_each(|way| arrive(&pyroscope, *way, 1, 10, &program));
    } else {
        each_arrives_once(&pyroscope, 1, 10, &program);
    }
    assert_eq!(program.metric("pyroscope_write_dropped_profiles_total"), 0.0, "{mode:?}");
}

/// The time that a back end asks for is given to it.
#[test]
fn a_pyroscope_that_says_when_to_come_back_is_left_alone_until_then() {
    let pyroscope = Pyroscope::start();
    pyroscope.set(Mode::Answer(Answer::status(429).with_header("Retry-After", "2")));
    let pipeline = Pipeline::new(&pyroscope);
    let program = pipeline.start();
    pipeline.send(1..=1);
    eventually("it came back", || {
        let requests = pyroscope.requests();
        // All clients' first attempts may be under way when the first answer comes.
        let gap = requests.windows(2).map(|pair| pair[1] - pair[0]).max();
        match gap {
            Some(gap) if gap >= Duration::from_millis(1900) => Ok(()),
            gap => Err(format!("{gap:?} of {} requests\n{}", requests.len(), program.log())),
        }
    });
    assert!(pyroscope.requests().len() <= 8, "{}", pyroscope.requests().len());
    pyroscope.set(Mode::Accept);
    each_arrives_once(&pyroscope, 1, 1, &program);
}

#[test]
fn profiles_that_a_pyroscope_refuses_for_good_are_counted_with_the_reason() {
    let pyroscope = Pyroscope::start();
    pyroscope.set(Mode::Answer(Answer::status(400)));
    let pipeline = Pipeline::new(&pyroscope);
    let program = pipeline.start();
    pipeline.send(1..=10);
    counts(&program, "pyroscope_write_drops_total", "reason=\"refused\"", 30.0);
    assert_eq!(program.metric("pyroscope_write_dropped_profiles_total"), 30.0);
    assert!(program.log().matches("level=error").count() <= 1, "told once a minute\n{}", program.log());
    pyroscope.set(Mode::Accept);
    pipeline.send(11..=20);
    each_arrives_once(&pyroscope, 11, 20, &program);
}

/// The queue is smaller than what is sent: clients wait, and are told to come again, not memory grows.
#[test]
fn clients_are_told_to_wait_while_a_pyroscope_is_gone_for_longer_than_memory_holds() {
    let pyroscope = Pyroscope::start();
    pyroscope.go_down();
    let endpoint = "queue_config {\n\t\t\tcapacity = \"1MiB\"\n\t\t}";
    let pipeline = Pipeline { endpoint, ..Pipeline::new(&pyroscope) };
    let program = pipeline.start();
    let load = Load::start(pipeline.address, 20_000, Duration::ZERO);
    eventually("clients are told to wait", || {
        match load.troubles().iter().filter(|trouble| trouble.starts_with("503")).count() {
            0 => Err(format!("{} are taken\n{}", load.taken(), program.log())),
            _ => Ok(()),
        }
    });
    let taken = load.taken();
    assert!((20..=60).contains(&taken), "{taken} profiles of 20 KB fit into 1 MiB");
    pyroscope.come_back();
    load.wait_taken(10);
    all_arrive(&pyroscope, &load.finish(), &program);
    assert_eq!(program.metric("pyroscope_write_dropped_profiles_total"), 0.0);
}

#[test]
fn with_a_queue_on_disk_profiles_wait_there_while_a_pyroscope_is_gone() {
    let pyroscope = Pyroscope::start();
    pyroscope.go_down();
    let endpoint = "queue_config {\n\t\t\tcapacity = \"1MiB\"\n\t\t}";
    let pipeline = Pipeline { endpoint, write: DISK, ..Pipeline::new(&pyroscope) };
    let program = pipeline.start();
    let load = Load::start(pipeline.address, 20_000, Duration::ZERO);
    // Ten times what memory holds.
    load.wait_taken(500);
    assert!(counted(&program, "pyroscope_write_queue_disk_bytes", "") > 8e6);
    assert_eq!(load.troubles(), Vec::<String>::new());
    let sent = load.finish();
    pyroscope.come_back();
    all_arrive(&pyroscope, &sent, &program);
    assert_eq!(program.metric("pyroscope_write_dropped_profiles_total"), 0.0);
}

#[test]
fn one_pyroscope_that_is_down_does_not_delay_another() {
    for mode in [Mode::Hang, Mode::Answer(Answer::status(500))] {
        let (dead, alive) = (Pyroscope::start(), Pyroscope::start());
        dead.set(mode);
        let pipeline = Pipeline { pyroscopes: vec![&dead, &alive], timeout: "1s", ..Pipeline::new(&dead) };
        let program = pipeline.start();
        let began = std::time::Instant::now();
        pipeline.send(1..=100);
        each_arrives_once(&alive, 1, 100, &program);
        // Each of the hundred would wait a second for the other.
        assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
        dead.set(Mode::Accept);
        Way::ALL.iter().for_each(|way| arrive(&dead, *way, 1, 100, &program));
    }
}

#[test]
fn a_full_disk_under_the_queue_of_profiles_refuses_clients_for_now_and_loses_nothing() {
    let Some(disk) = SmallDisk::of("4m") else { return };
    let pyroscope = Pyroscope::start();
    pyroscope.go_down();
    // More than the disk has; a segment, the unit in which room becomes free, is an eighth of it.
    let write = "wal {\n\t\tenabled  = true\n\t\tmax_size = \"8MiB\"\n\t}";
    let pipeline = Pipeline { write, ..Pipeline::new(&pyroscope) };
    let mut program = crate::kit::Program::prepare(&pipeline.config());
    program.store_on(disk);
    pipeline.launch(&mut program);
    let load = Load::start(pipeline.address, 20_000, PAUSE);
    eventually("clients are told to wait", || {
        match load.troubles().iter().filter(|trouble| trouble.starts_with("503")).count() {
            0 => Err(format!("{} are taken\n{}", load.taken(), program.log())),
            _ => Ok(()),
        }
    });
    eventually("the node says so", || {
        let body = get(program.address, "/api/v0/web/components/pyroscope.write.default")?.body;
        match body.contains("\"unhealthy\"") {
            true => Ok(()),
            false => Err(body),
        }
    });
    pyroscope.come_back();
    load.wait_taken(100);
    all_arrive(&pyroscope, &load.finish(), &program);
    assert_eq!(program.metric("pyroscope_write_dropped_profiles_total"), 0.0);
}

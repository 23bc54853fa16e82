//! What is promised about spans, data points and log records while back ends fail.

use std::time::Duration;

use super::{DISK, Out, Pipeline, STORAGE, all_arrive, arrives, counted, counts, each_arrives_once};
use crate::kit::otlp::{Backend, Behaviour, Kind, Load, Outcome, Shape, request, runtime};
use crate::kit::{SmallDisk, eventually, get};

#[test]
fn spans_that_a_back_end_refuses_for_now_are_kept_and_sent_later() {
    let cases = |out: Out| match out {
        Out::Http => vec![
            Behaviour::Status(429, None),
            Behaviour::Status(429, Some(1)),
            Behaviour::Status(502, None),
            Behaviour::Status(503, Some(1)),
            Behaviour::Status(504, None),
            Behaviour::Status(302, None),
            Behaviour::Hang,
            Behaviour::Reset,
            Behaviour::Garbage,
        ],
        Out::Grpc => vec![
            // Cancelled, deadline exceeded, exhausted with a time to come back, aborted, out of range, unavailable,
            // data loss; and what proxies say.
            Behaviour::Grpc(1, None),
            Behaviour::Grpc(4, None),
            Behaviour::Grpc(8, Some(Duration::from_millis(100))),
            Behaviour::Grpc(10, None),
            Behaviour::Grpc(11, None),
            Behaviour::Grpc(14, None),
            Behaviour::Grpc(14, Some(Duration::from_secs(1))),
            Behaviour::Grpc(15, None),
            Behaviour::Status(429, None),
            Behaviour::Status(502, None),
            Behaviour::Status(503, None),
            Behaviour::Hang,
            Behaviour::Reset,
            Behaviour::Garbage,
        ],
    };
    for out in Out::ALL {
        // A few at a time: each is a program of its own.
        for some in cases(out).chunks(5) {
            std::thread::scope(|scope| {
                for behaviour in some {
                    scope.spawn(move || refused_for_now(out, behaviour));
                }
            });
        }
    }
}

fn refused_for_now(out: Out, behaviour: &Behaviour) {
    let backend = Backend::behaving(behaviour.clone());
    let hangs = *behaviour == Behaviour::Hang;
    let timeout = if hangs { "2s" } else { "20s" };
    let pipeline = Pipeline { out, timeout, ..Pipeline::new(&backend) };
    let program = pipeline.start();
    pipeline.send_all(20);
    // More than the six that there are: some were tried again.
    eventually("it was tried more than once", || match backend.requests() {
        tries if tries > 6 => Ok(()),
        tries => Err(format!("{behaviour:?}: {tries}\n{}", program.log())),
    });
    backend.set(Behaviour::Accept);
    if hangs {
        // An attempt that was answered too late for the short time is made again.
        for kind in Kind::ALL {
            ["grpc", "http"].iter().for_each(|client| arrives(&backend, kind, client, 1, 20, &program));
        }
    } else {
        each_arrives_once(&backend, 1, 20, &program);
    }
    for kind in Kind::ALL {
        let failed = counted(&program, &format!("otelcol_exporter_send_failed_{}_total", kind.items()), &[]);
        assert_eq!(failed, 0.0, "{behaviour:?}");
    }
}

/// The time that a back end asks for is given to it.
#[test]
fn a_back_end_that_says_when_to_come_back_is_left_alone_until_then() {
    let wait = Duration::from_secs(2);
    for (out, behaviour) in [
        (Out::Http, Behaviour::Status(429, Some(2))),
        (Out::Http, Behaviour::Status(503, Some(2))),
        (Out::Grpc, Behaviour::Grpc(14, Some(wait))),
        (Out::Grpc, Behaviour::Grpc(8, Some(wait))),
    ] {
        let backend = Backend::behaving(behaviour.clone());
        let pipeline = Pipeline { out, queue: "num_consumers = 1".into(), ..Pipeline::new(&backend) };
        let program = pipeline.start();
        let mut client = pipeline.client(true);
        let outcome = runtime().block_on(client.send(Kind::Traces, &request(Kind::Traces, "grpc", 1..2, 0)));
        assert_eq!(outcome, Outcome::Taken);
        eventually("it was asked", || match backend.requests() {
            0 => Err(program.log()),
            _ => Ok(()),
        });
        backend.set(Behaviour::Accept);
        arrives(&backend, Kind::Traces, "grpc", 1, 1, &program);
        // The back end's own times: this thread may have slept for longer than the program waited.
        let [first, second] = backend.asked()[..] else { panic!("{behaviour:?}: not asked twice") };
        assert!(second - first >= wait, "{behaviour:?}: after {:?}", second - first);
    }
}

#[test]
fn spans_that_a_back_end_refuses_for_good_are_counted_with_the_reason() {
    let http = [400, 401, 404, 413, 500, 501].map(|status| (Out::Http, Behaviour::Status(status, None)));
    // Unknown, invalid, not found, forbidden, exhausted for good, unimplemented, internal, unauthenticated.
    let grpc = [2, 3, 5, 7, 8, 12, 13, 16].map(|code| (Out::Grpc, Behaviour::Grpc(code, None)));
    for (out, behaviour) in http.into_iter().chain(grpc) {
        let backend = Backend::behaving(behaviour.clone());
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) };
        let program = pipeline.start();
        pipeline.send_all(10);
        for kind in Kind::ALL {
            let of_kind = format!("data_type=\"{}\"", kind.name());
            counts(&program, "otelcol_exporter_dropped_items_total", &[&of_kind, "reason=\"refused\""], 20.0);
            counts(&program, &format!("otelcol_exporter_send_failed_{}_total", kind.items()), &[], 20.0);
        }
        let log = program.log();
        let told = log.lines().filter(|l| l.contains("level=error") || l.contains("level=warn")).count();
        assert!((1..=3).contains(&told), "{behaviour:?}: once a minute a signal, not {told} times\n{log}");
        backend.set(Behaviour::Accept);
        pipeline.send_range(11..21);
        each_arrives_once(&backend, 11, 20, &program);
    }
}

/// Queues that hold a few requests: the clients keep the rest.
#[test]
fn clients_are_told_to_wait_while_a_back_end_is_gone_for_longer_than_memory_holds() {
    for out in Out::ALL {
        let mut backend = Backend::start();
        backend.go_down();
        let pipeline = Pipeline {
            out,
            queue: "queue_size = 256000\n\t\tsizer = \"bytes\"".into(),
            client: "compression = \"none\"".into(),
            ..Pipeline::new(&backend)
        };
        let program = pipeline.start();
        let before = program.peak();
        let shape = Shape { items: 20, padding: 1000, clients: 2, ..Shape::default() };
        let load = Load::start(pipeline.grpc, pipeline.http, &shape);
        eventually("clients have to wait", || match load.troubles() {
            n if n > 100 => Ok(()),
            n => Err(format!("{n}\n{}", program.log())),
        });
        // Three queues, less than ten MB of requests, twelve clients.
        let grown = program.grown(before);
        assert!(grown < 48 << 20, "memory grew by {grown} bytes");
        let taken = load.taken();
        backend.come_back();
        eventually("and are served again", || match load.taken() > taken + 1000 {
            true => Ok(()),
            false => Err(program.log()),
        });
        let sent = load.finish();
        sent.nobody_was_refused();
        assert!(
            sent.troubles.iter().all(|(_, o)| matches!(o, Outcome::Later(_))),
            "{:?}",
            sent.troubles.first()
        );
        all_arrive(&backend, &sent, &program);
    }
}

#[test]
fn with_block_on_overflow_clients_wait_and_are_not_refused_while_there_is_time() {
    let mut backend = Backend::start();
    backend.go_down();
    let pipeline =
        Pipeline { queue: "queue_size = 2\n\t\tblock_on_overflow = true".into(), ..Pipeline::new(&backend) };
    let program = pipeline.start();
    let load = Load::start(pipeline.grpc, pipeline.http, &Shape { clients: 3, ..Shape::default() });
    eventually("the queues are full", || match load.taken() {
        taken if taken >= 60 => Ok(()),
        taken => Err(format!("{taken}\n{}", program.log())),
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(load.taken(), 60, "two requests of ten items a signal");
    backend.come_back();
    eventually("and go on", || match load.taken() {
        taken if taken > 1000 => Ok(()),
        taken => Err(format!("{taken}\n{}", program.log())),
    });
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

/// Far more than the queue in memory would hold; no client has to wait.
#[test]
fn with_a_queue_on_disk_spans_wait_there_while_a_back_end_is_gone() {
    for out in Out::ALL {
        let mut backend = Backend::start();
        backend.go_down();
        let pipeline = Pipeline { out, ..Pipeline::new(&backend).on_disk() };
        let pipeline = Pipeline {
            queue: format!("{DISK}\n\t\tsizer = \"bytes\"\n\t\tqueue_size = 100000000"),
            // Bytes are what this is about.
            client: "compression = \"none\"".into(),
            more: STORAGE.into(),
            ..pipeline
        };
        let program = pipeline.start();
        let before = program.peak();
        let shape = Shape { items: 50, padding: 1000, gzip: false, ..Shape::default() };
        let load = Load::start(pipeline.grpc, pipeline.http, &shape);
        eventually("much is taken", || match load.taken() {
            taken if taken > 6000 => Ok(()),
            taken => Err(format!("{taken}\n{}", program.log())),
        });
        let sent = load.finish();
        sent.nobody_had_to_retry();
        let grown = program.grown(before);
        let bytes = sent.items() * 1000;
        backend.come_back();
        all_arrive(&backend, &sent, &program);
        eprintln!("{out:?}: {bytes} bytes waited on disk, memory grew by {grown}");
    }
}

/// If one had to wait for the attempts of the other, twenty requests in turn would take minutes.
#[test]
fn one_otlp_back_end_that_is_down_does_not_delay_another() {
    for out in Out::ALL {
        for behaviour in [Behaviour::Hang, Behaviour::Status(503, None), Behaviour::Reset] {
            let (dead, alive) = (Backend::behaving(behaviour), Backend::start());
            let pipeline =
                Pipeline { out, timeout: "10s", backends: vec![&dead, &alive], ..Pipeline::new(&dead) };
            let program = pipeline.start();
            for n in 0..20 {
                pipeline.send_range(n * 10 + 1..n * 10 + 11);
            }
            each_arrives_once(&alive, 1, 200, &program);
            dead.set(Behaviour::Accept);
            for client in ["grpc", "http"] {
                for kind in Kind::ALL {
                    arrives(&dead, kind, client, 1, 200, &program);
                }
            }
        }
    }
}

#[test]
fn a_full_disk_under_a_sending_queue_refuses_clients_for_now_and_loses_nothing() {
    let Some(disk) = SmallDisk::of("4m") else { return };
    let mut backend = Backend::start();
    backend.go_down();
    let pipeline = Pipeline {
        queue: format!("{DISK}\n\t\tsizer = \"bytes\"\n\t\tqueue_size = 100000000"),
        client: "compression = \"none\"".into(),
        more: STORAGE.into(),
        ..Pipeline::new(&backend)
    };
    let mut program = pipeline.prepare();
    program.store_on(disk);
    pipeline.launch(&mut program);
    let shape = Shape { items: 20, padding: 5000, gzip: false, ..Shape::default() };
    let load = Load::start(pipeline.grpc, pipeline.http, &shape);
    eventually("clients have to wait", || match load.troubles() {
        n if n > 20 => Ok(()),
        n => Err(format!("{n}\n{}", program.log())),
    });
    eventually("the node says so", || {
        let node = format!("{}.backend_0", pipeline.out.exporter());
        let body = get(program.address, &format!("/api/v0/web/components/{node}"))?.body;
        match body.contains("\"unhealthy\"") {
            true => Ok(()),
            false => Err(body),
        }
    });
    let taken = load.taken();
    assert!(taken > 0);
    backend.come_back();
    eventually("and are served again", || match load.taken() > taken + 300 {
        true => Ok(()),
        false => Err(program.log()),
    });
    let sent = load.finish();
    sent.nobody_was_refused();
    all_arrive(&backend, &sent, &program);
}

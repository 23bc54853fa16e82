//! The end of the program, expected and not, and what is found damaged at the next start.

use std::time::Duration;

use super::{Out, Pipeline, all_arrive, arrives};
use crate::kit::otlp::{Backend, Behaviour, Kind, Load, Sent, Shape};
use crate::kit::{Program, eventually, files};

fn taken_more(load: &Load, items: u64, program: &Program) {
    let before = load.taken();
    eventually("items are taken", || match load.taken() >= before + items {
        true => Ok(()),
        false => Err(format!("{} of {items} more than {before}\n{}", load.taken(), program.log())),
    });
}

fn terminate(program: &mut Program) {
    program.signal(rustix::process::Signal::TERM);
    assert!(program.wait().success(), "{}", program.log());
}

/// The queue is in memory, and there is something in it: the back end is slow.
#[test]
fn sigterm_sends_what_clients_were_told_is_taken() {
    for out in Out::ALL {
        let backend = Backend::behaving(Behaviour::Slow(Duration::from_millis(100)));
        // With a batch in between, whose senders are answered when the exporter has it.
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) }
            .through("otelcol.processor.batch", "timeout = \"20ms\"");
        let mut program = pipeline.start();
        let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
        for _ in 0..3 {
            taken_more(&load, 600, &program);
            terminate(&mut program);
            pipeline.launch(&mut program);
        }
        taken_more(&load, 100, &program);
        let sent = load.finish();
        sent.nobody_was_refused();
        all_arrive(&backend, &sent, &program);
    }
}

/// A client whose request is under way when the signal comes gets its answer.
#[test]
fn sigterm_answers_requests_that_are_under_way() {
    let mut backend = Backend::start();
    backend.go_down();
    // The client waits for the outcome.
    let pipeline = Pipeline { queue: "enabled = false".into(), ..Pipeline::new(&backend) };
    let mut program = pipeline.start();
    let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
    std::thread::sleep(Duration::from_millis(300));
    program.signal(rustix::process::Signal::TERM);
    backend.come_back();
    assert!(program.wait().success(), "{}", program.log());
    let sent = load.finish();
    sent.nobody_was_refused();
    all_arrive(&backend, &sent, &program);
    for client in &sent.clients {
        assert!(client.taken > 0, "{client:?} was not answered: {:?}\n{}", sent.troubles, program.log());
    }
}

#[test]
fn sigterm_while_a_back_end_is_down_leaves_spans_on_disk_and_the_next_start_sends_them() {
    for out in Out::ALL {
        let mut backend = Backend::start();
        backend.go_down();
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) }.on_disk();
        let mut program = pipeline.start();
        let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
        taken_more(&load, 2000, &program);
        let sent = load.finish();
        terminate(&mut program);
        backend.come_back();
        program.launch();
        program.wait_ready();
        all_arrive(&backend, &sent, &program);
    }
}

/// Kills the program at times that differ from round to round; what clients were told is taken must arrive.
#[test]
fn after_kill_9_every_span_that_a_client_was_told_is_taken_arrives() {
    for out in Out::ALL {
        let backend = Backend::start();
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) }
            .through("otelcol.processor.batch", "timeout = \"10ms\"\n\tsend_batch_size = 50")
            .on_disk();
        let mut program = pipeline.prepare();
        let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
        for round in 0..6u64 {
            if round % 2 == 0 {
                backend.set(Behaviour::Status(503, None));
            }
            program.launch();
            program.wait_ready();
            taken_more(&load, 100, &program);
            std::thread::sleep(Duration::from_millis(37 * ((round * 7) % 5)));
            program.kill();
            backend.set(Behaviour::Accept);
        }
        program.launch();
        program.wait_ready();
        taken_more(&load, 100, &program);
        let sent = load.finish();
        sent.nobody_was_refused();
        all_arrive(&backend, &sent, &program);
    }
}

#[test]
fn a_damaged_sending_queue_does_not_keep_the_program_from_starting() {
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
    let mut backend = Backend::start();
    let pipeline = Pipeline::new(&backend).on_disk();
    let config = pipeline.config();
    let (grpc, http) = (pipeline.grpc, pipeline.http);
    let mut program = pipeline.start();
    let load = |prefix| Load::start(grpc, http, &Shape { prefix, ..Shape::default() });
    let finished = |load: Load, program: &Program| -> Sent {
        taken_more(&load, 600, program);
        load.finish()
    };
    let before = finished(load("before-"), &program);
    all_arrive(&backend, &before, &program);
    drop(pipeline);
    backend.go_down();
    let lost = finished(load("waiting-"), &program);
    program.kill();
    let mut damaged = 0;
    for file in files(&program.storage()) {
        let mut bytes = std::fs::read(&file).expect("read");
        if bytes.len() > 64 {
            cut(&mut bytes);
            std::fs::write(&file, bytes).expect("written");
            damaged += 1;
        }
    }
    assert!(damaged >= 3, "a queue a signal, not {damaged} files");
    backend.come_back();
    program.write_config(&config);
    program.launch();
    program.wait_ready();
    let after = finished(load("after-"), &program);
    all_arrive(&backend, &after, &program);
    // What is read of the damaged files is what was written, whole requests of ten.
    for client in &lost.clients {
        let arrived = backend.numbers(client.kind, &client.name);
        assert!(arrived.keys().all(|n| (1..=client.offered).contains(n)), "{client:?}: {arrived:?}");
        assert_eq!(arrived.len() % 10, 0, "{client:?}: a request is there or it is not");
    }
    for kind in Kind::ALL {
        arrives(&backend, kind, &format!("before-http-{}-0", kind.name()), 1, 1, &program);
    }
}

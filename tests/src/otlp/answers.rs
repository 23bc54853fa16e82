//! What back ends answer besides yes and no.

use super::{Out, Pipeline, arrives, counts};
use crate::kit::eventually;
use crate::kit::otlp::{Backend, Behaviour, Kind, Outcome, request, runtime};

/// What a partial success rejects is counted and not sent again; a text without rejected items is only a remark.
#[test]
fn a_partial_success_is_counted_and_not_sent_again() {
    let both = |case: (Behaviour, f64, Option<&'static str>)| Out::ALL.map(|out| (out, case.clone()));
    let cases = [
        (Behaviour::Partial(3, "three are too old"), 3.0, Some("three are too old")),
        (Behaviour::Partial(3, ""), 3.0, None),
        (Behaviour::Partial(0, "deprecated field"), 0.0, Some("deprecated field")),
        (Behaviour::Partial(0, ""), 0.0, None),
    ];
    for (out, (behaviour, rejected, words)) in cases.into_iter().flat_map(both) {
        let backend = Backend::behaving(behaviour.clone());
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) };
        let program = pipeline.start();
        let mut client = pipeline.client(true);
        let body = request(Kind::Logs, "grpc", 1..11, 0);
        assert_eq!(runtime().block_on(client.send(Kind::Logs, &body)), Outcome::Taken);
        arrives(&backend, Kind::Logs, "grpc", 1, 10, &program);
        counts(&program, "otelcol_exporter_sent_log_records_total", &[], 10.0 - rejected);
        let parts = ["data_type=\"logs\"", "reason=\"partial_success\""];
        counts(&program, "otelcol_exporter_dropped_items_total", &parts, rejected);
        if let Some(words) = words {
            eventually("it is told", || match program.log().contains(words) {
                true => Ok(()),
                false => Err(program.log()),
            });
        }
        // Each further second would repeat it, if it were repeated at all.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(backend.requests(), 1, "{behaviour:?}");
    }
}

/// A union is refused because of one client's item: the others' are tried by themselves.
#[test]
fn what_a_back_end_refuses_of_one_client_is_not_the_others_loss() {
    for (out, in_queue) in Out::ALL.into_iter().flat_map(|out| [(out, false), (out, true)]) {
        let backend = Backend::behaving(Behaviour::Without("bad"));
        let pipeline = Pipeline { out, ..Pipeline::new(&backend) };
        let pipeline = if in_queue {
            let queue = "num_consumers = 1\n\t\tbatch {\n\t\t\tflush_timeout = \"300ms\"\n\t\t\tmin_size = 100000\n\t\t\tmax_size = 0\n\t\t}";
            Pipeline { queue: queue.into(), ..pipeline }
        } else {
            pipeline.through(
                "otelcol.processor.batch",
                "timeout = \"300ms\"\n\tsend_batch_size = 100000\n\tsend_batch_max_size = 0",
            )
        };
        let program = pipeline.start();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let pipeline = &pipeline;
                scope.spawn(move || {
                    let name = if n == 3 { "bad".to_owned() } else { format!("good-{n}") };
                    let mut client = pipeline.client(n % 2 == 0);
                    for kind in Kind::ALL {
                        let body = request(kind, &name, 1..11, 0);
                        let outcome = runtime().block_on(client.send(kind, &body));
                        assert_eq!(outcome, Outcome::Taken, "{name}");
                    }
                });
            }
        });
        for kind in Kind::ALL {
            for n in (0..8).filter(|n| *n != 3) {
                arrives(&backend, kind, &format!("good-{n}"), 1, 10, &program);
            }
            let of_kind = format!("data_type=\"{}\"", kind.name());
            counts(&program, "otelcol_exporter_dropped_items_total", &[&of_kind, "refused"], 10.0);
        }
        assert!(!backend.clients().contains("bad"));
    }
}

/// Without a queue the client gets the back end's own answer.
#[test]
fn without_a_queue_a_client_gets_the_answer_of_the_back_end() {
    let answers = |out: Out| match out {
        Out::Http => (Behaviour::Status(503, None), Behaviour::Status(400, None)),
        Out::Grpc => (Behaviour::Grpc(14, None), Behaviour::Grpc(3, None)),
    };
    for out in Out::ALL {
        let backend = Backend::start();
        let pipeline = Pipeline {
            out,
            queue: "enabled = false".into(),
            retry: "enabled = false".into(),
            ..Pipeline::new(&backend)
        };
        let program = pipeline.start();
        let (later, never) = answers(out);
        for grpc in [true, false] {
            let mut client = pipeline.client(grpc);
            for (behaviour, is_taken, is_later) in [
                (&Behaviour::Accept, true, false),
                (&later, false, true),
                (&never, false, false),
                (&Behaviour::Accept, true, false),
            ] {
                backend.set(behaviour.clone());
                let body = request(Kind::Traces, "client", 1..2, 0);
                let outcome = runtime().block_on(client.send(Kind::Traces, &body));
                let found = (outcome == Outcome::Taken, matches!(outcome, Outcome::Later(_)));
                assert_eq!(found, (is_taken, is_later), "{behaviour:?}: {outcome:?}\n{}", program.log());
            }
        }
    }
}

//! Reloads under load: no item is missing and no client is refused, whatever part of the pipeline changes.

use std::time::Duration;

use super::{Out, Pipeline, all_arrive};
use crate::kit::otlp::{Backend, Client, Kind, Load, Outcome, Shape, Trust, authority, request, runtime};
use crate::kit::{Program, eventually, free_address};

/// So many requests of ten items between two reloads.
const BETWEEN: u64 = 300;

fn goes_on(load: &Load, program: &Program) {
    let before = load.taken();
    eventually("items are taken", || match load.taken() >= before + BETWEEN {
        true => Ok(()),
        false => Err(format!("{}\n{}", load.taken(), program.log())),
    });
}

fn reload(program: &Program, what: &str, pipeline: &Pipeline<'_>) {
    let answer = program.reload(&pipeline.config());
    assert_eq!(answer.status, 200, "{what}: {}", answer.body);
}

/// A request that is between two components when one is taken out is answered with "again, please", as OTLP has
/// it; nothing else may happen to a client.
#[test]
fn a_reload_of_any_part_under_load_loses_no_item_and_refuses_no_client() {
    for out in Out::ALL {
        let (backend, other) = (Backend::start(), Backend::start());
        let base = Pipeline { out, ..Pipeline::new(&backend) };
        let attributes = "action {\n\t\tkey    = \"step\"\n\t\tvalue  = \"a\"\n\t\taction = \"upsert\"\n\t}";
        let limiter = "check_interval = \"1s\"\n\tlimit          = \"4GiB\"";
        let batch = "timeout = \"20ms\"\n\tsend_batch_size = 100";
        let steps = [
            ("unrelated", Pipeline { more: "loki.echo \"unused\" { }".into(), ..base.clone() }),
            ("a processor more", base.clone().through("otelcol.processor.attributes", attributes)),
            (
                "and two more around it",
                base.clone()
                    .through("otelcol.processor.memory_limiter", limiter)
                    .through("otelcol.processor.attributes", attributes)
                    .through("otelcol.processor.batch", batch),
            ),
            (
                "one's arguments",
                base.clone()
                    .through("otelcol.processor.memory_limiter", limiter)
                    .through("otelcol.processor.attributes", &attributes.replace("\"a\"", "\"b\""))
                    .through("otelcol.processor.batch", "timeout = \"5ms\""),
            ),
            ("all gone", base.clone()),
            ("an exporter more", Pipeline { backends: vec![&backend, &other], ..base.clone() }),
            ("the exporter's client", Pipeline { client: "compression = \"none\"".into(), ..base.clone() }),
            ("the exporter's queue", Pipeline { queue: "num_consumers = 2".into(), ..base.clone() }),
            ("the exporter's queue off", Pipeline { queue: "enabled = false".into(), ..base.clone() }),
            ("and on, on disk", base.clone().on_disk()),
            ("and back to memory", base.clone()),
            (
                "the receiver's limits",
                Pipeline {
                    in_grpc: "max_recv_msg_size = \"8MiB\"\n\t\tinclude_metadata = true".into(),
                    in_http: "max_request_body_size = \"8MiB\"\n\t\tinclude_metadata = true".into(),
                    ..base.clone()
                },
            ),
            (
                "the receiver's paths stay",
                Pipeline { in_http: "idle_timeout = \"5m\"".into(), ..base.clone() },
            ),
        ];
        let program = base.start();
        let load = Load::start(base.grpc, base.http, &Shape::default());
        for (what, pipeline) in &steps {
            goes_on(&load, &program);
            reload(&program, what, pipeline);
        }
        goes_on(&load, &program);
        let sent = load.finish();
        let again = |(_, o): &&(String, Outcome)| matches!(o, Outcome::Later(_));
        assert_eq!(sent.troubles.iter().filter(again).count(), sent.troubles.len(), "{:?}", sent.troubles);
        assert!(sent.troubles.len() <= 2 * steps.len(), "more than a few: {:?}", sent.troubles);
        all_arrive(&backend, &sent, &program);
        assert!(!other.clients().is_empty(), "the second exporter had its share");
    }
}

#[test]
fn a_rejected_reload_under_load_changes_nothing() {
    let backend = Backend::start();
    let base = Pipeline::new(&backend);
    let program = base.start();
    let load = Load::start(base.grpc, base.http, &Shape::default());
    for bad in [
        Pipeline { in_grpc: "transport = \"unix\"".into(), ..base.clone() },
        Pipeline {
            client: "compression = \"none\"\n\t\tcompression_params {\n\t\t\tlevel = 3\n\t\t}".into(),
            ..base.clone()
        },
        Pipeline { more: "otelcol.exporter.nothing \"x\" { }".into(), ..base.clone() },
    ] {
        goes_on(&load, &program);
        let answer = program.reload(&bad.config());
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    goes_on(&load, &program);
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

/// Nothing can listen where another program does: the receiver stays where it is.
#[test]
fn a_receiver_that_cannot_move_stays_where_it_is() {
    let backend = Backend::start();
    let base = Pipeline::new(&backend);
    let program = base.start();
    let load = Load::start(base.grpc, base.http, &Shape::default());
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let occupied = occupied.local_addr().map(|address| (address, occupied)).expect("bound");
    for moved in
        [Pipeline { grpc: occupied.0, ..base.clone() }, Pipeline { http: occupied.0, ..base.clone() }]
    {
        goes_on(&load, &program);
        // What the answer says is the program's affair; that data goes on is the promise.
        program.reload(&moved.config());
    }
    goes_on(&load, &program);
    reload(&program, "back", &base);
    goes_on(&load, &program);
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

/// Clients find the new address when the old one ends; what they see until then is what they try again.
#[test]
fn a_receiver_that_moves_to_another_port_under_load_loses_no_item() {
    let backend = Backend::start();
    let base = Pipeline::new(&backend);
    let program = base.start();
    let load = Load::start(base.grpc, base.http, &Shape { clients: 2, ..Shape::default() });
    let steps = [
        ("gRPC", Pipeline { grpc: free_address(), ..base.clone() }),
        ("HTTP", Pipeline { http: free_address(), ..base.clone() }),
        ("both", Pipeline { grpc: free_address(), http: free_address(), ..base.clone() }),
        ("and back", base.clone()),
    ];
    for (what, pipeline) in &steps {
        goes_on(&load, &program);
        reload(&program, what, pipeline);
        load.moved(pipeline.grpc, pipeline.http);
        // Nobody listens at the old addresses any more once requests under way are answered.
        pipeline.wait_listening(&program);
    }
    goes_on(&load, &program);
    let sent = load.finish();
    sent.nobody_was_refused();
    // An answer that was begun is given: what is cut off is cut off before it was sent.
    let cut: Vec<_> = sent
        .troubles
        .iter()
        .filter(|(_, o)| matches!(o, Outcome::NoAnswer(why) if why.contains("in the middle")))
        .collect();
    assert!(cut.is_empty(), "{cut:?}");
    all_arrive(&backend, &sent, &program);
}

fn tls_of(certificate: &str, key: &str) -> String {
    let quoted = |text: &str| text.trim_end().replace('\n', "\\n");
    format!(
        "tls {{\n\t\t\tcert_pem = \"{}\"\n\t\t\tkey_pem  = \"{}\"\n\t\t}}",
        quoted(certificate),
        quoted(key)
    )
}

#[test]
fn a_change_of_the_certificate_under_load_refuses_no_client() {
    let backend = Backend::start();
    let (ca, issue) = authority();
    let trust = Trust::in_authority(&ca);
    let (first, second, third) = (issue(), issue(), issue());
    let folder = tempfile::tempdir().expect("a folder");
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |(cert, key): &(String, String)| {
        // As a certificate manager does: both files are replaced, the key first.
        for (path, text) in [(&key_file, key), (&cert_file, cert)] {
            let next = path.with_extension("next");
            std::fs::write(&next, text).expect("written");
            std::fs::rename(next, path).expect("renamed");
        }
    };
    put(&third);
    let in_files = format!("tls {{\n\t\t\tcert_file = {cert_file:?}\n\t\t\tkey_file  = {key_file:?}\n\t\t}}");
    let base = Pipeline::new(&backend);
    let with = |tls: &str| Pipeline { in_grpc: tls.into(), in_http: tls.into(), ..base.clone() };
    let program = with(&tls_of(&first.0, &first.1)).start();
    let shape = Shape { trust: Some(trust.clone()), requests_a_connection: 5, ..Shape::default() };
    let load = Load::start(base.grpc, base.http, &shape);
    let shown = |certificate: &str, number: u64| {
        use rustls::pki_types::pem::PemObject;
        let expected = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes());
        let expected = expected.expect("a certificate").as_ref().to_vec();
        for mut client in [Client::grpc(base.grpc), Client::http(base.http)] {
            client.trust = Some(trust.clone());
            let body = request(Kind::Logs, "visitor", number..number + 1, 0);
            eventually("the new certificate is shown", || {
                client.disconnect();
                match runtime().block_on(client.send(Kind::Logs, &body)) {
                    Outcome::Taken if client.shown.as_ref() == Some(&expected) => Ok(()),
                    other => Err(format!("{other:?}\n{}", program.log())),
                }
            });
        }
    };
    goes_on(&load, &program);
    shown(&first.0, 1);
    reload(&program, "another certificate", &with(&tls_of(&second.0, &second.1)));
    shown(&second.0, 2);
    goes_on(&load, &program);
    reload(&program, "certificate from a file", &with(&in_files));
    shown(&third.0, 3);
    goes_on(&load, &program);
    // Without a reload: the file changes.
    let fourth = issue();
    put(&fourth);
    shown(&fourth.0, 4);
    goes_on(&load, &program);
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

#[test]
fn a_signal_that_is_taken_out_and_put_back_is_refused_meanwhile_and_the_others_go_on() {
    let backend = Backend::start();
    let base = Pipeline::new(&backend);
    let program = base.start();
    let without = base.config().replace("metrics = [otelcol.exporter", "metrics = [] //");
    assert_ne!(without, base.config());
    let load =
        Load::start(base.grpc, base.http, &Shape { pause: Duration::from_millis(10), ..Shape::default() });
    goes_on(&load, &program);
    assert_eq!(program.reload(&without).status, 200);
    goes_on(&load, &program);
    reload(&program, "back", &base);
    goes_on(&load, &program);
    let sent = load.finish();
    let others = sent.troubles.iter().filter(|(client, _)| !client.contains("metrics")).count();
    assert_eq!(others, 0, "{:?}", sent.troubles);
    assert!(sent.troubles.iter().any(|(_, o)| matches!(o, Outcome::Refused(_))), "404 and UNIMPLEMENTED");
    all_arrive(&backend, &sent, &program);
}

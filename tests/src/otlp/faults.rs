//! Clients that are broken, slow or hostile: what they send is their problem alone, and memory stays bounded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Pipeline, all_arrive, each_arrives_once};
use crate::kit::eventually;
use crate::kit::otlp::{Backend, Client, Kind, Load, Outcome, Shape, gzip, request, runtime};

fn refused_with(outcome: &Outcome, http: &str, grpc: &str) -> bool {
    matches!(outcome, Outcome::Refused(why) if why.starts_with(http) || why.starts_with(&format!("grpc-status {grpc}")))
}

#[test]
fn bodies_over_the_limit_are_refused_before_and_after_decompression_and_memory_stays() {
    let backend = Backend::start();
    let pipeline = Pipeline {
        in_grpc: "max_recv_msg_size = \"1MiB\"".into(),
        in_http: "max_request_body_size = \"1MiB\"".into(),
        ..Pipeline::new(&backend)
    };
    let program = pipeline.start();
    pipeline.send_all(10);
    let before = program.peak();
    let large = request(Kind::Traces, "large", 1..2000, 1000);
    assert!(large.len() > 2 << 20);
    // Zeros are tags with the field number 0; the limit comes first.
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    // Becomes too large only when it is unpacked; what it holds is a fine request.
    let long = request(Kind::Traces, "long", 1..3000, 0);
    let long = [&long[..]; 10].concat();
    let packed = gzip(&long);
    assert!(long.len() > 1 << 20 && packed.len() < 1 << 20);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (pipeline, large, bomb, packed) = (&pipeline, &large, &bomb, &packed);
            scope.spawn(move || {
                let mut client = pipeline.client(n % 2 == 0);
                let outcome = runtime().block_on(client.send_packed(Kind::Traces, large));
                // The answer may come, and the connection go, while a client of HTTP/1 still sends.
                let cut = |why: &str| n % 2 == 1 && (why.contains("BrokenPipe") || why.contains("Reset"));
                let cut = matches!(&outcome, Outcome::NoAnswer(why) if cut(why));
                assert!(cut || refused_with(&outcome, "413", "8"), "{outcome:?}");
                client.gzip = true;
                for body in [bomb, packed] {
                    let outcome = runtime().block_on(client.send_packed(Kind::Traces, body));
                    assert!(refused_with(&outcome, "413", "8"), "{outcome:?}");
                }
            });
        }
    });
    // Eight requests of a megabyte, twice; and what the allocator keeps.
    let grown = program.grown(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    pipeline.send_range(11..21);
    each_arrives_once(&backend, 1, 20, &program);
    assert_eq!(backend.clients().into_iter().collect::<Vec<_>>(), ["grpc", "http"]);
}

/// A stream of broken requests beside good ones that share their batches.
#[test]
fn one_clients_broken_payload_never_gets_into_the_batch_of_another() {
    let backend = Backend::start();
    let pipeline = Pipeline::new(&backend).through(
        "otelcol.processor.batch",
        "timeout = \"30ms\"\n\tsend_batch_size = 5000\n\tsend_batch_max_size = 0",
    );
    let program = pipeline.start();
    let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
    let (mut refused, mut taken) = (0, 0);
    for kind in Kind::ALL {
        for grpc in [true, false] {
            let mut client = pipeline.client(grpc);
            for (n, body) in broken(&request(kind, "broken", 1..6, 20)).into_iter().enumerate() {
                match runtime().block_on(client.send_packed(kind, &body)) {
                    outcome if refused_with(&outcome, "400", "3") => refused += 1,
                    // Some changes make another request that is in order.
                    Outcome::Taken => taken += 1,
                    other => panic!("{kind:?} {n}: {other:?}\n{}", program.log()),
                }
            }
        }
    }
    assert!(refused > 300 && taken > 0, "{refused} refused, {taken} taken");
    let sent = load.finish();
    sent.nobody_had_to_retry();
    // That each request at the back end can be read is checked with the numbers.
    all_arrive(&backend, &sent, &program);
}

/// A request with something wrong: cut off, a byte changed, wrong wire types, text that is none, too deep.
fn broken(request: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (1..request.len()).step_by(11).map(|end| request[..end].to_vec()).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..100 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut changed = request.to_vec();
        let at = (state % request.len() as u64) as usize;
        changed[at] ^= 1 << (state >> 32 & 7);
        all.push(changed);
    }
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        wire::proto::push_varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    };
    let deep = (0..5000).fold(Vec::new(), |inner, _| field(1, &field(5, &inner)));
    all.push(field(1, &field(1, &field(1, &field(2, &deep)))));
    // A schema_url that is no text; a varint without end; a group; a claim of four gigabytes.
    all.push(field(1, &field(3, &[0xff, 0xfe])));
    all.push(vec![0x08; 1].into_iter().chain([0xff; 20]).collect());
    all.push(vec![0x0b, 0x0c]);
    all.push(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    all.push(b"{\"resourceSpans\":[]}".to_vec());
    all
}

/// So many connections of which nothing comes but a byte now and then.
const SLOW: usize = 150;

fn open(address: SocketAddr, first: &[u8]) -> Vec<TcpStream> {
    let open = || {
        let mut stream = TcpStream::connect(address).expect("listening");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
        stream.write_all(first).expect("sent");
        stream
    };
    (0..SLOW).map(|_| open()).collect()
}

/// Adds a byte to each until all have been ended by the server; what they were told.
fn dribble(mut streams: Vec<TcpStream>, byte: u8) -> Vec<String> {
    let mut told = Vec::new();
    let start = Instant::now();
    while !streams.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "{} are still open", streams.len());
        streams.retain_mut(|stream| {
            let mut answer = [0; 512];
            match stream.read(&mut answer) {
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    stream.write_all(&[byte]).is_ok()
                }
                Ok(n) if n > 0 => {
                    told.push(String::from_utf8_lossy(&answer[..n]).into_owned());
                    false
                }
                _ => false,
            }
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    told
}

#[test]
fn clients_that_send_slowly_are_ended_in_time_and_hold_up_nobody() {
    let backend = Backend::start();
    let limits = "read_header_timeout = \"1s\"\n\t\tread_timeout = \"1s\"";
    let pipeline = Pipeline { in_http: limits.into(), ..Pipeline::new(&backend) };
    let program = pipeline.start();
    let load = Load::start(pipeline.grpc, pipeline.http, &Shape::default());
    let before = program.peak();
    let heads = open(pipeline.http, b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    dribble(heads, b'a');
    let head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100000\r\n\r\n";
    let told = dribble(open(pipeline.http, head), 0);
    assert!(told.len() > SLOW / 2 && told.iter().all(|t| t.starts_with("HTTP/1.1 408")), "{told:?}");
    // A claim of the largest body that is accepted costs nothing before it comes.
    let head = String::from_utf8_lossy(head).replace("100000", "20971520");
    dribble(open(pipeline.http, head.as_bytes()), 0);
    let grown = program.grown(before);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    let sent = load.finish();
    sent.nobody_had_to_retry();
    all_arrive(&backend, &sent, &program);
}

/// Calls whose message never comes to its end are not in the way of others on other connections.
#[test]
fn calls_that_never_end_hold_up_nobody() {
    let backend = Backend::start();
    let pipeline = Pipeline::new(&backend);
    let program = pipeline.start();
    let before = program.peak();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut raw = super::http2::Raw::connect(pipeline.grpc);
        // The largest message that is accepted, of which the beginning comes, on each of a hundred streams.
        for stream in 0..100u32 {
            let id = stream * 2 + 1;
            raw.send(&super::http2::headers(id, Kind::Traces.method(), false));
            raw.send(&super::http2::frame(0, 0, id, &[0, 0, 0x40, 0, 0, 0x0a]));
        }
        waiting.push(raw);
    }
    pipeline.send_all(10);
    each_arrives_once(&backend, 1, 10, &program);
    let grown = program.grown(before);
    assert!(grown < 96 << 20, "memory grew by {grown} bytes");
    // They are given up with their connections.
    drop(waiting);
    eventually("calls are given up", || {
        let mut client = Client::grpc(pipeline.grpc);
        match runtime().block_on(client.send(Kind::Logs, &request(Kind::Logs, "after", 1..2, 0))) {
            Outcome::Taken => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// A client that ends its connection in the middle of a request has sent nothing.
#[test]
fn a_request_that_is_cut_off_is_none() {
    let backend = Backend::start();
    let pipeline = Pipeline::new(&backend);
    let program = pipeline.start();
    for length in [0, 1, 50] {
        let body = request(Kind::Traces, "cut", 1..11, 0);
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(pipeline.http).expect("listening");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&body[..body.len() - 1 - length]).expect("sent");
        drop(stream);
        let mut raw = super::http2::Raw::connect(pipeline.grpc);
        raw.send(&super::http2::headers(1, Kind::Traces.method(), false));
        let mut message = vec![0, 0, 0, (body.len() >> 8) as u8, body.len() as u8];
        message.extend_from_slice(&body[..body.len() - 1 - length]);
        raw.send(&super::http2::frame(0, 0, 1, &message));
        drop(raw);
    }
    pipeline.send_all(10);
    each_arrives_once(&backend, 1, 10, &program);
    assert!(!backend.clients().contains("cut"));
}

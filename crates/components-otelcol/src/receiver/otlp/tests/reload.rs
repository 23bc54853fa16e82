//! Changes of arguments while clients are sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use component::otel::OtelInput;
use component::testkit::{Harness, Refused};
use component::{ArgValue, BoxFuture, Consumer, Port, Rejected};
use net::grpc::Code;
use signal::otlp::Traces;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::PROTOBUF;
use super::bench::{
    ALL, Bench, Caller, DEFINITION, METHODS, PATHS, Shared, Sinks, config, frame, free_port, listening,
    requests,
};

/// Clients of both protocols that send until they are told to stop, and stand for no refusal.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(bench: &Shared) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for client in 0..4 {
            let (bench, stop, sent) = (bench.clone(), stop.clone(), sent.clone());
            tasks.push(tokio::spawn(async move {
                let wire = requests()[0].0.clone();
                let mut caller = Caller::connect(bench.grpc).await;
                while !stop.load(Ordering::Relaxed) {
                    if client % 2 == 0 {
                        let status = caller.call(METHODS[0], &[], frame(0, &wire)).await;
                        assert_eq!(status.code, Code::Ok, "{status}");
                    } else {
                        let answer = bench.post(PATHS[0], PROTOBUF, &wire).await;
                        assert_eq!(answer.status, 200, "{answer:?}");
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }));
        }
        Self { stop, sent, tasks }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, count: usize) {
        let until = self.sent.load(Ordering::Relaxed) + count;
        while self.sent.load(Ordering::Relaxed) < until {
            assert!(self.tasks.iter().all(|t| !t.is_finished()), "a client was refused");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no client was refused");
        }
        self.sent.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_reload_under_load_refuses_nothing_and_loses_nothing() {
    let bench = Arc::new(Bench::start().await);
    let load = Load::start(&bench);
    for round in 1..=6 {
        load.more(10).await;
        let limit = format!("max_recv_msg_size = \"{round}MiB\"");
        let http = format!("max_request_body_size = \"{round}MiB\"");
        let output = if round % 2 == 0 { ALL } else { "output {\n traces = [input]\n}" };
        let body = config((bench.grpc, &limit), (bench.http, &http), output);
        bench.harness.update(&body).await.expect("updated");
    }
    load.more(10).await;
    let sent = load.end().await;
    assert_eq!(bench.sinks.take().len(), sent);
}

/// A component that is sent something while a reload takes it out.
struct Leaving {
    entered: watch::Sender<usize>,
    gone: CancellationToken,
}

impl Consumer<Traces> for Leaving {
    fn consume(&self, _: Traces) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move {
            self.entered.send_modify(|count| *count += 1);
            self.gone.cancelled().await;
            Err(Rejected::Stopped)
        })
    }
}

#[tokio::test]
async fn a_request_under_way_to_a_component_that_a_reload_takes_out_is_not_refused() {
    let (sinks, grpc, http) = (Sinks::new(), free_port(), free_port());
    let (port, entered, gone) =
        (Port::<Traces>::detached("leaving"), watch::Sender::new(0), CancellationToken::new());
    let mut seen = entered.subscribe();
    let _ = port.attach(Leaving { entered, gone: gone.clone() });
    let leaving = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
    let names = sinks.names().with("leaving", leaving.to_value());
    let body = |output: &str| config((grpc, ""), (http, ""), output);
    let harness = Harness::start(DEFINITION, &body("output {\n traces = [leaving]\n}"), names).await;
    listening(grpc).await;
    listening(http).await;
    let bench = Arc::new(Bench { harness, sinks, grpc, http });
    let wire = requests()[0].0.clone();
    let (posting, calling) = (bench.clone(), bench.clone());
    let (posted, called) = (wire.clone(), frame(0, &wire));
    let posted = tokio::spawn(async move { posting.post(PATHS[0], PROTOBUF, &posted).await.status });
    let called = tokio::spawn(async move { calling.call(METHODS[0], &[], called).await.code });
    seen.wait_for(|count| *count == 2).await.expect("it lives");
    bench.harness.update(&body(ALL)).await.expect("updated");
    gone.cancel();
    assert_eq!((posted.await.expect("no panic"), called.await.expect("no panic")), (200, Code::Ok));
    assert_eq!(bench.sinks.take().len(), 2);
}

#[tokio::test]
async fn a_change_of_port_opens_the_new_one_before_the_old_one_goes() {
    let mut bench = Bench::start().await;
    let wire = &requests()[0].0;
    let old = (bench.grpc, bench.http);
    let mut caller = Caller::connect(old.0).await;
    assert_eq!(caller.call(METHODS[0], &[], frame(0, wire)).await.code, Code::Ok);
    (bench.grpc, bench.http) = (free_port(), free_port());
    bench.harness.update(&config((bench.grpc, ""), (bench.http, ""), ALL)).await.expect("updated");
    listening(bench.http).await;
    assert_eq!(bench.call(METHODS[0], &[], frame(0, wire)).await.code, Code::Ok);
    assert_eq!(bench.post(PATHS[0], PROTOBUF, wire).await.status, 200);
    bench.harness.stop().await;
    for port in [old.0, old.1, bench.grpc, bench.http] {
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{port}");
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_had_leaves_everything_as_it_is() {
    let bench = Bench::start().await;
    let wire = &requests()[0].0;
    let mut caller = Caller::connect(bench.grpc).await;
    let other = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let taken = other.local_addr().expect("bound").port();
    let moved = free_port();
    for body in [
        config((taken, ""), (bench.http, ""), ALL),
        config((bench.grpc, "max_recv_msg_size = \"1B\""), (taken, ""), ALL),
        config((moved, ""), (taken, ""), ALL),
    ] {
        let refused = bench.harness.update(&body).await;
        assert!(matches!(refused, Err(Refused::Error(_))), "{refused:?}");
        assert_eq!(caller.call(METHODS[0], &[], frame(0, wire)).await.code, Code::Ok);
        assert_eq!(bench.post(PATHS[0], PROTOBUF, wire).await.status, 200);
    }
}

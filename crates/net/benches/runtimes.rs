//! One runtime with a thread a core, or a runtime a core with connections handed over to it: which is cheaper for
//! requests that are received, checked, put into a queue and sent on?
//!
//! Not a criterion bench, because what counts is the CPU time of the serving threads at a fixed rate of requests, and
//! the rate at which they give up. Generator and back end are threads of their own in this process.
//!
//!     cargo bench -p net --bench runtimes -- --rate 2000 --seconds 8 --cores 2

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use signal::otlp::TracesSignal;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// How requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One runtime, as many workers as cores.
    Shared,
    /// A runtime with one thread a core; each connection belongs to one.
    PerCore,
}

#[derive(Clone, Copy)]
struct Work {
    rate: u64,
    seconds: u64,
    cores: usize,
    connections: usize,
    spans: usize,
    http2: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    // What `cargo test --benches` does is no measurement.
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let rounds = number("--rounds", 3);
    eprintln!(
        "| protocol | spans a request | requests/s | connections | shape | CPU µs a request | switches a request | p50 ms | p99 ms | answered |"
    );
    eprintln!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for http2 in [false, true] {
        for spans in [20, 200] {
            for _ in 0..rounds {
                for shape in [Shape::Shared, Shape::PerCore, Shape::PerCore, Shape::Shared] {
                    let work = Work {
                        rate: number("--rate", 2000),
                        seconds: number("--seconds", 5),
                        cores: number("--cores", 2) as usize,
                        connections: number("--connections", 16) as usize,
                        spans,
                        http2,
                    };
                    measure(shape, work);
                }
            }
        }
    }
}

fn measure(shape: Shape, work: Work) {
    let sink = back_end();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = Arc::new(AtomicBool::new(false));
    let server = serve(shape, work.cores, listener, sink, stop.clone());
    let generated = generate(address, work);
    stop.store(true, Ordering::Relaxed);
    // Wakes whoever accepts.
    let _ = std::net::TcpStream::connect(address);
    server.join().expect("served");
    let Generated { answered, mut took, cpu, switches } = generated;
    took.sort_unstable();
    let at = |share: f64| {
        let index = (took.len() as f64 * share) as usize;
        took.get(index.min(took.len().saturating_sub(1))).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
    };
    eprintln!(
        "| {} | {} | {} | {} | {shape:?} | {:.1} | {:.2} | {:.2} | {:.2} | {answered} of {} |",
        if work.http2 { "h2" } else { "h1" },
        work.spans,
        work.rate,
        work.connections,
        cpu * 1e6 / answered.max(1) as f64,
        switches as f64 / answered.max(1) as f64,
        at(0.5),
        at(0.99),
        work.rate * work.seconds,
    );
}

/// CPU seconds and context switches of the threads that serve, as `proc(5)`.
fn served() -> (f64, u64) {
    let (mut cpu, mut switches) = (0.0, 0);
    for task in std::fs::read_dir("/proc/self/task").expect("there").flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if !read("comm").starts_with("serve") {
            continue;
        }
        // Nanoseconds on a CPU; exact, where `stat` counts ticks.
        let schedstat = read("schedstat");
        cpu += schedstat.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9;
        let status = read("status");
        let count = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        switches += count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
    }
    (cpu, switches)
}

/// Serves until it is told to stop.
fn serve(
    shape: Shape,
    cores: usize,
    listener: std::net::TcpListener,
    sink: SocketAddr,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread")
    };
    match shape {
        Shape::Shared => thread(
            "accept",
            Box::new(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(cores)
                    .thread_name("serve")
                    .enable_all()
                    .build()
                    .expect("a runtime");
                // Accepting is a task, as in the program.
                let accepting = runtime.spawn(async move {
                    listener.set_nonblocking(true).expect("set");
                    let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
                    let queue = queue(sink);
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(connection(stream, queue.clone()));
                    }
                });
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                accepting.abort();
                runtime.shutdown_background();
            }),
        ),
        Shape::PerCore => thread(
            "serve-accept",
            Box::new(move || {
                let mut hands = Vec::new();
                for core in 0..cores {
                    let (hand, mut take) = mpsc::channel::<std::net::TcpStream>(64);
                    hands.push(hand);
                    let run = move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                        runtime.expect("a runtime").block_on(async move {
                            let queue = queue(sink);
                            while let Some(stream) = take.recv().await {
                                let stream = TcpStream::from_std(stream).expect("not blocking");
                                tokio::spawn(connection(stream, queue.clone()));
                            }
                        });
                    };
                    let named = std::thread::Builder::new().name(format!("serve-{core}"));
                    named.spawn(run).expect("a thread");
                }
                for (next, stream) in listener.incoming().flatten().enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    stream.set_nonblocking(true).expect("set");
                    let _ = hands[next % cores].blocking_send(stream);
                }
            }),
        ),
    }
}

type Queued = (Bytes, oneshot::Sender<bool>);

/// What waits to be sent, and ten that send it, as an exporter's queue is.
fn queue(sink: SocketAddr) -> mpsc::Sender<Queued> {
    let (put, take) = mpsc::channel::<Queued>(1000);
    let take = Arc::new(tokio::sync::Mutex::new(take));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    for _ in 0..10 {
        let (take, client) = (take.clone(), client.clone());
        tokio::spawn(async move {
            loop {
                let next = take.lock().await.recv().await;
                let Some((body, answer)) = next else { return };
                let request = Request::post(format!("http://{sink}/v1/traces")).body(Full::new(body));
                let sent = match client.request(request.expect("a request")).await {
                    Ok(response) => response.into_body().collect().await.is_ok(),
                    Err(_) => false,
                };
                let _ = answer.send(sent);
            }
        });
    }
    put
}

async fn connection(stream: TcpStream, queue: mpsc::Sender<Queued>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let queue = queue.clone();
        async move {
            let status = take(request, queue).await.unwrap_or(400);
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().initial_stream_window_size(512 << 10).initial_connection_window_size(1 << 20);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// The client is answered when the queue has its request; the back end's answer is waited for so that the work is
/// the same for both shapes.
async fn take(request: Request<Incoming>, queue: mpsc::Sender<Queued>) -> Option<u16> {
    let body = request.into_body().collect().await.ok()?.to_bytes();
    wire::otlp::check::<TracesSignal>(&body).ok()?;
    let (answer, answered) = oneshot::channel();
    queue.send((body, answer)).await.ok()?;
    Some(if answered.await.ok()? { 200 } else { 503 })
}

/// Reads and answers.
fn back_end() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("set");
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("registered");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let service = service_fn(|request: Request<Incoming>| async {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                });
                let serving = auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move {
                    let _ = serving.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    };
    std::thread::Builder::new().name("sink".into()).spawn(run).expect("a thread");
    address
}

/// A request with so many spans of about 250 bytes.
fn request(spans: usize) -> Bytes {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        wire::proto::push_varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    };
    let attribute = |key: &str, value: &str| {
        field(9, &[field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat())
    };
    let mut scope = field(1, &field(1, b"bench"));
    for i in 0..spans {
        let mut span = field(1, &[7; 16]);
        span.extend(field(2, &(i as u64 + 1).to_be_bytes()));
        span.extend(field(5, b"HTTP request"));
        span.extend(attribute("http.method", "GET"));
        span.extend(attribute("http.route", "/api/items/{id}"));
        span.extend(attribute("url.full", &format!("https://shop.example/api/items/{}", i * 7919)));
        span.extend(attribute("net.peer.name", "checkout-6d5f7c9b8d-x2x7k"));
        scope.extend(field(2, &span));
    }
    field(1, &field(2, &scope)).into()
}

struct Generated {
    answered: u64,
    took: Vec<Duration>,
    cpu: f64,
    switches: u64,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Requests at a fixed rate over a fixed number of connections, each of which waits for its answer.
fn generate(address: SocketAddr, work: Work) -> Generated {
    let answered = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let count = answered.clone();
    let took = local.block_on(&runtime, async move {
        let body = request(work.spans);
        let took = Rc::new(std::cell::RefCell::new(Vec::new()));
        let next = Rc::new(Cell::new(0u64));
        let began = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..work.connections {
            let (body, took, next, count) = (body.clone(), took.clone(), next.clone(), count.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let mut connection = connect(address, work.http2).await;
                while next.get() < work.rate * work.seconds {
                    let number = next.get();
                    next.set(number + 1);
                    let due = began + Duration::from_secs_f64(number as f64 / work.rate as f64);
                    tokio::time::sleep_until(due.into()).await;
                    let start = Instant::now();
                    if exchange(&mut connection, body.clone()).await {
                        count.fetch_add(1, Ordering::Relaxed);
                        took.borrow_mut().push(start.elapsed());
                    }
                }
            }));
        }
        for task in tasks {
            let _ = task.await;
        }
        took.take()
    });
    // The threads are still there.
    let (cpu, switches) = served();
    Generated { answered: answered.load(Ordering::Relaxed), took, cpu, switches }
}

async fn connect(address: SocketAddr, http2: bool) -> Connection {
    let stream = TcpStream::connect(address).await.expect("listening");
    stream.set_nodelay(true).expect("set");
    if http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        return Connection::Http2(sender);
    }
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1");
    tokio::task::spawn_local(connection);
    Connection::Http1(sender)
}

async fn exchange(connection: &mut Connection, body: Bytes) -> bool {
    let request = Request::post("http://bench/v1/traces").body(Full::new(body)).expect("a request");
    let response = match connection {
        Connection::Http1(sender) => sender.send_request(request).await,
        Connection::Http2(sender) => sender.send_request(request).await,
    };
    match response {
        Ok(response) if response.status() == 200 => response.into_body().collect().await.is_ok(),
        _ => false,
    }
}

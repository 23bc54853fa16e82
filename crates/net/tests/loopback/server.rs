//! Limits, time limits, ends and hand-overs of servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use component::BoxFuture;
use http::{Request as HttpRequest, Response};
use net::args::HttpClientArgs;
use net::server::{Drained, Handler, Peer, whole};
use net::{Request, Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::{Answer, client, reply, serve, serve_with, url};

async fn talk(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_answered_413_with_and_without_a_length() {
    let options = ServerOptions::default().max_body(4);
    let server = serve_with(options, |request| reply(200, request.into_body())).await;
    let length = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde";
    assert!(talk(&server, length).await.starts_with("HTTP/1.1 413"));
    let chunked =
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    assert!(talk(&server, chunked).await.starts_with("HTTP/1.1 413"));
    let fits = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd";
    assert!(talk(&server, fits).await.ends_with("\r\n\r\nabcd"));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_broken_off() {
    let options = ServerOptions { max_response: Some(4), ..Default::default() };
    let server = serve_with(options, |request| reply(200, request.uri().path().to_owned())).await;
    let client = client(&HttpClientArgs::default());
    let get = |path| client.send(Request::get(url(&server, path)));
    assert_eq!(get("/abc").await.unwrap().text(10).await.unwrap(), "/abc");
    let broken = match get("/abcd").await {
        Ok(response) => response.text(10).await.is_err(),
        Err(_) => true,
    };
    assert!(broken);
}

fn hasty() -> ServerOptions {
    ServerOptions {
        read_timeout: Duration::from_millis(50),
        write_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_client_that_sends_too_slowly_is_cut_off() {
    let server = serve_with(hasty(), |_| reply(200, "")).await;
    assert_eq!(talk(&server, b"").await, "", "nothing at all");
    assert_eq!(talk(&server, b"GET / HT").await, "", "half a head");
    // Here the server speaks first; what counts is that it ends.
    talk(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let body = talk(&server, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").await;
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    let idle = talk(&server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200"), "answered, then closed for idleness: {idle}");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let big = Bytes::from(vec![b'x'; 32 << 20]);
    let server = serve_with(hasty(), move |_| reply(200, big.clone())).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // The kernel's buffers fill up; the server notices and drops the connection without our reading.
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let server = serve(|_| reply(200, "")).await;
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    request.resize(request.len() + (128 << 10), b'y');
    let answer = talk(&server, &request).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let options = ServerOptions { max_connections: 1, ..Default::default() };
    let server = serve_with(options, |_| reply(200, "")).await;
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let second = talk(&server, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut second = std::pin::pin!(second);
    tokio::select! {
        biased;
        answer = &mut second => panic!("no place yet, but answered {answer}"),
        () = async { for _ in 0..50 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(server.connections(), 1);
    drop(first);
    assert!(second.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_server_goes_on() {
    let server = serve(|request| match request.uri().path() {
        "/panic" => panic!("on purpose"),
        _ => reply(200, "fine"),
    })
    .await;
    let client = client(&HttpClientArgs::default());
    assert_eq!(client.send(Request::get(url(&server, "/panic"))).await.unwrap().status(), 500);
    assert_eq!(client.send(Request::get(url(&server, "/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_is_spoken_without_tls_and_the_peer_is_known() {
    let server = serve(|request| {
        let peer = request.extensions().get::<Peer>().unwrap();
        assert!(!peer.tls && peer.remote.ip().is_loopback());
        reply(200, format!("{:?}", request.version()))
    })
    .await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address()).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut send, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request =
        HttpRequest::get(url(&server, "/").as_str()).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let response = send.send_request(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "HTTP/2.0");
}

/// Answers when it is let.
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

impl Handler for Gate {
    fn handle(&self, _request: HttpRequest<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async {
            self.entered.notify_one();
            self.open.notified().await;
            reply(200, "late")
        })
    }
}

async fn gated() -> (Server, Arc<Notify>, Arc<Notify>) {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = whole(Gate { entered: entered.clone(), open: open.clone() });
    net::install_provider();
    let server = Server::bind("gate", "127.0.0.1", 0, hasty(), gate).await.unwrap();
    (server, entered, open)
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_under_way() {
    let (server, entered, open) = gated().await;
    let address = server.address();
    let request = tokio::spawn({
        let (c, r) = (client(&HttpClientArgs::default()), Request::get(url(&server, "/")));
        async move { c.send(r).await }
    });
    entered.notified().await;
    let down = tokio::spawn(server.shutdown(Duration::from_secs(60)));
    // The listener is closed first.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!down.is_finished());
    open.notify_one();
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert_eq!(down.await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn a_shutdown_cuts_off_at_its_deadline() {
    let (server, entered, _open) = gated().await;
    let request = tokio::spawn({
        let (c, r) = (client(&HttpClientArgs::default()), Request::get(url(&server, "/")));
        async move { c.send(r).await }
    });
    entered.notified().await;
    assert_eq!(server.shutdown(Duration::from_millis(10)).await, Drained::CutOff);
    assert!(request.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_under_load_fails_no_request() {
    let first = serve(|_| reply(200, "0")).await;
    let (port, target) = (first.address().port(), url(&first, "/"));
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let loads: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done, target) = (stop.clone(), done.clone(), target.clone());
            tokio::spawn(async move {
                let client = client(&HttpClientArgs::default());
                while !stop.load(Ordering::Relaxed) {
                    let response =
                        client.send_ok(Request::get(target.clone())).await.expect("no request fails");
                    response.bytes(10).await.expect("no answer breaks off");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut current = first;
    for generation in 1..=20 {
        let before = done.load(Ordering::Relaxed);
        let answer = generation.to_string();
        let handler = whole(Answer(move |_| reply(200, answer.clone())));
        let owner = format!("generation {generation}");
        let next = Server::bind(&owner, "127.0.0.1", port, ServerOptions::default(), handler).await.unwrap();
        assert_eq!(current.taken_over().await, owner);
        assert_eq!(current.shutdown(Duration::from_secs(60)).await, Drained::Clean);
        current = next;
        while done.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
    let last = client(&HttpClientArgs::default()).send_ok(Request::get(target)).await.unwrap();
    assert_eq!(last.text(10).await.unwrap(), "20");
}

#[tokio::test]
async fn an_address_of_another_program_is_an_error_that_says_what_to_do() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let handler = whole(Answer(|_| reply(200, "")));
    let result = Server::bind("t", "127.0.0.1", port, ServerOptions::default(), handler).await;
    let text = result.err().unwrap().to_string();
    assert!(text.contains(&port.to_string()) && text.contains("choose another port"), "{text}");
}

#[tokio::test]
async fn an_address_can_be_bound_while_its_last_server_still_drains() {
    let (server, entered, open) = gated().await;
    let port = server.address().port();
    let (old, request) = (client(&HttpClientArgs::default()), Request::get(url(&server, "/")));
    let request = tokio::spawn(async move { old.send_ok(request).await?.text(10).await });
    entered.notified().await;
    let handler = whole(Answer(|_| reply(200, "new")));
    let next = Server::bind("t", "127.0.0.1", port, ServerOptions::default(), handler);
    let mut down = std::pin::pin!(server.shutdown(Duration::from_secs(60)));
    let next = tokio::select! {
        biased;
        _ = &mut down => panic!("a request is under way"),
        next = next => next.unwrap(),
    };
    let answer = client(&HttpClientArgs::default()).send_ok(Request::get(url(&next, "/"))).await.unwrap();
    assert_eq!(answer.text(10).await.unwrap(), "new");
    open.notify_one();
    assert_eq!(down.await, Drained::Clean);
    assert_eq!(request.await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn a_released_address_can_be_bound_again_at_once() {
    let first = serve(|_| reply(200, "")).await;
    let port = first.address().port();
    client(&HttpClientArgs::default()).send(Request::get(url(&first, "/"))).await.unwrap();
    assert_eq!(first.shutdown(Duration::from_secs(60)).await, Drained::Clean);
    let handler = whole(Answer(|_| reply(200, "")));
    Server::bind("t", "127.0.0.1", port, ServerOptions::default(), handler).await.unwrap();
}

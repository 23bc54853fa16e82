//! The client's half of gRPC: against the server's half, and against peers that break every rule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::BoxFuture;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use net::args::TlsConfigArgs;
use net::grpc::{
    Balancing, Call, Channel, ChannelOptions, Code, Endpoint, Failure, Keepalive, Limits, Service, Status,
    Unary, handler,
};
use net::proxy::ProxyRules;
use net::server::Budget;
use net::{Server, ServerOptions, TlsExtras};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::support::Authority;

fn options(endpoint: &str) -> ChannelOptions {
    ChannelOptions {
        endpoint: Endpoint::parse(endpoint).expect("an endpoint"),
        tls: None,
        authority: String::new(),
        user_agent: "test/1".into(),
        balancing: Balancing::RoundRobin,
        keepalive: None,
        wait_for_ready: false,
        read_buffer: 0,
        write_buffer: 512 << 10,
        max_answer: 10_000,
        connect_timeout: Duration::from_secs(20),
        signer: None,
        proxy: ProxyRules::default(),
    }
}

fn channel(address: SocketAddr) -> Channel {
    Channel::new(options(&address.to_string())).expect("a channel")
}

fn unary(message: impl Into<Bytes>) -> Unary {
    Unary {
        method: "/test.Echo/Say",
        metadata: HeaderMap::new(),
        message: message.into(),
        encoding: None,
        timeout: Duration::from_secs(30),
    }
}

/// Answers what it is sent, with the headers and the peer of each call kept.
#[derive(Default)]
struct Echo(Arc<Mutex<Vec<(HeaderMap, SocketAddr)>>>);

impl Service for Echo {
    fn serves(&self, method: &str) -> bool {
        method == "/test.Echo/Say"
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Bytes, Status>> {
        let peer = call.peer.as_ref().expect("a peer").remote;
        self.0.lock().push((call.headers, peer));
        Box::pin(std::future::ready(match &call.message[..] {
            b"fail" => Err(Status::new(Code::FailedPrecondition, "täglich 100 %")),
            _ => Ok(call.message),
        }))
    }
}

type Seen = Arc<Mutex<Vec<(HeaderMap, SocketAddr)>>>;

async fn echo(options: ServerOptions) -> (Server, Seen) {
    net::install_provider();
    let echo = Echo::default();
    let seen = echo.0.clone();
    let limits = Limits { max_message: 1 << 20, budget: Budget::new(64 << 20) };
    let service = handler(echo, limits);
    (Server::bind("test", "127.0.0.1", 0, options.max_body(1 << 21), service).await.expect("loopback"), seen)
}

#[tokio::test]
async fn a_call_is_answered_and_a_refusal_carries_its_words() {
    let (server, seen) = echo(ServerOptions::default()).await;
    let channel = channel(server.address());
    for message in [&b""[..], b"hello", &[7; 9000]] {
        let answer = channel.call(unary(Bytes::copy_from_slice(message))).await.expect("answered");
        assert_eq!((&answer.message[..], answer.bytes), (message, message.len()));
    }
    let failure = channel.call(unary("fail")).await.expect_err("refused");
    assert_eq!(failure.status, Status::new(Code::FailedPrecondition, "täglich 100 %"));
    assert!(failure.said && failure.retry_after.is_none());
    let failure =
        channel.call(Unary { method: "/test.Other/Say", ..unary("") }).await.expect_err("not there");
    assert_eq!((failure.status.code, failure.said), (Code::Unimplemented, true));
    let headers = seen.lock()[0].0.clone();
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["user-agent"], "test/1");
    assert!(headers["grpc-timeout"].to_str().unwrap().ends_with('u'));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_message_goes_out_as_it_is_compressed() {
    let (server, seen) = echo(ServerOptions::default()).await;
    let channel = channel(server.address());
    for encoding in ["gzip", "zstd", "snappy", "deflate"] {
        let mut packed = Vec::new();
        let format = wire::compress::Encoding::from_content_encoding(encoding).unwrap();
        wire::compress::compress(format, None, &[&[3; 5000]], &mut packed).unwrap();
        let call = Unary { encoding: Some(encoding), ..unary(packed) };
        assert_eq!(channel.call(call).await.expect("answered").message, [3; 5000][..]);
        assert_eq!(seen.lock().last().unwrap().0["grpc-encoding"], encoding);
    }
}

#[tokio::test]
async fn calls_at_once_share_one_connection() {
    let (server, seen) = echo(ServerOptions::default()).await;
    let channel = channel(server.address());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64u64 {
        let channel = channel.clone();
        callers.spawn(async move {
            for n in 0..50u64 {
                // Some larger than a window of flow control.
                let size = if n % 25 == 0 { 200_000 } else { 100 };
                let message = vec![(caller ^ n) as u8; size];
                let answer = channel.call(unary(message.clone())).await;
                match answer {
                    Ok(answer) => assert_eq!(answer.message, message),
                    // Larger than the limit of an answer.
                    Err(failure) => {
                        assert_eq!((failure.status.code, size), (Code::ResourceExhausted, 200_000))
                    }
                }
            }
        });
    }
    while let Some(joined) = callers.join_next().await {
        joined.expect("no panic");
    }
    let peers: std::collections::BTreeSet<_> = seen.lock().iter().map(|(_, peer)| *peer).collect();
    assert_eq!((seen.lock().len(), peers.len()), (64 * 50, 1));
}

#[tokio::test]
async fn tls_checks_the_name_and_a_certificate_authority() {
    net::install_provider();
    let authority = Authority::new();
    let identity = authority.issue(&["otel.test"]);
    let args = net::args::ServerTlsArgs {
        cert_pem: identity.cert.clone(),
        key_pem: identity.key.as_str().into(),
        ..Default::default()
    };
    let tls = Some(Arc::new(net::ServerTls::new(&args).expect("a certificate")));
    let server_options = ServerOptions { tls, ..ServerOptions::default() };
    let (server, seen) = echo(server_options).await;
    let with = |server_name: &str, ca: &str| {
        let args = TlsConfigArgs { ca_pem: ca.into(), server_name: server_name.into(), ..Default::default() };
        let tls = Some((args, TlsExtras::default()));
        Channel::new(ChannelOptions { tls, ..options(&server.address().to_string()) }).expect("a channel")
    };
    let answer = with("otel.test", &authority.pem).call(unary("hello")).await.expect("answered");
    assert_eq!(answer.message, "hello");
    assert_eq!(seen.lock().len(), 1);
    for (name, ca) in [("other.test", authority.pem.as_str()), ("otel.test", &Authority::new().pem)] {
        let failure = with(name, ca).call(unary("hello")).await.expect_err("not trusted");
        assert_eq!((failure.status.code, failure.said), (Code::Unavailable, false));
        assert!(failure.status.message.contains("no TLS with"), "{failure}");
    }
    // Plain HTTP/2 to a server that wants TLS.
    channel(server.address()).call(unary("hello")).await.expect_err("no TLS");
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel() {
    let (server, _) = echo(ServerOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let proxy = listener.local_addr().expect("bound");
    let (to, asked) = (server.address(), Arc::new(Mutex::new(String::new())));
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let head = String::from_utf8(head).expect("text");
            let refused = head.contains("refused.test");
            *heard.lock() = head;
            if refused {
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.expect("written");
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            let mut onward = TcpStream::connect(to).await.expect("listening");
            tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await) });
        }
    });
    let url = format!("http://me:s%20e@{proxy}");
    let rules = || ProxyRules::from_environment(|name| (name == "HTTPS_PROXY").then(|| url.clone())).unwrap();
    let through = |host: &str| Channel::new(ChannelOptions { proxy: rules(), ..options(host) }).unwrap();
    assert_eq!(through("otel.test:4317").call(unary("x")).await.expect("answered").message, "x");
    let login = STANDARD.encode("me:s e");
    assert!(asked.lock().starts_with("CONNECT otel.test:4317 HTTP/1.1\r\n"));
    assert!(asked.lock().contains(&format!("Proxy-Authorization: Basic {login}\r\n")));
    let failure = through("refused.test:1").call(unary("x")).await.expect_err("refused");
    assert!(failure.status.message.contains("403 Forbidden"), "{failure}");
    // What is local needs no proxy.
    let direct = through(&server.address().to_string());
    assert_eq!(direct.call(unary("x")).await.expect("answered").message, "x");
}

/// What a peer that breaks the rules does with a call.
#[derive(Clone)]
enum Act {
    Echo,
    Answer { status: u16, headers: Vec<(&'static str, String)>, data: Vec<u8>, trailers: Option<HeaderMap> },
    Reset(Reason),
    GoAway(Reason),
    Close,
    Hang,
}

struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Hostile {
    /// Does with the first calls what is said, and answers those that follow.
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (connections, calls) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let hostile = Self { address, connections: connections.clone(), calls: calls.clone() };
        let acts = Arc::new(acts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, acts.clone(), calls.clone()));
            }
        });
        hostile
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    acts: Arc<Vec<Act>>,
    calls: Arc<AtomicUsize>,
) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    let mut hung = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let number = calls.fetch_add(1, Ordering::SeqCst);
        match acts.get(number).cloned().unwrap_or(Act::Echo) {
            Act::Echo => {
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut frame = Vec::new();
                    while let Some(Ok(data)) = body.data().await {
                        drop(body.flow_control().release_capacity(data.len()));
                        frame.extend_from_slice(&data);
                    }
                    let head =
                        Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                    let mut stream = respond.send_response(head, false).expect("open");
                    stream.send_data(frame.into(), false).expect("open");
                    let mut trailers = HeaderMap::new();
                    Status::new(Code::Ok, "").put(&mut trailers);
                    stream.send_trailers(trailers).expect("open");
                });
            }
            Act::Answer { status, headers, data, trailers } => {
                let mut head = Response::builder().status(status);
                for (name, value) in headers {
                    head = head.header(name, value);
                }
                let end = data.is_empty() && trailers.is_none();
                let mut stream = respond.send_response(head.body(()).unwrap(), end).expect("open");
                if !data.is_empty() {
                    stream.send_data(data.into(), trailers.is_none()).expect("open");
                }
                if let Some(trailers) = trailers {
                    stream.send_trailers(trailers).expect("open");
                }
            }
            Act::Reset(reason) => respond.send_reset(reason),
            Act::GoAway(reason) => connection.abrupt_shutdown(reason),
            Act::Close => return,
            Act::Hang => hung.push((request, respond)),
        }
    }
}

fn grpc() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/grpc".into())]
}

fn trailers(pairs: &[(&'static str, &str)]) -> Option<HeaderMap> {
    let pair =
        |(n, v): &(&'static str, &str)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap());
    Some(pairs.iter().map(pair).collect())
}

async fn failure(act: Act) -> Failure {
    let hostile = Hostile::start(vec![act]).await;
    let channel = channel(hostile.address);
    let failure = channel.call(unary("hello")).await.expect_err("broken");
    // Whatever it was, the next call works.
    assert_eq!(channel.call(unary("hello")).await.expect("answered").message, "hello");
    failure
}

#[tokio::test]
async fn whatever_a_peer_does_is_a_status_and_the_next_call_works() {
    let answer =
        |headers, data: &[u8], trailers| Act::Answer { status: 200, headers, data: data.to_vec(), trailers };
    let frame = b"\0\0\0\0\x02ok";
    let info = |seconds: u8| {
        let any = [&b"\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08"[..], &[seconds]]
            .concat();
        STANDARD.encode([&b"\x08\x08\x1a"[..], &[any.len() as u8], &any].concat())
    };
    let only = |code: &str| [grpc(), vec![("grpc-status", code.to_owned())]].concat();
    let limited = [only("8"), vec![("grpc-status-details-bin", info(7))]].concat();
    let cases = [
        ("no trailers", answer(grpc(), frame, None), Code::Internal, false),
        ("trailers without a status", answer(grpc(), frame, trailers(&[("x", "y")])), Code::Internal, false),
        (
            "a status that is none",
            answer(grpc(), b"", trailers(&[("grpc-status", "ok")])),
            Code::Unknown,
            true,
        ),
        ("trailers only", answer(only("3"), b"", None), Code::InvalidArgument, true),
        ("limited", answer(limited, b"", None), Code::ResourceExhausted, true),
        (
            "no gRPC",
            answer(vec![("content-type", "text/html".into())], b"<html>", None),
            Code::Unknown,
            false,
        ),
        ("too large", answer(grpc(), &[0; 10_006], None), Code::ResourceExhausted, false),
        ("refused for good", Act::Reset(Reason::INTERNAL_ERROR), Code::Internal, false),
        ("cancelled", Act::Reset(Reason::CANCEL), Code::Cancelled, false),
        ("calm down", Act::Reset(Reason::ENHANCE_YOUR_CALM), Code::ResourceExhausted, false),
    ];
    for (name, act, code, said) in cases {
        let failure = failure(act).await;
        assert_eq!((failure.status.code, failure.said), (code, said), "{name}: {failure}");
        let wait = (name == "limited").then(|| Duration::from_secs(7));
        assert_eq!(failure.retry_after, wait, "{name}");
    }
    for (status, code) in [(404, Code::Unimplemented), (503, Code::Unavailable), (500, Code::Unknown)] {
        let act = Act::Answer { status, headers: vec![], data: b"<html>".to_vec(), trailers: None };
        assert_eq!(failure(act).await.status.code, code, "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_reason_to_call_again() {
    let ok = || trailers(&[("grpc-status", "0")]);
    let bombs: [&[u8]; 5] = [b"", b"\0\0", b"\0\xff\xff\xff\xffx", b"\x01\0\0\0\x01x", b"\0\0\0\0\x01xtwo"];
    for data in bombs {
        let act = Act::Answer { status: 200, headers: grpc(), data: data.to_vec(), trailers: ok() };
        let hostile = Hostile::start(vec![act]).await;
        let answer = channel(hostile.address).call(unary("x")).await.expect("the status is what counts");
        assert!(answer.message.is_empty(), "{data:?}");
    }
}

#[tokio::test]
async fn a_call_that_was_not_begun_is_made_again_and_once_only() {
    for (name, acts, calls) in
        [("refused", vec![Act::Reset(Reason::REFUSED_STREAM)], 2), ("answered", vec![], 1)]
    {
        let hostile = Hostile::start(acts).await;
        channel(hostile.address).call(unary("x")).await.unwrap_or_else(|f| panic!("{name}: {f}"));
        assert_eq!(hostile.calls.load(Ordering::SeqCst), calls, "{name}");
    }
    let hostile = Hostile::start(vec![Act::Reset(Reason::REFUSED_STREAM); 2]).await;
    let failure = channel(hostile.address).call(unary("x")).await.expect_err("refused twice");
    assert_eq!((failure.status.code, hostile.calls.load(Ordering::SeqCst)), (Code::Unavailable, 2));
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced() {
    let hostile = Hostile::start(vec![Act::Echo, Act::GoAway(Reason::NO_ERROR), Act::Echo, Act::Close]).await;
    let channel =
        Channel::new(ChannelOptions { wait_for_ready: true, ..options(&hostile.address.to_string()) });
    let channel = channel.expect("a channel");
    let mut answered = 0;
    for _ in 0..6 {
        answered += u32::from(channel.call(unary("x")).await.is_ok());
    }
    assert!(answered >= 4, "{answered} of 6 calls");
    assert!((2..=4).contains(&hostile.connections.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn trailers_without_end_are_refused() {
    let many = (0..4000).map(|n| {
        let name = HeaderName::try_from(format!("x-flood-{n}")).unwrap();
        (name, HeaderValue::from_static("0123456789012345678901234567890123456789"))
    });
    let act = Act::Answer {
        status: 200,
        headers: grpc(),
        data: b"\0\0\0\0\0".to_vec(),
        trailers: Some(many.collect()),
    };
    let hostile = Hostile::start(vec![act]).await;
    let failure = channel(hostile.address).call(unary("x")).await.expect_err("too much");
    assert!(!failure.said, "{failure}");
}

#[tokio::test]
async fn a_peer_that_hangs_or_speaks_another_language_costs_no_more_than_the_deadline() {
    let hostile = Hostile::start(vec![Act::Hang; 1]).await;
    let hanging = channel(hostile.address);
    let short = Unary { timeout: Duration::from_millis(100), ..unary("x") };
    let failure = hanging.call(short.clone()).await.expect_err("hangs");
    assert_eq!((failure.status.code, failure.said), (Code::DeadlineExceeded, false));
    assert_eq!(hanging.call(unary("x")).await.expect("answered").message, "x");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await);
        }
    });
    let failure = channel(address).call(unary("x")).await.expect_err("no HTTP/2");
    assert!(!failure.said, "{failure}");
    // Accepts and says nothing at all.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let failure = channel(silent.local_addr().unwrap()).call(short).await.expect_err("silent");
    assert_eq!(failure.status.code, Code::DeadlineExceeded);
}

#[tokio::test]
async fn without_a_peer_a_call_fails_at_once_or_waits_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("otel.sock");
    let endpoint = format!("unix://{}", path.display());
    let failure = Channel::new(options(&endpoint)).unwrap().call(unary("x")).await.expect_err("not there");
    assert_eq!((failure.status.code, failure.said), (Code::Unavailable, false));
    assert!(failure.status.message.contains("otel.sock"), "{failure}");
    let waiting = Channel::new(ChannelOptions { wait_for_ready: true, ..options(&endpoint) }).unwrap();
    let call = tokio::spawn(async move { waiting.call(unary("x")).await });
    tokio::task::yield_now().await;
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::default(), Arc::default()));
        }
    });
    assert_eq!(call.await.unwrap().expect("answered").message, "x");
}

#[tokio::test]
async fn a_connection_without_a_sign_of_life_is_given_up() {
    let hostile = Hostile::start(vec![Act::Echo]).await;
    // Between the two, one that can be cut without either end noticing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let (address, to) = (listener.local_addr().unwrap(), hostile.address);
    let cut = Arc::new(tokio::sync::Notify::new());
    let cutting = cut.clone();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("a client");
        let mut far = TcpStream::connect(to).await.expect("listening");
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = cutting.notified() => {}
        }
        std::future::pending::<()>().await;
    });
    let keepalive =
        Keepalive { after: Duration::from_secs(1), patience: Duration::from_secs(5), while_idle: false };
    let channel =
        Channel::new(ChannelOptions { keepalive: Some(keepalive), ..options(&address.to_string()) });
    let channel = channel.expect("a channel");
    channel.call(unary("x")).await.expect("answered");
    cut.notify_one();
    tokio::time::pause();
    let call = Unary { timeout: Duration::from_secs(3600), ..unary("x") };
    let began = tokio::time::Instant::now();
    let failure = channel.call(call).await.expect_err("cut");
    assert_eq!(failure.status.code, Code::Unavailable);
    // Ten seconds of silence at least, and the patience.
    let took = began.elapsed().as_secs();
    assert!((14..40).contains(&took), "{took}");
}

/// Against any other implementation, for instance Python's `grpcio` with a generic handler.
#[tokio::test]
#[ignore = "needs a gRPC server of another implementation: its address in GRPC_PEER, echoing /test.Echo/Say"]
async fn another_implementation_answers() {
    let peer = std::env::var("GRPC_PEER").expect("GRPC_PEER");
    let channel = Channel::new(options(&peer)).unwrap();
    for n in 0..100 {
        let message = vec![n; 90 * usize::from(n)];
        assert_eq!(channel.call(unary(message.clone())).await.expect("answered").message, message);
    }
    let failure =
        channel.call(Unary { method: "/test.Other/Say", ..unary("") }).await.expect_err("not there");
    assert_eq!((failure.status.code, failure.said), (Code::Unimplemented, true));
}

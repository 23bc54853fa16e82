//! What becomes of a plain connection after its request.

use std::sync::Arc;
use std::time::Duration;

use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Kind, Request, Url};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nok";
const GARBAGE: &str = "no HTTP at all\r\n\r\n";
/// Instead of an answer: the server hangs up.
const NOTHING: &str = "";

/// What a server does with its connections, one after the other: its answers, and whether it then waits for the client
/// to hang up instead of doing so itself.
type Script = &'static [(&'static [&'static str], bool)];

struct Scripted {
    url: Url,
    /// Of each request the number of its connection and the head.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections that have ended.
    ended: mpsc::UnboundedReceiver<usize>,
}

impl Scripted {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let (end, ended) = mpsc::unbounded_channel();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let all = seen.clone();
        tokio::spawn(async move {
            for (number, (answers, waits)) in script.iter().enumerate() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, end) = (all.clone(), end.clone());
                tokio::spawn(async move {
                    for answer in *answers {
                        let Some(head) = request(&mut stream).await else { break };
                        seen.lock().push((number, head));
                        if answer.is_empty() {
                            break;
                        }
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    if *waits {
                        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    }
                    drop(stream);
                    let _ = end.send(number);
                });
            }
        });
        Self { url, seen, ended }
    }

    /// The number of the connection that ends next; it has also reached the client.
    async fn end(&mut self) -> usize {
        let patience = Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, self.ended.recv()).await.expect("an end").unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        ended
    }

    fn connections(&self) -> Vec<usize> {
        self.seen.lock().iter().map(|(number, _)| *number).collect()
    }

    fn get(&self) -> Request {
        Request::get(self.url.clone())
    }

    fn post(&self) -> Request {
        Request::post(self.url.clone(), "data")
    }
}

/// Reads a request whole and gives its head.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.ok()?;
        read.extend(byte);
    }
    let head = String::from_utf8(read).unwrap();
    if head.contains("content-length: 4") {
        stream.read_exact(&mut [0; 4]).await.ok()?;
    }
    Some(head)
}

fn client(set: impl FnOnce(&mut ClientOptions)) -> Client {
    let mut options = ClientOptions::new("test/1");
    set(&mut options);
    Client::new(&HttpClientArgs::default(), options).unwrap()
}

/// Asks and reads the answer.
async fn ask(client: &Client, request: Request) -> Result<String, net::Error> {
    client.send(request).await?.text(100).await
}

#[tokio::test]
async fn a_connection_is_used_again_and_only_one_at_a_time() {
    let server = Scripted::start(&[(&[OK, OK, OK, OK, OK], true), (&[OK], true)]).await;
    let client = client(|_| ());
    for _ in 0..3 {
        assert_eq!(ask(&client, server.post()).await.unwrap(), "ok");
    }
    // Nobody reads the short body of this one.
    assert_eq!(client.send(server.post()).await.unwrap().status(), 200);
    let (one, other) = tokio::join!(ask(&client, server.get()), ask(&client, server.get()));
    assert_eq!((one.unwrap().as_str(), other.unwrap().as_str()), ("ok", "ok"));
    let mut connections = server.connections();
    connections.sort_unstable();
    assert_eq!(connections, [0, 0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn one_that_has_been_closed_meanwhile_is_replaced_whatever_is_asked() {
    let mut server = Scripted::start(&[(&[OK], false), (&[OK], false), (&[OK], true)]).await;
    let client = client(|_| ());
    for request in [server.get(), server.post(), server.get()] {
        assert_eq!(ask(&client, request).await.unwrap(), "ok");
        if server.connections().len() < 3 {
            server.end().await;
        }
    }
    assert_eq!(server.connections(), [0, 1, 2]);
}

#[tokio::test]
async fn what_only_asks_is_asked_again_where_a_used_connection_breaks_and_nothing_else_is() {
    let script: Script = &[(&[OK, NOTHING], false), (&[OK, NOTHING], false), (&[NOTHING], false)];
    let server = Scripted::start(script).await;
    let client = client(|_| ());
    ask(&client, server.get()).await.unwrap();
    // The second request breaks the first connection and goes over the second.
    assert_eq!(ask(&client, server.get()).await.unwrap(), "ok");
    let broken = ask(&client, server.post()).await.unwrap_err();
    assert!(broken.kind() == Kind::Protocol && broken.is_retryable(), "{broken}");
    // On a new connection an end is an answer.
    assert_eq!(ask(&client, server.get()).await.unwrap_err().kind(), Kind::Protocol);
    assert_eq!(server.connections(), [0, 0, 1, 1, 2]);
    assert!(server.seen.lock()[3].1.starts_with("POST"));
}

#[tokio::test]
async fn what_is_no_answer_is_not_asked_for_again() {
    let server = Scripted::start(&[(&[OK, GARBAGE], true), (&[OK], true)]).await;
    let client = client(|_| ());
    ask(&client, server.get()).await.unwrap();
    assert_eq!(ask(&client, server.get()).await.unwrap_err().kind(), Kind::Protocol);
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn one_that_the_server_or_the_reader_gave_up_is_closed() {
    let mut server = Scripted::start(&[(&[LAST], true), (&[ENDLESS], true), (&[OK], true)]).await;
    let client = client(|_| ());
    ask(&client, server.get()).await.unwrap();
    assert_eq!(server.end().await, 0);
    // The head alone, then the caller goes.
    drop(client.send(server.get()).await.unwrap());
    assert_eq!(server.end().await, 1);
    ask(&client, server.get()).await.unwrap();
    assert_eq!(server.connections(), [0, 1, 2]);
}

#[tokio::test]
async fn one_that_waits_for_long_is_closed_and_so_is_one_too_many() {
    let mut server = Scripted::start(&[(&[OK, OK], true), (&[OK], true)]).await;
    let patient = client(|options| options.idle_timeout = Duration::from_millis(50));
    ask(&patient, server.get()).await.unwrap();
    assert_eq!(server.end().await, 0);
    let none = client(|options| options.max_idle_per_host = 0);
    ask(&none, server.get()).await.unwrap();
    assert_eq!(server.end().await, 1);
}

#[tokio::test]
async fn with_the_client_its_connections_go() {
    let mut server = Scripted::start(&[(&[OK], true)]).await;
    let client = client(|_| ());
    ask(&client, server.get()).await.unwrap();
    drop(client);
    assert_eq!(server.end().await, 0);
}

#[tokio::test]
async fn a_request_says_what_it_goes_to_and_keeps_what_it_says_itself() {
    let server = Scripted::start(&[(&[OK, OK], true)]).await;
    let client = client(|_| ());
    let url = server.url.join("/a/b?c=d%20e#f").unwrap();
    ask(&client, Request::get(url)).await.unwrap();
    let named = server.get().header(http::header::HOST, http::HeaderValue::from_static("other"));
    ask(&client, named).await.unwrap();
    let seen = server.seen.lock();
    let own = format!("host: 127.0.0.1:{}\r\n", server.url.port().unwrap());
    assert!(seen[0].1.starts_with("GET /a/b?c=d%20e HTTP/1.1\r\n") && seen[0].1.contains(&own), "{seen:?}");
    assert!(seen[1].1.starts_with("GET / HTTP/1.1\r\n") && seen[1].1.contains("host: other\r\n"), "{seen:?}");
    assert!(!seen[1].1.contains(&own), "{seen:?}");
}

#[test]
fn an_answer_may_outlive_what_runs_it() {
    // Longer than a read, so that the rest lies at hand when the answer is let go of.
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    let answers: &[&str] = vec![&*long.leak()].leak();
    let script: Script = vec![(answers, true)].leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (unread, client, mut server) = runtime.block_on(async {
        let (server, client) = (Scripted::start(script).await, client(|_| ()));
        let unread = client.send(server.get()).await.unwrap();
        (unread, client, server)
    });
    drop(unread);
    drop(client);
    assert_eq!(runtime.block_on(server.end()), 0);
}

//! For tests: one source behind a real socket, and a client that says exactly what it is told to.

use component::ComponentDef;
use component::testkit::{Harness, Names, Sink};
use signal::Logs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A source under test.
pub(crate) struct Bench {
    pub(crate) harness: Harness,
    pub(crate) sink: Sink<Logs>,
    pub(crate) port: u16,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    net::testkit::free_port()
}

/// The body of a block with an `http` block; `in_http` goes into that one.
pub(crate) fn config(port: u16, extra: &str, in_http: &str) -> String {
    format!(
        "forward_to = [sink]\n{extra}\nhttp {{\n listen_address = \"127.0.0.1\"\n listen_port = {port}\n{in_http}\n}}"
    )
}

impl Bench {
    pub(crate) async fn start(definition: ComponentDef, extra: &str) -> Self {
        Self::start_with(definition, extra, "", Names::default()).await
    }

    pub(crate) async fn start_with(
        definition: ComponentDef,
        extra: &str,
        in_http: &str,
        names: Names,
    ) -> Self {
        let (sink, port) = (Sink::new(), free_port());
        let names = names.with("sink", sink.value());
        let harness = Harness::start(definition, &config(port, extra, in_http), names).await;
        listening(port).await;
        Self { harness, sink, port }
    }

    /// Sends a request: its first line and headers, each with its line end, and its body.
    pub(crate) async fn send(&self, head: &str, body: &[u8]) -> Answer {
        request(self.port, head, body).await
    }

    /// Entries that have arrived: labels, time, line.
    pub(crate) fn entries(&self) -> Vec<(String, i64, String)> {
        let batches = self.sink.take();
        let entry =
            |b: &Logs, e: &signal::logs::Entry| (b.labels(e).to_string(), e.timestamp_ns, e.line.to_string());
        batches.iter().flat_map(|b| b.entries.iter().map(|e| entry(b, e)).collect::<Vec<_>>()).collect()
    }

    /// Labels and lines of entries that have arrived.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        self.entries().into_iter().map(|(labels, _, line)| (labels, line)).collect()
    }

    /// The value of a metric of this component, by its name and labels without those of the component.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        crate::source::bench::metric(&self.harness, name)
    }
}

/// Waits for a server: the start of a node does not.
pub(crate) async fn listening(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn request(port: u16, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
    let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server may answer and close before it has read all.
    let _ = stream.write_all(body).await;
    answer(&mut stream).await
}

/// Reads an answer to the end of the connection.
pub(crate) async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

//! For tests of what listens for text: a component on loopback, clients, and what arrives.

use std::time::Duration;

use component::testkit::{Harness, Names, Sink};
use component::{ArgValue, ComponentDef, Rejected};
use signal::otlp::OtlpLogs;
use signal::otlp::proto::logs::v1::LogRecord;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A component that listens, and its sink.
pub struct Rig {
    pub harness: Harness,
    sink: Sink<OtlpLogs>,
    pub records: Vec<LogRecord>,
}

pub use net::testkit::free_port;

impl Rig {
    /// Starts it; `body` is without `output`.
    pub async fn start(definition: ComponentDef, body: &str) -> Self {
        let sink = Sink::new();
        let input = component::otel::OtelInput { logs: Some(sink.receiver()), ..Default::default() };
        let names = Names::default().with("sink", input.to_value());
        let harness = Harness::start(definition, &Self::body(body), names).await;
        Self { harness, sink, records: Vec::new() }
    }

    /// Why arguments are refused.
    pub async fn refused(definition: ComponentDef, body: &str) -> String {
        let services = component::Services::for_tests(std::env::temp_dir());
        let input = component::otel::OtelInput { logs: Some(Sink::new().receiver()), ..Default::default() };
        let harness = Harness::new(definition, Names::default().with("sink", input.to_value()), services);
        let refused = harness.update(&Self::body(body)).await.map(|_| ());
        format!("{:?}", refused.expect_err(body))
    }

    fn body(body: &str) -> String {
        format!("{body}\noutput {{\nlogs = [sink]\n}}")
    }

    /// New arguments.
    pub async fn update(&self, body: &str) {
        self.harness.update(&Self::body(body)).await.unwrap_or_else(|e| panic!("{body}: {e:?}"));
    }

    pub fn refuse(&self) {
        self.sink.answer(Err(Rejected::Retryable("full".into())));
    }

    pub fn accept(&self) {
        self.sink.answer(Ok(()));
    }

    /// A client, as soon as it listens.
    pub async fn connect(&self, port: u16) -> TcpStream {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Connects, sends, and closes.
    pub async fn send(&self, port: u16, bytes: impl AsRef<[u8]>) {
        let mut stream = self.connect(port).await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    fn collect(&mut self) {
        for batch in self.sink.take() {
            for request in &batch.requests {
                let message = request.message().unwrap().clone();
                let scopes = message.resource_logs.into_iter().flat_map(|r| r.scope_logs);
                self.records.extend(scopes.flat_map(|s| s.log_records));
            }
        }
    }

    /// Waits until so many records have arrived.
    pub async fn until(&mut self, count: usize) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            self.collect();
            if self.records.len() >= count {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{} of {count}: {:?}",
                self.records.len(),
                self.bodies()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn bodies(&self) -> Vec<String> {
        self.records.iter().map(|r| crate::value::text(r.body.as_ref())).collect()
    }

    pub fn attribute(&self, record: usize, name: &str) -> Option<String> {
        let found = self.records[record].attributes.iter().find(|a| a.key == name)?;
        Some(crate::value::text(found.value.as_ref()))
    }

    /// Stops it; what arrived is there.
    pub async fn stop(&mut self) {
        self.harness.stop().await;
        self.collect();
    }

    /// The sum of the own metrics whose lines start like this.
    pub fn metric(&self, start: &str) -> f64 {
        let text = self.harness.services.metrics.text();
        let values = text.lines().filter(|l| l.starts_with(start));
        values.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

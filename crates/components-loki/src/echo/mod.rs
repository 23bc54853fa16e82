//! `loki.echo` prints what it receives to standard output.

use std::fmt::Write as _;
use std::io::Write as _;

use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Port, Receiver, Rejected,
    RunCx, Stability,
};
use signal::Logs;

/// `loki.echo`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct EchoExports {
    /// Prints what is sent to it.
    pub receiver: Receiver<Logs>,
}

/// The component.
pub struct Echo(Port<Logs>);

impl Component for Echo {
    const NAME: &'static str = "loki.echo";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = EchoExports;

    fn build(_args: Args, cx: &BuildCx) -> Result<(Self, EchoExports), Error> {
        let port = cx.port("receiver");
        let exports = EchoExports { receiver: port.receiver() };
        Ok((Self(port), exports))
    }

    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let _ = self.0.attach(Printer);
        loop {
            match cx.event().await {
                Event::Stop => return Ok(()),
                Event::Update(update) => update.answer(Ok(())),
            }
        }
    }
}

struct Printer;

impl Consumer<Logs> for Printer {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        let text = render(&batch);
        Box::pin(async move {
            // A terminal may block; that must not hold up a worker thread.
            let printed = tokio::task::spawn_blocking(move || {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            });
            match printed.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Rejected::Permanent(format!("standard output: {error}"))),
                Err(error) => Err(Rejected::Permanent(format!("standard output: {error}"))),
            }
        })
    }
}

fn render(batch: &Logs) -> String {
    let mut out = String::with_capacity(batch.bytes() + batch.len() * 96);
    for entry in &batch.entries {
        match jiff::Timestamp::from_nanosecond(i128::from(entry.timestamp_ns)) {
            Ok(time) => {
                let _ = write!(out, "{time:.9}");
            }
            Err(_) => {
                let _ = write!(out, "{}", entry.timestamp_ns);
            }
        }
        let _ = write!(out, " {} {}", batch.labels(entry), entry.line);
        if let Some(metadata) = &entry.metadata {
            let _ = write!(out, " {metadata}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use signal::logs::{Entry, LogBatch};
    use signal::{Labels, Logs};

    use super::*;

    #[test]
    fn entries_are_printed_with_time_labels_line_and_metadata() {
        let entry =
            |timestamp_ns, metadata| Entry { stream: 0, timestamp_ns, line: "hello".into(), metadata };
        let metadata = Labels::from_pairs([("trace_id", "7")]);
        let batch = LogBatch {
            streams: vec![Labels::from_pairs([("job", "app"), ("host", "a")])],
            entries: vec![entry(1_500_000_000, None), entry(0, Some(metadata))],
            ..LogBatch::default()
        };
        assert_eq!(
            render(&Logs::new(batch)),
            "1970-01-01T00:00:01.500000000Z {host=\"a\", job=\"app\"} hello\n\
             1970-01-01T00:00:00.000000000Z {host=\"a\", job=\"app\"} hello {trace_id=\"7\"}\n"
        );
    }
}

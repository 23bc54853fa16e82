//! Follows the log of one container: through its restarts, those of the engine, and ours.
//!
//! Data path: `/containers/<id>/json` (does it run, has it a terminal) → `/containers/<id>/logs` since the place
//! where the log was left → lines → a batch → the outlet; then the place moves.
//! Invariants: a batch is never given up half-way; a log that broke off is read again from its place; the
//! engine is asked again after waits that grow up to the refresh interval.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use net::docker::Engine;
use net::{Error, Kind, Response};
use parking_lot::Mutex;
use signal::logs::{Entry, LogBuilder, Receipt};
use signal::{Labels, LabelsBuilder};
use tokio_util::sync::CancellationToken;
use wire::docker::{BrokenStream, Framing, Line, LineParser, Stream};

use super::Shared;
use super::info::Inspected;
use super::resume::{Place, Replay};
use crate::intake::Intake;
use crate::source::outlet::{Handed, Ledger};
use crate::source::text;

/// As added by Alloy's tailer.
const STREAM_LABEL: &str = "__meta_docker_container_log_stream";
/// Longest line that is kept; Alloy drops longer ones.
const MAX_LINE: usize = 1 << 20;
/// What is there already goes into one batch, up to this.
const MAX_BATCH: (usize, usize) = (1000, 512 << 10);
/// First wait after something went wrong.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long the head of an answer counts as a question under way.
const ASKING: Duration = Duration::from_secs(30);

/// What is known of a container for as long as its follower may change.
pub struct Container {
    id: String,
    state: Mutex<State>,
    /// Held by the follower at work, so that the next one waits for its end.
    alone: tokio::sync::Mutex<()>,
}

struct State {
    labels: String,
    place: Place,
    ledger: Ledger<Place>,
    gone: bool,
}

impl Container {
    /// A container whose log was left at a place.
    pub fn new(id: &str, place: Place) -> Self {
        let state = State { labels: String::new(), place, ledger: Ledger::default(), gone: false };
        Self { id: id.to_owned(), state: Mutex::new(state), alone: tokio::sync::Mutex::default() }
    }

    /// Under which labels its place is stored.
    pub fn label(&self, labels: String) {
        self.state.lock().labels = labels;
    }

    /// Those labels.
    pub fn labels(&self) -> String {
        self.state.lock().labels.clone()
    }

    /// How far its log was sent, in seconds.
    pub fn seconds(&self) -> i64 {
        self.state.lock().place.seconds()
    }

    /// How far its log was sent for good, if that has moved.
    pub fn settled(&self) -> Option<Place> {
        self.state.lock().ledger.settled()
    }

    /// Whether the engine does not know it any more.
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    fn place(&self) -> Place {
        self.state.lock().place.clone()
    }

    fn advance(&self, place: Place, receipt: Receipt) {
        let mut state = self.state.lock();
        state.ledger.add(place.clone(), receipt);
        state.place = place;
    }
}

/// The follower of a container, made with one set of arguments.
pub struct Follower {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    container: Arc<Container>,
    /// Streams of standard output and of standard error, where the rules keep them.
    streams: [Option<Labels>; 2],
    every: Duration,
    stop: CancellationToken,
    /// The run whose log was read to its end.
    read: Option<(String, String)>,
    wait: Duration,
}

/// Why a log is not read on.
#[derive(Debug)]
enum End {
    /// We stop.
    Stopped,
    /// The container does not run and its log was read to its end.
    Quiet,
    /// The stream ended and another one may go on.
    Again,
    /// The engine does not know the container.
    Gone(String),
    /// Something is wrong with the container's log.
    Container(String),
    /// Something is wrong with the engine.
    Engine(String),
}

impl End {
    fn of_question(error: &Error) -> Self {
        match error.status() {
            Some(404) => Self::Gone(error.to_string()),
            _ => Self::Engine(error.to_string()),
        }
    }

    fn of_stream(error: &Error) -> Self {
        match error.kind() {
            Kind::Status(404) => Self::Gone(error.to_string()),
            // A log driver that cannot be read, for one.
            Kind::Status(_) => Self::Container(error.to_string()),
            // The day of the stream is over.
            Kind::Timeout => Self::Again,
            _ => Self::Engine(error.to_string()),
        }
    }
}

impl Follower {
    /// `labels` are those of the target with those of the component; `every` is the refresh interval.
    pub fn new(
        shared: Arc<Shared>,
        engine: Arc<Engine>,
        container: Arc<Container>,
        labels: &Labels,
        mut intake: Intake,
        every: Duration,
        stop: CancellationToken,
    ) -> Self {
        let mut found = LabelsBuilder::new();
        let streams = [Stream::Stdout, Stream::Stderr].map(|stream| {
            found.reset(labels);
            found.set(STREAM_LABEL, stream.as_str());
            intake.stream(&found.build())
        });
        let wait = FIRST_WAIT.min(every);
        Self { shared, engine, container, streams, every, stop, read: None, wait }
    }

    /// Until it is told to stop.
    pub async fn run(mut self) {
        let container = self.container.clone();
        let _alone = tokio::select! {
            alone = container.alone.lock() => alone,
            () = self.stop.cancelled() => return,
        };
        loop {
            let end = match self.follow().await {
                Ok(()) => End::Again,
                Err(end) => end,
            };
            tracing::debug!(container = %self.container.id, ?end, "the log is not read on for now");
            let (error, engine) = match end {
                End::Stopped => return,
                End::Quiet | End::Again => (None, false),
                End::Gone(error) | End::Container(error) => (Some(error), false),
                End::Engine(error) => (Some(error), true),
            };
            self.shared.note(&self.container, false, error, engine);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.wait) => self.wait = (self.wait * 2).min(self.every),
            }
        }
    }

    /// Reads the log until its stream ends.
    async fn follow(&mut self) -> Result<(), End> {
        let inspected = self.inspect().await?;
        let run = inspected.run();
        if !inspected.is_running() && self.read.as_ref() == Some(&run) {
            return Err(End::Quiet);
        }
        let place = self.container.place();
        let mut response = self.open(&place).await?;
        self.shared.note(&self.container, true, None, false);
        let framing = framing(response.content_type(), inspected.has_tty());
        let mut parser = LineParser::new(framing, MAX_LINE);
        let mut replay = place.replay();
        while let Some((lines, broken)) = self.lines(&mut response, &mut parser).await? {
            self.deliver(lines, &mut replay).await?;
            if let Some(broken) = broken {
                self.shared.metrics.errors.inc();
                return Err(match broken {
                    BrokenStream::NoFrame(_) => End::Engine(format!("{}: {broken}", self.engine.host())),
                    BrokenStream::Engine(_) => End::Container(broken.to_string()),
                });
            }
        }
        if inspected.is_running() {
            // It may have ended, or the engine may be about to.
            return Err(End::Again);
        }
        let mut rest = Vec::new();
        parser.finish(|line| rest.push(line));
        self.deliver(rest, &mut replay).await?;
        self.read = Some(run);
        Err(End::Quiet)
    }

    async fn inspect(&self) -> Result<Inspected, End> {
        let path = format!("/containers/{}/json", self.container.id);
        let ask = async {
            let _turn = self.shared.questions.acquire().await.expect("it is never closed");
            self.engine.json(&path, &[]).await
        };
        let answer: Result<Inspected, Error> = tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            answer = ask => answer,
        };
        self.container.state.lock().gone = answer.as_ref().is_err_and(|e| e.status() == Some(404));
        answer.map_err(|e| End::of_question(&e))
    }

    async fn open(&self, place: &Place) -> Result<Response, End> {
        let path = format!("/containers/{}/logs", self.container.id);
        let since = place.since();
        let query = [
            ("follow", "1"),
            ("stdout", "1"),
            ("stderr", "1"),
            ("timestamps", "1"),
            ("since", since.as_str()),
        ];
        let turn = tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            turn = self.shared.questions.acquire() => turn.expect("it is never closed"),
        };
        let mut answer = std::pin::pin!(self.engine.stream(&path, &query));
        // Some engines send no head before the first line: then this is a stream, not a question.
        let head = tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            head = tokio::time::timeout(ASKING.min(self.every), &mut answer) => head,
        };
        drop(turn);
        let answer = match head {
            Ok(answer) => answer,
            Err(_) => self.while_alive(answer).await?,
        };
        answer.map_err(|e| End::of_stream(&e))
    }

    /// Waits for something of a stream. While that is quiet, the engine has to say now and then that it is
    /// there and that the container runs.
    async fn while_alive<T>(&self, wanted: impl Future<Output = T>) -> Result<T, End> {
        let mut wanted = std::pin::pin!(wanted);
        let mut over = false;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                result = &mut wanted => return Ok(result),
                () = tokio::time::sleep(self.every) => {}
            }
            let runs = self.inspect().await?.is_running();
            // The stream of a container that has ended ends too, if with a delay.
            if over && !runs {
                return Err(End::Again);
            }
            over = !runs;
        }
    }

    /// The next lines, with what is there already; `None` at the end of the stream.
    async fn lines(
        &self,
        response: &mut Response,
        parser: &mut LineParser,
    ) -> Result<Option<(Vec<Line>, Option<BrokenStream>)>, End> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let first = self.while_alive(response.chunk()).await?;
        let mut chunk: Bytes = match first.map_err(|e| End::of_stream(&e))? {
            Some(chunk) => chunk,
            None => return Ok(None),
        };
        loop {
            bytes += chunk.len();
            if let Err(broken) = parser.push(chunk, |line| lines.push(line)) {
                return Ok(Some((lines, Some(broken))));
            }
            if lines.len() >= MAX_BATCH.0 || bytes >= MAX_BATCH.1 {
                return Ok(Some((lines, None)));
            }
            // An end or an error comes again with the next call.
            match response.chunk().now_or_never() {
                Some(Ok(Some(next))) => chunk = next,
                _ => return Ok(Some((lines, None))),
            }
        }
    }

    /// Sends what was not sent before, and moves the place behind it.
    async fn deliver(&mut self, lines: Vec<Line>, replay: &mut Replay) -> Result<(), End> {
        let mut place = self.container.place();
        let receipt = Receipt::new();
        let received_ms = jiff::Timestamp::now().as_millisecond();
        let mut batch = LogBuilder::new(received_ms, Some(receipt.hold()));
        let mut moved = false;
        for line in lines {
            let Some(timestamp_ns) = line.timestamp_ns else {
                self.shared.bad_line(&self.container.id, "a line has no time before it and is dropped");
                continue;
            };
            if replay.was_sent(&line) {
                continue;
            }
            moved = true;
            place.push(&line);
            if line.cut {
                self.shared.bad_line(&self.container.id, "a line is longer than 1 MiB and is cut");
            }
            let stream = match line.stream {
                Stream::Stdout => &self.streams[0],
                Stream::Stderr => &self.streams[1],
            };
            // As Alloy: an empty line is no entry.
            if let Some(labels) = stream
                && !line.text.is_empty()
            {
                let stream = batch.stream(labels);
                batch.push(Entry { stream, timestamp_ns, line: text(line.text), metadata: None });
            }
        }
        if !moved {
            return Ok(());
        }
        self.wait = FIRST_WAIT.min(self.every);
        let entries = batch.len() as u64;
        if entries > 0 && self.shared.outlet.send(batch.finish(), &self.stop).await == Handed::Stopped {
            return Err(End::Stopped);
        }
        self.shared.metrics.entries.inc_by(entries);
        self.container.advance(place, receipt);
        Ok(())
    }
}

impl Shared {
    /// What a follower is doing now; the node's health follows from all of them.
    fn note(&self, container: &Container, running: bool, error: Option<String>, engine: bool) {
        let mut all = self.status.lock();
        let Some(status) = all.get_mut(&container.id) else { return };
        if let Some(error) = error.as_ref().filter(|e| status.error.as_ref() != Some(*e)) {
            tracing::warn!(container = %container.id, %error, "the log of a container cannot be read now");
        }
        status.running = running;
        status.error = error;
        status.engine = engine;
        drop(all);
        self.review();
    }

    /// Counts a line that could not be read as it should, and tells of it once a minute at most.
    fn bad_line(&self, id: &str, what: &str) {
        self.metrics.errors.inc();
        if self.told.now() {
            tracing::warn!(container = %id, "{what}");
        }
    }
}

/// Newer engines say what they send; of older ones the container's terminal tells.
fn framing(content_type: Option<&str>, tty: bool) -> Framing {
    match content_type {
        Some("application/vnd.docker.multiplexed-stream") => Framing::Multiplexed,
        // Older engines call frames raw-stream as well.
        _ if tty => Framing::Raw,
        _ => Framing::Multiplexed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_framed_as_the_engine_says_or_as_the_container_has_it() {
        let (raw, frames) =
            ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream");
        for (content_type, tty, expected) in [
            (Some(frames), false, Framing::Multiplexed),
            (Some(frames), true, Framing::Multiplexed),
            (Some(raw), true, Framing::Raw),
            (Some(raw), false, Framing::Multiplexed),
            (None, true, Framing::Raw),
            (Some("text/plain"), false, Framing::Multiplexed),
        ] {
            assert_eq!(framing(content_type, tty), expected, "{content_type:?} {tty}");
        }
    }
}

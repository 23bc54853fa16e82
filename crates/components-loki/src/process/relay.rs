//! From the stages to `forward_to`, so that a batch goes through the stages once whatever becomes of it.
//!
//! What came out of a batch is a parcel. A parcel whose sender was refused, or went away while it waited, stays
//! here: it goes on before anything newer does, with the next batch or by the courier, and when the same batch
//! comes again its sender is told what became of the parcel. So metrics and limits count a line once, and a
//! block of lines is not begun twice. While a parcel waits, new batches are refused before they are processed,
//! so no more parcels wait than senders were under way.
//!
//! With stages that keep entries back, batches go through one at a time, sending included: a block that is
//! flushed later never overtakes lines that came before it.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::metrics::IntCounter;
use component::{BoxFuture, BuildCx, Consumer, Error, Fanout, Health, Rejected};
use futures_util::FutureExt;
use parking_lot::Mutex;
use signal::Logs;
use tokio::sync::{MutexGuard, Notify};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

use super::pipeline::{Counters, Flush, Piece, Pipeline, StageCx};
use super::stages::Stage;

/// The courier's waits between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long an update waits for a batch under way before it interrupts the sending.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many senders are told later what became of their batch, and for how long that is remembered.
const ANSWERS: usize = 4096;
const ANSWERS_FOR: Duration = Duration::from_secs(600);

/// How long the component's stop tries to get rid of what it holds.
const DRAIN: Duration = Duration::from_secs(15);

/// What all batches of a component share.
pub struct Relay {
    /// Whose turn it is to work on batches or on what waits.
    turn: tokio::sync::Mutex<Turn>,
    waiting: Mutex<Waiting>,
    /// Ends the sends of whoever has the turn while an update wants it.
    interrupt: ArcSwap<CancellationToken>,
    /// There is something to flush earlier than the courier thinks, or to deliver.
    news: Notify,
    stopping: CancellationToken,
    dropped_at_stop: IntCounter,
    cx: BuildCx,
}

struct Turn {
    pipeline: Pipeline,
    forward_to: Fanout<Logs>,
    /// When the courier will look at the pipeline.
    courier_at: Option<Instant>,
}

/// What came out of one batch, or of a flush, as far as it has not been taken.
struct Parcel {
    number: u64,
    /// The batch that it came from, to know it again; `None` for a flush.
    batch: Option<Logs>,
    pieces: VecDeque<Piece>,
    answer: Result<(), Rejected>,
}

#[derive(Default)]
struct Waiting {
    parcels: VecDeque<Parcel>,
    answers: VecDeque<Answer>,
    numbers: u64,
}

struct Answer {
    batch: u128,
    answer: Result<(), Rejected>,
    given_at: Instant,
}

/// What is known of a batch that comes.
enum Known {
    New,
    Answered(Result<(), Rejected>),
    Waits(u64),
}

/// How a try to get rid of what waits ended.
enum Delivered {
    /// Nothing waits any more. Holds the answer to the parcel that was asked for.
    All(Option<Result<(), Rejected>>),
    /// `forward_to` does not take it now.
    Refused(Rejected),
    /// An update wants the turn.
    Interrupted,
}

impl Relay {
    /// For stages that are open.
    pub fn new(
        pipeline: Pipeline,
        forward_to: Fanout<Logs>,
        counters: &Counters,
        cx: BuildCx,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            turn: tokio::sync::Mutex::new(Turn { pipeline, forward_to, courier_at: None }),
            waiting: Mutex::default(),
            interrupt: ArcSwap::from_pointee(CancellationToken::new()),
            news: Notify::new(),
            stopping,
            dropped_at_stop: counters.dropped("shutdown"),
            cx,
        }
    }

    /// Sends a batch through the stages and hands on what comes out.
    pub async fn take(&self, batch: Logs) -> Result<(), Rejected> {
        loop {
            let mut turn = self.turn.lock().await;
            if self.stopping.is_cancelled() {
                return Err(stops());
            }
            let known = self.waiting.lock().look_up(&batch);
            let own = match known {
                Known::Answered(answer) => return answer,
                Known::Waits(number) => Some(number),
                Known::New => None,
            };
            match self.deliver(turn.forward_to.clone(), own).await {
                Delivered::All(Some(answer)) => return answer,
                Delivered::All(None) => {}
                Delivered::Refused(refusal) => return Err(refusal),
                Delivered::Interrupted => continue,
            }
            let pieces = turn.pipeline.process(&batch);
            self.debug(&batch, &pieces);
            self.remind(&mut turn);
            if pieces.is_empty() {
                return Ok(());
            }
            if turn.pipeline.keeps_back() {
                let own = self.waiting.lock().push(Some(batch.clone()), pieces);
                match self.deliver(turn.forward_to.clone(), Some(own)).await {
                    Delivered::All(answer) => return answer.unwrap_or(Ok(())),
                    Delivered::Refused(refusal) => return Err(self.refuse(refusal)),
                    // The batch is known by now.
                    Delivered::Interrupted => continue,
                }
            }
            let forward_to = turn.forward_to.clone();
            drop(turn);
            return self.send(batch, pieces, &forward_to).await;
        }
    }

    /// Sends what came out of a batch while others have the turn. A future that is dropped leaves the rest to
    /// the courier.
    async fn send(&self, batch: Logs, pieces: Vec<Piece>, forward_to: &Fanout<Logs>) -> Result<(), Rejected> {
        let mut under_way =
            UnderWay { relay: self, batch: Some(batch), pieces: pieces.into(), answer: Ok(()) };
        while let Some(piece) = under_way.pieces.front() {
            tokio::select! {
                () = until(piece.not_before) => {}
                () = self.stopping.cancelled(), if piece.not_before.is_some() => {
                    return Err(stops());
                }
            }
            match forward_to.send(piece.batch.clone()).await {
                Ok(()) => {}
                Err(Rejected::Permanent(reason)) => under_way.answer = Err(Rejected::Permanent(reason)),
                Err(refusal) => return Err(refusal),
            }
            under_way.pieces.pop_front();
        }
        std::mem::replace(&mut under_way.answer, Ok(()))
    }

    /// Tries to get rid of all that waits, in order; the answer to the parcel `own` goes to the caller, who has
    /// the turn.
    async fn deliver(&self, forward_to: Fanout<Logs>, own: Option<u64>) -> Delivered {
        let interrupt = self.interrupt.load_full();
        let mut answer = None;
        loop {
            let Some(piece) = self.waiting.lock().first(own, &mut answer) else {
                return Delivered::All(answer);
            };
            let sent = tokio::select! {
                biased;
                () = interrupt.cancelled() => return Delivered::Interrupted,
                sent = async {
                    until(piece.not_before).await;
                    forward_to.send(piece.batch).await
                } => sent,
            };
            match sent {
                Err(refusal @ (Rejected::Retryable(_) | Rejected::Stopped)) => {
                    return Delivered::Refused(refusal);
                }
                done => self.waiting.lock().done(done),
            }
        }
    }

    fn refuse(&self, refusal: Rejected) -> Rejected {
        self.news.notify_one();
        refusal
    }

    /// Wakes the courier if something is to be flushed earlier than it thinks.
    fn remind(&self, turn: &mut Turn) {
        if let Some(due) = turn.pipeline.due()
            && turn.courier_at.is_none_or(|at| due < at)
        {
            turn.courier_at = Some(due);
            self.news.notify_one();
        }
    }

    /// Flushes what is due and delivers what waits, until the component stops.
    pub async fn courier(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            let round = AssertUnwindSafe(self.round(&mut wait)).catch_unwind();
            let (at, refused) = tokio::select! {
                () = self.stopping.cancelled() => return,
                next = round => next.unwrap_or_else(|_| {
                    self.cx.report(Health::unhealthy("a stage panicked while it let go what it had kept back"));
                    (Some(Instant::now() + FIRST_WAIT), true)
                }),
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = until_or_never(at) => {}
                // Under refusal news does not shorten the wait: who brings it has just been refused as well.
                () = self.news.notified(), if !refused => {}
            }
        }
    }

    /// One round of the courier: when the next is to be, and whether this one was refused.
    async fn round(&self, wait: &mut Duration) -> (Option<Instant>, bool) {
        let mut turn = self.turn.lock().await;
        let flushed = turn.pipeline.flush_due();
        if !flushed.is_empty() {
            self.waiting.lock().push(None, flushed);
        }
        let at = match self.deliver(turn.forward_to.clone(), None).await {
            Delivered::All(_) => {
                *wait = FIRST_WAIT;
                turn.pipeline.due()
            }
            Delivered::Interrupted => Some(Instant::now()),
            Delivered::Refused(_) => {
                let jitter = wait.mul_f64(0.5 + fastrand::f64());
                *wait = (*wait * 2).min(LONGEST_WAIT);
                Some(Instant::now() + jitter)
            }
        };
        turn.courier_at = at;
        (at, *wait > FIRST_WAIT)
    }

    /// The turn, out of turn if need be: whoever has it may wait for a receiver for as long as that blocks, and
    /// so may those who are next.
    async fn seize(&self) -> MutexGuard<'_, Turn> {
        let asked = self.turn.lock();
        tokio::pin!(asked);
        tokio::select! {
            turn = &mut asked => turn,
            () = tokio::time::sleep(PATIENCE) => {
                self.interrupt.load().cancel();
                let turn = asked.await;
                self.interrupt.store(Arc::new(CancellationToken::new()));
                turn
            }
        }
    }

    /// Puts new stages and receivers in force.
    pub async fn update(
        &self,
        stages: &[Stage],
        cx: &StageCx<'_>,
        forward_to: Fanout<Logs>,
    ) -> Result<(), Error> {
        let mut turn = self.seize().await;
        let flushed = turn.pipeline.update(stages, cx)?;
        if !flushed.is_empty() {
            self.waiting.lock().push(None, flushed);
        }
        turn.forward_to = forward_to;
        turn.courier_at = None;
        self.news.notify_one();
        Ok(())
    }

    /// Lets everything go that stages have kept back, for the component stops: no longer at the pace of a limit.
    /// What is not taken in time is counted as dropped. Batches whose senders were refused are left to these.
    pub async fn drain(&self) {
        let deadline = Instant::now() + DRAIN;
        let drained = tokio::time::timeout_at(deadline, async {
            let mut turn = self.seize().await;
            let flushed = turn.pipeline.flush(Flush::All);
            if !flushed.is_empty() {
                self.waiting.lock().push(None, flushed);
            }
            self.waiting.lock().only_what_nobody_else_has();
            let mut wait = FIRST_WAIT;
            loop {
                match self.deliver(turn.forward_to.clone(), None).await {
                    Delivered::All(_) => return,
                    Delivered::Refused(Rejected::Stopped) => std::future::pending().await,
                    Delivered::Refused(_) | Delivered::Interrupted => {}
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        });
        if drained.await.is_err() {
            let lost = self.waiting.lock().give_up();
            self.dropped_at_stop.inc_by(lost as u64);
            if lost > 0 {
                tracing::error!(node = %self.cx.id(), lines = lost, "lines that stages kept back were not taken before the stop");
            }
        }
    }

    fn debug(&self, batch: &Logs, pieces: &[Piece]) {
        self.cx.live_debug(|| super::debug::render(batch, pieces));
    }
}

fn stops() -> Rejected {
    Rejected::Retryable("the component stops".into())
}

async fn until(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time).await;
    }
}

async fn until_or_never(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What a sender is about to hand on outside of its turn. Dropped before the end, the rest waits.
struct UnderWay<'r> {
    relay: &'r Relay,
    batch: Option<Logs>,
    pieces: VecDeque<Piece>,
    answer: Result<(), Rejected>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        let pieces = std::mem::take(&mut self.pieces);
        let mut waiting = self.relay.waiting.lock();
        let number = waiting.next_number();
        let answer = std::mem::replace(&mut self.answer, Ok(()));
        waiting.parcels.push_back(Parcel { number, batch: self.batch.take(), pieces, answer });
        drop(waiting);
        self.relay.news.notify_one();
    }
}

impl Waiting {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn push(&mut self, batch: Option<Logs>, pieces: Vec<Piece>) -> u64 {
        let number = self.next_number();
        self.parcels.push_back(Parcel { number, batch, pieces: pieces.into(), answer: Ok(()) });
        number
    }

    /// The next piece to send. Parcels that are done with are answered: `own` to the caller, others when their
    /// sender asks again.
    fn first(&mut self, own: Option<u64>, answer: &mut Option<Result<(), Rejected>>) -> Option<Piece> {
        loop {
            let parcel = self.parcels.front()?;
            if let Some(piece) = parcel.pieces.front() {
                return Some(piece.clone());
            }
            let parcel = self.parcels.pop_front()?;
            if own == Some(parcel.number) {
                *answer = Some(parcel.answer);
            } else if let Some(batch) = parcel.batch {
                self.remember(fingerprint(&batch), parcel.answer);
            }
        }
    }

    /// The first piece has been taken or refused for good.
    fn done(&mut self, answer: Result<(), Rejected>) {
        if let Some(parcel) = self.parcels.front_mut() {
            parcel.pieces.pop_front();
            if answer.is_err() {
                parcel.answer = answer;
            }
        }
    }

    fn remember(&mut self, batch: u128, answer: Result<(), Rejected>) {
        if self.answers.len() >= ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer { batch, answer, given_at: Instant::now() });
    }

    /// Whether a batch has been here before. Costs nothing while nothing waits and all have been told.
    fn look_up(&mut self, batch: &Logs) -> Known {
        while self.answers.front().is_some_and(|a| a.given_at.elapsed() > ANSWERS_FOR) {
            self.answers.pop_front();
        }
        if self.parcels.is_empty() && self.answers.is_empty() {
            return Known::New;
        }
        let print = fingerprint(batch);
        let same =
            |p: &Parcel| p.batch.as_ref().is_some_and(|b| b.len() == batch.len() && fingerprint(b) == print);
        if let Some(parcel) = self.parcels.iter().find(|p| same(p)) {
            return Known::Waits(parcel.number);
        }
        match self.answers.iter().position(|a| a.batch == print) {
            Some(i) => Known::Answered(self.answers.remove(i).map_or(Ok(()), |a| a.answer)),
            None => Known::New,
        }
    }

    /// Forgets parcels whose senders still have the batch; the others need not keep a pace any more.
    fn only_what_nobody_else_has(&mut self) {
        self.parcels.retain(|parcel| parcel.batch.is_none());
        self.parcels.iter_mut().flat_map(|p| &mut p.pieces).for_each(|piece| piece.not_before = None);
    }

    /// Forgets all; the number of lines whose senders were told that they are taken.
    fn give_up(&mut self) -> usize {
        self.only_what_nobody_else_has();
        self.parcels.drain(..).flat_map(|p| p.pieces).map(|piece| piece.batch.len()).sum()
    }
}

/// Tells batches apart by what is in them: a sender may bring the same entries in another allocation.
fn fingerprint(batch: &Logs) -> u128 {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for labels in &batch.streams {
        part(labels.wire_bytes());
    }
    for entry in &batch.entries {
        part(&entry.stream.to_le_bytes());
        part(&entry.timestamp_ns.to_le_bytes());
        part(entry.line.as_bytes());
        part(entry.metadata.as_ref().map_or(&[], |m| m.wire_bytes()));
    }
    hash.digest128()
}

/// The consumer behind the component's address.
pub struct Entrance(pub Arc<Relay>);

impl Consumer<Logs> for Entrance {
    fn consume(&self, batch: Logs) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(async move { if batch.is_empty() { Ok(()) } else { self.0.take(batch).await } })
    }
}

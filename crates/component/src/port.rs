//! Typed channels between components.
//!
//! A [`Receiver`] is an address that lives as long as its node; behind it stands a generation that can be
//! swapped at any time: pending (senders wait), attached (a [`Consumer`]), stopped.
//! Invariants: an `Ok` is the acknowledgement of every live sink below; the await is the back-pressure; a
//! swap never fails a send in flight, and the old generation is drained exactly when its last sender is
//! done. A consumer's panic becomes a refusal and its node's health.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arc_swap::ArcSwap;
use eval::{ArgValue, Capsule, CapsuleType, Value, ValueError};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::health::{Health, HealthCell, Part};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a component does with a batch.
pub trait Consumer<T>: Send + Sync + 'static {
    /// `Ok`: every sink below has the batch in its queue, or dropped it on purpose.
    fn consume(&self, batch: T) -> BoxFuture<'_, Result<(), Rejected>>;
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The node is gone or its process part is over.
    #[error("the receiving component has stopped")]
    Stopped,
    /// Later it may work: keep the batch.
    #[error("{0}")]
    Retryable(String),
    /// It will never be taken: count it, log it, drop it.
    #[error("{0}")]
    Permanent(String),
}

/// A kind of data that flows.
pub trait Signal: Clone + Send + Sync + 'static {
    /// Name of the receiver's type in the configuration language.
    const RECEIVER: &'static str;
}

impl Signal for signal::Samples {
    const RECEIVER: &'static str = "MetricsReceiver";
}

impl Signal for signal::Logs {
    const RECEIVER: &'static str = "LogsReceiver";
}

impl Signal for signal::Profiles {
    const RECEIVER: &'static str = "ProfilesReceiver";
}

/// Receivers of OTLP travel inside of an [`crate::otel::OtelInput`], never alone.
impl<S: signal::otlp::OtlpSignal> Signal for signal::otlp::Otlp<S> {
    const RECEIVER: &'static str = "otelcol.Consumer";
}

/// The place where a node takes data in; owned by the component.
pub struct Port<T>(Receiver<T>);

/// An address to send to. Equal to another when it is the same port.
pub struct Receiver<T>(Arc<Shared<T>>);

struct Shared<T> {
    owner: String,
    state: ArcSwap<State<T>>,
    changed: Notify,
    health: Option<Arc<HealthCell>>,
}

enum State<T> {
    Pending,
    Attached(Arc<Generation<T>>),
    Stopped,
}

struct Generation<T> {
    consumer: Arc<dyn Consumer<T>>,
    end: CancellationToken,
}

impl<T> Drop for Generation<T> {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// The end of a replaced generation.
#[derive(Debug)]
pub struct Draining(Option<CancellationToken>);

impl Draining {
    /// Returns when no send is in the old generation any more.
    pub async fn finished(self) {
        if let Some(token) = self.0 {
            token.cancelled().await;
        }
    }
}

impl<T: Signal> Port<T> {
    /// A port outside of a node, for tests.
    pub fn detached(owner: impl Into<String>) -> Self {
        Self::new(owner, None)
    }

    pub(crate) fn new(owner: impl Into<String>, health: Option<Arc<HealthCell>>) -> Self {
        Self(Receiver(Arc::new(Shared {
            owner: owner.into(),
            state: ArcSwap::from_pointee(State::Pending),
            changed: Notify::new(),
            health,
        })))
    }

    /// The address to export.
    pub fn receiver(&self) -> Receiver<T> {
        self.0.clone()
    }

    /// Puts a consumer behind the address; from now on new batches go to it. The answer tells when the one
    /// before is done.
    pub fn attach(&self, consumer: impl Consumer<T>) -> Draining {
        self.attach_shared(Arc::new(consumer))
    }

    /// As [`Port::attach`], for a consumer that others hold too.
    pub fn attach_shared(&self, consumer: Arc<dyn Consumer<T>>) -> Draining {
        let generation = Arc::new(Generation { consumer, end: CancellationToken::new() });
        self.swap(State::Attached(generation))
    }

    /// Lets senders wait until a consumer is attached again.
    pub fn suspend(&self) -> Draining {
        self.swap(State::Pending)
    }

    /// Refuses from now on.
    pub fn stop(&self) -> Draining {
        self.swap(State::Stopped)
    }

    fn swap(&self, state: State<T>) -> Draining {
        let old = self.0.0.state.swap(Arc::new(state));
        self.0.0.changed.notify_waiters();
        match &*old {
            State::Attached(generation) => Draining(Some(generation.end.clone())),
            State::Pending | State::Stopped => Draining(None),
        }
    }
}

impl<T> Clone for Port<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for Receiver<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.0.owner)
    }
}

impl<T: Signal> Receiver<T> {
    /// Global ID of the node behind it.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Whether it is what `null` in a list of receivers becomes: nothing will ever stand behind it.
    pub fn is_null(&self) -> bool {
        self.0.owner == NULL_OWNER
    }

    /// Hands a batch over; waits while the node is pending.
    pub async fn send(&self, batch: T) -> Result<(), Rejected> {
        let generation = loop {
            let notified = self.0.changed.notified();
            match &**self.0.state.load() {
                State::Attached(generation) => break generation.clone(),
                State::Stopped => return Err(Rejected::Stopped),
                State::Pending => {}
            }
            notified.await;
        };
        match AssertUnwindSafe(generation.consumer.consume(batch)).catch_unwind().await {
            Ok(answer) => answer,
            Err(panic) => {
                let message = format!("panicked while it took a batch: {}", panic_text(&*panic));
                tracing::error!(node = %self.0.owner, "{message}");
                if let Some(health) = &self.0.health {
                    health.set(Part::Reported, Health::unhealthy(message.clone()));
                }
                Err(Rejected::Permanent(format!("{} {message}", self.0.owner)))
            }
        }
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string())
}

/// What `forward_to` becomes: all receivers get each batch.
#[derive(Debug, Clone)]
pub struct Fanout<T>(Arc<[Receiver<T>]>);

impl<T> PartialEq for Fanout<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Signal> Fanout<T> {
    /// Over receivers in order.
    pub fn new(receivers: impl IntoIterator<Item = Receiver<T>>) -> Self {
        Self(receivers.into_iter().collect())
    }

    /// Whether batches go nowhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The receivers.
    pub fn receivers(&self) -> &[Receiver<T>] {
        &self.0
    }

    /// None: `Ok`. One: passed through. Many: concurrently, the last gets the original. Of several
    /// refusals the retryable one wins, for then the batch is still wanted somewhere; stopped receivers
    /// count only when all have stopped.
    pub async fn send(&self, batch: T) -> Result<(), Rejected> {
        match &*self.0 {
            [] => Ok(()),
            [only] => only.send(batch).await,
            [others @ .., last] => {
                let mut sends: Vec<_> = others.iter().map(|r| r.send(batch.clone())).collect();
                sends.push(last.send(batch));
                combine(futures_util::future::join_all(sends).await)
            }
        }
    }
}

fn combine(answers: Vec<Result<(), Rejected>>) -> Result<(), Rejected> {
    let all_stopped = answers.iter().all(|a| matches!(a, Err(Rejected::Stopped)));
    let mut worst = Ok(());
    for answer in answers {
        match (&worst, &answer) {
            (_, Err(Rejected::Retryable(_))) => return answer,
            (Ok(()), Err(Rejected::Permanent(_))) => worst = answer,
            _ => {}
        }
    }
    if all_stopped { Err(Rejected::Stopped) } else { worst }
}

impl<T: Signal> Consumer<T> for Fanout<T> {
    fn consume(&self, batch: T) -> BoxFuture<'_, Result<(), Rejected>> {
        Box::pin(self.send(batch))
    }
}

/// No node has this ID: IDs contain a dot.
const NULL_OWNER: &str = "null";

impl<T: Signal> CapsuleType for Receiver<T> {
    fn type_name(&self) -> &'static str {
        T::RECEIVER
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|o| o == self)
    }

    fn text(&self) -> String {
        format!("capsule({:?})", T::RECEIVER)
    }
}

impl<T: Signal> ArgValue for Receiver<T> {
    const IS_CAPSULE: bool = true;

    fn type_name() -> std::borrow::Cow<'static, str> {
        T::RECEIVER.into()
    }

    fn code_type() -> std::borrow::Cow<'static, str> {
        format!("capsule({})", T::RECEIVER).into()
    }

    fn zero() -> Self {
        // As null in a `forward_to` list: an address that nothing stands behind.
        let port = Port::new(NULL_OWNER, None);
        port.stop();
        port.receiver()
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        eval::capsule_from_value(value, T::RECEIVER)
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use signal::Samples;

    use super::*;

    struct Slow(Arc<Notify>, Arc<AtomicUsize>);

    impl Consumer<Samples> for Slow {
        fn consume(&self, _batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
            Box::pin(async {
                self.0.notified().await;
                self.1.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        }
    }

    struct Answer(Result<(), Rejected>);

    impl Consumer<Samples> for Answer {
        fn consume(&self, _batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
            Box::pin(std::future::ready(self.0.clone()))
        }
    }

    fn answering(answer: Result<(), Rejected>) -> (Port<Samples>, Receiver<Samples>) {
        let port = Port::detached("a");
        let _ = port.attach(Answer(answer));
        let receiver = port.receiver();
        (port, receiver)
    }

    fn retryable() -> Result<(), Rejected> {
        Err(Rejected::Retryable("later".into()))
    }

    fn permanent() -> Result<(), Rejected> {
        Err(Rejected::Permanent("never".into()))
    }

    #[tokio::test]
    async fn a_sender_waits_while_the_node_is_pending_and_goes_on_when_it_is_attached() {
        let port = Port::<Samples>::detached("a");
        let receiver = port.receiver();
        let send = tokio::spawn(async move { receiver.send(Samples::default()).await });
        tokio::task::yield_now().await;
        assert!(!send.is_finished());
        let _ = port.attach(Answer(Ok(())));
        assert_eq!(send.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn a_swap_keeps_sends_in_flight_and_tells_when_the_old_generation_is_drained() {
        let (gate, taken) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let port = Port::<Samples>::detached("a");
        let _ = port.attach(Slow(gate.clone(), taken.clone()));
        let receiver = port.receiver();
        let in_flight = tokio::spawn({
            let receiver = receiver.clone();
            async move { receiver.send(Samples::default()).await }
        });
        tokio::task::yield_now().await;
        let draining = port.attach(Answer(Ok(())));
        assert_eq!(receiver.send(Samples::default()).await, Ok(()));
        let drained = tokio::spawn(draining.finished());
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        gate.notify_one();
        assert_eq!(in_flight.await.expect("no panic"), Ok(()));
        drained.await.expect("drained");
        assert_eq!(taken.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_stopped_port_refuses_and_wakes_those_who_wait() {
        let port = Port::<Samples>::detached("a");
        let receiver = port.receiver();
        let send = tokio::spawn(async move { receiver.send(Samples::default()).await });
        tokio::task::yield_now().await;
        let _ = port.stop();
        assert_eq!(send.await.expect("no panic"), Err(Rejected::Stopped));
    }

    #[tokio::test]
    async fn a_panic_in_a_consumer_is_a_refusal() {
        struct Panics;
        impl Consumer<Samples> for Panics {
            fn consume(&self, _batch: Samples) -> BoxFuture<'_, Result<(), Rejected>> {
                Box::pin(async { panic!("boom") })
            }
        }
        let health = Arc::new(HealthCell::new());
        health.set(Part::Evaluation, Health::healthy("evaluated"));
        health.set(Part::Run, Health::healthy("running"));
        let port = Port::<Samples>::new("x", Some(health.clone()));
        let _ = port.attach(Panics);
        let answer = port.receiver().send(Samples::default()).await;
        assert!(matches!(answer, Err(Rejected::Permanent(m)) if m.contains("boom")));
        assert_eq!(health.get().state, crate::HealthState::Unhealthy);
        assert!(health.get().message.contains("boom"));
    }

    #[tokio::test]
    async fn a_fanout_answers_for_all_its_receivers() {
        let cases = [
            (vec![], Ok(())),
            (vec![Ok(()), Ok(())], Ok(())),
            (vec![Ok(()), retryable(), permanent()], retryable()),
            (vec![permanent(), Ok(())], permanent()),
            (vec![Err(Rejected::Stopped), Ok(())], Ok(())),
            (vec![Err(Rejected::Stopped), Err(Rejected::Stopped)], Err(Rejected::Stopped)),
            (vec![Err(Rejected::Stopped)], Err(Rejected::Stopped)),
        ];
        for (answers, expected) in cases {
            let ports: Vec<_> = answers.iter().cloned().map(answering).collect();
            let fanout = Fanout::new(ports.iter().map(|(_, r)| r.clone()));
            assert_eq!(fanout.send(Samples::default()).await, expected, "{answers:?}");
        }
    }

    #[test]
    fn a_receiver_is_a_value_of_its_kind_only() {
        let (_port, receiver) = answering(Ok(()));
        let value = receiver.to_value();
        assert_eq!(Receiver::<Samples>::from_value(&value).expect("same kind"), receiver);
        assert!(Receiver::<Samples>::from_value(&Value::Null).is_err());
    }

    #[test]
    fn receivers_of_profiles_and_of_samples_do_not_stand_for_each_other() {
        let (_port, samples) = answering(Ok(()));
        let refused = Receiver::<signal::Profiles>::from_value(&samples.to_value());
        assert!(refused.is_err_and(|e| e.to_string().contains("ProfilesReceiver")));
        let profiles = Port::<signal::Profiles>::detached("p").receiver();
        assert!(Receiver::<Samples>::from_value(&profiles.to_value()).is_err());
        assert_eq!(Receiver::<signal::Profiles>::code_type(), "capsule(ProfilesReceiver)");
    }
}

//! How a component that makes batches by the clock hands them over: again while the sinks say that it may work later,
//! until it is too late.

use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::Histogram;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::port::{Fanout, Rejected, Signal};

/// How long a stopping component goes on handing over what it has.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The first pause before a batch is offered again; they double up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// All sinks have it.
    Taken,
    /// It will never be taken.
    Refused(Rejected),
    /// It was too late for another try.
    Late,
}

impl Offered {
    /// Why the batch is lost, as the label `reason` of what is dropped.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Taken => None,
            Self::Refused(Rejected::Stopped) => Some("stopped"),
            Self::Refused(_) => Some("permanent"),
            Self::Late => Some("timeout"),
        }
    }
}

/// Hands a batch to the sinks that are in force at each try. Ends at `until`, and shortly after `stop`. `latency` is
/// told the seconds of each try.
pub async fn offer<T: Signal>(
    forward: &ArcSwap<Fanout<T>>,
    batch: T,
    latency: &Histogram,
    until: Instant,
    stop: &CancellationToken,
) -> Offered {
    let late = async {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = async {
                stop.cancelled().await;
                tokio::time::sleep(STOP_GRACE).await;
            } => {}
        }
    };
    tokio::select! {
        biased;
        answer = again(forward, batch, latency) => match answer {
            Ok(()) => Offered::Taken,
            Err(rejected) => Offered::Refused(rejected),
        },
        () = late => Offered::Late,
    }
}

async fn again<T: Signal>(
    forward: &ArcSwap<Fanout<T>>,
    batch: T,
    latency: &Histogram,
) -> Result<(), Rejected> {
    let mut pause = FIRST_PAUSE;
    loop {
        let fanout = forward.load_full();
        let started = Instant::now();
        let answer = fanout.send(batch.clone()).await;
        latency.observe(started.elapsed().as_secs_f64());
        let Err(Rejected::Retryable(reason)) = answer else { return answer };
        tracing::debug!(reason, ?pause, "a batch is offered again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use signal::Profiles;

    use super::*;
    use crate::testkit::Sink;

    fn latency() -> Histogram {
        Histogram::with_opts(prometheus::HistogramOpts::new("latency", "help")).expect("valid")
    }

    fn forward(sink: &Sink<Profiles>) -> ArcSwap<Fanout<Profiles>> {
        ArcSwap::from_pointee(Fanout::new([sink.receiver()]))
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_taken_now_is_offered_again_until_it_is_late() {
        let (sink, latency, stop) = (Sink::new(), latency(), CancellationToken::new());
        let forward = forward(&sink);
        sink.answer(Err(Rejected::Retryable("full".into())));
        let until = Instant::now() + Duration::from_secs(10);
        let offered = offer(&forward, Profiles::default(), &latency, until, &stop).await;
        assert_eq!((offered, Instant::now()), (Offered::Late, until));
        assert!(latency.get_sample_count() > 5);
        let (offered, ()) =
            tokio::join!(offer(&forward, Profiles::default(), &latency, until + LAST_PAUSE, &stop), async {
                tokio::time::sleep(Duration::from_millis(60)).await;
                sink.answer(Ok(()));
            });
        assert_eq!((offered, sink.take().len()), (Offered::Taken, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_for_good_ends_it_and_a_stop_leaves_a_little_time() {
        let (sink, latency, stop) = (Sink::new(), latency(), CancellationToken::new());
        let forward = forward(&sink);
        let until = Instant::now() + Duration::from_secs(3600);
        for (answer, reason) in
            [(Rejected::Stopped, "stopped"), (Rejected::Permanent("no".into()), "permanent")]
        {
            sink.answer(Err(answer));
            let offered = offer(&forward, Profiles::default(), &latency, until, &stop).await;
            assert_eq!(offered.reason(), Some(reason));
        }
        sink.answer(Err(Rejected::Retryable("full".into())));
        let asked = Instant::now();
        stop.cancel();
        let offered = offer(&forward, Profiles::default(), &latency, until, &stop).await;
        assert_eq!((offered, asked.elapsed()), (Offered::Late, STOP_GRACE));
    }
}

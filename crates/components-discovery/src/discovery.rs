//! The loop of every discoverer: when it looks around, and when what it has found is published.
//!
//! Invariants: the first targets are published as soon as they are known, later ones at most every five
//! seconds; a look that fails leaves the last targets in place and makes the node unhealthy; new arguments
//! take effect at once and do not take away the targets of the old ones before the new ones have some.

use std::time::Duration;

use component::{BuildCx, Component, Error, Event, Exports, Health, RunCx, Target};
use tokio::time::Instant;

/// Shortest time between two changes of a discoverer's targets, as in Alloy.
const PUBLISH_EVERY: Duration = Duration::from_secs(5);

/// Exports of every discoverer.
#[derive(Clone, Debug, Default, PartialEq, Exports)]
pub struct Found {
    /// Targets found.
    #[arg(type_name = "list(map(string))")]
    pub targets: Vec<Target>,
}

/// What a discoverer does, made from one set of arguments.
pub trait Look: Send {
    /// Looks around once. May be dropped half-way.
    fn look(&mut self) -> impl Future<Output = Result<Vec<Target>, Error>> + Send;

    /// How long until the next look.
    fn interval(&self) -> Duration;

    /// Returns when there is a reason to look before the interval is over. May be dropped and called again.
    fn nudged(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Runs a discoverer until it is told to stop. `make` turns new arguments into what looks.
pub async fn run<C, L>(
    mut cx: RunCx<C>,
    mut looker: L,
    make: impl Fn(C::Args, &BuildCx) -> Result<L, Error>,
) -> Result<(), Error>
where
    C: Component<Exports = Found>,
    L: Look,
{
    let mut publisher = Publisher::default();
    let mut due = Instant::now();
    loop {
        let look = async {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = looker.nudged() => {}
            }
            looker.look().await
        };
        tokio::select! {
            biased;
            event = cx.event() => match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    let applied = update.apply(|args| {
                        looker = make(args, &cx)?;
                        Ok(())
                    });
                    if applied {
                        due = Instant::now();
                    }
                }
            },
            () = publisher.due() => publisher.publish(&cx),
            found = look => {
                due = Instant::now() + looker.interval();
                match found {
                    Ok(targets) => {
                        publisher.offer(targets);
                        cx.report(Health::healthy("targets are up to date"));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the last targets stay in place");
                        cx.report(Health::unhealthy(error.to_string()));
                    }
                }
            }
        }
    }
}

/// Holds targets back until they may be published.
#[derive(Default)]
struct Publisher {
    waiting: Option<Vec<Target>>,
    published: Option<(Instant, Vec<Target>)>,
}

impl Publisher {
    fn offer(&mut self, targets: Vec<Target>) {
        let same = self.published.as_ref().is_some_and(|(_, last)| *last == targets);
        self.waiting = (!same).then_some(targets);
    }

    /// Returns when targets wait that may be published.
    async fn due(&self) {
        match (&self.waiting, &self.published) {
            (None, _) => std::future::pending().await,
            (Some(_), None) => {}
            (Some(_), Some((last, _))) => tokio::time::sleep_until(*last + PUBLISH_EVERY).await,
        }
    }

    fn publish<C: Component<Exports = Found>>(&mut self, cx: &RunCx<C>) {
        let Some(targets) = self.waiting.take() else { return };
        cx.live_debug(|| targets.iter().map(|t| format!("{}\n", t.labels())).collect());
        tracing::debug!(targets = targets.len(), "targets published");
        self.published = Some((Instant::now(), targets.clone()));
        cx.export(&Found { targets });
    }
}

/// The targets of a node's exports, for tests.
#[cfg(test)]
pub(crate) fn exported(exports: &component::eval::Value) -> Vec<Target> {
    use component::ArgValue;
    let targets = exports.as_object().and_then(|o| o.get("targets").cloned());
    targets.map(|t| Vec::<Target>::from_value(&t).expect("targets are exported")).unwrap_or_default()
}

/// A target of a test.
#[cfg(test)]
pub(crate) fn target(pairs: &[(&str, &str)]) -> Target {
    Target::from_pairs(pairs.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use component::testkit::{Harness, Names};
    use component::{Arguments, ComponentDef, HealthState, Stability};
    use parking_lot::Mutex;
    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Arguments)]
    struct Args {
        /// Which script to follow.
        script: u64,
    }

    /// What the next looks find; shared with the test through the number of the script.
    type Script = Arc<(Mutex<VecDeque<Result<&'static str, &'static str>>>, Notify)>;
    static SCRIPTS: Mutex<Vec<Script>> = Mutex::new(Vec::new());

    struct Scripted(Script);

    impl Look for Scripted {
        async fn look(&mut self) -> Result<Vec<Target>, Error> {
            let next = self.0.0.lock().pop_front();
            match next {
                Some(Ok(name)) => Ok(vec![target(&[("__address__", name)])]),
                Some(Err(error)) => Err(Error::other(error)),
                None => std::future::pending().await,
            }
        }

        fn interval(&self) -> Duration {
            Duration::from_secs(1)
        }

        async fn nudged(&mut self) {
            self.0.1.notified().await;
        }
    }

    struct Fake(Script);

    fn script(args: &Args) -> Script {
        SCRIPTS.lock()[args.script as usize].clone()
    }

    impl Component for Fake {
        const NAME: &'static str = "discovery.fake";
        const STABILITY: Stability = Stability::GenerallyAvailable;
        const DOCS: &'static str = "";
        type Args = Args;
        type Exports = Found;

        fn build(args: Args, _cx: &BuildCx) -> Result<(Self, Found), Error> {
            Ok((Self(script(&args)), Found::default()))
        }

        async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
            super::run(cx, Scripted(self.0), |args, _| Ok(Scripted(script(&args)))).await
        }
    }

    fn add(steps: &[Result<&'static str, &'static str>]) -> String {
        let mut scripts = SCRIPTS.lock();
        scripts.push(Arc::new((Mutex::new(steps.iter().copied().collect()), Notify::new())));
        format!("script = {}", scripts.len() - 1)
    }

    async fn until(harness: &Harness, address: &'static str) -> Instant {
        harness.until_exports(|e| exported(e).iter().any(|t| t.get("__address__") == Some(address))).await;
        Instant::now()
    }

    const DEF: ComponentDef = ComponentDef::of::<Fake>();

    #[tokio::test(start_paused = true)]
    async fn the_first_targets_are_there_at_once_and_later_ones_every_five_seconds_at_most() {
        let start = Instant::now();
        let harness =
            Harness::start(DEF, &add(&[Ok("a"), Ok("b"), Ok("c"), Ok("d")]), Names::default()).await;
        assert_eq!(until(&harness, "a").await, start);
        // One look a second: b, c and d are found meanwhile, and only the last of them is seen.
        assert_eq!(until(&harness, "d").await, start + PUBLISH_EVERY);
        assert_eq!(harness.exported(), 3, "nothing, a, d");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_look_keeps_the_targets_and_a_good_one_heals() {
        let harness = Harness::start(DEF, &add(&[Ok("a"), Err("broken"), Ok("b")]), Names::default()).await;
        let start = until(&harness, "a").await;
        tokio::time::sleep_until(start + Duration::from_millis(1500)).await;
        assert_eq!(harness.node.health().state, HealthState::Unhealthy);
        assert_eq!(harness.node.health().message, "broken");
        assert_eq!(exported(&harness.node.exports()).len(), 1);
        until(&harness, "b").await;
        assert_eq!(harness.node.health().state, HealthState::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn new_arguments_are_looked_at_at_once_and_a_nudge_shortens_the_wait() {
        let harness = Harness::start(DEF, &add(&[Ok("a")]), Names::default()).await;
        until(&harness, "a").await;
        tokio::time::advance(Duration::from_secs(60)).await;
        // The look that hangs is dropped.
        let second = add(&[Ok("b"), Ok("c")]);
        let before = Instant::now();
        harness.update(&second).await.expect("good arguments");
        assert_eq!(until(&harness, "b").await, before);
        script(&Args { script: second.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number") })
            .1
            .notify_one();
        assert_eq!(until(&harness, "c").await, before + PUBLISH_EVERY);
    }
}

//! The run loop of a writer, the same for all of them.

use std::time::Duration;

use component::eval::{Item, Value};
use component::{Component, Draining, Error, Event, Health, RunCx};
use delivery::{Endpoints, Plan as _, Queue};
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

use crate::estate::{self, Estate};

/// How often health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// A back end that has taken nothing for this long, while something waits, makes the node unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long batches that are on their way into a queue are waited for before it is closed. They take
/// microseconds, unless the queue is full and blocks.
const GRACE: Duration = Duration::from_secs(5);

/// An endpoint of a writer.
pub trait Backend: delivery::Endpoint {
    /// What people call one: the name of its block in the debug information and its word in messages.
    const WORD: &'static str;

    /// The queue, where it has one.
    fn queue(&self) -> Option<&Queue>;
}

/// What is particular to one kind of writer.
pub trait Role: Send + Sized + 'static {
    /// The component.
    type Component: Component;
    /// Its endpoints.
    type Endpoint: Backend;

    /// Endpoints that the arguments ask for, or what is wrong with them.
    ///
    /// # Errors
    /// If the arguments cannot be carried out; what runs stays as it is.
    fn plans(
        &mut self,
        args: &<Self::Component as Component>::Args,
        cx: &RunCx<Self::Component>,
    ) -> Result<Vec<PlanOf<Self>>, Error>;

    /// Puts the endpoints behind the ports. All are open.
    fn attach(&self, endpoints: &Endpoints<Self::Endpoint>) -> Vec<Draining>;

    /// Lets senders wait: what they have is not acknowledged, so it is not lost.
    fn suspend(&self) -> Vec<Draining>;

    /// Refuses from now on.
    fn stop(&self) -> Vec<Draining>;

    /// Whether nothing may be on its way into `endpoint` when `plan` takes effect.
    fn must_settle(&self, _endpoint: &Self::Endpoint, _plan: &PlanOf<Self>) -> bool {
        false
    }

    /// Endpoints that were removed have been drained.
    fn forget_gone(shared: &SharedOf<Self>) {
        let _ = shared;
    }

    /// When [`Role::act`] is due.
    fn due(&self, _endpoints: &Endpoints<Self::Endpoint>) -> Option<Instant> {
        None
    }

    /// Does what is due beside batches.
    fn act(&mut self, _endpoints: &mut Endpoints<Self::Endpoint>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// What else is unwell, beside endpoints.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Called as often as health is looked at.
    fn sweep(&self, _endpoints: &Endpoints<Self::Endpoint>) {}
}

type PlanOf<R> = <<R as Role>::Endpoint as delivery::Endpoint>::Plan;
type SharedOf<R> = <<R as Role>::Endpoint as delivery::Endpoint>::Shared;

/// Runs a writer from its first plans to the order to stop; then what is queued is sent for as long as its endpoint
/// allows.
///
/// # Errors
/// None: what goes wrong is told as health.
pub async fn run<R: Role>(
    role: R,
    plans: Vec<PlanOf<R>>,
    shared: SharedOf<R>,
    mut cx: RunCx<R::Component>,
) -> Result<(), Error> {
    let mut writer = Writer { role, endpoints: Endpoints::new(shared.clone()), shared };
    writer.change(plans, &cx).await;
    let mut health = tokio::time::interval(HEALTH_INTERVAL);
    health.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = cx.event() => match event {
                Event::Stop => break,
                Event::Update(update) => {
                    let changed = match writer.role.plans(update.args(), &cx) {
                        Ok(new) => {
                            writer.change(new, &cx).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    };
                    update.answer(changed);
                }
            },
            _ = health.tick() => writer.report(&cx),
            () = at(writer.role.due(&writer.endpoints)) => writer.role.act(&mut writer.endpoints).await,
            () = at(writer.endpoints.reopen_at()) => {
                let errors = writer.endpoints.reopen().await;
                let _ = writer.opened(&errors, &cx);
            }
        }
    }
    let before = writer.role.stop();
    let estate = Estate::new(writer.endpoints.into_all(), &cx);
    cx.make_way();
    estate.wind_up(before, &writer.shared).await;
    Ok(())
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

struct Writer<R: Role> {
    role: R,
    endpoints: Endpoints<R::Endpoint>,
    shared: SharedOf<R>,
}

impl<R: Role> Writer<R> {
    /// Endpoints have been opened; the answer tells when nothing is on its way into others any more.
    fn opened(&self, errors: &[String], cx: &RunCx<R::Component>) -> Vec<Draining> {
        if !errors.is_empty() {
            cx.report(Health::unhealthy(errors.join("; ")));
        }
        let queues = |endpoint: &R::Endpoint| {
            let name = delivery::Endpoint::plan(endpoint).name().to_string();
            Some((name, endpoint.queue()?.clone()))
        };
        let queues: Vec<_> = self.endpoints.iter().filter_map(queues).collect();
        cx.set_debug_info(move || {
            let item = |(name, queue): &(String, Queue)| debug_item(R::Endpoint::WORD, name, &queue.stats());
            queues.iter().map(item).collect()
        });
        // While an endpoint cannot be opened senders wait.
        if self.endpoints.are_open() { self.role.attach(&self.endpoints) } else { self.role.suspend() }
    }

    /// New plans: endpoints that stay are changed in place, new ones opened, others drained in the
    /// background.
    async fn change(&mut self, plans: Vec<PlanOf<R>>, cx: &RunCx<R::Component>) {
        self.take_over(&plans, cx).await;
        let waits = |endpoint: &R::Endpoint| {
            let key = delivery::Endpoint::plan(endpoint).key();
            let plan = plans.iter().find(|plan| plan.key() == key);
            plan.is_some_and(|plan| self.role.must_settle(endpoint, plan))
        };
        if self.endpoints.iter().any(waits) {
            settle(self.role.suspend()).await;
        }
        let role = &self.role;
        let (gone, errors) = self.endpoints.change(plans, async || settle(role.suspend()).await).await;
        let replaced = self.opened(&errors, cx);
        let (shared, estate) = (self.shared.clone(), Estate::new(gone, cx));
        cx.spawn(async move {
            // The generation before may still put batches into endpoints that are removed.
            estate.wind_up(replaced, &shared).await;
            R::forget_gone(&shared);
        });
    }

    /// Endpoints that are new here may be what this writer, or one that was taken out, still drains.
    async fn take_over(&mut self, plans: &[PlanOf<R>], cx: &RunCx<R::Component>) {
        let held = |key: &str| self.endpoints.all().any(|e| delivery::Endpoint::plan(e).key() == key);
        let keys = plans.iter().map(|plan| plan.key().to_string()).filter(|key| !held(key));
        let keys: Vec<String> = keys.collect();
        if !keys.is_empty() {
            self.endpoints.take_in(estate::inherit(cx, &keys).await);
        }
    }

    fn report(&self, cx: &RunCx<R::Component>) {
        self.role.sweep(&self.endpoints);
        if !self.endpoints.are_open() {
            return;
        }
        let trouble = |endpoint: &R::Endpoint| {
            let trouble = endpoint.queue()?.stats().trouble(PATIENCE)?;
            let name = delivery::Endpoint::plan(endpoint).name();
            Some(format!("{} {name}: {trouble}", R::Endpoint::WORD))
        };
        let troubles: Vec<_> = self.endpoints.iter().filter_map(trouble).chain(self.role.trouble()).collect();
        cx.report(match troubles.is_empty() {
            true => Health::healthy("all endpoints take what is sent"),
            false => Health::unhealthy(troubles.join("; ")),
        });
    }
}

/// Waits until no batch is in a replaced generation, but not for those that a full queue or a back end holds up:
/// closing sends them back.
pub(crate) async fn settle(replaced: Vec<Draining>) {
    if timeout(GRACE, join_all(replaced.into_iter().map(Draining::finished))).await.is_err() {
        tracing::debug!("batches still wait for a full queue that is to be closed");
    }
}

fn debug_item(word: &'static str, name: &str, stats: &delivery::Stats) -> Item {
    let attribute = |name: &'static str, value: Value| Item::Attribute { name: name.into(), value };
    let figures = stats.figures().into_iter().map(|(name, value)| attribute(name, Value::from(value)));
    let error =
        stats.last_error.iter().map(|error| attribute("last_error", Value::from(error.text.as_str())));
    Item::Block { name: word.into(), label: Some(name.to_string()), body: figures.chain(error).collect() }
}

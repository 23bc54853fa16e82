//! `otelcol.processor.memory_limiter` refuses data while the process uses too much memory.
//!
//! Data path: sender → a flag → `output`, in the sender's task. The flag is set by looking at the process's
//! resident memory every `check_interval`.
//! Invariant: what is refused was not taken: its sender has it still and tries again.

mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use component::eval::{Invalid, Size};
use component::metrics::{Collector, Computed, IntCounterVec, Opts};
use component::otel::{DebugMetrics, MetricsLevel, OtelFanout, OtelInput, Output};
use component::{
    Arguments, BoxFuture, BuildCx, Component, Consumer, Error, Event, Exports, Fanout, Rejected, RunCx,
    Signal, Stability,
};
use signal::otlp::{Otlp, OtlpSignal};

use crate::ports::{Consumers, Ports};
use memory::Memory;

/// `otelcol.processor.memory_limiter`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// How often memory is looked at.
    pub check_interval: Duration,
    /// Memory that the process may use.
    #[arg(default)]
    pub limit: Size,
    /// How far below the limit data is refused; a fifth of the limit if it is 0.
    #[arg(default)]
    pub spike_limit: Size,
    /// The limit in percent of the memory that there is for the process.
    #[arg(default)]
    pub limit_percentage: u32,
    /// How far below the limit data is refused, in percent of the memory; a fifth of the limit if it is 0.
    #[arg(default)]
    pub spike_limit_percentage: u32,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.check_interval.is_zero() {
            return Err(Invalid::field("check_interval", "must be above 0"));
        }
        match (self.limit.bytes(), self.limit_percentage) {
            (0, 0) => return Err(Invalid::field("limit", "one of limit and limit_percentage must be set")),
            (1.., 1..) => {
                let message = "limit and limit_percentage exclude each other";
                return Err(Invalid::field("limit_percentage", message));
            }
            (0, 101..) => return Err(Invalid::field("limit_percentage", "must be at most 100")),
            (0, limit) if self.spike_limit_percentage >= limit => {
                return Err(Invalid::field("spike_limit_percentage", "must be less than limit_percentage"));
            }
            (limit @ 1.., _) if self.spike_limit.bytes() >= limit => {
                return Err(Invalid::field("spike_limit", "must be less than limit"));
            }
            _ => {}
        }
        if self.limit_percentage > 0 && self.spike_limit.bytes() > 0 {
            return Err(Invalid::field("spike_limit", "goes with limit; use spike_limit_percentage"));
        }
        if self.limit.bytes() > 0 && self.spike_limit_percentage > 0 {
            return Err(Invalid::field(
                "spike_limit_percentage",
                "goes with limit_percentage; use spike_limit",
            ));
        }
        Ok(())
    }

    /// From how many resident bytes on data is refused.
    fn soft_limit(&self, memory: &Memory) -> Result<u64, Error> {
        if memory.resident().is_none() {
            let message = "how much memory this process uses is unknown: /proc/self/status, which Linux has, cannot be read; \
                           leave the component out here";
            return Err(Error::other(message));
        }
        let (limit, spike) = match self.limit.bytes() {
            0 => {
                let total = memory.total().ok_or_else(|| {
                    let message = "the memory of this machine is unknown; use limit instead";
                    Error::argument("limit_percentage", message)
                })?;
                let part = |percent: u32| (u128::from(total) * u128::from(percent) / 100) as u64;
                (part(self.limit_percentage), part(self.spike_limit_percentage))
            }
            limit => (limit, self.spike_limit.bytes()),
        };
        Ok(limit - if spike == 0 { limit / 5 } else { spike })
    }
}

/// What others may refer to.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct MemoryLimiterExports {
    /// Takes data in.
    pub input: OtelInput,
}

/// The component.
pub struct MemoryLimiter {
    args: Args,
    ports: Ports,
    state: Arc<State>,
}

impl Component for MemoryLimiter {
    const NAME: &'static str = "otelcol.processor.memory_limiter";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = MemoryLimiterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, MemoryLimiterExports), Error> {
        args.output.fanout()?;
        let ports = Ports::new(cx);
        let exports = MemoryLimiterExports { input: ports.input() };
        let state = State::new(cx, args.debug_metrics.level);
        Ok((Self { args, ports, state }, exports))
    }

    async fn run(mut self, mut cx: RunCx<Self>) -> Result<(), Error> {
        let memory = Memory::system();
        let mut soft_limit = self.args.soft_limit(&memory)?;
        self.state.check(memory.resident(), soft_limit);
        let next = self.args.output.fanout()?;
        let _ = self.ports.attach_for(&next, self.state.consumers(&next));
        let mut checks = checks(self.args.check_interval);
        loop {
            let event = tokio::select! {
                event = cx.event() => event,
                _ = checks.tick() => {
                    self.state.check(memory.resident(), soft_limit);
                    continue;
                }
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Update(update) => {
                    update.apply(|args| {
                        let (next, limit) = (args.output.fanout()?, args.soft_limit(&memory)?);
                        soft_limit = limit;
                        self.state.check(memory.resident(), soft_limit);
                        self.state
                            .shown
                            .store(args.debug_metrics.level != MetricsLevel::None, Ordering::Relaxed);
                        let _ = self.ports.attach_for(&next, self.state.consumers(&next));
                        checks = self::checks(args.check_interval);
                        self.args = args;
                        Ok(())
                    });
                }
            }
        }
    }
}

fn checks(interval: Duration) -> tokio::time::Interval {
    let mut checks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    checks
}

/// What the check and the senders share.
struct State {
    refusing: AtomicBool,
    shown: AtomicBool,
    accepted: IntCounterVec,
    refused: IntCounterVec,
}

impl State {
    fn new(cx: &BuildCx, level: MetricsLevel) -> Arc<Self> {
        let counter = |name: &str, help: &str| {
            IntCounterVec::new(Opts::new(name, help), &["signal"])
                .expect("metric names are constants of this program")
        };
        let state = Arc::new(Self {
            refusing: AtomicBool::new(false),
            shown: AtomicBool::new(level != MetricsLevel::None),
            accepted: counter("otelcol_processor_memory_limiter_accepted_items_total", "Items passed on."),
            refused: counter(
                "otelcol_processor_memory_limiter_refused_items_total",
                "Items refused because the process uses too much memory.",
            ),
        });
        let shared = state.clone();
        cx.metrics().register(Computed::new("otelcol_processor_memory_limiter", move || {
            if !shared.shown.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let families = shared.accepted.collect().into_iter().chain(shared.refused.collect());
            families.filter(|family| !family.get_metric().is_empty()).collect()
        }));
        state
    }

    fn check(&self, resident: Option<u64>, soft_limit: u64) {
        let Some(resident) = resident else { return };
        let refuse = resident >= soft_limit;
        match (self.refusing.swap(refuse, Ordering::Relaxed), refuse) {
            (false, true) => {
                tracing::warn!(resident, soft_limit, "memory is above the soft limit, refusing data");
            }
            (true, false) => {
                tracing::info!(resident, soft_limit, "memory is below the soft limit again, taking data");
            }
            _ => {}
        }
    }

    fn consumers(self: &Arc<Self>, next: &OtelFanout) -> Consumers {
        Consumers {
            traces: Arc::new(Gate { state: self.clone(), next: next.traces.clone() }),
            metrics: Arc::new(Gate { state: self.clone(), next: next.metrics.clone() }),
            logs: Arc::new(Gate { state: self.clone(), next: next.logs.clone() }),
        }
    }
}

/// Stands behind the port of one signal.
struct Gate<S: OtlpSignal> {
    state: Arc<State>,
    next: Fanout<Otlp<S>>,
}

impl<S: OtlpSignal> Consumer<Otlp<S>> for Gate<S>
where
    Otlp<S>: Signal,
{
    fn consume(&self, batch: Otlp<S>) -> BoxFuture<'_, Result<(), Rejected>> {
        let refusing = self.state.refusing.load(Ordering::Relaxed);
        let counter = if refusing { &self.state.refused } else { &self.state.accepted };
        counter.with_label_values(&[S::NAME]).inc_by(batch.items() as u64);
        if refusing {
            let message = "data refused due to high memory usage".to_string();
            return Box::pin(std::future::ready(Err(Rejected::Retryable(message))));
        }
        Box::pin(self.next.send(batch))
    }
}

/// Reads the files below a folder, in `proc` and `sys/fs/cgroup`; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(root: &std::path::Path) {
    let memory = memory::Memory::below(root.join("proc"), root.join("sys/fs/cgroup"));
    let _ = (memory.resident(), memory.total());
}

#[cfg(test)]
mod tests {
    use component::testkit::{Harness, Names, Sink};
    use component::{ArgValue, ComponentDef};
    use signal::Traces;

    use super::*;

    fn names(sink: &Sink<Traces>) -> Names {
        let next = OtelInput { traces: Some(sink.receiver()), ..OtelInput::default() };
        Names::default().with("next", next.to_value())
    }

    fn body(limits: &str) -> String {
        format!("check_interval = \"1s\"\n{limits}\noutput {{ traces = [next] }}")
    }

    #[tokio::test(start_paused = true)]
    async fn data_is_refused_for_now_above_the_soft_limit_and_passed_below() {
        let sink = Sink::<Traces>::new();
        let definition = ComponentDef::of::<MemoryLimiter>();
        let harness = Harness::start(definition, &body("limit = \"1MiB\""), names(&sink)).await;
        let component::eval::Value::Object(exports) = harness.node.exports() else { panic!("an object") };
        let input = OtelInput::from_value(&exports["input"]).expect("an input").traces.expect("takes traces");
        assert!(matches!(input.send(Traces::default()).await, Err(Rejected::Retryable(_))));
        harness.update(&body("limit = \"64TiB\"")).await.expect("valid");
        assert_eq!(input.send(Traces::default()).await, Ok(()));
        assert_eq!(sink.take().len(), 1);
        harness.update(&body("limit_percentage = 100\nspike_limit_percentage = 1")).await.expect("valid");
        assert_eq!(input.send(Traces::default()).await, Ok(()));
        let text = harness.services.metrics.text();
        assert!(text.contains("memory_limiter_refused_items_total{"), "{text}");
    }

    #[test]
    fn the_flag_follows_the_memory() {
        let cx = BuildCx::detached("x.y", component::Services::for_tests(std::env::temp_dir()));
        let state = State::new(&cx, MetricsLevel::Detailed);
        for (resident, refusing) in [(Some(79), false), (Some(80), true), (None, true), (Some(79), false)] {
            state.check(resident, 80);
            assert_eq!(state.refusing.load(Ordering::Relaxed), refusing, "{resident:?}");
        }
    }

    #[tokio::test]
    async fn limits_that_contradict_each_other_are_refused() {
        let sink = Sink::<Traces>::new();
        let definition = ComponentDef::of::<MemoryLimiter>();
        let harness = Harness::start(definition, &body("limit = \"1GiB\""), names(&sink)).await;
        for (limits, why) in [
            ("", "one of limit and limit_percentage"),
            ("limit = \"1GiB\"\nlimit_percentage = 10", "exclude"),
            ("limit = \"1GiB\"\nspike_limit = \"1GiB\"", "less than limit"),
            ("limit = \"1GiB\"\nspike_limit_percentage = 1", "use spike_limit"),
            ("limit_percentage = 101", "at most 100"),
            ("limit_percentage = 10\nspike_limit_percentage = 10", "less than limit_percentage"),
        ] {
            let refused = harness.update(&body(limits)).await.expect_err(limits);
            assert!(format!("{refused:?}").contains(why), "{limits}: {refused:?}");
        }
        let zero = body("limit = \"1GiB\"").replace("1s", "0s");
        assert!(format!("{:?}", harness.update(&zero).await.expect_err("zero")).contains("above 0"));
    }

    #[test]
    fn the_soft_limit_is_the_limit_without_the_spike() {
        let args = |limit, spike, percentage, spike_percentage| Args {
            check_interval: Duration::from_secs(1),
            limit: Size(limit),
            spike_limit: Size(spike),
            limit_percentage: percentage,
            spike_limit_percentage: spike_percentage,
            output: Output::default(),
            debug_metrics: DebugMetrics::default(),
        };
        let memory = Memory::system();
        let total = memory.total().expect("known");
        let cases = [
            (args(1000, 0, 0, 0), 800),
            (args(1000, 100, 0, 0), 900),
            (args(0, 0, 100, 0), total - total / 5),
            (args(0, 0, 100, 50), total - (u128::from(total) * 50 / 100) as u64),
        ];
        for (args, expected) in cases {
            assert_eq!(args.soft_limit(&memory).expect("known"), expected);
        }
        // One that cannot see how much is used would let everything pass.
        let blind = Memory::below("/nonexistent".into(), "/nonexistent".into());
        let refused = args(1000, 0, 0, 0).soft_limit(&blind).expect_err("refused").to_string();
        assert!(refused.contains("/proc/self/status"), "{refused}");
    }
}

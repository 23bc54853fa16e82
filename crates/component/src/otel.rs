//! How the `otelcol.*` components are joined: one export, `input`, stands for up to three ports.
//!
//! Invariant: a consumer that does not take a signal is refused where the configuration lists it for that
//! signal; nothing is accepted from a client that would have nowhere to go.

use std::any::Any;
use std::borrow::Cow;

use eval::{ArgValue, Capsule, CapsuleType, Invalid, Value, ValueError};
use macros::{ArgEnum, Arguments};
use signal::otlp::{OtlpLogs, OtlpMetrics, Traces};

use crate::error::Error;
use crate::port::{Fanout, Receiver, Signal};

/// What an `otelcol.*` component exports as `input`: a receiver for each signal that it takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtelInput {
    /// Takes spans.
    pub traces: Option<Receiver<Traces>>,
    /// Takes metric data points.
    pub metrics: Option<Receiver<OtlpMetrics>>,
    /// Takes log records.
    pub logs: Option<Receiver<OtlpLogs>>,
}

impl OtelInput {
    /// Global ID of the node behind it.
    pub fn owner(&self) -> &str {
        let owners = [
            self.traces.as_ref().map(Receiver::owner),
            self.metrics.as_ref().map(Receiver::owner),
            self.logs.as_ref().map(Receiver::owner),
        ];
        owners.into_iter().flatten().next().unwrap_or("null")
    }
}

impl CapsuleType for OtelInput {
    fn type_name(&self) -> &'static str {
        "otelcol.Consumer"
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> String {
        "capsule(\"otelcol.Consumer\")".to_string()
    }
}

impl ArgValue for OtelInput {
    const IS_CAPSULE: bool = true;

    fn type_name() -> Cow<'static, str> {
        "otelcol.Consumer".into()
    }

    fn code_type() -> Cow<'static, str> {
        "capsule(otelcol.Consumer)".into()
    }

    fn zero() -> Self {
        Self::default()
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        eval::capsule_from_value(value, "otelcol.Consumer")
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

/// The `output` block of receivers, processors and connectors.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Output {
    /// Consumers of metrics.
    #[arg(default)]
    pub metrics: Vec<OtelInput>,
    /// Consumers of logs.
    #[arg(default)]
    pub logs: Vec<OtelInput>,
    /// Consumers of traces.
    #[arg(default)]
    pub traces: Vec<OtelInput>,
}

/// The `debug_metrics` block of every component of the family.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(without_effect = Self::without_effect)]
pub struct DebugMetrics {
    /// Leave out metrics whose labels tell single clients apart (peer addresses, ports).
    #[arg(default = true)]
    pub disable_high_cardinality_metrics: bool,
    /// How much the component tells of itself in its own metrics.
    #[arg(default = MetricsLevel::Detailed, code_type = "string(Level)")]
    pub level: MetricsLevel,
}

impl DebugMetrics {
    fn without_effect(&self) -> Vec<Invalid> {
        let asked = (!self.disable_high_cardinality_metrics).then(|| {
            let why = "no metric has labels that tell single clients apart";
            Invalid::without_effect("disable_high_cardinality_metrics", why)
        });
        asked.into_iter().collect()
    }
}

impl Default for DebugMetrics {
    fn default() -> Self {
        Self { disable_high_cardinality_metrics: true, level: MetricsLevel::Detailed }
    }
}

/// Levels of `debug_metrics`, from nothing to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ArgEnum)]
pub enum MetricsLevel {
    /// No metrics of its own.
    None,
    /// What is needed to see that it works.
    Basic,
    /// More.
    Normal,
    /// Everything.
    #[arg(default)]
    Detailed,
}

/// An [`Output`] ready for sending. A signal without consumers is one that a receiver does not serve.
#[derive(Clone, Debug, PartialEq)]
pub struct OtelFanout {
    /// Consumers of traces.
    pub traces: Fanout<Traces>,
    /// Consumers of metrics.
    pub metrics: Fanout<OtlpMetrics>,
    /// Consumers of logs.
    pub logs: Fanout<OtlpLogs>,
}

impl Output {
    /// Joins the consumers.
    ///
    /// # Errors
    /// If one is listed for a signal that it does not take; `null` is left out.
    pub fn fanout(&self) -> Result<OtelFanout, Error> {
        Ok(OtelFanout {
            traces: join("traces", &self.traces, |input| input.traces.clone())?,
            metrics: join("metrics", &self.metrics, |input| input.metrics.clone())?,
            logs: join("logs", &self.logs, |input| input.logs.clone())?,
        })
    }
}

fn join<T: Signal>(
    signal: &'static str,
    inputs: &[OtelInput],
    receiver: impl Fn(&OtelInput) -> Option<Receiver<T>>,
) -> Result<Fanout<T>, Error> {
    let mut receivers = Vec::with_capacity(inputs.len());
    for input in inputs.iter().filter(|input| **input != OtelInput::default()) {
        match receiver(input) {
            Some(receiver) => receivers.push(receiver),
            None => {
                let message =
                    format!("{} does not take {signal}: take it out of output > {signal}", input.owner());
                return Err(Error::argument(signal, message));
            }
        }
    }
    Ok(Fanout::new(receivers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Port;

    #[test]
    fn a_consumer_is_refused_for_a_signal_that_it_does_not_take() {
        let port = Port::<Traces>::detached("otelcol.connector.spanlogs.a");
        let input = OtelInput { traces: Some(port.receiver()), ..OtelInput::default() };
        let output = Output { traces: vec![input.clone(), OtelInput::default()], ..Output::default() };
        let fanout = output.fanout().expect("traces are taken");
        assert_eq!(fanout.traces.receivers().len(), 1);
        assert!(fanout.logs.is_empty());
        let output = Output { logs: vec![input], ..Output::default() };
        let error = output.fanout().expect_err("logs are not").to_string();
        assert!(error.contains("spanlogs.a does not take logs"), "{error}");
    }

    #[test]
    fn an_input_travels_as_a_value() {
        let port = Port::<OtlpLogs>::detached("x");
        let input = OtelInput { logs: Some(port.receiver()), ..OtelInput::default() };
        assert_eq!(OtelInput::from_value(&input.to_value()).expect("same kind"), input);
    }
}

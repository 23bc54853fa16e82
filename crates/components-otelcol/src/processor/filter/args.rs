//! Arguments of `otelcol.processor.filter`, and the conditions made of them.

use std::sync::Arc;

use component::eval::Invalid;
use component::otel::{DebugMetrics, Output};
use component::{Arguments, Error};
use ottl::{Context, Group, Parser, Source, infer};

use super::super::items::ItemCounts;
use super::super::rules::{Mode, context};
use super::{Counters, Drops, Rules};

/// `otelcol.processor.filter`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What happens when a condition cannot be evaluated; it does not hold then.
    #[arg(default = Mode::Ignore, code_type = "string")]
    pub error_mode: Mode,
    /// What is dropped of traces.
    #[arg(block)]
    pub traces: Traces,
    /// What is dropped of metrics.
    #[arg(block)]
    pub metrics: Metrics,
    /// What is dropped of logs.
    #[arg(block)]
    pub logs: Logs,
    /// What is dropped of traces, in any context.
    #[arg(block)]
    pub trace_conditions: Vec<ContextConditions>,
    /// What is dropped of metrics, in any context.
    #[arg(block)]
    pub metric_conditions: Vec<ContextConditions>,
    /// What is dropped of logs, in any context.
    #[arg(block)]
    pub log_conditions: Vec<ContextConditions>,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// What is dropped of traces.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Traces {
    /// Spans for which one of these holds.
    #[arg(default)]
    pub span: Vec<String>,
    /// Events of spans for which one of these holds.
    #[arg(default)]
    pub spanevent: Vec<String>,
}

/// What is dropped of metrics.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Metrics {
    /// Metrics for which one of these holds.
    #[arg(default)]
    pub metric: Vec<String>,
    /// Data points for which one of these holds; a metric that has none left goes too.
    #[arg(default)]
    pub datapoint: Vec<String>,
}

/// What is dropped of logs.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Logs {
    /// Log records for which one of these holds.
    #[arg(default)]
    pub log_record: Vec<String>,
}

/// What is dropped in one context.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct ContextConditions {
    /// The context; found from the paths, which then begin with it, if it is not set.
    #[arg(default)]
    pub context: String,
    /// What one of these holds for is dropped.
    pub conditions: Vec<String>,
}

/// A condition's field of the old blocks, with its block and its context.
type Old<'a> = (&'static str, Context, &'a [String]);

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        self.signals().map(drop).map_err(|(field, message)| Invalid::field(field, message))
    }

    /// The conditions of each signal; or the argument that is wrong, and why.
    fn signals(&self) -> Result<[Drops; 3], (&'static str, String)> {
        let traces: [Old<'_>; 2] = [
            ("traces", Context::Span, &self.traces.span),
            ("traces", Context::SpanEvent, &self.traces.spanevent),
        ];
        let metrics: [Old<'_>; 2] = [
            ("metrics", Context::Metric, &self.metrics.metric),
            ("metrics", Context::DataPoint, &self.metrics.datapoint),
        ];
        let logs: [Old<'_>; 1] = [("logs", Context::Log, &self.logs.log_record)];
        Ok([
            drops(&traces, "trace_conditions", &self.trace_conditions, Context::TRACES)?,
            drops(&metrics, "metric_conditions", &self.metric_conditions, Context::METRICS)?,
            drops(&logs, "log_conditions", &self.log_conditions, Context::LOGS)?,
        ])
    }

    pub(super) fn rules(&self, counters: Arc<Counters>, counts: ItemCounts) -> Result<Rules, Error> {
        let [traces, metrics, logs] =
            self.signals().map_err(|(field, message)| Error::argument(field, message))?;
        Ok(Rules { traces, metrics, logs, mode: self.error_mode.to_ottl(), counters, counts })
    }
}

fn drops(
    old: &[Old<'_>],
    field: &'static str,
    blocks: &[ContextConditions],
    contexts: &[Context],
) -> Result<Drops, (&'static str, String)> {
    let mut drops = Drops::default();
    for (block, context, texts) in old {
        let parsed = parser(*context).conditions(texts).map_err(|error| (*block, error.to_string()))?;
        drops.add(*context, parsed);
    }
    for block in blocks {
        let groups: Vec<(Context, &[String])> = match block.context.as_str() {
            // Each by itself: conditions that are joined by "or" need no context in common.
            "" => block
                .conditions
                .chunks(1)
                .map(|one| Ok((infer(one, Source::Conditions, contexts, &[Group::Filter])?, one)))
                .collect::<Result<_, ottl::ParseError>>()
                .map_err(|error| (field, error.to_string()))?,
            name => vec![(context(name, contexts).map_err(|message| (field, message))?, &block.conditions)],
        };
        for (context, texts) in groups {
            let parsed = parser(context).conditions(texts).map_err(|error| (field, error.to_string()))?;
            drops.add(context, parsed);
        }
    }
    Ok(drops)
}

fn parser(context: Context) -> Parser {
    Parser::new(context).with(Group::Filter)
}

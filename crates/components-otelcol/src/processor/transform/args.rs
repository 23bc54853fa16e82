//! Arguments of `otelcol.processor.transform`, and the steps made of them.

use std::sync::Arc;

use component::eval::Invalid;
use component::otel::{DebugMetrics, Output};
use component::{Arguments, Error};
use ottl::{Conditions, Context, Group, Parser, Source, infer};

use super::super::items::ItemCounts;
use super::super::rules::{Failures, Mode, context};
use super::{Rules, Step};

/// `otelcol.processor.transform`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Args::validate)]
pub struct Args {
    /// What happens when a statement cannot be applied.
    #[arg(default = Mode::Ignore, code_type = "string")]
    pub error_mode: Mode,
    /// Statements whose contexts are found from their paths.
    #[arg(block)]
    pub statements: Inferred,
    /// Statements for traces.
    #[arg(block)]
    pub trace_statements: Vec<Statements>,
    /// Statements for metrics.
    #[arg(block)]
    pub metric_statements: Vec<Statements>,
    /// Statements for logs.
    #[arg(block)]
    pub log_statements: Vec<Statements>,
    /// Where data goes.
    #[arg(block, required)]
    pub output: Output,
    /// How much the component tells of itself.
    #[arg(block)]
    pub debug_metrics: DebugMetrics,
}

/// Statements whose paths begin with their contexts.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
pub struct Inferred {
    /// Statements for traces, for example `set(span.name, "x")`.
    #[arg(default)]
    pub trace: Vec<String>,
    /// Statements for metrics.
    #[arg(default)]
    pub metric: Vec<String>,
    /// Statements for logs.
    #[arg(default)]
    pub log: Vec<String>,
}

/// Statements of one context.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Statements {
    /// What the statements are applied to: `resource` or `scope`; for traces `span` or `spanevent`, for metrics
    /// `metric` or `datapoint`, for logs `log`.
    #[arg(code_type = "string(ContextID)")]
    pub context: String,
    /// One of these has to hold for an item; if there are none, nothing has to.
    #[arg(default)]
    pub conditions: Vec<String>,
    /// What is done, in order.
    pub statements: Vec<String>,
    /// What happens when one of these cannot be applied; that of the component if it is not set.
    #[arg(code_type = "string")]
    pub error_mode: Option<Mode>,
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        self.signals().map(drop).map_err(|(field, message)| Invalid::field(field, message))
    }

    /// The steps of each signal; or the argument that is wrong, and why.
    fn signals(&self) -> Result<[Vec<Step>; 3], (&'static str, String)> {
        let signals = [
            ("trace_statements", &self.statements.trace, &self.trace_statements, Context::TRACES),
            ("metric_statements", &self.statements.metric, &self.metric_statements, Context::METRICS),
            ("log_statements", &self.statements.log, &self.log_statements, Context::LOGS),
        ];
        let mut all = <[Vec<Step>; 3]>::default();
        for (steps, (field, inferred, blocks, contexts)) in all.iter_mut().zip(signals) {
            *steps = self.inferred(inferred, contexts).map_err(|message| ("statements", message))?;
            for block in blocks {
                steps.push(self.step(block, contexts).map_err(|message| (field, message))?);
            }
        }
        Ok(all)
    }

    /// All statements together if they have a context in common; else each by itself.
    fn inferred(&self, texts: &[String], contexts: &[Context]) -> Result<Vec<Step>, String> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let found = |texts: &[String]| infer(texts, Source::Statements, contexts, &[Group::Transform]);
        let groups: Vec<(Context, &[String])> = match found(texts) {
            Ok(context) => vec![(context, texts)],
            Err(_) => texts
                .chunks(1)
                .map(|one| Ok((found(one)?, one)))
                .collect::<Result<_, ottl::ParseError>>()
                .map_err(|error| error.to_string())?,
        };
        let step = |(context, texts): (Context, &[String])| {
            let statements = parser(context).statements(texts).map_err(|error| error.to_string())?;
            let mode = self.error_mode.to_ottl();
            Ok(Step { context, conditions: Conditions::default(), statements, mode, shared_cache: true })
        };
        groups.into_iter().map(step).collect()
    }

    fn step(&self, block: &Statements, contexts: &[Context]) -> Result<Step, String> {
        let context = context(&block.context, contexts)?;
        let parser = parser(context);
        let told = |error: ottl::ParseError| error.to_string();
        Ok(Step {
            context,
            conditions: parser.conditions(&block.conditions).map_err(told)?,
            statements: parser.statements(&block.statements).map_err(told)?,
            mode: block.error_mode.unwrap_or(self.error_mode).to_ottl(),
            shared_cache: false,
        })
    }

    pub(super) fn rules(&self, failures: Arc<Failures>, counts: ItemCounts) -> Result<Rules, Error> {
        let [traces, metrics, logs] =
            self.signals().map_err(|(field, message)| Error::argument(field, message))?;
        Ok(Rules { traces, metrics, logs, failures, counts })
    }
}

fn parser(context: Context) -> Parser {
    Parser::new(context).with(Group::Transform)
}

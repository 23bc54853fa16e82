//! Conditions in OTTL about the spans of a trace and their events.

use component::Error;
use ottl::{Conditions, Context, Failure, Parser, View};

use super::args::{ErrorMode, OttlArgs};
use super::policy::Undecided;
use super::trace::Trace;

/// Holds for a trace if a condition holds for one of its spans or their events.
#[derive(Debug)]
pub(super) struct OttlCondition {
    spans: Conditions,
    events: Conditions,
    mode: ottl::ErrorMode,
}

impl OttlCondition {
    pub(super) fn new(name: &str, args: &OttlArgs) -> Result<Self, Error> {
        let wrong = |why: String| Error::argument("policy", format!("{name:?}: ottl_condition: {why}"));
        if args.span.is_empty() && args.spanevent.is_empty() {
            return Err(wrong("needs a condition in span or spanevent".into()));
        }
        let conditions = |context, texts: &[String]| {
            Parser::new(context).conditions(texts).map_err(|error| wrong(error.to_string()))
        };
        Ok(Self {
            spans: conditions(Context::Span, &args.span)?,
            events: conditions(Context::SpanEvent, &args.spanevent)?,
            mode: match args.error_mode {
                ErrorMode::Ignore => ottl::ErrorMode::Ignore,
                ErrorMode::Silent => ottl::ErrorMode::Silent,
                ErrorMode::Propagate => ottl::ErrorMode::Propagate,
            },
        })
    }

    pub(super) fn holds(&self, trace: &Trace<'_>) -> Result<bool, Undecided> {
        let Some(request) = trace.decoded() else {
            return Err(Undecided::Condition("the trace cannot be decoded".into()));
        };
        let mut report = |failure: Failure<'_>| tracing::debug!(%failure, "a condition fails");
        let mut any = |conditions: &Conditions, view: &View<'_>| {
            let holds = conditions.any(view, self.mode, &mut report);
            holds.map_err(|error| Undecided::Condition(error.to_string()))
        };
        for resource in &request.resource_spans {
            for scope in &resource.scope_spans {
                for span in &scope.spans {
                    if any(&self.spans, &View::span(resource, scope, span))? {
                        return Ok(true);
                    }
                    let events = if self.events.is_empty() { 0 } else { span.events.len() };
                    for at in 0..events {
                        if any(&self.events, &View::span_event(resource, scope, span, at))? {
                            return Ok(true);
                        }
                    }
                }
            }
        }
        Ok(false)
    }
}

//! What `otelcol.connector.signaltometrics` adds.

use signal::tracestate;

use super::{Args, Function};
use crate::context::Context;
use crate::error::EvalError;
use crate::expr::Env;
use crate::value::Value;

pub(super) const TABLE: &[Function] =
    &[Function::convert("AdjustedCount", &[], adjusted_count).only(&[Context::Span])];

/// How many spans this one stands for; 1 where its trace state does not tell.
fn adjusted_count<'a>(_args: &'a Args, env: &Env<'a>) -> Result<Value<'a>, EvalError> {
    let trace_state = env.view.span_of().map(|span| span.trace_state.as_str()).unwrap_or_default();
    Ok(Value::Double(tracestate::adjusted_count(trace_state).unwrap_or(1.0)))
}

#[cfg(test)]
mod tests {
    use signal::otlp::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use crate::{Context, Group, Parser, Value, View};

    #[test]
    fn the_adjusted_count_is_what_the_trace_state_says_and_only_spans_have_it() {
        let parser = Parser::new(Context::Span).with(Group::SignalToMetrics);
        let count = parser.value("AdjustedCount()").expect("a value of spans");
        let (resource, scope) = (ResourceSpans::default(), ScopeSpans::default());
        for (trace_state, expected) in [("ot=th:8", 2.0), ("", 1.0)] {
            let span = Span { trace_state: trace_state.into(), ..Span::default() };
            let value = count.eval(&View::span(&resource, &scope, &span)).expect("a value");
            assert_eq!(value, Value::Double(expected));
        }
        assert!(Parser::new(Context::Span).value("AdjustedCount()").is_err());
        let logs = Parser::new(Context::Log).with(Group::SignalToMetrics);
        assert!(logs.value("AdjustedCount()").is_err());
    }
}

//! The headers by which a back end joins its spans to ours.

use http::{HeaderMap, HeaderName, HeaderValue};

/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Of Jaeger's clients.
const UBER_TRACE_ID: HeaderName = HeaderName::from_static("uber-trace-id");

/// Which of them requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHeaders {
    /// `traceparent`.
    pub trace_context: bool,
    /// `uber-trace-id`.
    pub jaeger: bool,
}

impl Default for TraceHeaders {
    fn default() -> Self {
        Self { trace_context: true, jaeger: false }
    }
}

impl TraceHeaders {
    /// Puts a span's context, as `traceparent` has it, into a request.
    pub(super) fn put(self, traceparent: &str, headers: &mut HeaderMap) {
        if self.trace_context
            && let Ok(value) = HeaderValue::try_from(traceparent)
        {
            headers.insert(TRACEPARENT, value);
        }
        if self.jaeger
            && let Some(value) = uber_trace_id(traceparent).and_then(|id| HeaderValue::try_from(id).ok())
        {
            headers.insert(UBER_TRACE_ID, value);
        }
    }
}

/// `trace:span:parent:flags`; the parent is no longer used, and 0.
fn uber_trace_id(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    Some(format!("{trace}:{span}:0:{sampled}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_told_in_the_headers_that_are_wanted() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let told = |trace_context, jaeger| {
            let mut headers = HeaderMap::new();
            TraceHeaders { trace_context, jaeger }.put(parent, &mut headers);
            let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().expect("text").to_owned());
            (text(TRACEPARENT), text(UBER_TRACE_ID))
        };
        let jaeger = "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1".to_owned();
        assert_eq!(told(true, true), (Some(parent.to_owned()), Some(jaeger)));
        assert_eq!(told(true, false), (Some(parent.to_owned()), None));
        assert_eq!(told(false, false), (None, None));
        assert_eq!(uber_trace_id("odd"), None);
    }
}

//! The program's own spans: where code says that something is worth one, and what joins them to those of others.
//!
//! A span is made with [`span!`](crate::span) and costs a load of a flag while nobody wants spans. Who gathers them
//! registers itself with [`set_propagator`]; clients ask [`traceparent`] what to put into a request.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tracing::Span;

/// Target of spans that are to leave the program; the log ignores them.
pub const TARGET: &str = "ferroalloy::trace";

/// Makes a span that `tracing { write_to }` gets: a name, a kind (`"internal"`, `"client"`, `"server"`), fields as
/// OpenTelemetry's semantic conventions name them. `error` makes its status one; `traceparent` is the header of who
/// has asked.
#[macro_export]
macro_rules! span {
    ($name:literal, $kind:literal $(, $($field:tt)*)?) => {
        ::tracing::info_span!(target: "ferroalloy::trace", $name, otel.kind = $kind $(, $($field)*)?)
    };
}

/// Knows the trace that a span belongs to.
pub trait Propagator: Send + Sync {
    /// The span's `traceparent` (W3C Trace Context, section 3.2), if it has one.
    fn traceparent(&self, span: &tracing::Id) -> Option<String>;
}

static PROPAGATOR: ArcSwapOption<Arc<dyn Propagator>> = ArcSwapOption::const_empty();

/// From now on requests carry what this one says; `None`: nothing.
pub fn set_propagator(propagator: Option<Arc<dyn Propagator>>) {
    PROPAGATOR.store(propagator.map(Arc::new));
}

/// What a request made within a span is to carry as `traceparent`.
pub fn traceparent(span: &Span) -> Option<String> {
    let propagator = PROPAGATOR.load();
    propagator.as_ref()?.traceparent(&span.id()?)
}

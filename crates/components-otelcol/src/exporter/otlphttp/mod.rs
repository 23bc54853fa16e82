//! `otelcol.exporter.otlphttp` sends spans, metrics and logs by OTLP over HTTP.
//!
//! Queues, retries and metrics are those of all exporters (`sending`); here is the client, and what its back
//! end's answers mean.

mod answer;
mod args;
mod plan;
mod post;
#[cfg(test)]
mod tests;

use component::{BuildCx, Component, Error, RunCx, Stability};

pub use args::Args;
pub use args::CompressionType;
use plan::plans;

use super::sending::{ExporterExports, Sending};

/// The component.
pub struct OtlpHttp(Sending);

impl Component for OtlpHttp {
    const NAME: &'static str = "otelcol.exporter.otlphttp";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn build(args: Args, cx: &BuildCx) -> Result<(Self, ExporterExports), Error> {
        let (sending, exports) = Sending::new("otlphttp", plans(&args, cx)?, cx);
        Ok((Self(sending), exports))
    }

    async fn run(self, cx: RunCx<Self>) -> Result<(), Error> {
        self.0.run(cx, plans).await
    }
}

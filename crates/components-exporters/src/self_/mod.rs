//! `prometheus.exporter.self` gives the program's own metrics to the pipeline.
//!
//! They are what the main server shows at `/metrics`, and what every process tells about itself.

use std::sync::Arc;

use component::{Arguments, BuildCx, Error, Pure, Stability};
use signal::exposition::write_text;

use crate::page::{self, ExporterExports};
use crate::unix;

/// `prometheus.exporter.self`
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct Args {}

/// The component.
pub struct SelfExporter;

impl Pure for SelfExporter {
    const NAME: &'static str = "prometheus.exporter.self";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = ExporterExports;

    fn evaluate(_args: &Args, cx: &BuildCx) -> Result<ExporterExports, Error> {
        // The services hold the page, so the page must not hold them.
        let services = Arc::downgrade(cx.services());
        Ok(page::serve(cx, "self", &page::host(cx), move |out| {
            let own = services.upgrade().map(|services| services.metrics.text()).unwrap_or_default();
            out.push_str(&own);
            let families = unix::process_metrics();
            let missing: Vec<_> = families
                .into_iter()
                .filter(|family| !own.contains(&format!("# TYPE {} ", family.name)))
                .collect();
            write_text(&missing, out);
        }))
    }
}

#[cfg(test)]
mod tests {
    use component::ComponentDef;
    use component::testkit::{Harness, Names};

    use super::*;

    #[tokio::test]
    async fn the_page_has_metrics_of_components_and_of_the_process_once_each() {
        let harness = Harness::start(ComponentDef::pure::<SelfExporter>(), "", Names::default()).await;
        let metrics = harness.services.metrics.node("a.b");
        metrics.counter("hits_total", "Hits.").inc();
        metrics.gauge("process_open_fds", "Registered by somebody else.").set(1);
        let page = page::testing::page(&harness).await;
        assert!(page.contains("hits_total{component_id=\"a.b\",component_path=\"/\"} 1\n"), "{page}");
        assert!(page.contains("# TYPE process_resident_memory_bytes gauge\n"), "{page}");
        assert_eq!(page.matches("# TYPE process_open_fds ").count(), 1, "{page}");
    }
}

//! What all exporters share: the targets they export and the page of metrics that those name.
//!
//! Data path: `prometheus.scrape` takes the exported target, whose address the process answers itself
//! without the network, and asks for `/api/v0/component/<id>/metrics`; the page is made for each request
//! on a thread that may block.

use std::sync::Arc;

use component::http::{COMPONENT_PREFIX, Handler, Request, Response, text_response};
use component::{BoxFuture, BuildCx, Exports, Target};
use http::{HeaderValue, StatusCode, header};

/// What an exporter exports.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct ExporterExports {
    /// Targets to scrape for the exporter's metrics.
    pub targets: Vec<Target>,
}

/// Makes the page.
type Write = Arc<dyn Fn(&mut String) + Send + Sync>;

struct Page(Write);

/// Answers for a node with a page in the text format, and gives the target that leads there. `name` is
/// the exporter's, as in `integrations/<name>`.
pub(crate) fn serve(
    cx: &BuildCx,
    name: &str,
    instance: &str,
    write: impl Fn(&mut String) + Send + Sync + 'static,
) -> ExporterExports {
    cx.serve(Page(Arc::new(write)));
    let id = cx.id();
    // The labels of Alloy's exporters (internal/component/prometheus/exporter: `newExporter`).
    let target = Target::from_pairs([
        ("__address__", cx.services().memory_address.as_str()),
        ("__scheme__", "http"),
        ("__metrics_path__", &format!("{COMPONENT_PREFIX}{id}/metrics")),
        ("__meta_component_id", id),
        ("__meta_component_name", id.rsplit_once('.').map_or(id, |(name, _)| name)),
        ("instance", instance),
        ("job", &format!("integrations/{name}")),
    ]);
    ExporterExports { targets: vec![target] }
}

/// The host's name for label `instance`: `$HOSTNAME` where it is set, as in Alloy.
pub(crate) fn host(cx: &BuildCx) -> String {
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| cx.services().hostname.clone())
}

impl Handler for Page {
    fn handle<'a>(&'a self, path: &'a str, _request: Request) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            if path != "/metrics" {
                return text_response(
                    StatusCode::NOT_FOUND,
                    format!("no page {path}; metrics are at /metrics\n"),
                );
            }
            let write = self.0.clone();
            let page = tokio::task::spawn_blocking(move || {
                let mut page = String::with_capacity(64 * 1024);
                write(&mut page);
                page
            });
            match page.await {
                Ok(page) => {
                    let mut response = text_response(StatusCode::OK, page);
                    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                    response
                }
                Err(error) => {
                    tracing::error!(%error, "metrics could not be collected");
                    text_response(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be collected\n")
                }
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A scrape without sockets.

    use component::testkit::Harness;

    use super::*;

    /// The page that the node's only target leads to.
    pub(crate) async fn page(harness: &Harness) -> String {
        let exports = harness.node.exports();
        let targets = exports.as_object().and_then(|o| o.get("targets").cloned()).unwrap();
        let targets = <Vec<Target> as component::ArgValue>::from_value(&targets).unwrap();
        let [target] = &targets[..] else { panic!("{targets:?}") };
        assert_eq!(target.address(), Some("alloy.internal:12345"));
        let request =
            http::Request::get(target.get("__metrics_path__").unwrap()).body(Default::default()).unwrap();
        let response = harness.services.handlers.call(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use component::Services;

    use super::*;

    async fn status(services: &Services, path: &str) -> StatusCode {
        let request = http::Request::get(path).body(Default::default()).unwrap();
        services.handlers.call(request).await.status()
    }

    #[tokio::test]
    async fn the_target_carries_the_labels_of_an_exporter() {
        let services = Services::for_tests("/nonexistent");
        let cx = BuildCx::detached("mod.x/prometheus.exporter.unix.default", services.clone());
        let exports = serve(&cx, "unix", "here", |page| page.push_str("up 1\n"));
        let labels: Vec<_> = exports.targets[0].iter().collect();
        assert_eq!(
            labels,
            [
                ("__address__", "alloy.internal:12345"),
                ("__meta_component_id", "mod.x/prometheus.exporter.unix.default"),
                ("__meta_component_name", "mod.x/prometheus.exporter.unix"),
                ("__metrics_path__", "/api/v0/component/mod.x/prometheus.exporter.unix.default/metrics"),
                ("__scheme__", "http"),
                ("instance", "here"),
                ("job", "integrations/unix"),
            ]
        );
        let path = exports.targets[0].get("__metrics_path__").unwrap();
        assert_eq!(status(&services, path).await, StatusCode::OK);
        assert_eq!(status(&services, &format!("{path}/more")).await, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_page_that_panics_is_an_answer_too() {
        let services = Services::for_tests("/nonexistent");
        let cx = BuildCx::detached("prometheus.exporter.unix.a", services.clone());
        serve(&cx, "unix", "here", |_| panic!("on purpose"));
        let path = "/api/v0/component/prometheus.exporter.unix.a/metrics";
        assert_eq!(status(&services, path).await, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

//! What the configuration of a test may refer to besides itself: `pipelinetest.loki.receiver` and its like.
//!
//! As in Alloy's tests; there, names are replaced in the text, here they are a module that exports them.

use std::fmt::Write;

use component::otel::OtelInput;
use component::{Arguments, BuildCx, Component, ComponentDef, Error, Exports, Receiver, RunCx, Stability};
use signal::{Logs, Profiles, Samples};
use syntax::Source;

/// The name of the sink in [`text`]; its global ID ends in it.
pub(crate) const SINK: &str = "pipelinetest/recording.sink.out";

/// Receives whatever it is sent.
pub(crate) struct Sink;

/// Nothing to say.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub(crate) struct Args {}

/// A receiver of each kind.
#[derive(Clone, Debug, PartialEq, Exports)]
pub(crate) struct SinkExports {
    /// Takes log entries.
    pub(crate) loki: Receiver<Logs>,
    /// Takes samples.
    pub(crate) prometheus: Receiver<Samples>,
    /// Takes OTLP.
    pub(crate) otelcol: OtelInput,
    /// Takes profiles.
    pub(crate) pyroscope: Receiver<Profiles>,
}

impl Component for Sink {
    const NAME: &'static str = "recording.sink";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = "";
    type Args = Args;
    type Exports = SinkExports;

    fn build(_args: Args, cx: &BuildCx) -> Result<(Self, SinkExports), Error> {
        let exports = SinkExports {
            loki: cx.port("loki").receiver(),
            prometheus: cx.port("prometheus").receiver(),
            otelcol: OtelInput {
                traces: Some(cx.port("traces").receiver()),
                metrics: Some(cx.port("metrics").receiver()),
                logs: Some(cx.port("logs").receiver()),
            },
            pyroscope: cx.port("pyroscope").receiver(),
        };
        Ok((Self, exports))
    }

    /// A node that records stands in its place; this is never reached in a test.
    async fn run(self, mut cx: RunCx<Self>) -> Result<(), Error> {
        while !matches!(cx.event().await, component::Event::Stop) {}
        Ok(())
    }
}

/// The sink, for the registry.
pub(crate) const COMPONENTS: &[ComponentDef] = &[ComponentDef::of::<Sink>()];

/// Where a server of `mocks` is.
pub(crate) fn mock_url(name: &str) -> String {
    format!("http://{name}.mock.pipelinetest.internal")
}

/// The text that defines `pipelinetest`.
pub(crate) fn text(mocks: &[String]) -> Source {
    let mut servers = String::new();
    for name in mocks {
        let _ = write!(servers, "{:?} = {{ url = {:?} }}, ", name, mock_url(name));
    }
    let export =
        |name: &str, fields: &str| format!("  export \"{name}\" {{\n    value = {{ {fields} }}\n  }}\n");
    let text = ["declare \"pipelinetest\" {\n  recording.sink \"out\" { }\n".to_string()]
        .into_iter()
        .chain([
            export("loki", "url = \"http://loki.pipelinetest.internal/loki/api/v1/push\", receiver = recording.sink.out.loki"),
            export("prometheus", "url = \"http://prometheus.pipelinetest.internal/api/v1/write\", receiver = recording.sink.out.prometheus"),
            export("otelcol", "url = \"http://otelcol.pipelinetest.internal\", input = recording.sink.out.otelcol"),
            export("pyroscope", "url = \"http://pyroscope.pipelinetest.internal\", receiver = recording.sink.out.pyroscope"),
            export("mocks", &format!("http = {{ {servers} }}")),
            "}\n\npipelinetest { }\n".to_string(),
        ])
        .collect::<String>();
    Source::new("<pipelinetest>", text)
}

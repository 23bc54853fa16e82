//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod auth;
pub mod connector;
pub mod exporter;
mod flush;
mod own_metrics;
mod ports;
pub mod processor;
pub mod receiver;
pub mod server;
pub mod signals;
pub mod storage;
mod streams;
pub mod value;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::pure::<auth::basic::Basic>(),
    ComponentDef::pure::<auth::bearer::Bearer>(),
    ComponentDef::pure::<auth::headers::Headers>(),
    ComponentDef::of::<connector::count::Count>(),
    ComponentDef::of::<connector::servicegraph::ServiceGraph>(),
    ComponentDef::of::<connector::signaltometrics::SignalToMetrics>(),
    ComponentDef::of::<connector::spanmetrics::SpanMetrics>(),
    ComponentDef::of::<exporter::debug::Debug>(),
    ComponentDef::of::<exporter::otlphttp::OtlpHttp>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::cumulativetodelta::CumulativeToDelta>(),
    ComponentDef::of::<processor::deltatocumulative::DeltaToCumulative>(),
    ComponentDef::of::<processor::interval::Interval>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
    ComponentDef::of::<processor::metric_start_time::MetricStartTime>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
];

//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod auth;
pub mod connector;
pub mod dropped;
pub mod exporter;
pub mod flush;
pub mod operators;
pub mod own_metrics;
mod ports;
pub mod processor;
pub mod receiver;
mod rpc;
pub mod server;
pub mod signals;
pub mod storage;
pub mod streams;
pub mod value;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::pure::<auth::basic::Basic>(),
    ComponentDef::pure::<auth::bearer::Bearer>(),
    ComponentDef::pure::<auth::headers::Headers>(),
    ComponentDef::pure::<auth::oauth2::OAuth2>(),
    ComponentDef::pure::<auth::sigv4::SigV4Auth>(),
    ComponentDef::of::<exporter::debug::Debug>(),
    ComponentDef::of::<exporter::otlp::OtlpExporter>(),
    ComponentDef::of::<exporter::otlphttp::OtlpHttp>(),
    ComponentDef::of::<exporter::prometheus::Prometheus>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::cumulativetodelta::CumulativeToDelta>(),
    ComponentDef::of::<processor::deltatocumulative::DeltaToCumulative>(),
    ComponentDef::of::<processor::interval::Interval>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
    ComponentDef::of::<processor::metric_start_time::MetricStartTime>(),
    ComponentDef::of::<processor::probabilistic_sampler::ProbabilisticSampler>(),
    ComponentDef::of::<processor::tail_sampling::TailSampling>(),
    ComponentDef::of::<receiver::filelog::FileLog>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
    ComponentDef::of::<receiver::prometheus::Prometheus>(),
    ComponentDef::of::<receiver::syslog::Syslog>(),
    ComponentDef::of::<receiver::tcplog::TcpLog>(),
    ComponentDef::of::<storage::file::FileStorage>(),
];

//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod auth;
pub mod connector;
pub mod dropped;
pub mod exporter;
pub mod faro;
pub mod flush;
pub mod logfmt;
pub mod operators;
pub mod own_metrics;
mod ports;
pub mod processor;
pub mod receiver;
pub mod rpc;
pub mod server;
pub mod signals;
pub mod storage;
pub mod streams;
pub mod tls;
pub mod value;

/// The components of this family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::pure::<auth::basic::Basic>(),
    ComponentDef::pure::<auth::bearer::Bearer>(),
    ComponentDef::pure::<auth::headers::Headers>(),
    ComponentDef::pure::<auth::oauth2::OAuth2>(),
    ComponentDef::pure::<auth::sigv4::SigV4Auth>(),
    ComponentDef::of::<connector::count::Count>(),
    ComponentDef::of::<connector::host_info::HostInfo>(),
    ComponentDef::of::<connector::servicegraph::ServiceGraph>(),
    ComponentDef::of::<connector::signaltometrics::SignalToMetrics>(),
    ComponentDef::of::<connector::spanlogs::SpanLogs>(),
    ComponentDef::of::<connector::spanmetrics::SpanMetrics>(),
    ComponentDef::of::<exporter::debug::Debug>(),
    ComponentDef::of::<exporter::file::FileExporter>(),
    ComponentDef::of::<exporter::loadbalancing::LoadBalancing>(),
    ComponentDef::of::<exporter::loki::Loki>(),
    ComponentDef::of::<exporter::otlp::OtlpExporter>(),
    ComponentDef::of::<exporter::otlphttp::OtlpHttp>(),
    ComponentDef::of::<exporter::prometheus::Prometheus>(),
    ComponentDef::of::<faro::receiver::FaroReceiver>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::cumulativetodelta::CumulativeToDelta>(),
    ComponentDef::of::<processor::deltatocumulative::DeltaToCumulative>(),
    ComponentDef::of::<processor::discovery::Discovery>(),
    ComponentDef::of::<processor::filter::Filter>(),
    ComponentDef::of::<processor::groupbyattrs::GroupByAttrs>(),
    ComponentDef::of::<processor::interval::Interval>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
    ComponentDef::of::<processor::metric_start_time::MetricStartTime>(),
    ComponentDef::of::<processor::probabilistic_sampler::ProbabilisticSampler>(),
    ComponentDef::of::<processor::redaction::Redaction>(),
    ComponentDef::of::<processor::resourcedetection::ResourceDetection>(),
    ComponentDef::of::<processor::span::SpanProcessor>(),
    ComponentDef::of::<processor::tail_sampling::TailSampling>(),
    ComponentDef::of::<processor::transform::Transform>(),
    ComponentDef::of::<receiver::filelog::FileLog>(),
    ComponentDef::of::<receiver::jaeger::JaegerReceiver>(),
    ComponentDef::of::<receiver::loki::Loki>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
    ComponentDef::of::<receiver::prometheus::Prometheus>(),
    ComponentDef::of::<receiver::syslog::Syslog>(),
    ComponentDef::of::<receiver::tcplog::TcpLog>(),
    ComponentDef::of::<receiver::zipkin::ZipkinReceiver>(),
    ComponentDef::of::<storage::file::FileStorage>(),
];

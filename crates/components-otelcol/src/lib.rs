//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod auth;
pub mod connector;
pub mod exporter;
mod ports;
pub mod processor;
pub mod receiver;
pub mod server;
pub mod signals;
pub mod storage;
pub mod value;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::pure::<auth::basic::Basic>(),
    ComponentDef::pure::<auth::bearer::Bearer>(),
    ComponentDef::pure::<auth::headers::Headers>(),
    ComponentDef::of::<exporter::debug::Debug>(),
    ComponentDef::of::<exporter::otlphttp::OtlpHttp>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::discovery::Discovery>(),
    ComponentDef::of::<processor::filter::Filter>(),
    ComponentDef::of::<processor::groupbyattrs::GroupByAttrs>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
    ComponentDef::of::<processor::probabilistic_sampler::ProbabilisticSampler>(),
    ComponentDef::of::<processor::redaction::Redaction>(),
    ComponentDef::of::<processor::resourcedetection::ResourceDetection>(),
    ComponentDef::of::<processor::span::SpanProcessor>(),
    ComponentDef::of::<processor::tail_sampling::TailSampling>(),
    ComponentDef::of::<processor::transform::Transform>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
];

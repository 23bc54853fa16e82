//! The `otelcol.*` components, and `faro.*`, which hand over to them; the folder of each is the path of its name.

use component::ComponentDef;

pub mod auth;
pub mod connector;
pub mod exporter;
pub mod faro;
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
    ComponentDef::of::<faro::receiver::FaroReceiver>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
    ComponentDef::of::<receiver::jaeger::JaegerReceiver>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
    ComponentDef::of::<receiver::zipkin::ZipkinReceiver>(),
];

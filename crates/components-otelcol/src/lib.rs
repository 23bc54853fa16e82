//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

mod ports;
pub mod processor;
pub mod receiver;
pub mod server;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<receiver::otlp::OtlpReceiver>(),
];

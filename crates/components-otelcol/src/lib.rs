//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod exporter;
mod ports;
pub mod processor;
mod value;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<exporter::debug::Debug>(),
    ComponentDef::of::<processor::attributes::Attributes>(),
    ComponentDef::of::<processor::batch::Batch>(),
    ComponentDef::of::<processor::memory_limiter::MemoryLimiter>(),
];

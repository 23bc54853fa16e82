//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

mod ports;
pub mod processor;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[ComponentDef::of::<processor::batch::Batch>()];

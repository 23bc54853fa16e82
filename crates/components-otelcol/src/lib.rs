//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod receiver;
pub mod server;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[ComponentDef::of::<receiver::otlp::OtlpReceiver>()];

//! The `otelcol.*` components; the folder of each is the path of its name.

use component::ComponentDef;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[];

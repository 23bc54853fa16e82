//! The `loki.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod echo;
pub mod intake;
pub mod write;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] =
    &[ComponentDef::of::<echo::Echo>(), ComponentDef::of::<write::Write>()];

//! The `loki.*` components; the folder of each is the path of its name.

use component::ComponentDef;

pub mod echo;
pub mod enrich;
pub mod intake;
pub mod relabel;
pub mod secretfilter;
pub mod streams;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<echo::Echo>(),
    ComponentDef::of::<enrich::Enrich>(),
    ComponentDef::of::<relabel::Relabel>(),
    ComponentDef::of::<secretfilter::Secretfilter>(),
];
pub mod source;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] = &[ComponentDef::of::<echo::Echo>(), ComponentDef::of::<source::file::File>()];

//! Components that find targets, and the one that rewrites them.
//!
//! Data path: a discoverer looks around ([`discovery::Look`]) → [`discovery::run`] decides when its targets
//! are published → `targets` of the component's exports.

mod discovery;
mod dns;
pub mod docker;
mod file;
pub mod groups;
mod http;
pub mod process;
mod relabel;

use component::ComponentDef;
pub use dns::Dns;
pub use docker::Docker;
pub use file::File;
pub use http::Http;
pub use process::Process;
pub use relabel::Relabel;

/// The family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<Dns>(),
    ComponentDef::of::<Docker>(),
    ComponentDef::of::<File>(),
    ComponentDef::of::<Http>(),
    ComponentDef::of::<Process>(),
    ComponentDef::pure::<Relabel>(),
];

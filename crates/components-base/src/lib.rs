//! Components that bring contents into a configuration: from files and from HTTP servers.
//!
//! What others refer to is there when their arguments are evaluated: the first content is read while the
//! component is built, as configurations compute with it (`encoding.from_json(local.file.x.content)`) while
//! they are loaded.

mod local;
mod remote;

use component::ComponentDef;
pub use local::{File as LocalFile, FileMatch};
pub use remote::Http as RemoteHttp;

/// The family.
pub static COMPONENTS: &[ComponentDef] =
    &[ComponentDef::of::<LocalFile>(), ComponentDef::of::<FileMatch>(), ComponentDef::of::<RemoteHttp>()];

//! The `pyroscope.*` components; the folder of each is the path of its name.
//!
//! What flows between them is [`signal::Profiles`]: label sets and bodies that are forwarded as they were received.

use component::ComponentDef;

pub mod scrape;
pub mod write;

/// The components of this family.
pub const COMPONENTS: &[ComponentDef] =
    &[ComponentDef::of::<scrape::Scrape>(), ComponentDef::of::<write::Write>()];

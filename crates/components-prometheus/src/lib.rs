//! The `prometheus.*` components besides exporters; the folder of each is the path of its name.

use component::ComponentDef;

pub mod echo;
pub mod receive_http;
pub mod relabel;
pub mod remote_write;
pub mod scrape;

/// Lists of series above this length are worked on where they hold up no other task.
const MANY_SERIES: usize = 10_000;

/// The components of this family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::of::<echo::Echo>(),
    ComponentDef::of::<receive_http::ReceiveHttp>(),
    ComponentDef::of::<relabel::Relabel>(),
    ComponentDef::of::<remote_write::RemoteWrite>(),
    ComponentDef::of::<scrape::Scrape>(),
];

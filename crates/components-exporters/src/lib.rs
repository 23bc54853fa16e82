//! `prometheus.exporter.*`: exporters that run inside the program, where others ship separate processes.
//!
//! Invariant: an exporter is a page of metrics below its component's path and a target that leads there;
//! scraping it is `prometheus.scrape`'s affair.

use component::ComponentDef;

mod page;
pub mod self_;
pub mod static_;
pub mod text;
pub mod unix;

pub use page::ExporterExports;

/// The components of this family.
pub static COMPONENTS: &[ComponentDef] = &[
    ComponentDef::pure::<self_::SelfExporter>(),
    ComponentDef::pure::<static_::Static>(),
    ComponentDef::pure::<unix::Unix>(),
];

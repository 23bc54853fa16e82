//! All components of the program, and the reference that is generated from their schemas.
//!
//! One line a family; the runtime and the binary know components only through [`all`].

mod reference;

use component::Registry;
pub use reference::{Page, component_table, index, pages, schema};

/// Every component of every family.
pub fn all() -> Registry {
    Registry::new(&[
        components_base::COMPONENTS,
        components_discovery::COMPONENTS,
        components_exporters::COMPONENTS,
        components_loki::COMPONENTS,
        components_otelcol::COMPONENTS,
        components_prometheus::COMPONENTS,
        components_pyroscope::COMPONENTS,
    ])
    .without(components_pyroscope::ABSENT)
}

//! components-exporters

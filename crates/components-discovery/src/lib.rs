//! components-discovery

//! components-base

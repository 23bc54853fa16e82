//! components-prometheus

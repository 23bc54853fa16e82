//! Tests of the component.

//! The `faro.*` components: what web pages tell of themselves.

pub mod receiver;

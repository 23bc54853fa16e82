//! `loki.process`.

pub mod go_time;
pub mod logql;
pub mod template;

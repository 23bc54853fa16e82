//! Exporters that run inside the program: what others ship as separate `*_exporter` processes.

pub mod text;
pub mod unix;

//! Codecs between bytes on the wire and [`signal`]: metrics exposition, remote write, logs as
//! their senders write them (Loki's push, syslog, GELF, Firehose, container logs), OTLP, Pyroscope's two
//! protocols, compression.
//!
//! Pure functions and reusable buffers: nothing here opens a socket, reads a clock or starts a task, and
//! no input, however hostile, panics or allocates more than a bound that follows from its own size or
//! from a limit that the caller gives.

pub mod compress;
pub mod docker;
pub mod exposition;
pub mod faro;
pub mod firehose;
pub mod gelf;
pub mod jaeger;
pub mod json;
pub mod logfmt;
pub mod loki;
mod native;
pub mod otlp;
pub mod pprof;
pub mod proto;
pub mod pyroscope;
pub mod remote_write;
pub mod spans;
pub mod syslog;
pub mod thrift;
pub mod zipkin;

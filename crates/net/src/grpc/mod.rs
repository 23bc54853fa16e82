//! gRPC with unary calls over raw message bytes; what a message says is not known here.
//!
//! A message travels as one byte that tells whether it is compressed, its length in four, and itself. The
//! outcome comes after the answer, in trailers, or in the headers where there is no answer.
//! Invariant: a length that a peer claims is believed only up to the limit of the call.

mod server;
mod status;

pub use server::{Call, Finished, Limits, Service, handler};
pub use status::{Code, Status};

/// Bytes in front of a message.
pub const PREFIX: usize = 5;

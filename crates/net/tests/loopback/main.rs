//! Clients and servers against each other and against hand-made peers, on loopback with port 0.

#![expect(clippy::unwrap_used, reason = "all of this is tests; helpers are not seen as such")]

mod auth;
mod channel;
mod client;
mod grpc;
mod proxy;
mod reuse;
mod server;
mod sign;
mod support;
mod tls;

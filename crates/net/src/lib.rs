//! HTTP clients and servers with their arguments: TLS, credentials, proxies, limits, hand-over of listeners.
//!
//! The only crate that names a TLS provider. A component flattens [`args::HttpClientArgs`] into its
//! arguments and makes a [`Client`], or takes [`args::HttpServerArgs`] as a block and binds a [`Server`].
//! Invariants: making either does no I/O; every time and size has a finite limit; no secret is ever part of
//! a message.

pub mod args;
mod auth;
pub mod client;
pub mod connections;
mod credential;
pub mod datagrams;
pub mod digest;
pub mod docker;
mod error;
pub mod grpc;
mod headers;
pub mod kubernetes;
pub mod names;
pub mod oauth2;
pub mod proxy;
pub mod scrape;
pub mod server;
pub mod sign;
pub mod socket;
pub mod testkit;
mod tls;
mod token;

pub use client::{
    Client, ClientOptions, Poster, Request, Response, StandIn, StandInGuard, TraceHeaders, describe, stand_in,
};
pub use credential::Credential;
pub use error::{Error, Kind, post_url, shown_url};
pub use headers::{check_headers, request_header, request_headers};
pub use server::{Server, ServerOptions};
pub use tls::{ClientAuth, ServerStream, ServerTls, TlsExtras, install_provider};
pub use url::Url;

//! What configurations say about HTTP clients and servers: the argument structs that components flatten
//! into theirs or offer as blocks.
//!
//! Names, order and defaults are those of the reference; rules across attributes are in `validate`. A
//! struct that is flattened does not validate itself: its parent calls `validate`.

mod client;
mod server;
mod tls;

pub use client::{Authorization, BasicAuth, HttpClientArgs, OAuth2Args};
pub use server::{
    GrpcServerArgs, Http2Args, HttpServerArgs, ServerTlsArgs, ServiceAuth, ServiceBasicAuth, ServiceFilter,
    ServiceHttpArgs, ServiceTlsArgs, WindowsCertificateClient, WindowsCertificateFilter,
    WindowsCertificateServer,
};
pub use tls::{TlsConfigArgs, TlsVersion};

pub(crate) use client::ProxyFields;

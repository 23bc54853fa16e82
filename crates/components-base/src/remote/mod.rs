//! `remote.*`: what is somewhere else.

mod http;

pub use http::Http;

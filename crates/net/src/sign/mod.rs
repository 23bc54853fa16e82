//! What signs a request as the last thing before it goes out: AWS, Azure and Google.
//!
//! Invariant: nothing is fetched or read before the first request; tokens and credentials are kept until
//! shortly before they end.

mod aws;
mod azure;
mod google;
pub mod jwt;
mod profile;
mod sigv4;

use std::sync::Arc;

use bytes::Bytes;
use component::BoxFuture;
use http::{HeaderMap, Method};
use url::Url;

use crate::error::Error;

pub use aws::{AwsEnvironment, SigV4, SigV4Args, SigV4Extras};
pub use azure::{
    AzureAd, AzureAdArgs, AzureEndpoints, AzureManagedIdentity, AzureOAuth, AzureSdk, AzureWorkloadIdentity,
};
pub use google::{GoogleEndpoints, GoogleIam, GoogleIamArgs};

/// Reads one environment variable; a table in tests.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Reads any text as a shared file of AWS; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(text: &str, section: &str, key: &str) {
    profile::read_arbitrary(text, section, key);
}

/// A request as it is about to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Where to, without user and password.
    pub url: Url,
    /// All headers but those that the connection adds.
    pub headers: HeaderMap,
    /// The body as it is sent.
    pub body: Bytes,
}

/// Signs requests.
pub trait Sign: Send + Sync + 'static {
    /// Adds what the receiver wants to see.
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), Error>>;
}

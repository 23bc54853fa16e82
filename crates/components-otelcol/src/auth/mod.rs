//! `otelcol.auth.*`: who a client says it is, and whom a server believes.
//!
//! Each exports a `handler`, which exporters take as `auth` to sign their requests and receivers to check those
//! that they get. Invariants: secrets in files are read anew for every use; a check takes as long for a wrong
//! secret as for the right one.

pub mod basic;
pub mod bearer;
pub mod headers;
pub mod oauth2;
pub mod sigv4;

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use component::BoxFuture;
use component::Exports;
use component::eval::{ArgValue, Capsule, CapsuleType, Value, ValueError, capsule_from_value};
use http::{HeaderMap, HeaderName, HeaderValue};
use net::sign::{Outgoing, Sign};
use signal::otlp::ClientMetadata;

use crate::storage::file::Folder;

const TYPE: &str = "otelcol.Handler";

/// What every `otelcol.auth` component exports.
#[derive(Clone, Debug, PartialEq, Exports)]
pub struct AuthExports {
    /// For `auth` of exporters and receivers.
    pub handler: Handler,
}

/// The export `handler`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handler {
    owner: String,
    scheme: Option<Arc<Scheme>>,
}

/// What is behind a handler.
#[derive(Clone, Debug, PartialEq)]
enum Scheme {
    Basic(basic::Args),
    Bearer(bearer::Args),
    Headers(headers::Args),
    OAuth2(Box<oauth2::Args>),
    SigV4(sigv4::Args),
    /// Not an identity at all: `otelcol.storage.file` exports its folder under the same type.
    Storage(Folder),
}

/// Why a server turns a request away. The texts tell nothing that helps to guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credentials, or wrong ones: 401 or UNAUTHENTICATED.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The check itself does not work (a file that cannot be read): 500 or INTERNAL.
    #[error("{0}")]
    Broken(String),
}

impl Handler {
    fn new(owner: &str, scheme: Scheme) -> Self {
        Self { owner: owner.to_owned(), scheme: Some(Arc::new(scheme)) }
    }

    /// Global ID of the component behind it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether a client can do something with it.
    pub fn is_for_clients(&self) -> bool {
        match self.scheme.as_deref() {
            Some(Scheme::Basic(args)) => args.client().is_some(),
            Some(Scheme::Bearer(_) | Scheme::Headers(_) | Scheme::OAuth2(_) | Scheme::SigV4(_)) => true,
            Some(Scheme::Storage(_)) | None => false,
        }
    }

    /// Whether calls of gRPC can be signed: their bodies are not known when they begin.
    pub fn is_for_calls(&self) -> bool {
        self.is_for_clients() && !matches!(self.scheme.as_deref(), Some(Scheme::SigV4(_)))
    }

    /// Whether a server can do something with it.
    pub fn is_for_servers(&self) -> bool {
        match self.scheme.as_deref() {
            Some(Scheme::Basic(args)) => args.htpasswd.is_some() || !args.username.is_empty(),
            Some(Scheme::Bearer(_)) => true,
            _ => false,
        }
    }

    /// That of an `otelcol.storage` component.
    pub(crate) fn storage(owner: &str, folder: Folder) -> Self {
        Self::new(owner, Scheme::Storage(folder))
    }

    /// The folder behind the handler of an `otelcol.storage` component.
    pub fn folder(&self) -> Option<&Folder> {
        match self.scheme.as_deref() {
            Some(Scheme::Storage(folder)) => Some(folder),
            _ => None,
        }
    }

    /// Signs requests of a client.
    pub fn signer(&self) -> Arc<dyn Sign> {
        let keeping = match self.scheme.as_deref() {
            Some(Scheme::OAuth2(args)) => args.signer(),
            Some(Scheme::SigV4(args)) => args.signer(),
            _ => None,
        };
        keeping.unwrap_or_else(|| Arc::new(Signer(self.clone())))
    }

    /// The headers that come from the client whose data is sent on. They travel with the data through the queue.
    ///
    /// # Errors
    /// If it is not clear which of several values is meant.
    pub fn client_headers(
        &self,
        client: Option<&ClientMetadata>,
    ) -> Result<Vec<(HeaderName, String)>, String> {
        match (self.scheme.as_deref(), client) {
            (Some(Scheme::Headers(args)), Some(client)) => args.client_headers(client),
            _ => Ok(Vec::new()),
        }
    }

    /// Puts the headers that travelled with the data into a request.
    pub fn apply_from_client(&self, values: &[(HeaderName, HeaderValue)], into: &mut HeaderMap) {
        if let Some(Scheme::Headers(args)) = self.scheme.as_deref() {
            args.apply(values, into);
        }
    }

    /// The check of a server. gRPC metadata are headers as well.
    ///
    /// # Errors
    /// If the request is not to be served.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self.scheme.as_deref() {
            Some(Scheme::Basic(args)) => args.check(headers).await,
            Some(Scheme::Bearer(args)) => args.check(headers),
            _ => Err(Denied::Broken(format!("{} cannot check requests of clients", self.owner))),
        }
    }
}

struct Signer(Handler);

impl Sign for Signer {
    fn sign<'a>(&'a self, request: &'a mut Outgoing) -> BoxFuture<'a, Result<(), net::Error>> {
        Box::pin(async move {
            match self.0.scheme.as_deref() {
                Some(Scheme::Basic(args)) => args.sign(&mut request.headers).await,
                Some(Scheme::Bearer(args)) => args.sign(&mut request.headers),
                Some(Scheme::Headers(args)) => args.sign(&mut request.headers),
                Some(Scheme::OAuth2(_) | Scheme::SigV4(_)) => {
                    Err(net::Error::config(format!("{} cannot sign requests", self.0.owner)))
                }
                Some(Scheme::Storage(_)) | None => Ok(()),
            }
        })
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

fn secret_header(name: &HeaderName, text: &str) -> Result<HeaderValue, net::Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        net::Error::config(format!("the value of header {name} has characters that a header cannot have"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl CapsuleType for Handler {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> String {
        format!("capsule({TYPE:?})")
    }
}

impl ArgValue for Handler {
    const IS_CAPSULE: bool = true;

    fn type_name() -> Cow<'static, str> {
        TYPE.into()
    }

    fn code_type() -> Cow<'static, str> {
        "capsule(otelcol.Handler)".into()
    }

    fn zero() -> Self {
        Self::default()
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        capsule_from_value(value, TYPE)
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

#[cfg(test)]
mod tests;

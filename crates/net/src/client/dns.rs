//! Name resolution for connections: the system's, with the order and the name under our control.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver.
#[derive(Clone, Debug, Default)]
pub(super) struct SystemDns {
    /// Gives only one address, chosen at random.
    pub(super) round_robin: bool,
    /// Looks up this name instead of the one asked for: the URL carries the TLS name then.
    pub(super) instead: Option<Arc<str>>,
}

/// A name that could not be resolved; found in the chain of causes of a failed request.
#[derive(Debug)]
pub(super) struct Unresolved(pub(super) String);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unresolved {}

impl SystemDns {
    /// The addresses of a name, in the order in which they are to be tried; at least one.
    pub(super) fn addresses(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, Unresolved>> + Send + use<> {
        let host = self.instead.as_deref().unwrap_or(name).to_owned();
        let round_robin = self.round_robin;
        async move {
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let mut found: Vec<_> = tokio::net::lookup_host((bare, 0))
                .await
                .map_err(|e| Unresolved(format!("{host} cannot be resolved: {e}")))?
                .collect();
            if found.is_empty() {
                return Err(Unresolved(format!("{host} has no address")));
            }
            if round_robin {
                found = vec![found[fastrand::usize(..found.len())]];
            }
            Ok(found)
        }
    }
}

impl Resolve for SystemDns {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.addresses(name.as_str());
        Box::pin(async move { Ok(Box::new(found.await?.into_iter()) as Addrs) })
    }
}

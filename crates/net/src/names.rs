//! The names of the machines that send, as reverse DNS gives them.
//!
//! As Go's `net.LookupAddr`: the hosts file first; several names are joined with commas; a name with a dot in it
//! ends with one. Invariant: looking up takes a second at most, for datagrams a second a batch, so that who sends from
//! ever new addresses does not hold up the others; what is not found is remembered like the rest.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData};
use quick_cache::sync::Cache;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long a lookup may take; for datagrams, all those of a batch.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long its answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Looks names up.
pub struct Names {
    resolver: OnceCell<Option<TokioResolver>>,
    known: Option<Cache<IpAddr, (Instant, Arc<str>)>>,
}

impl Names {
    /// Remembers so many; 0 for none.
    pub fn new(remembered: usize) -> Self {
        Self { resolver: OnceCell::new(), known: (remembered > 0).then(|| Cache::new(remembered)) }
    }

    /// The names of an address; empty where there are none, or none is found until `deadline`.
    pub async fn of(&self, address: IpAddr, deadline: Instant) -> Arc<str> {
        if let Some(known) = &self.known
            && let Some((at, names)) = known.get(&address)
            && at.elapsed() < REMEMBERED
        {
            return names;
        }
        if deadline <= Instant::now() {
            // Not remembered: it has not been asked for.
            return "".into();
        }
        let found = tokio::time::timeout_at(deadline, self.look(address)).await.unwrap_or_default();
        let names: Arc<str> = found.into();
        if let Some(known) = &self.known {
            known.insert(address, (Instant::now(), names.clone()));
        }
        names
    }

    async fn look(&self, address: IpAddr) -> String {
        let resolver = self.resolver.get_or_init(|| async {
            let made = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            made.map_err(|error| tracing::warn!(%error, "the machine's DNS setup cannot be used")).ok()
        });
        let Some(resolver) = resolver.await else { return String::new() };
        let Ok(found) = resolver.reverse_lookup(Name::from(address)).await else { return String::new() };
        let names = found.answers().iter().filter_map(|record| match &record.data {
            RData::PTR(name) => Some(as_go(&name.0.to_utf8())),
            _ => None,
        });
        names.collect::<Vec<_>>().join(",")
    }
}

fn as_go(name: &str) -> String {
    let bare = name.trim_end_matches('.');
    if bare.contains('.') { format!("{bare}.") } else { bare.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_domain_end_with_a_dot() {
        for (name, expected) in [("localhost.", "localhost"), ("a.example.", "a.example."), ("a.b", "a.b.")] {
            assert_eq!(as_go(name), expected);
        }
    }

    #[tokio::test]
    async fn an_answer_is_remembered() {
        let names = Names::new(10);
        let address: IpAddr = "127.0.0.1".parse().expect("an address");
        let soon = Instant::now() + PATIENCE;
        let first = names.of(address, soon).await;
        assert!(Arc::ptr_eq(&first, &names.of(address, soon).await));
        let other: IpAddr = "127.0.0.2".parse().expect("an address");
        assert_eq!(&*names.of(other, Instant::now()).await, "", "no time is left to ask");
    }
}

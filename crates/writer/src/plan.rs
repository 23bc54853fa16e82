//! What every endpoint's plan begins with: its key, and where its queue is on disk.

use std::path::{Path, PathBuf};

use component::eval::Size;
use delivery::{DiskConfig, Plan};
use xxhash_rust::xxh64::xxh64;

use crate::Fsync;

/// A name that stays the same while an endpoint is the same back end: of its name, or of its URL where it has none.
/// A second one of the same is numbered.
fn key(name: &str, url: &str, taken: impl Fn(&str) -> bool) -> String {
    let identity = if name.is_empty() { url } else { name };
    let plain = format!("{:016x}", xxh64(identity.as_bytes(), 0));
    let twins = (1..).map(|n| format!("{plain}-{n}"));
    let key = std::iter::once(plain.clone()).chain(twins).find(|key| !taken(key));
    key.expect("numbers do not end")
}

/// A plan for each endpoint, in their order, made with a key that no other has. `identity` gives an endpoint's name and
/// URL.
///
/// # Errors
/// The first that a plan cannot be made for.
pub fn plans<E, P: Plan, X>(
    endpoints: &[E],
    identity: impl for<'a> Fn(&'a E) -> (&'a str, &'a str),
    plan: impl Fn(&E, String) -> Result<P, X>,
) -> Result<Vec<P>, X> {
    let mut plans: Vec<P> = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let (name, url) = identity(endpoint);
        let key = key(name, url, |key| plans.iter().any(|plan| plan.key() == key));
        plans.push(plan(endpoint, key)?);
    }
    Ok(plans)
}

/// The disk of an endpoint's queue, below the component's data path.
pub fn disk(data_path: &Path, key: &str, max_size: Size, fsync: Fsync) -> DiskConfig {
    DiskConfig { max_bytes: max_size.0, fsync: fsync.into(), ..DiskConfig::new(folder(data_path, key)) }
}

/// Where an endpoint's queue lives below the component's data path.
fn folder(data_path: &Path, key: &str) -> PathBuf {
    data_path.join("queue").join(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Bare(String);

    impl Plan for Bare {
        fn key(&self) -> &str {
            &self.0
        }

        fn name(&self) -> &str {
            &self.0
        }

        fn on_disk(&self) -> bool {
            false
        }
    }

    #[test]
    fn keys_follow_the_name_and_twins_are_numbered() {
        let first = key("", "http://a/", |_| false);
        assert_eq!(first, key("http://a/", "http://b/", |_| false));
        assert_eq!(key("", "http://a/", |key| key == first), format!("{first}-1"));
        assert_eq!(key("", "http://a/", |key| !key.ends_with("-2")), format!("{first}-2"));
    }

    #[test]
    fn each_endpoint_has_a_key_of_its_own_and_a_folder_of_that_name() {
        let endpoints = [("", "http://a/"), ("b", "http://a/"), ("", "http://a/")];
        let made = plans(&endpoints, |e| *e, |_, key| Ok::<_, ()>(Bare(key))).expect("made");
        let keys: Vec<_> = made.iter().map(|plan| plan.key().to_owned()).collect();
        assert_eq!(keys[2], format!("{}-1", keys[0]));
        assert!(keys[1] != keys[0] && keys[1] == key("b", "", |_| false));
        assert!(plans(&endpoints, |e| *e, |_, _| Err::<Bare, _>("no")).is_err());
        let disk = disk(Path::new("/data"), &keys[0], Size(7), Fsync::Never);
        assert_eq!((disk.max_bytes, disk.path), (7, Path::new("/data/queue").join(&keys[0])));
    }
}

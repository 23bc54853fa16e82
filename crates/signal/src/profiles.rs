//! A batch of profiles, as it travels from scrapers and receivers to writers.
//!
//! A batch is shared and copied on write: cloning it is a reference count. A profile has a label set and a body that
//! nobody on the way looks into: the bytes are those that the program under profile sent. Two kinds travel, as their
//! clients speak two protocols: a pprof sample of the Push API, and a request to `/ingest` in whatever format it has.
//! Invariant: a body is never changed; components on the way change labels only.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::labels::Labels;

/// The label by which Pyroscope groups profiles: the name of the program.
pub const SERVICE_NAME: &str = "service_name";
/// `false` says that a profile's values are not to be made differences of by the back end: they are already.
pub const DELTA: &str = "__delta__";

/// A shared batch of profiles.
#[derive(Clone, Debug, Default)]
pub struct Profiles(Arc<ProfileBatch>);

/// What a batch holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileBatch {
    /// The profiles, in the order in which they are to be sent.
    pub items: SmallVec<[Profile; 1]>,
    /// When they were taken in, Unix milliseconds; 0 where nobody has noted it.
    pub received_ms: i64,
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What it is of. `__name__` is the type of a pprof sample (`process_cpu`) and the name of the application of a
    /// request to `/ingest`.
    pub labels: Labels,
    /// The profile itself.
    pub body: ProfileBody,
}

/// A profile's bytes, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileBody {
    /// A sample of the Push API, or what a scrape has fetched.
    Pprof(Pprof),
    /// A request to `/ingest`.
    Ingest(Ingest),
}

/// A profile in pprof's format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pprof {
    /// The sender's ID of the profile; empty where it has given none.
    pub id: ByteString,
    /// The message `perftools.profiles.Profile`, compressed with gzip or not.
    pub raw: Bytes,
}

/// What the old API of Pyroscope, which its SDKs speak, is asked to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// The parameters of the query but for `name`, which is the labels: `from`, `until`, `sampleRate`, `spyName`,
    /// `units`, `aggregationType`, `format` and whatever else the client has given, decoded, in its order.
    pub parameters: Arc<[(ByteString, ByteString)]>,
    /// `Content-Type` of the body; empty where there is none.
    pub content_type: ByteString,
    /// `Content-Encoding` of the body; empty where there is none.
    pub content_encoding: ByteString,
    /// The body.
    pub raw: Bytes,
}

impl Ingest {
    /// The value of a parameter of the query; the first where there are several.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| *n == name).map(|(_, value)| &**value)
    }
}

impl Profile {
    /// A sample of the Push API.
    pub fn pprof(labels: Labels, raw: impl Into<Bytes>) -> Self {
        Self { labels, body: ProfileBody::Pprof(Pprof { id: ByteString::new(), raw: raw.into() }) }
    }

    /// The bytes of the body.
    pub fn raw(&self) -> &Bytes {
        match &self.body {
            ProfileBody::Pprof(pprof) => &pprof.raw,
            ProfileBody::Ingest(ingest) => &ingest.raw,
        }
    }
}

impl ProfileBatch {
    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.items.iter().map(|profile| profile.raw().len()).sum()
    }
}

impl Profiles {
    /// A batch of profiles that were taken in at a time, Unix milliseconds.
    pub fn new(items: impl IntoIterator<Item = Profile>, received_ms: i64) -> Self {
        ProfileBatch { items: items.into_iter().collect(), received_ms }.into()
    }

    /// For changing: copies (labels and handles, no bodies) only if somebody else holds the batch too.
    pub fn make_mut(&mut self) -> &mut ProfileBatch {
        Arc::make_mut(&mut self.0)
    }

    /// The batch itself; copied as by [`Profiles::make_mut`].
    pub fn into_batch(self) -> ProfileBatch {
        Arc::unwrap_or_clone(self.0)
    }

    /// Number of profiles.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has no profiles.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl std::ops::Deref for Profiles {
    type Target = ProfileBatch;
    fn deref(&self) -> &ProfileBatch {
        &self.0
    }
}

impl From<ProfileBatch> for Profiles {
    fn from(batch: ProfileBatch) -> Self {
        Self(Arc::new(batch))
    }
}

impl From<Profile> for Profiles {
    fn from(profile: Profile) -> Self {
        Self::new([profile], 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile::pprof(Labels::from_pairs([("service_name", "a")]), Bytes::from(vec![1, 2, 3]))
    }

    #[test]
    fn changing_the_labels_of_a_shared_batch_leaves_the_other_as_it_was_and_copies_no_body() {
        let first = Profiles::from(profile());
        let mut second = first.clone();
        second.make_mut().items[0].labels = Labels::empty();
        assert_eq!(first.items[0].labels.get(SERVICE_NAME), Some("a"));
        assert_eq!(second.items[0].raw().as_ptr(), first.items[0].raw().as_ptr());
        assert_eq!((second.len(), second.bytes()), (1, 3));
    }

    #[test]
    fn a_parameter_given_twice_counts_as_it_was_given_first() {
        let parameters = [("from", "1"), ("from", "2"), ("x", "")].map(|(n, v)| (n.into(), v.into()));
        let ingest = Ingest {
            parameters: parameters.into(),
            content_type: ByteString::new(),
            content_encoding: ByteString::new(),
            raw: Bytes::new(),
        };
        assert_eq!(ingest.parameter("from"), Some("1"));
        assert_eq!((ingest.parameter("x"), ingest.parameter("until")), (Some(""), None));
    }
}

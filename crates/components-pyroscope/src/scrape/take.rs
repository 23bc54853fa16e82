//! What becomes of an answer: the profile as it came, or what is new in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use net::scrape::Page;
use wire::pprof::{self, Delta, Kind, Outcome, Scratch, sniff, unpack};

/// Largest profile as it comes. Tests that reach the limit reach it sooner.
pub(super) const BODY_LIMIT: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Largest profile unpacked; only those that are compared are.
pub(super) const UNPACKED_LIMIT: usize = 4 * BODY_LIMIT;
/// The most that buffers keep for the next scrape.
const SPARE_BYTES: usize = 8 << 20;

/// What a scrape needs of memory besides its profile; to be used again.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) page: Page,
    unpacked: Vec<u8>,
    written: Vec<u8>,
    scratch: Scratch,
}

impl Buffers {
    /// Empties them; very large ones are given back.
    pub(super) fn clear(&mut self) {
        self.page.clear();
        for buffer in [&mut self.unpacked, &mut self.written] {
            buffer.clear();
            if buffer.capacity() > SPARE_BYTES {
                *buffer = Vec::new();
            }
        }
        if self.scratch.capacity() > SPARE_BYTES {
            self.scratch = Scratch::default();
        }
    }
}

/// What there is to send.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// The profile, packed or not, as the target sent it.
    Whole(Bytes),
    /// What is new in it, packed. The comparison is settled once this is taken.
    Difference(Bytes),
    /// Nothing: the first cumulative profile of a target, or one in which nothing is new.
    Nothing,
}

/// Makes of an answer what there is to send. `delta` is what is remembered of a profile that only grows.
///
/// # Errors
/// Why it is no profile, in words for the user.
pub(super) fn take(buffers: &mut Buffers, delta: Option<&mut Delta>) -> Result<Taken, String> {
    let body = &buffers.page.body;
    sniff(body)?;
    let Some(delta) = delta else { return Ok(Taken::Whole(Bytes::copy_from_slice(body))) };
    let Buffers { page, unpacked, written, scratch } = buffers;
    let compared = catch_unwind(AssertUnwindSafe(|| {
        let profile = unpack(&page.body, UNPACKED_LIMIT, unpacked)?;
        written.clear();
        delta.compare(profile, scratch, written)
    }));
    let Ok(compared) = compared else {
        // What is remembered may be half changed.
        *delta = Delta::new(delta.kind());
        *buffers = Buffers::default();
        return Err("comparing the profile with the last one panicked: please report it".to_owned());
    };
    match compared.map_err(|error| error.to_string())? {
        Outcome::Plain => Ok(Taken::Whole(Bytes::copy_from_slice(&page.body))),
        Outcome::First | Outcome::Empty => {
            delta.settle();
            Ok(Taken::Nothing)
        }
        Outcome::Written { restarted } => {
            if restarted {
                tracing::debug!(
                    "the values of a cumulative profile have fallen: the program was started anew"
                );
            }
            let mut packed = std::mem::take(unpacked);
            packed.clear();
            pprof::pack(written, &mut packed);
            let difference = Bytes::copy_from_slice(&packed);
            *unpacked = packed;
            Ok(Taken::Difference(difference))
        }
    }
}

/// What is remembered at the beginning.
pub(super) fn remembered(kind: Option<Kind>) -> Option<Delta> {
    kind.map(Delta::new)
}

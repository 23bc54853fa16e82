//! Memory for what is sent.
//!
//! A body is made by one thread and, when it has been sent, let go by another, as a rule. An allocator gives such memory
//! to the thread that asked for it, when that has used up all that it has of the size; and as a body is about as long as
//! the template that it is made of, it leaves holes between those, which stay. So it comes back here.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

/// Bodies whose memory is kept, and the most bytes of one.
const SPARE: usize = 4;
const SPARE_BYTES: usize = 1 << 20;
/// Shorter ones are not worth it.
const SHORT: usize = 4 << 10;

/// Memory of bodies that are gone.
#[derive(Default)]
pub(super) struct Bodies(Arc<Mutex<Spare>>);

#[derive(Default)]
struct Spare {
    memory: Vec<Vec<u8>>,
    /// Some was taken since the last sweep.
    used: bool,
}

impl Bodies {
    /// A copy, in memory of a body of about that length if there is any.
    pub(super) fn copy(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() < SHORT {
            return Bytes::copy_from_slice(bytes);
        }
        let mut memory = self.take(bytes.len());
        memory.extend_from_slice(bytes);
        Bytes::from_owner(Body { memory, home: Arc::downgrade(&self.0) })
    }

    /// Empty memory with room for so many bytes and not for many times as much: a queue in memory counts lengths.
    fn take(&self, len: usize) -> Vec<u8> {
        // The next body is a little longer or shorter.
        let room = len + len / 16;
        let fits = |memory: &Vec<u8>| (len..=room + room / 4).contains(&memory.capacity());
        let found = {
            let mut spare = self.0.lock();
            spare.used = true;
            let at = spare.memory.iter().position(fits);
            at.map(|at| spare.memory.remove(at))
        };
        found.unwrap_or_else(|| Vec::with_capacity(room))
    }

    /// Gives memory back that nobody has asked for since the last time.
    pub(super) fn sweep(&self) {
        let mut spare = self.0.lock();
        if !std::mem::take(&mut spare.used) {
            spare.memory = Vec::new();
        }
    }
}

/// A body in use.
struct Body {
    memory: Vec<u8>,
    home: Weak<Mutex<Spare>>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade().filter(|_| self.memory.capacity() <= SPARE_BYTES) else {
            return;
        };
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        let mut spare = home.lock();
        // The one that has been of no use for longest goes, lest all come to be of a length that nobody needs.
        let useless = (spare.memory.len() == SPARE).then(|| spare.memory.remove(0));
        spare.memory.push(memory);
        drop(spare);
        drop(useless);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(bodies: &Bodies) -> Vec<usize> {
        bodies.0.lock().memory.iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_body_comes_into_the_memory_of_one_that_is_gone_if_that_is_about_as_long() {
        let bodies = Bodies::default();
        let first = bodies.copy(&[1; 40_000]);
        let place = first.as_ptr();
        assert_eq!((first.len(), spare(&bodies)), (40_000, vec![]));
        drop(first.slice(12..));
        assert!(spare(&bodies).is_empty(), "a part of it is still in use");
        drop(first);
        assert_eq!(spare(&bodies), [42_500]);
        for len in [20_000, 60_000] {
            assert_ne!(bodies.copy(&vec![2; len]).as_ptr(), place, "{len}");
        }
        let next = bodies.copy(&[3; 42_000]);
        assert_eq!((next.as_ptr(), &next[..]), (place, &[3; 42_000][..]));
    }

    #[test]
    fn little_is_kept_and_nothing_that_nobody_needs() {
        let bodies = Bodies::default();
        let many: Vec<Bytes> = (1..=6).map(|n| bodies.copy(&vec![0; n * 10_000])).collect();
        let (short, large) = (bodies.copy(&[0; SHORT - 1]), bodies.copy(&vec![0; SPARE_BYTES]));
        drop((many, short, large));
        assert_eq!(spare(&bodies), [31_875, 42_500, 53_125, 63_750]);
        bodies.sweep();
        assert_eq!(spare(&bodies).len(), 4, "some was asked for since the last time");
        bodies.sweep();
        assert!(spare(&bodies).is_empty());
        let outlives = bodies.copy(&[7; 10_000]);
        drop(bodies);
        assert_eq!(outlives, [7; 10_000].as_slice());
    }
}

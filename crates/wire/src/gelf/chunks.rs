//! Messages that come in several datagrams.
//!
//! A chunk: two magic bytes, eight of the message's ID, its number, how many there are. Invariants: messages
//! under way are bounded in number, bytes and age; what does not become whole in time is given up and counted.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;

use super::{CHUNK, GelfError};

/// Chunks of a message, as the format limits them.
const MAX_CHUNKS: u8 = 128;
/// How long a message may take to become whole, as the format says.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Messages under way at one time.
const MAX_MESSAGES: usize = 4096;
/// Bytes of all chunks that are kept.
const MAX_BYTES: usize = 64 << 20;
/// Magic bytes, ID, number, count.
const HEADER: usize = 12;

/// Who sent a message and which of theirs it is.
type Id = (IpAddr, [u8; 8]);

/// Puts messages together.
#[derive(Debug, Default)]
pub struct Chunks {
    messages: HashMap<Id, Partial, foldhash::fast::RandomState>,
    /// In the order in which messages began; some are whole already.
    order: VecDeque<(Duration, Id)>,
    bytes: usize,
    given_up: u64,
}

#[derive(Debug)]
struct Partial {
    begun: Duration,
    parts: Vec<Option<Bytes>>,
    missing: usize,
}

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// A message as a whole, still compressed.
    Message(Bytes),
    /// A part of one; more is to come.
    Part,
}

impl Chunks {
    /// Takes a datagram. `now` is any clock that does not go back.
    ///
    /// # Errors
    /// If it is a chunk that cannot belong to a message.
    pub fn take(&mut self, from: IpAddr, datagram: Bytes, now: Duration) -> Result<Assembled, GelfError> {
        self.forget(now);
        if !datagram.starts_with(&CHUNK) {
            return Ok(Assembled::Message(datagram));
        }
        if datagram.len() <= HEADER {
            return Err(GelfError::Chunk("a chunk has no content"));
        }
        let id: [u8; 8] = datagram[2..10].try_into().expect("eight bytes");
        let (number, count) = (datagram[10], datagram[11]);
        if count == 0 || count > MAX_CHUNKS || number >= count {
            return Err(GelfError::Chunk("a chunk has a number that no chunk can have"));
        }
        let part = datagram.slice(HEADER..);
        let id = (from, id);
        let partial = self.messages.entry(id).or_insert_with(|| {
            self.order.push_back((now, id));
            Partial { begun: now, parts: vec![None; usize::from(count)], missing: usize::from(count) }
        });
        if partial.parts.len() != usize::from(count) {
            return Err(GelfError::Chunk("the chunks of a message do not agree on how many they are"));
        }
        let place = &mut partial.parts[usize::from(number)];
        if place.is_none() {
            self.bytes += part.len();
            partial.missing -= 1;
            // A copy: the buffer that datagrams are received into must not be kept for a part of one.
            *place = Some(Bytes::copy_from_slice(&part));
        }
        if partial.missing == 0 {
            return Ok(Assembled::Message(self.whole(&id)));
        }
        while self.messages.len() > MAX_MESSAGES
            || self.bytes > MAX_BYTES
            || self.order.len() > 2 * MAX_MESSAGES
        {
            self.give_up_oldest();
        }
        Ok(Assembled::Part)
    }

    /// How many messages were given up since this was asked last: they did not become whole in time, or there
    /// was no room.
    pub fn given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// Gives up what is too old.
    pub fn forget(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(begun, _)| now.saturating_sub(*begun) > MAX_AGE) {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        let Some((begun, id)) = self.order.pop_front() else { return };
        // It may be whole by now, and another of the same ID under way.
        if self.messages.get(&id).is_some_and(|partial| partial.begun == begun) {
            self.remove(&id);
            self.given_up += 1;
        }
    }

    fn whole(&mut self, id: &Id) -> Bytes {
        let parts = self.remove(id);
        let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }

    fn remove(&mut self, id: &Id) -> Vec<Bytes> {
        let parts: Vec<Bytes> =
            self.messages.remove(id).into_iter().flat_map(|partial| partial.parts).flatten().collect();
        self.bytes -= parts.iter().map(Bytes::len).sum::<usize>();
        // Most messages become whole at once: they leave nothing behind.
        if self.order.back().is_some_and(|(_, last)| last == id) {
            self.order.pop_back();
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn chunk(id: u64, number: u8, count: u8, part: &[u8]) -> Bytes {
        [&CHUNK[..], &id.to_be_bytes(), &[number, count], part].concat().into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn chunks_become_a_message_in_any_order_and_whoever_else_sends() {
        let mut chunks = Chunks::default();
        let other = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
        for (from, number, part) in [(FROM, 2, "c"), (other, 0, "x"), (FROM, 0, "a"), (FROM, 0, "again")] {
            let taken = chunks.take(from, chunk(7, number, 3, part.as_bytes()), at(0));
            assert_eq!(taken, Ok(Assembled::Part));
        }
        let taken = chunks.take(FROM, chunk(7, 1, 3, b"b"), at(1));
        assert_eq!(taken, Ok(Assembled::Message("abc".into())));
        let plain = Bytes::from_static(b"{}");
        assert_eq!(chunks.take(FROM, plain.clone(), at(1)), Ok(Assembled::Message(plain)));
        assert_eq!((chunks.messages.len(), chunks.bytes, chunks.given_up()), (1, 1, 0));
    }

    #[test]
    fn what_cannot_be_a_chunk_is_refused() {
        let mut chunks = Chunks::default();
        for (number, count, part) in [(0, 0, "a"), (3, 3, "a"), (0, 129, "a"), (0, 1, "")] {
            assert!(chunks.take(FROM, chunk(1, number, count, part.as_bytes()), at(0)).is_err());
        }
        assert_eq!(chunks.take(FROM, chunk(1, 0, 2, b"a"), at(0)), Ok(Assembled::Part));
        assert!(chunks.take(FROM, chunk(1, 1, 3, b"a"), at(0)).is_err());
        assert!(chunks.take(FROM, Bytes::from_static(&CHUNK), at(0)).is_err());
    }

    #[test]
    fn what_is_not_whole_in_time_is_given_up() {
        let mut chunks = Chunks::default();
        let _ = chunks.take(FROM, chunk(1, 0, 2, b"a"), at(0));
        let _ = chunks.take(FROM, chunk(2, 0, 2, b"a"), at(4));
        chunks.forget(at(6));
        assert_eq!((chunks.messages.len(), chunks.bytes, chunks.given_up()), (1, 1, 1));
        assert_eq!(chunks.take(FROM, chunk(1, 1, 2, b"b"), at(6)), Ok(Assembled::Part), "a new message");
        chunks.forget(at(60));
        assert_eq!(
            (chunks.messages.len(), chunks.bytes, chunks.given_up(), chunks.order.len()),
            (0, 0, 2, 0)
        );
    }

    #[test]
    fn a_flood_of_first_chunks_costs_no_more_than_the_limits() {
        let mut chunks = Chunks::default();
        for id in 0..2 * MAX_MESSAGES as u64 {
            let _ = chunks.take(FROM, chunk(id, 0, 2, b"a"), at(0));
        }
        assert_eq!((chunks.messages.len(), chunks.given_up()), (MAX_MESSAGES, MAX_MESSAGES as u64));
        let large = vec![0; 60_000];
        for id in 0..2000 {
            let _ = chunks.take(FROM, chunk(id, 1, 3, &large), at(1));
            assert!(chunks.bytes <= MAX_BYTES);
        }
        assert!(chunks.order.len() <= 2 * MAX_MESSAGES);
    }

    proptest! {
        #[test]
        fn any_datagrams_are_an_answer_and_never_a_panic(
            datagrams in proptest::collection::vec((0u64..3, any::<u8>(), 0u8..5, 0u64..10, proptest::collection::vec(any::<u8>(), 0..20)), 0..60)
        ) {
            let mut chunks = Chunks::default();
            let mut now = 0;
            for (id, number, count, later, part) in datagrams {
                now += later;
                let _ = chunks.take(FROM, part.clone().into(), at(now));
                let _ = chunks.take(FROM, chunk(id, number % 6, count, &part), at(now));
                let bytes: usize = chunks.messages.values().flat_map(|m| m.parts.iter().flatten()).map(Bytes::len).sum();
                prop_assert_eq!(bytes, chunks.bytes);
            }
        }
    }
}

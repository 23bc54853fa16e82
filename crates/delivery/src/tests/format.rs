//! Readers on bytes that nobody promised anything about.

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    Record,
    cursor::DoneSet,
    format::{FRAME_HEADER, Found, FrameHeader, SEGMENT_HEADER, Scan, SegmentHeader, decode_frame},
    recover::recover,
};

fn record(number: u64, len: usize) -> Record {
    let body = Bytes::from(vec![number as u8; len]);
    Record { body, items: 3, key: number % 4, group: 0, created_ms: 7, newest_ms: -1, kind: 2 }
}

/// A segment with records of the given lengths, and where each frame ends.
fn segment(first: u64, lens: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = SegmentHeader { salt: 0x5A17, first }.encode().to_vec();
    let mut ends = Vec::new();
    for (sequence, &len) in (first..).zip(lens) {
        let record = record(sequence, len);
        bytes.extend(FrameHeader::of(&record, sequence).encode(0x5A17));
        bytes.extend(&record.body);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn live(segments: Vec<(u64, Vec<u8>)>) -> Vec<u64> {
    let found = recover(None, segments.into_iter().map(|(first, bytes)| (first, Ok(bytes))));
    found.frames.iter().map(|frame| frame.header.sequence).collect()
}

#[test]
fn a_log_cut_at_every_byte_yields_every_whole_record_before_the_cut() {
    let (bytes, ends) = segment(10, &[5, 0, 100, 1]);
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
        let expected: Vec<u64> = (10..10 + whole).collect();
        assert_eq!(live(vec![(10, bytes[..cut].to_vec())]), expected, "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_costs_one_record_and_nothing_else() {
    let (bytes, ends) = segment(10, &[5, 0, 100, 1]);
    for at in SEGMENT_HEADER..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 0x40;
        let hit = ends.iter().filter(|end| **end <= at).count() as u64 + 10;
        let expected: Vec<u64> = (10..14).filter(|sequence| *sequence != hit).collect();
        assert_eq!(live(vec![(10, broken)]), expected, "flipped at {at}");
    }
}

#[test]
fn bytes_of_another_segment_inside_a_body_never_become_records() {
    let (inner, _) = segment(11, &[4, 4]);
    let body = Bytes::from(inner[SEGMENT_HEADER..].to_vec());
    let record = Record { body, ..record(10, 0) };
    let mut bytes = SegmentHeader { salt: 1, first: 10 }.encode().to_vec();
    bytes.extend(FrameHeader::of(&record, 10).encode(1));
    bytes.extend(&record.body);
    bytes[SEGMENT_HEADER] = 0;
    assert_eq!(live(vec![(10, bytes)]), [] as [u64; 0]);
}

#[test]
fn a_segment_under_the_wrong_name_is_set_aside_and_its_number_is_not_used_again() {
    let (bytes, _) = segment(10, &[5]);
    let found = recover(None, [(77, Ok(bytes))]);
    assert_eq!((found.unreadable, found.next_sequence, found.frames.len()), (vec![77], 77, 0));
}

#[test]
fn numbers_continue_above_the_cursor_even_if_the_log_lost_its_tail() {
    let mut done = DoneSet::below(12);
    done.insert(20, 30);
    let mut fs_cursor = crate::cursor::Cursor::new(done);
    let fs = super::fake_fs::FakeFs::new(1).process();
    fs_cursor.mark(&*fs, &[40]).unwrap();
    let cursor = crate::fs::Fs::read(&*fs, "cursor").unwrap();
    let (bytes, _) = segment(10, &[5, 5, 5]);
    let found = recover(Some(&cursor), [(10, Ok(bytes))]);
    assert_eq!(found.next_sequence, 41);
    assert_eq!(found.frames.iter().map(|frame| frame.header.sequence).collect::<Vec<_>>(), [12]);
    assert!(found.done.contains(11) && !found.done.contains(12) && found.done.contains(40));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_the_readers(
        cursor in prop::collection::vec(any::<u8>(), 0..300),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        salt: u64,
    ) {
        let _ = decode_frame(bytes.clone(), salt, 0);
        let mut with_header = SegmentHeader { salt, first: 3 }.encode().to_vec();
        with_header.extend(&bytes);
        let covered: usize = Scan::new(&with_header).unwrap().1.map(|found| match found {
            Found::Frame { header, .. } => FRAME_HEADER + header.len as usize,
            Found::Damage { len, .. } => len,
        }).sum();
        prop_assert_eq!(covered, bytes.len(), "every byte is accounted for");
        recover(Some(&cursor), [(0, Ok(bytes)), (3, Ok(with_header))]);
    }

    #[test]
    fn a_mangled_segment_yields_only_records_that_were_written(
        lens in prop::collection::vec(0usize..40, 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, _) = segment(10, &lens);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let Some((header, scan)) = Scan::new(&bytes) else { return Ok(()) };
        for found in scan {
            let Found::Frame { offset, header: frame } = found else { continue };
            let end = offset + FRAME_HEADER + frame.len as usize;
            let read = decode_frame(bytes[offset..end].to_vec(), header.salt, frame.sequence).unwrap();
            prop_assert_eq!(read, record(frame.sequence, lens[(frame.sequence - 10) as usize]));
        }
    }
}

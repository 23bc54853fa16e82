//! The difference of profiles against its decoded twin, and profiles that mean harm.

use proptest::prelude::*;
use prost::Message;

use super::twin::{Answer, Function, Label, Line, Location, Mapping, Profile, Sample, Twin, ValueType};
use super::*;

const MEMORY: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];
const CONTENTION: [(&str, &str); 2] = [("contentions", "count"), ("delay", "nanoseconds")];

/// Addresses of the frames that samples are made of; those of an interpreter have none and differ by their lines.
const ADDRESSES: [u64; 6] = [0x1000, 0x2000, 0x3000, 0, 0, u64::MAX];

/// A sample: frames, which labels, values.
type Item = (Vec<usize>, u8, Vec<i64>);

struct Strings(Vec<String>);

impl Strings {
    fn index(&mut self, text: &str) -> i64 {
        let found = self.0.iter().position(|t| t == text);
        found.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        }) as i64
    }
}

/// A profile as a runtime writes it; `shift` moves IDs and texts about, which must not matter.
fn profile(columns: &[(&str, &str)], items: &[Item], shift: u64, time_nanos: i64) -> Profile {
    let mut strings = Strings(vec![String::new()]);
    strings.0.extend((0..shift).map(|i| format!("unused {i}")));
    let sample_type = columns
        .iter()
        .map(|(kind, unit)| ValueType { kind: strings.index(kind), unit: strings.index(unit) })
        .collect();
    let id = |frame: usize| frame as u64 + 1 + shift * 7;
    let sample = items.iter().map(|(stack, labels, values)| Sample {
        location_id: stack.iter().map(|frame| id(*frame)).collect(),
        value: values.clone(),
        label: (0..*labels)
            .map(|n| match n {
                0 => Label { key: strings.index("bytes"), num: 48, num_unit: strings.index("B"), text: 0 },
                _ => Label { key: strings.index("job"), text: strings.index("a job"), num: 0, num_unit: 0 },
            })
            .collect(),
    });
    let sample = sample.collect();
    let mapping =
        vec![Mapping { id: 1, filename: strings.index("/bin/program"), build_id: strings.index("b1d") }];
    let location = ADDRESSES.iter().enumerate().map(|(frame, address)| Location {
        id: id(frame),
        mapping_id: 1,
        address: *address,
        line: vec![Line { function_id: id(frame), line: frame as i64 }, Line { function_id: id(0), line: 9 }],
    });
    let location = location.collect();
    let function = (0..ADDRESSES.len()).map(|frame| Function {
        id: id(frame),
        name: strings.index(&format!("main.f{frame}")),
        system_name: 0,
        filename: strings.index("main.go"),
    });
    let function = function.collect();
    Profile {
        sample_type,
        sample,
        mapping,
        location,
        function,
        time_nanos,
        period_type: Some(ValueType { kind: strings.index("space"), unit: strings.index("bytes") }),
        period: 524_288,
        comment: vec![strings.index("a comment")],
        default_sample_type: strings.index("inuse_space"),
        string_table: strings.0,
        ..Profile::default()
    }
}

fn memory(items: &[Item], time_nanos: i64) -> Profile {
    profile(&MEMORY, items, 0, time_nanos)
}

fn compared(delta: &mut Delta, profile: &Profile) -> (Outcome, Profile) {
    let mut out = b"before".to_vec();
    let outcome =
        delta.compare(&profile.encode_to_vec(), &mut Scratch::default(), &mut out).expect("a sound profile");
    assert!(out.starts_with(b"before"));
    (outcome, Profile::decode(&out[6..]).expect("the difference is a profile"))
}

fn settled(delta: &mut Delta, profile: &Profile) -> (Outcome, Profile) {
    let answer = compared(delta, profile);
    delta.settle();
    answer
}

const WRITTEN: Outcome = Outcome::Written { restarted: false };

#[test]
fn what_was_allocated_since_is_subtracted_and_what_is_in_use_is_not() {
    let mut delta = Delta::new(Kind::Memory);
    let first = memory(&[(vec![0, 1], 1, vec![10, 100, 5, 50]), (vec![2], 0, vec![1, 1, 0, 0])], 1_000);
    assert_eq!(settled(&mut delta, &first).0, Outcome::First);
    let second = memory(&[(vec![0, 1], 1, vec![13, 130, 4, 40]), (vec![2], 0, vec![1, 1, 0, 0])], 16_000);
    let (outcome, written) = settled(&mut delta, &second);
    assert_eq!(outcome, WRITTEN);
    assert_eq!(written.sums().into_values().collect::<Vec<_>>(), [[3, 30, 4, 40]]);
    assert_eq!((written.time_nanos, written.duration_nanos), (16_000, 15_000));
    assert_eq!(
        (written.period, written.text(written.default_sample_type)),
        (524_288, "inuse_space".to_owned())
    );
    assert_eq!(written.text(written.comment[0]), "a comment");
    assert_eq!(written.text(written.mapping[0].filename), "/bin/program");
    assert_eq!(written.columns(), second.columns());
}

#[test]
fn records_that_no_sample_needs_are_left_out_and_unused_texts_are_empty() {
    let mut delta = Delta::new(Kind::Memory);
    settled(&mut delta, &memory(&[(vec![0], 0, vec![1, 1, 0, 0])], 1));
    let (_, written) = settled(&mut delta, &memory(&[(vec![0], 0, vec![2, 2, 0, 0])], 2));
    assert_eq!((written.location.len(), written.function.len()), (1, 1));
    assert!(!written.string_table.iter().any(|text| text == "main.f3"));
    assert!(written.string_table.iter().any(|text| text == "main.f0"));
}

#[test]
fn a_sample_that_stands_there_twice_is_the_sum() {
    let mut delta = Delta::new(Kind::Contention);
    let items =
        |a, b| vec![(vec![0], 0, vec![a, a * 10]), (vec![1], 0, vec![0, 0]), (vec![0], 0, vec![b, b])];
    settled(&mut delta, &profile(&CONTENTION, &items(1, 1), 0, 1));
    let (_, written) = settled(&mut delta, &profile(&CONTENTION, &items(2, 5), 1, 2));
    assert_eq!(written.sample.iter().map(|s| s.value.clone()).collect::<Vec<_>>(), [[5, 14]]);
}

#[test]
fn nothing_new_is_no_profile() {
    let mut delta = Delta::new(Kind::Contention);
    let same = profile(&CONTENTION, &[(vec![0], 0, vec![3, 4])], 0, 1);
    settled(&mut delta, &same);
    assert_eq!(settled(&mut delta, &same), (Outcome::Empty, Profile::default()));
}

#[test]
fn a_program_that_was_started_anew_shows_what_it_has_had_since() {
    let mut delta = Delta::new(Kind::Memory);
    settled(&mut delta, &memory(&[(vec![0], 0, vec![100, 1000, 0, 0]), (vec![1], 0, vec![9, 9, 0, 0])], 1));
    let (outcome, written) = settled(&mut delta, &memory(&[(vec![0], 0, vec![7, 70, 1, 10])], 2));
    assert_eq!(outcome, Outcome::Written { restarted: true });
    assert_eq!(written.sums().into_values().collect::<Vec<_>>(), [[7, 70, 1, 10]]);
    assert_eq!(delta.len(), 1, "the old program's samples are forgotten");
    let (outcome, written) = settled(&mut delta, &memory(&[(vec![0], 0, vec![8, 80, 1, 10])], 3));
    assert_eq!((outcome, &written.sample[0].value), (WRITTEN, &vec![1, 10, 1, 10]));
}

#[test]
fn one_sample_that_wavers_is_no_restart_and_never_negative() {
    let mut delta = Delta::new(Kind::Contention);
    let items = |a, b| profile(&CONTENTION, &[(vec![0], 0, vec![a, a]), (vec![1], 0, vec![b, b])], 0, 1);
    settled(&mut delta, &items(10, 100));
    let (outcome, written) = settled(&mut delta, &items(9, 120));
    assert_eq!((outcome, written.sample.len()), (WRITTEN, 1));
    assert_eq!(written.sample[0].value, [20, 20]);
}

#[test]
fn what_was_not_settled_is_part_of_the_next_difference() {
    let mut delta = Delta::new(Kind::Contention);
    let at = |n| profile(&CONTENTION, &[(vec![0], 0, vec![n, n])], 0, n);
    settled(&mut delta, &at(10));
    let (_, lost) = compared(&mut delta, &at(15));
    assert_eq!(lost.sample[0].value, [5, 5]);
    let (_, both) = compared(&mut delta, &at(18));
    assert_eq!((both.sample[0].value.clone(), both.duration_nanos), (vec![8, 8], 8));
    delta.settle();
    let (_, next) = compared(&mut delta, &at(19));
    assert_eq!(next.sample[0].value, [1, 1]);
}

#[test]
fn a_profile_without_cumulative_values_is_plain() {
    let mut delta = Delta::new(Kind::Memory);
    let inuse = profile(&MEMORY[2..], &[(vec![0], 0, vec![1, 2])], 0, 1);
    for _ in 0..2 {
        assert_eq!(settled(&mut delta, &inuse), (Outcome::Plain, Profile::default()));
    }
    assert!(delta.is_empty());
}

#[test]
fn a_broken_profile_in_between_changes_nothing() {
    let mut delta = Delta::new(Kind::Contention);
    let at = |n| profile(&CONTENTION, &[(vec![0], 0, vec![n, n]), (vec![2, 1], 2, vec![n, n])], 0, n);
    settled(&mut delta, &at(10));
    let mut broken = at(12);
    broken.sample[1].location_id.push(77);
    let mut out = Vec::new();
    let answer = delta.compare(&broken.encode_to_vec(), &mut Scratch::default(), &mut out);
    assert_eq!(answer, Err(Error::NoLocation { id: 77 }));
    assert!(out.is_empty());
    delta.settle();
    let (outcome, written) = settled(&mut delta, &at(15));
    assert_eq!((outcome, written.sample[0].value.clone()), (WRITTEN, vec![5, 5]));
}

#[test]
fn profiles_that_contradict_themselves_are_refused() {
    let sound = || profile(&CONTENTION, &[(vec![0], 2, vec![1, 1])], 0, 1);
    let broken = |change: &dyn Fn(&mut Profile)| {
        let mut profile = sound();
        change(&mut profile);
        let mut delta = Delta::new(Kind::Contention);
        delta.compare(&profile.encode_to_vec(), &mut Scratch::default(), &mut Vec::new()).expect_err("broken")
    };
    assert_eq!(broken(&|p| p.sample[0].value.push(1)), Error::Values { found: 3, expected: 2 });
    assert_eq!(broken(&|p| p.sample[0].value.clear()), Error::Values { found: 0, expected: 2 });
    assert_eq!(broken(&|p| p.sample[0].label[0].key = 99), Error::NoString { index: 99 });
    assert_eq!(broken(&|p| p.sample[0].label[0].num_unit = -1), Error::NoString { index: u64::MAX });
    assert_eq!(broken(&|p| p.sample_type[0].kind = 99), Error::NoString { index: 99 });
    let many = vec![ValueType::default(); MAX_COLUMNS + 1];
    assert_eq!(broken(&|p| p.sample_type = many.clone()), Error::TooManyColumns { found: MAX_COLUMNS + 1 });
}

#[test]
fn more_samples_than_are_remembered_fail_and_the_next_profile_is_the_first() {
    let columns = profile(&CONTENTION, &[], 0, 1).encode_to_vec();
    let filled = |from: u64, count: u64| {
        let mut bytes = columns.clone();
        for id in from..from + count {
            let location = Location { id: id + 1000, address: id + 1, ..Location::default() };
            let sample = Sample { location_id: vec![id + 1000], value: vec![1, 1], label: Vec::new() };
            bytes.extend(
                Profile { location: vec![location], sample: vec![sample], ..Profile::default() }
                    .encode_to_vec(),
            );
        }
        bytes
    };
    let (mut delta, mut scratch, mut out) =
        (Delta::with_limit(Kind::Contention, 1000), Scratch::default(), Vec::new());
    let max = 1000;
    assert_eq!(delta.compare(&filled(0, max), &mut scratch, &mut out), Ok(Outcome::First));
    delta.settle();
    let refused = delta.compare(&filled(max / 2, max), &mut scratch, &mut out);
    assert_eq!(refused, Err(Error::TooManySamples { limit: 1000 }));
    assert_eq!(delta.compare(&filled(max / 2, max), &mut scratch, &mut out), Ok(Outcome::First));
    assert_eq!(delta.len(), 1000);
}

#[test]
fn samples_that_are_gone_are_forgotten_after_a_while() {
    let mut delta = Delta::new(Kind::Contention);
    let with = |frames: &[usize], n| {
        let items: Vec<Item> = frames.iter().map(|frame| (vec![*frame], 0, vec![n, n])).collect();
        profile(&CONTENTION, &items, 0, n)
    };
    settled(&mut delta, &with(&[0, 1, 2], 1));
    for n in 2..5 {
        settled(&mut delta, &with(&[0], n));
        assert_eq!(delta.len(), 3);
    }
    settled(&mut delta, &with(&[0], 5));
    assert_eq!(delta.len(), 1);
}

#[test]
fn an_answer_that_is_no_profile_is_told_by_its_first_bytes() {
    for good in [&profile(&MEMORY, &[], 0, 1).encode_to_vec()[..], &[0x1f, 0x8b, 8], &[0x0a, 0]] {
        assert_eq!(sniff(good), Ok(()), "{good:?}");
    }
    let bad: [&[u8]; 8] = [
        b"",
        b"error: no such profile",
        b"404 page not found\n",
        b"<!DOCTYPE html><html>",
        b"\n  <html><body>not here</body></html>",
        b"{\"error\": \"no such profile\"}",
        b"not found: no profile of this name, sorry",
        &[0xff; 40],
    ];
    for bad in bad {
        let error = sniff(bad).expect_err("no profile");
        assert!(error.contains("the answer is"), "{error}");
    }
}

#[test]
fn gzip_is_undone_within_its_limit_and_bare_profiles_pass() {
    let bytes = profile(&MEMORY, &[(vec![0], 0, vec![1, 2, 3, 4])], 0, 1).encode_to_vec();
    let (mut packed, mut buffer) = (b"before".to_vec(), Vec::new());
    pack(&bytes, &mut packed);
    assert_eq!(unpack(&packed[6..], bytes.len(), &mut buffer), Ok(&bytes[..]));
    assert_eq!(unpack(&bytes, bytes.len(), &mut buffer), Ok(&bytes[..]));
    let limit = bytes.len() - 1;
    for body in [&packed[6..], &bytes] {
        assert_eq!(unpack(body, limit, &mut buffer), Err(compress::Error::TooLarge { limit }.into()));
    }
    assert!(matches!(unpack(&packed[6..20], limit, &mut buffer), Err(Error::Unpack(_))));
}

#[test]
fn a_profiles_shape_is_its_columns_and_their_totals() {
    let items = [(vec![0], 0, vec![1, -2]), (vec![1], 1, vec![i64::MAX, 5])];
    let shape = shape(&profile(&CONTENTION, &items, 3, 1).encode_to_vec()).expect("sound");
    assert_eq!(shape.columns[1], ("delay".to_owned(), "nanoseconds".to_owned()));
    assert_eq!((shape.totals, shape.samples), (vec![i128::from(i64::MAX) + 1, 3], 2));
    assert!(super::shape(b"no profile").is_err());
}

#[test]
fn fields_that_are_not_packed_are_read_too() {
    let mut bytes = profile(&CONTENTION, &[], 0, 1).encode_to_vec();
    let sample = |value: u8| vec![0x12, 6, 0x08, 1, 0x10, value, 0x10, value];
    let (mut first, mut second) = (bytes.clone(), std::mem::take(&mut bytes));
    first.extend(sample(3));
    second.extend(sample(5));
    let (mut delta, mut out) = (Delta::new(Kind::Contention), Vec::new());
    delta.compare(&first, &mut Scratch::default(), &mut out).expect("sound");
    delta.settle();
    assert_eq!(delta.compare(&second, &mut Scratch::default(), &mut out), Ok(WRITTEN));
    assert_eq!(Profile::decode(&out[..]).expect("a profile").sample[0].value, [2, 2]);
}

/// A scrape: what the profile has, how its IDs are moved about, whether it is taken downstream.
type Step = (Vec<Item>, u64, bool);

fn steps(columns: usize) -> impl Strategy<Value = Vec<Step>> {
    let stack = prop::collection::vec(0..ADDRESSES.len(), 0..3);
    let item = (stack, 0..3u8, prop::collection::vec(0..20i64, columns));
    prop::collection::vec((prop::collection::vec(item, 0..6), 0..3u64, any::<bool>()), 1..9)
}

fn same_as_twin(
    kind: Kind,
    columns: &[(&str, &str)],
    steps: Vec<Step>,
    grows: bool,
) -> Result<(), TestCaseError> {
    let (mut delta, mut twin, mut scratch) = (Delta::new(kind), Twin::new(kind), Scratch::default());
    let mut items = Vec::new();
    for (n, (new, shift, settle)) in steps.into_iter().enumerate() {
        // A profile that grows has all that it had before, and the new samples beside it.
        if !grows {
            items.clear();
        }
        items.extend(new);
        let profile = profile(columns, &items, shift, n as i64 + 1);
        let (mut packed, mut buffer, mut out) = (Vec::new(), Vec::new(), Vec::new());
        pack(&profile.encode_to_vec(), &mut packed);
        let bytes = unpack(&packed, 1 << 20, &mut buffer).expect("packed above");
        let outcome = delta.compare(bytes, &mut scratch, &mut out).expect("sound");
        if settle {
            delta.settle();
        }
        let answer = match outcome {
            Outcome::First => Answer::First,
            Outcome::Empty => Answer::Empty,
            Outcome::Written { restarted } => {
                prop_assert!(!(restarted && grows));
                let written = Profile::decode(&out[..]).expect("a profile");
                prop_assert_eq!(written.columns(), profile.columns());
                Answer::Written(restarted, written.sums())
            }
            Outcome::Plain => return Err(TestCaseError::fail("the columns are cumulative")),
        };
        prop_assert_eq!(answer, twin.compare(&profile, settle));
    }
    Ok(())
}

proptest! {
    #[test]
    fn differences_are_those_of_the_decoded_twin(steps in steps(4)) {
        same_as_twin(Kind::Memory, &MEMORY, steps, false)?;
    }

    #[test]
    fn differences_of_profiles_that_only_grow_are_those_of_the_twin(steps in steps(2)) {
        same_as_twin(Kind::Contention, &CONTENTION, steps, true)?;
    }

    #[test]
    fn no_bytes_do_harm(
        items in steps(2),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let sound = profile(&CONTENTION, &items[0].0, 0, 1).encode_to_vec();
        let mut bytes = sound.clone();
        noise.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
        bytes.truncate(cut.index(bytes.len()) + 1);
        let (mut delta, mut scratch, mut out) = (Delta::new(Kind::Contention), Scratch::default(), Vec::new());
        let first = delta.compare(&sound, &mut scratch, &mut out);
        prop_assert!(first.is_ok());
        delta.settle();
        let before = delta.len();
        let _ = shape(&bytes);
        match delta.compare(&bytes, &mut scratch, &mut out) {
            Ok(Outcome::Written { .. }) => prop_assert!(!out.is_empty()),
            _ => prop_assert!(out.is_empty()),
        }
        // Unless it was settled, the sound profile is compared with itself.
        let again = delta.compare(&sound, &mut scratch, &mut Vec::new());
        prop_assert!(matches!(again, Ok(Outcome::Empty)) || before == 0, "{again:?}");
    }
}

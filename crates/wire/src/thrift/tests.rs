//! What is written is read; what is cut off, nested or claims too much is refused.

use proptest::prelude::*;

use super::testkit::{Value, call, structs, text, write};
use super::*;

const BOTH: [Protocol; 2] = [Protocol::Binary, Protocol::Compact];

fn sample() -> Value {
    Value::Struct(vec![
        (1, Value::Bool(true)),
        (2, Value::Bool(false)),
        (3, Value::Byte(9)),
        (5, Value::I16(-2)),
        (40, Value::I32(i32::MIN)),
        (41, Value::I64(i64::MAX)),
        (42, Value::Double(-1.5)),
        (43, text("täxt")),
        (44, structs(vec![Value::Struct(vec![(1, Value::I64(-1))]); 20])),
        (45, Value::Map(Kind::Bytes, Kind::Bool, vec![(text("k"), Value::Bool(true))])),
        (46, Value::List(Kind::Bool, vec![Value::Bool(true), Value::Bool(false)])),
        (47, Value::Map(Kind::Byte, Kind::Byte, vec![])),
        (300, text("last")),
    ])
}

#[test]
fn fields_are_read_as_they_were_written_in_both_protocols() {
    for protocol in BOTH {
        let bytes = write(&sample(), protocol);
        let mut reader = Reader::new(&bytes, protocol);
        let mut seen = Vec::new();
        let mut inner = 0;
        reader
            .structure::<Error>(|reader, field| {
                seen.push(match field.kind {
                    Kind::Bool => format!("{} {}", field.id, reader.bool(field)?),
                    Kind::I16 => format!("{} {}", field.id, reader.i16()?),
                    Kind::I32 => format!("{} {}", field.id, reader.i32()?),
                    Kind::I64 => format!("{} {}", field.id, reader.i64()?),
                    Kind::Double => format!("{} {}", field.id, reader.f64()?),
                    Kind::Bytes => format!("{} {}", field.id, String::from_utf8_lossy(reader.bytes()?)),
                    Kind::List if field.id == 44 => {
                        reader.structs::<Error>(|reader| {
                            reader.structure(|reader, _| {
                                inner += reader.i64()?;
                                Ok(())
                            })
                        })?;
                        String::from("list")
                    }
                    _ => {
                        reader.skip(field)?;
                        format!("{} skipped", field.id)
                    }
                });
                Ok(())
            })
            .expect("well written");
        let expected = [
            "1 true",
            "2 false",
            "3 skipped",
            "5 -2",
            "40 -2147483648",
            "41 9223372036854775807",
            "42 -1.5",
            "43 täxt",
            "list",
            "45 skipped",
            "46 skipped",
            "47 skipped",
            "300 last",
        ];
        assert_eq!(seen, expected, "{protocol:?}");
        assert_eq!((inner, reader.rest().len()), (-20, 0));
    }
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    for protocol in BOTH {
        let bytes = write(&sample(), protocol);
        for end in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..end], protocol);
            let result = reader.structure::<Error>(Reader::skip);
            assert!(result.is_err(), "{protocol:?} {end}");
        }
    }
}

#[test]
fn a_container_that_claims_more_than_there_is_costs_nothing() {
    let lists: [(Protocol, &[u8], u64); 4] = [
        (Protocol::Binary, &[12, 0x7f, 0xff, 0xff, 0xff], 0x7fff_ffff),
        (Protocol::Binary, &[12, 0xff, 0xff, 0xff, 0xff], 0xffff_ffff),
        (Protocol::Binary, &[10, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8], 2),
        (Protocol::Compact, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f], 0xffff_ffff),
    ];
    for (protocol, bytes, claimed) in lists {
        assert_eq!(Reader::new(bytes, protocol).list(), Err(Error::TooMany(claimed)));
    }
    for bytes in [&[0xff, 0xff, 0xff, 0xff, 1][..], &[0, 0, 0, 2, 1]] {
        assert_eq!(Reader::new(bytes, Protocol::Binary).bytes(), Err(Error::Truncated));
    }
    assert_eq!(Reader::new(&[0xff; 6], Protocol::Compact).bytes(), Err(Error::VarintTooLong));
    assert_eq!(
        Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f], Protocol::Compact).i32(),
        Err(Error::VarintTooLong)
    );
}

#[test]
fn nesting_has_an_end() {
    let nested =
        |depth: u32| (1..depth).fold(Value::Struct(vec![]), |inner, _| Value::Struct(vec![(1, inner)]));
    let lists = |depth: u32| {
        let inner =
            (0..depth).fold(Value::List(Kind::Byte, vec![]), |inner, _| Value::List(Kind::List, vec![inner]));
        Value::Struct(vec![(1, inner)])
    };
    for protocol in BOTH {
        let skip =
            |value: &Value| Reader::new(&write(value, protocol), protocol).structure::<Error>(Reader::skip);
        assert_eq!(skip(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(skip(&nested(MAX_DEPTH + 1)), Err(Error::TooDeep));
        assert_eq!(skip(&lists(10)), Ok(()));
        assert_eq!(skip(&lists(40)), Err(Error::TooDeep));
        // No writer of ours: nothing but openings.
        let opening: &[u8] = if protocol == Protocol::Binary { &[12, 0, 1] } else { &[0x1c] };
        let all = opening.repeat(1 << 20);
        let result = Reader::new(&all, protocol).structure::<Error>(Reader::skip);
        assert_eq!(result, Err(Error::TooDeep));
    }
}

#[test]
fn calls_are_read_with_the_headers_of_old_and_new_writers() {
    for protocol in BOTH {
        let bytes = call("emitBatch", Value::Struct(vec![]), protocol);
        let message = Reader::new(&bytes, protocol).message().expect("a header");
        assert_eq!((message.name, message.kind), (&b"emitBatch"[..], 4), "{protocol:?}");
    }
    let old = b"\0\0\0\x09emitBatch\x04\0\0\0\x01";
    let message = Reader::new(old, Protocol::Binary).message().expect("a header");
    assert_eq!((message.name, message.kind), (&b"emitBatch"[..], 4));
    for (protocol, bytes) in [
        (Protocol::Compact, &b"\x81\x81\x01\x01x"[..]),
        (Protocol::Compact, b"\x82\x82\x01\x01x"),
        (Protocol::Binary, b"\x80\x02\0\x01\0\0\0\x01x\0\0\0\0"),
    ] {
        assert_eq!(Reader::new(bytes, protocol).message(), Err(Error::NoHeader));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for protocol in BOTH {
            let mut reader = Reader::new(&bytes, protocol);
            let _ = reader.clone().message();
            let _ = reader.structure::<Error>(Reader::skip);
        }
    }
}

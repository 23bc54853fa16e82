//! Against databases that the test writes itself: every kind, damage at any byte.

use proptest::prelude::*;

use crate::process::testkit::{Bench, Case, refused};

/// A value of the database's data section.
enum Data {
    Text(&'static str),
    Double(f64),
    Uint(u64),
    Short(u16),
    Long(u64),
    Bool(bool),
    Map(Vec<(&'static str, Data)>),
    List(Vec<Data>),
}

use Data::{Bool, Double, List, Long, Map, Short, Text, Uint};

impl Data {
    /// As the MaxMind DB format has it: type in the upper three bits, size in the lower five; types above 7
    /// have a byte of their own.
    fn write(&self, out: &mut Vec<u8>) {
        let mut head = |kind: u8, size: usize| {
            let (low, more) = match size {
                0..29 => (size as u8, vec![]),
                29..285 => (29, vec![(size - 29) as u8]),
                _ => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
            };
            if kind < 8 {
                out.push(kind << 5 | low);
            } else {
                out.extend([low, kind - 7]);
            }
            out.extend(more);
        };
        match self {
            Text(text) => {
                head(2, text.len());
                out.extend(text.as_bytes());
            }
            Double(number) => {
                head(3, 8);
                out.extend(number.to_be_bytes());
            }
            Uint(number) => {
                head(6, 4);
                out.extend((*number as u32).to_be_bytes());
            }
            Short(number) => {
                head(5, 2);
                out.extend(number.to_be_bytes());
            }
            Long(number) => {
                head(9, 8);
                out.extend(number.to_be_bytes());
            }
            Bool(truth) => head(14, usize::from(*truth)),
            Map(fields) => {
                head(7, fields.len());
                for (name, value) in fields {
                    Text(name).write(out);
                    value.write(out);
                }
            }
            List(items) => {
                head(11, items.len());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }
}

/// A database in which 1.2.3.0/24 has a record, and no other address.
fn database(kind: &'static str, record: &Data) -> Vec<u8> {
    const DEPTH: u32 = 24;
    let network = 0x0102_0300_u32;
    // One node for each bit; what is not on the way is "not found", which is the number of nodes.
    let mut out = Vec::new();
    for depth in 0..DEPTH {
        let on = if depth + 1 == DEPTH { DEPTH + 16 } else { depth + 1 };
        let bit = network >> (31 - depth) & 1;
        let (left, right) = if bit == 0 { (on, DEPTH) } else { (DEPTH, on) };
        for side in [left, right] {
            out.extend(&side.to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    record.write(&mut out);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Map(vec![
        ("node_count", Uint(u64::from(DEPTH))),
        ("record_size", Short(24)),
        ("ip_version", Short(4)),
        ("database_type", Text(kind)),
        ("languages", List(vec![Text("en")])),
        ("binary_format_major_version", Short(2)),
        ("binary_format_minor_version", Short(0)),
        ("build_epoch", Long(1_700_000_000)),
        ("description", Map(vec![("en", Text("A test."))])),
    ]);
    metadata.write(&mut out);
    out
}

fn names(name: &'static str) -> Data {
    Map(vec![("en", Text(name)), ("de", Text("anders"))])
}

fn city() -> Data {
    Map(vec![
        ("city", Map(vec![("names", names("Linköping"))])),
        ("country", Map(vec![("iso_code", Text("SE")), ("names", names("Sweden"))])),
        ("continent", Map(vec![("code", Text("EU")), ("names", names("Europe"))])),
        (
            "location",
            Map(vec![
                ("latitude", Double(58.4167)),
                ("longitude", Double(15.6167)),
                ("time_zone", Text("Europe/Stockholm")),
            ]),
        ),
        ("postal", Map(vec![("code", Text("58101"))])),
        (
            "subdivisions",
            List(vec![
                Map(vec![("iso_code", Text("A")), ("names", names("Wide"))]),
                Map(vec![("iso_code", Text("E")), ("names", names("Östergötland County"))]),
            ]),
        ),
        ("traits", Map(vec![("anonymous", Bool(true)), ("score", Uint(7))])),
    ])
}

/// The extracted values of an entry with this address, but for the address itself.
fn extracted(database: &[u8], rest: &str, address: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), database).expect("written");
    let text = format!(
        "stage.geoip {{ db = {:?}\n source = \"ip\"\n {rest} }}\nstage.template {{ source = \"out\"\n template = \"{{{{ omit . \\\"ip\\\" \\\"Entry\\\" | toJson }}}}\" }}\nstage.output {{ source = \"out\" }}",
        file.path()
    );
    let batch = crate::process::testkit::batch(&[Case::new("x").labels([("ip", address)])], None);
    Bench::new(&text).pipeline.process(&batch)[0].batch.entries[0].line.to_string()
}

#[test]
fn a_city_tells_its_place() {
    assert_eq!(
        extracted(&database("GeoIP2-City", &city()), "db_type = \"city\"", "1.2.3.4"),
        r#"{"geoip_city_name":"Linköping","geoip_continent_code":"EU","geoip_continent_name":"Europe","geoip_country_code":"SE","geoip_country_name":"Sweden","geoip_location_latitude":"58.4167","geoip_location_longitude":"15.6167","geoip_postal_code":"58101","geoip_subdivision_code":"E","geoip_subdivision_name":"Östergötland County","geoip_timezone":"Europe/Stockholm"}"#
    );
}

#[test]
fn a_country_and_an_autonomous_system_tell_theirs() {
    assert_eq!(
        extracted(&database("GeoIP2-Country", &city()), "db_type = \"country\"", "1.2.3.4"),
        r#"{"geoip_continent_code":"EU","geoip_continent_name":"Europe","geoip_country_code":"SE","geoip_country_name":"Sweden"}"#
    );
    let asn = Map(vec![
        ("autonomous_system_number", Uint(1221)),
        ("autonomous_system_organization", Text("Telstra")),
    ]);
    assert_eq!(
        extracted(&database("GeoLite2-ASN", &asn), "db_type = \"asn\"", "1.2.3.4"),
        r#"{"geoip_autonomous_system_number":"1221","geoip_autonomous_system_organization":"Telstra"}"#
    );
}

#[test]
fn custom_lookups_take_any_part_of_a_record() {
    let lookups = r#"custom_lookups = { "german" = "city.names.de", "anonymous" = "traits.anonymous", "score" = "traits.score", "none" = "no.such", "postal" = "", "first" = "subdivisions[0].iso_code" }"#;
    assert_eq!(
        extracted(&database("GeoIP2-City", &city()), lookups, "1.2.3.4"),
        r#"{"anonymous":"true","first":"A","german":"anders","postal":"{\"code\":\"58101\"}","score":"7"}"#
    );
}

#[test]
fn unknown_addresses_and_what_is_none_change_nothing() {
    let database = database("GeoIP2-City", &city());
    for address in ["1.2.4.4", "no address", "", "::1", "1.2.3.4/24"] {
        assert_eq!(extracted(&database, "db_type = \"city\"", address), "{}", "{address:?}");
    }
}

#[test]
fn a_database_that_is_none_is_refused_when_it_is_opened() {
    refused("stage.geoip { db = \"/no/such/file\"\n source = \"ip\"\n db_type = \"city\" }", "/no/such/file");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "no database").expect("written");
    refused(
        &format!("stage.geoip {{ db = {:?}\n source = \"ip\"\n db_type = \"city\" }}", file.path()),
        file.path().to_str().expect("a path"),
    );
}

#[test]
fn arguments_are_checked() {
    refused("stage.geoip { db = \"\"\n source = \"ip\"\n db_type = \"city\" }", "path of a database");
    refused(
        "stage.geoip { db = \"x\"\n source = \"\"\n db_type = \"city\" }",
        "must name an extracted value",
    );
    refused("stage.geoip { db = \"x\"\n source = \"ip\" }", "needs db_type or custom_lookups");
    refused("stage.geoip { db = \"x\"\n source = \"ip\"\n db_type = \"town\" }", "city");
    refused("stage.geoip { db = \"x\"\n source = \"ip\"\n custom_lookups = { \"a\" = \"[\" } }", "\"a\"");
    refused("stage.geoip { source = \"ip\"\n db_type = \"city\" }", "\"db\"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_database_is_refused_or_read_as_far_as_it_goes(at in 0_usize..400, byte in any::<u8>(), address in "1\\.2\\.3\\.[0-9]|.{0,10}") {
        let mut database = database("GeoIP2-City", &city());
        let at = at % database.len();
        database[at] = byte;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), database).expect("written");
        let text = format!("stage.geoip {{ db = {:?}\n source = \"ip\"\n db_type = \"city\"\n custom_lookups = {{ \"x\" = \"city\" }} }}", file.path());
        if let Ok(mut bench) = Bench::try_new(&text) {
            prop_assert_eq!(bench.run(&[Case::new("x").labels([("ip", &address)])]).len(), 1);
        }
    }
}

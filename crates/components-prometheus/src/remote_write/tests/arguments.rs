//! What a block may say: names, types and defaults are Alloy's; what is wrong is told with its place.

use component::eval::Arguments;
use component::testkit::surface;

use super::super::Args;
use super::refused;

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let with = |inside: &str| format!("endpoint {{\nurl = \"http://h/w\"\n{inside}\n}}");
    let cases = [
        ("endpoint { }".to_string(), "url", "endpoint"),
        ("endpoint { url = \"nonsense\" }".into(), "is not a URL", "\"nonsense\""),
        ("endpoint { url = \"ftp://h/w\" }".into(), "use http or https", "\"ftp://h/w\""),
        (with("remote_timeout = \"0s\""), "must be above 0", "\"0s\""),
        (with("remote_timeout = \"soon\""), "duration", "\"soon\""),
        (with("headers = { \"content-TYPE\" = \"x\" }"), "set by the protocol", "{ \"content-TYPE\""),
        (with("headers = { \"a b\" = \"x\" }"), "cannot be the name", "{ \"a b\""),
        (with("headers = { \"a\" = \"x\\ny\" }"), "a value that a header cannot have", "{ \"a\""),
        (
            with("bearer_token = \"t\"\nheaders = { Authorization = \"x\" }"),
            "use one of the two",
            "{ Authorization",
        ),
        (with("protobuf_message = \"other\""), "prometheus.WriteRequest", "\"other\""),
        (with("bearer_token = \"a\"\nsigv4 {\nregion = \"r\"\n}"), "at most one of", "endpoint"),
        (with("basic_auth {\nusername = \"a\"\n}\ngoogle_iam { }"), "at most one of", "endpoint"),
        (with("azuread { }"), "exactly one of", "azuread"),
        (with("queue_config {\ncapacity = 0\n}"), "at least 1", "0"),
        (with("queue_config {\nmax_shards = 0\n}"), "between 1 and 1024", "0"),
        (with("queue_config {\nmin_shards = 51\n}"), "at most max_shards", "51"),
        (with("queue_config {\nmax_samples_per_send = 0\n}"), "at least 1", "0"),
        (with("queue_config {\nmin_backoff = \"6s\"\n}"), "at most max_backoff", "\"6s\""),
        (with("metadata_config {\nsend_interval = \"0s\"\n}"), "above 0", "\"0s\""),
        (with("metadata_config {\nmax_samples_per_send = 0\n}"), "at least 1", "0"),
        (with("write_relabel_config {\naction = \"hashmod\"\n}"), "modulus", "write_relabel_config"),
        (with("write_relabel_config {\nregex = \"(\"\n}"), "regex", "\"(\""),
        ("wal {\ntruncate_frequency = \"0s\"\n}".into(), "above 0", "\"0s\""),
        ("wal {\nmin_keepalive_time = \"8h\"\n}".into(), "less than max_keepalive_time", "\"8h\""),
        ("wal {\nmax_size = \"1KiB\"\n}".into(), "at least 1MiB", "\"1KiB\""),
        ("wal {\non_full = \"panic\"\n}".into(), "drop_oldest", "\"panic\""),
        (
            "endpoint {\nname = \"a\"\nurl = \"http://h\"\n}\nendpoint {\nname = \"a\"\nurl = \"http://i\"\n}".into(),
            "same name",
            "endpoint",
        ),
    ];
    for (body, message, place) in cases {
        let found = refused(&body);
        let error = found.iter().find(|d| d.is_error()).unwrap_or_else(|| panic!("nothing found in {body}"));
        let said = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
        assert!(said.contains(message), "{body}\n{said}");
        let location = error.location.as_ref().unwrap_or_else(|| panic!("no place for {body}"));
        let line = body[location.span.start as usize..].lines().next().unwrap_or_default();
        assert!(line.contains(place), "{body}\n{said}\n→ {line}");
    }
}

/// What this program has beyond Alloy.
const BEYOND: [&str; 4] = ["wal.enabled", "wal.fsync", "wal.max_size", "wal.on_full"];

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let mut ours = surface(Args::schema());
    ours.retain(|line| !BEYOND.contains(&line.split(' ').next().unwrap_or_default()));
    let theirs: Vec<_> = include_str!("surface.txt").lines().collect();
    let missing: Vec<_> = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).collect();
    let added: Vec<_> = ours.iter().filter(|l| !theirs.contains(&l.as_str())).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nadded: {added:#?}");
}

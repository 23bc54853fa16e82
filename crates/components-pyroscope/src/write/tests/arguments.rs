//! What a block may say: names, types and defaults are Alloy's; what is wrong is told with its place.

use component::eval::Arguments;
use component::testkit::surface;

use super::super::Args;
use super::refused;

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let with = |inside: &str| format!("endpoint {{\nurl = \"http://h\"\n{inside}\n}}");
    let cases = [
        ("endpoint { }".to_string(), "url", "endpoint"),
        ("endpoint { url = \"nonsense\" }".into(), "is not a URL", "\"nonsense\""),
        ("endpoint { url = \"ftp://h\" }".into(), "use http or https", "\"ftp://h\""),
        (with("remote_timeout = \"0s\""), "must be above 0", "\"0s\""),
        (with("headers = { \"a b\" = \"x\" }"), "cannot be the name", "{ \"a b\""),
        (with("headers = { \"a\" = \"x\\ny\" }"), "a value that a header cannot have", "{ \"a\""),
        (with("min_backoff_period = \"6m\""), "at most max_backoff_period", "\"6m\""),
        (with("max_backoff_retries = -1"), "0", "-1"),
        (with("bearer_token = \"a\"\nbasic_auth {\nusername = \"a\"\n}"), "exclude each other", "b"),
        (with("queue_config {\ncapacity = \"0B\"\n}"), "at least 1", "\"0B\""),
        (with("queue_config {\nmax_shards = 0\n}"), "between 1 and 1024", "0"),
        ("external_labels = { \"a-b\" = \"1\" }".into(), "no label \"a-b\"", "{ \"a-b\""),
        ("wal {\nmax_age = \"0s\"\n}".into(), "above 0", "\"0s\""),
        ("wal {\nenabled = true\nmax_size = \"1KiB\"\n}".into(), "at least 1MiB", "\"1KiB\""),
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
const BEYOND: [&str; 2] = ["wal", "endpoint.queue_config"];

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let mut ours = surface(Args::schema());
    let is_beyond = |line: &String| {
        BEYOND.iter().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.'])))
    };
    ours.retain(|line| !is_beyond(line));
    let theirs: Vec<_> = include_str!("surface.txt").lines().collect();
    let missing: Vec<_> = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).collect();
    let added: Vec<_> = ours.iter().filter(|l| !theirs.contains(&l.as_str())).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nadded: {added:#?}");
}

#[test]
fn without_a_block_both_headers_of_tracing_are_sent_and_an_empty_one_turns_them_off() {
    use component::eval::Scope;
    use component::eval::syntax::{Source, parse};
    use component::testkit::Names;
    let tracing = |body: &str| {
        let (source, names) = (Source::new("test.alloy", body), Names::default());
        let (file, _) = parse(&source);
        let (args, found) = component::eval::decode::<Args>(&source, &file.body, None, &Scope::new(&names));
        let tracing = args.unwrap_or_else(|| panic!("{found:?}")).tracing;
        (tracing.jaeger_propagator, tracing.trace_context_propagator)
    };
    assert_eq!(tracing(""), (true, true));
    assert_eq!(tracing("tracing { }"), (false, false));
    assert_eq!(tracing("tracing {\njaeger_propagator = true\n}"), (true, false));
}

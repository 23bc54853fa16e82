//! Lines as Alloy writes them, odd but real payloads, hostile ones.

use proptest::prelude::*;

use super::*;

const PAYLOAD: &str = r#"{
    "logs": [{"message": "say \"hi\"", "level": "info", "context": {"b": "2", "a": 1}, "timestamp": "2021-09-30T10:46:17.680Z",
              "trace": {"trace_id": "abcd", "span_id": "def"}}],
    "exceptions": [{"type": "Error", "value": "Cannot read", "timestamp": "2021-09-30T10:46:17.6Z", "context": {"part": "x"},
        "stacktrace": {"frames": [{"function": "?", "filename": "http://fe:3002/main.js", "lineno": 8639, "colno": 42},
                                  {"function": "dispatch", "module": "m", "filename": "http://fe/e.js", "lineno": 1}]}}],
    "measurements": [{"type": "vitals", "values": {"ttfp": 20.12, "size": 1000000, "nothing": null}, "timestamp": "2021-09-30T10:46:17+02:00",
                      "context": {"k": "v"}}],
    "events": [{"name": "click", "domain": "browser", "attributes": {"id": "7"}}],
    "meta": {
        "sdk": {"name": "faro", "version": "1.0", "integrations": [{"name": "errors", "version": "2"}, {"name": "nav"}]},
        "app": {"name": "shop", "release": "0.8", "version": "1", "environment": "prod"},
        "user": {"username": "dom", "attributes": {"foo": "bar"}},
        "session": {"id": "s", "attributes": {"t": "m"}},
        "page": {"url": "https://shop/x?a=b"},
        "browser": {"name": "chrome", "mobile": false, "userAgent": "Mozilla (X)", "viewportWidth": "1920"},
        "view": {"name": "home"}
    }
}"#;

const META: &str = "sdk_name=faro sdk_version=1.0 sdk_integrations=errors:2,nav: app_name=shop app_release=0.8 \
    app_version=1 app_environment=prod user_username=dom user_attr_foo=bar session_id=s session_attr_t=m \
    page_url=\"https://shop/x?a=b\" browser_name=chrome browser_mobile=false browser_userAgent=\"Mozilla (X)\" \
    browser_viewportWidth=1920 view_name=home";

fn lines(text: &str, format: Format) -> Result<Vec<String>, Error> {
    let payload = Payload::read(text)?;
    let exceptions = payload.exceptions()?;
    let mut lines = Vec::new();
    payload.lines(&exceptions, format, text.len(), |_, line| lines.push(line))?;
    Ok(lines)
}

#[test]
fn lines_are_those_that_alloy_writes() {
    let expected = [
        "timestamp=\"2021-09-30 10:46:17.68 +0000 UTC\" kind=log message=\"say \\\"hi\\\"\" level=info context_a=1 \
         context_b=2 traceID=abcd spanID=def"
            .to_owned(),
        format!(
            "timestamp=\"2021-09-30 10:46:17.6 +0000 UTC\" kind=exception type=Error value=\"Cannot read\" \
             stacktrace=\"Error: Cannot read\\n  at ? (http://fe:3002/main.js:8639:42)\\n  at dispatch \
             (m|http://fe/e.js:1:0)\" hash={} context_part=x",
            xxhash_rust::xxh3::xxh3_64(b"Cannot read")
        ),
        "timestamp=\"2021-09-30 10:46:17 +0200 +0200\" kind=measurement type=vitals size=1000000.000000 \
         ttfp=20.120000 context_k=v value_size=1e+06 value_ttfp=20.12"
            .to_owned(),
        "kind=event event_name=click event_domain=browser event_data_id=7".to_owned(),
    ];
    let found = lines(PAYLOAD, Format::Logfmt).expect("a payload");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(*found, format!("{expected} {META}"));
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn json_holds_the_same_with_sorted_names() {
    let found = lines(PAYLOAD, Format::Json).expect("a payload");
    let measurement: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&found[2]).expect("JSON");
    assert_eq!(measurement["value_ttfp"], 20.12);
    assert_eq!(measurement["ttfp"], "20.120000");
    assert_eq!(measurement["page_url"], "https://shop/x?a=b");
    assert!(measurement.keys().is_sorted());
    let log: serde_json::Value = serde_json::from_str(&found[0]).expect("JSON");
    assert_eq!(log["message"], "say \"hi\"");
}

#[test]
fn an_exception_can_be_changed_before_it_becomes_a_line() {
    let payload = Payload::read(PAYLOAD).expect("a payload");
    assert_eq!(Kind::ALL.map(|kind| payload.count(kind)), [1; 4]);
    assert_eq!(
        (payload.meta.app(), payload.meta.environment(), payload.meta.release()),
        ("shop", "prod", "0.8")
    );
    let mut exceptions = payload.exceptions().expect("exceptions");
    let frame = &mut exceptions[0].frames()[0];
    assert_eq!((frame.lineno, frame.colno, &*frame.filename), (8639, 42, "http://fe:3002/main.js"));
    frame.filename = "src/main.ts".to_owned().into();
    let mut found = Vec::new();
    payload
        .lines(&exceptions, Format::Logfmt, PAYLOAD.len(), |fields, line| {
            found.push((fields.get("kind").map(|k| k.into_owned()), line));
        })
        .expect("lines");
    assert_eq!(found[1].0.as_deref(), Some("exception"));
    assert!(found[1].1.contains("at ? (src/main.ts:8639:42)"), "{found:?}");
}

#[test]
fn odd_but_real_values_are_taken() {
    let text = r#"{"logs":[{"message":5,"context":{"o":{"x":[1]},"n":null,"b":true}}, {"message":null,"context":null}],
        "exceptions":null, "traces":null, "unknown":{"a":[{}]},
        "meta":{"browser":{"mobile":"true"},"user":null}}"#;
    let found = lines(text, Format::Logfmt).expect("a payload");
    assert_eq!(
        found[0],
        "kind=log message=5 context_b=true context_o=\"{\\\"x\\\":[1]}\" browser_mobile=true"
    );
    assert_eq!(found[1], "kind=log browser_mobile=true");
    assert!(Payload::read(text).expect("a payload").traces().is_none());
    assert_eq!(lines("{}", Format::Json), Ok(vec![]));
    let names = r#"{"logs":[{"context":{"":"e","a b=\"":"x","n":"null"}}],"events":[{"attributes":{"k":"\u0001\\"}}]}"#;
    let found = lines(names, Format::Logfmt).expect("a payload");
    assert_eq!(found[0], "kind=log context_=e context_ab=x context_n=\"null\" browser_mobile=false");
    assert_eq!(found[1], "kind=event event_data_k=\"\\u0001\\\\\" browser_mobile=false");
}

#[test]
fn what_is_no_payload_is_refused_with_the_place() {
    for (text, part) in [
        ("", "EOF"),
        ("[]", "invalid type"),
        (r#"{"logs":{}}"#, "invalid type"),
        (r#"{"logs":[{},1]}"#, "log 2: invalid type"),
        (r#"{"events":[{"attributes":[]}]}"#, "event 1"),
        (r#"{"exceptions":["x"]}"#, "exception 1"),
        (r#"{"measurements":[{"values":{"a":"x"}}]}"#, "measurement 1"),
        (r#"{"logs":[{"timestamp":"yesterday"}]}"#, "\"yesterday\" is not a time"),
        (r#"{"logs":[{"timestamp":"2021-09-30"}]}"#, "is not a time"),
        (r#"{"meta":[]} x"#, "at line 1"),
    ] {
        let error = lines(text, Format::Logfmt).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn hostile_payloads_are_refused_in_time() {
    assert!(
        (0..PAYLOAD.len() - 1).filter(|end| PAYLOAD.is_char_boundary(*end)).all(|end| lines(
            &PAYLOAD[..end],
            Format::Json
        )
        .is_err())
    );
    let deep = "[".repeat(1 << 20);
    for text in [deep.clone(), format!(r#"{{"logs":{deep}"#), format!(r#"{{"traces":{deep}"#)] {
        assert!(matches!(lines(&text, Format::Logfmt), Err(Error::Json(_))));
    }
    // What is said once is repeated in every line.
    let logs = vec!["{}"; 100_000].join(",");
    let text = format!(r#"{{"logs":[{logs}],"meta":{{"page":{{"url":"{}"}}}}}}"#, "x".repeat(100_000));
    assert_eq!(lines(&text, Format::Logfmt), Err(Error::TooMuch));
    let repaired = super::text(&[b'{', 0xff, b'}']);
    assert!(Payload::read(&repaired).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "\\PC{0,60}",
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let _ = lines(&text, Format::Logfmt);
        let mut real = PAYLOAD.as_bytes().to_vec();
        for (at, with) in &flips {
            let at = at.index(real.len());
            real[at] = *with;
        }
        let real = super::text(&real);
        if let Ok(lines) = lines(&real, Format::Json) {
            for line in lines {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
                prop_assert!(parsed.is_ok(), "{}", line);
            }
        }
    }
}

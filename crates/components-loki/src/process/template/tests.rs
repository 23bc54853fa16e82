//! Against a table that Go and Sprig made; hostile templates.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Made by Go, see its head.
const VECTORS: &str = include_str!("../../../testdata/template.txt");

fn render(source: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    let mut data = Data::new();
    for (name, value) in pairs {
        data.set(name, value);
    }
    let mut out = String::new();
    template.render(&data, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// Templates that go otherwise here on purpose, and what they make.
const ON_PURPOSE: &[(&str, &str)] = &[
    // A comment need not be next to its braces.
    ("{{ /* comment */ }}x", "\"x\""),
];

#[test]
fn templates_make_what_go_makes_of_them() {
    let mut lines = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (_, json) = lines.next().and_then(|line| line.split_once('\t')).expect("a line of data");
    let data: HashMap<String, String> = serde_json::from_str(json).expect("data");
    let pairs: Vec<(&str, &str)> = data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in lines {
        let (source, expected) = line.split_once('\t').expect("two columns");
        let source: String = serde_json::from_str(source).expect("a text");
        let expected =
            ON_PURPOSE.iter().find(|(known, _)| *known == source).map_or(expected, |(_, made)| made);
        count += 1;
        let made = render(&source, &pairs);
        let fits = match expected {
            "!syntax" => Template::parse(&source).is_err(),
            "!error" => made.is_err(),
            expected => {
                let expected: String = serde_json::from_str(expected).expect("a text");
                made.as_ref() == Ok(&expected)
            }
        };
        if !fits {
            wrong.push(format!("{source}\n   expected {expected}\n   made     {made:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 150);
}

#[test]
fn mistakes_in_templates_have_their_place() {
    for (source, place, message) in [
        ("{{ .Value", (1, 10), "unclosed action"),
        ("a\n  {{ nosuch .Value }}", (2, 6), "function \"nosuch\" not defined"),
        ("{{ if .x }}{{ $y := 1 }}{{ end }}\n{{ $y }}", (2, 4), "undefined variable \"$y\""),
        ("{{ $x = 1 }}", (1, 4), "undefined variable \"$x\""),
        ("a{{ end }}b", (1, 2), "unexpected {{end}}"),
        ("{{ if .x }}{{ end }} {{ else }}b", (1, 22), "unexpected {{end}} or {{else}}"),
        ("{{ template \"t\" . }}", (1, 4), "template \"t\" not defined"),
        ("{{ break }}", (1, 4), "{{break}} outside {{range}}"),
        ("{{ genCA \"a\" 1 }}", (1, 4), "left out: keys"),
        ("{{ semver \"1.2.3\" }}", (1, 4), "left out"),
        ("{{ __step 1 }}", (1, 4), "not defined"),
        ("{{ __end }}", (1, 4), "not defined"),
        ("{{ $_ := set . \"a\" \"b\" }}", (1, 10), "set changes a dictionary in place"),
        (
            "{{ $m := dict }}{{ $_ := set (get $m \"a\") \"b\" 1 }}",
            (1, 26),
            "set changes a dictionary in place",
        ),
        ("{{ define \"t\" }}{{ $x }}{{ end }}", (1, 20), "undefined variable"),
    ] {
        let error = Template::parse(source).expect_err(source);
        assert!(error.message.contains(message), "{source}: {error}");
        assert_eq!((error.line, error.column), place, "{source}: {error}");
    }
}

#[test]
fn a_template_says_what_it_reads() {
    let template = Template::parse("{{ .a }}{{ if eq .b.c $.d }}{{ with .e }}{{ .f }}{{ end }}{{ end }}")
        .expect("valid");
    assert!(["a", "b", "d", "e", "f"].iter().all(|key| template.reads(key)));
    assert!(!template.reads("c") && !template.reads("Value"));
    assert!(Template::parse("{{ index . \"x\" }}").expect("valid").reads("anything"));
    assert!(Template::parse("{{ $x := $ }}").expect("valid").reads("anything"));
}

#[test]
fn functions_of_time_and_chance_give_what_they_promise() {
    let year: i64 = render("{{ now | date \"2006\" }}", &[]).unwrap().parse().expect("a year");
    assert!(year > 2020);
    assert_eq!(render("{{ now.Unix | date \"2006\" }}", &[]).unwrap(), year.to_string());
    assert_eq!(render("{{ ago now }}", &[]).unwrap(), "0s");
    assert_eq!(
        render("{{ len (randAlphaNum 9) }}{{ randNumeric 3 | regexMatch \"^[0-9]{3}$\" }}", &[]).unwrap(),
        "9true"
    );
    assert_eq!(render("{{ uuidv4 | regexMatch \"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$\" }}", &[]).unwrap(), "true");
    assert_eq!(
        render("{{ shuffle \"aaa\" }}{{ $n := randInt 3 5 }}{{ and (ge $n 3) (lt $n 5) }}", &[]).unwrap(),
        "aaatrue"
    );
    assert_eq!(
        render("{{ expandenv \"a$_NO_SUCH_NAME_${_NOR_THIS}b\" }}{{ env \"_NO_SUCH_NAME\" }}", &[]).unwrap(),
        "ab"
    );
    assert!(render("{{ now.Format \"2006\" }}", &[]).unwrap_err().contains("date"));
}

#[test]
fn no_template_runs_away() {
    let deep: String = (0..40)
        .map(|i| {
            format!(
                "{{{{ define \"t{i}\" }}}}{{{{ template \"t{}\" }}}}{{{{ template \"t{}\" }}}}{{{{ end }}}}",
                i + 1,
                i + 1
            )
        })
        .collect();
    let laughs = format!("{deep}{{{{ define \"t40\" }}}}{{{{ end }}}}{{{{ template \"t0\" }}}}");
    let doubled = "{{ $x := list 1 }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}";
    for source in [
        laughs.as_str(),
        "{{ repeat 1000000000 \"x\" }}",
        "{{ range 1000000000 }}x{{ end }}",
        "{{ range until 1000000000 }}{{ end }}",
        "{{ seq 1 1000000000 }}",
        "{{ range 2000000 }}{{ range 2000000 }}{{ end }}{{ end }}",
        "{{ $x := \"a\" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}",
        "{{ $x := \"a\" }}{{ range until 60 }}{{ $x = cat $x $x }}{{ end }}",
        "{{ $x := .Value }}{{ range until 9 }}{{ $x = replace \"a\" (repeat 9 $x) $x }}{{ end }}",
        &format!("{doubled}{{{{ toJson $x }}}}{{{{ len (toString $x) }}}}"),
        &format!(
            "{doubled}{{{{ $y := list $x }}}}{{{{ deepEqual $x (list (first $x) (last $x) 1) }}}}{{{{ $s := print $x }}}}"
        ),
        &format!("{doubled}{{{{ $s := printf \"%v\" $x }}}}"),
        &format!("{doubled}{{{{ html $x }}}}"),
        &format!("{doubled}{{{{ $x }}}}"),
        "{{ printf \"%99999999d\" 1 }}{{ printf (repeat 999 \"%999999d\") 1 }}",
        "{{ $s := repeat 9999 (printf \"%9999d\" 1) }}",
        "{{ indent 1000000 (repeat 1000000 \"\\n\") }}",
        "{{ randAlpha 1000000000 }}",
        "{{ regexReplaceAll \"\" (repeat 1000000 \"a\") (repeat 1000000 \"b\") }}",
        "{{ wrapWith 1 (repeat 1000000 \"a\") (repeat 1000000 \"b\") }}",
        "{{ join (repeat 1000000 \"a\") (splitList \"\" (repeat 1000000 \"b\")) }}",
        "{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}",
        "{{ range $i := until 999999 }}{{ $s := regexMatch (printf \"(a{500}%d){1000}\" $i) \"a\" }}{{ end }}",
        "{{ $x := list }}{{ range until 900000 }}{{ $x = list $x }}{{ end }}",
        "{{ $x := dict }}{{ range until 900000 }}{{ $x = dict \"a\" $x }}{{ end }}",
        "{{ $x := dict }}{{ range until 900000 }}{{ $x = set (dict) \"a\" $x }}{{ end }}",
        "{{ $x := list 1 }}{{ range until 900000 }}{{ $x = chunk 1 $x }}{{ end }}",
        "{{ $x := list 1 }}{{ range until 900000 }}{{ $x = append (list) $x }}{{ end }}",
        "{{ $x := dict }}{{ range until 900000 }}{{ $y := dict \"a\" (dict) }}{{ $_ := set $y.a \"b\" $x }}{{ $x = $y }}{{ end }}",
        "{{ $l := list }}{{ range until 999999 }}{{ $l = append $l 1 }}{{ end }}",
        "{{ $d := dict }}{{ range until 999999 }}{{ $_ := set $d (toString .) . }}{{ end }}",
    ] {
        let started = cpu_seconds();
        let result = render(source, &[("Value", &"a".repeat(100_000))]);
        assert!(result.is_err(), "{source}");
        let took = cpu_seconds() - started;
        assert!(took < 20, "{source} took {took} seconds of a processor");
    }
}

/// Seconds of a processor that this thread has had: what others do at the same time makes no difference.
fn cpu_seconds() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec
}

#[test]
fn nested_parentheses_and_blocks_have_a_limit() {
    for source in [
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}{}", "{{ if 1 }}".repeat(10_000), "{{ end }}".repeat(10_000)),
        "{{".repeat(100_000),
        "{{ . | ".repeat(10_000),
    ] {
        assert!(Template::parse(&source).is_err());
    }
    let chain = |links| format!("{{{{ if .a }}}}{}{{{{ end }}}}", "{{ else if .b }}".repeat(links));
    assert!(Template::parse(&chain(10_000)).is_err());
    assert!(Template::parse(&format!("{{{{ if .a }}}}{}{{{{ end }}}}", chain(DEEPEST - 1))).is_err());
    assert!(Template::parse(&chain(5).repeat(500)).is_ok());
    for fake in ["\"{{ end }}\"", "`{{ end }}`", "(eq .b \"\\\"{{end\")"] {
        let faked = chain(10_000).replace(".b", fake);
        assert!(Template::parse(&faked).is_err(), "{fake}");
    }
    for fake in ["{{ .end }}", "{{ end_x }}", "{{ \"end\" }}", "{{- .x.end -}}"] {
        let faked = chain(10_000).replace("{{ else", &format!("{fake}{{{{ else"));
        assert!(Template::parse(&faked).is_err(), "{fake}");
    }
    assert!(Template::parse(&"{{ .if }}{{ .range }}".repeat(500)).is_ok());
    let commented = chain(10_000).replace("{{ else", "{{/* {{ end }} */}}{{ else");
    assert!(Template::parse(&commented).is_err());
    assert!(Template::parse(&chain(DEEPEST - 1)).is_ok());
    // Whether these are too long does not matter, as long as they end.
    for source in [
        chain(DEEPEST - 1),
        format!("{{{{ 1{} }}}}", " | print".repeat(10_000)),
        "{{ .a }}".repeat(10_000),
        format!("{{{{ $x := .a }}}}{}", "{{ $_ := set $x \"a\" 1 }}".repeat(1_000)),
        format!("{{{{ $x{} }}}}", ".a".repeat(10_000)),
    ] {
        let _ = render(&source, &[("a", "x")]);
    }
}

#[test]
fn after_an_error_nothing_has_been_appended() {
    let template = Template::parse("before {{ fail \"now\" }}").expect("valid");
    let mut out = "kept".to_owned();
    assert!(template.render(&Data::new(), &mut out).unwrap_err().to_string().contains("now"));
    assert_eq!(out, "kept");
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_is_refused(source in ".{0,60}", value in ".{0,30}") {
        let _ = render(&source, &[("Value", &value)]);
    }

    #[test]
    fn what_looks_like_a_template_ends(
        source in r#"(\{\{-? ?(if|range|with|else|end|define "a"|template "a" \.|break|\$x :=|\$x =|)? ?(\.|\.Value|\$x|list|dict|print|until 3|\("a"\)|1e5|nil)( \| ?(upper|len|quote|toJson|trunc 3|splitList ""|first|set \$x "k" 1))? ?-?\}\}|x| ){0,6}"#,
        value in ".{0,30}",
    ) {
        let _ = render(&source, &[("Value", &value)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn functions_take_any_text(a in ".{0,20}", b in -3_i64..12, c in ".{0,20}") {
        for name in functions::ALL.keys().filter(|name| !name.starts_with("__")) {
            for rest in [
                "", ".a", ".a .c", "N .c", ".a N .c", "N N .c", ".a .c N", ".a .c .a N", "(list .a N nil 1.5) N",
                ".a (list .a N nil 1.5)", "(dict .a N) .a .c", ".a (dict .a N)", "(list (dict .a N) .c)", "N .a .c",
            ] {
                let source = format!("{{{{ {name} {} }}}}", rest.replace('N', &b.to_string()));
                if let Err(error) = render(&source, &[("a", &a), ("c", &c)]) {
                    prop_assert!(!error.contains("panicked"), "{}: {}", source, error);
                }
            }
        }
    }
}

//! What each policy says of a trace, alone and combined, and which are refused.

use super::*;

/// What the first policy of a configuration says of a trace.
fn decide(args: &str, spans: Vec<Span>) -> &'static str {
    let mut policies = policies(args).expect("sound policies");
    let bytes = request(spans.clone()).encode_to_vec();
    let id: TraceId = spans[0].trace_id.clone().try_into().expect("16 bytes");
    let trace = trace::Trace::new(&id, &bytes, spans.len() as u64);
    let now = tokio::time::Instant::now();
    policies.decide(&trace, now, &mut Vec::new()).expect("readable").labels()[1]
}

fn policies(lines: &str) -> Result<Policies, String> {
    let source = component::eval::syntax::Source::new("t.alloy", body(lines));
    let (file, problems) = component::eval::syntax::parse(&source);
    assert!(problems.is_empty(), "{lines}: {problems:?}");
    let next = OtelInput { traces: Some(Sink::<Traces>::new().receiver()), ..OtelInput::default() };
    let names = Names::default().with("next", next.to_value());
    let scope = component::eval::Scope::new(&names);
    match component::eval::decode::<Args>(&source, &file.body, None, &scope) {
        (Some(args), found) if found.is_empty() => args.policies("test").map_err(|e| e.to_string()),
        (_, found) => Err(format!("{found:?}")),
    }
}

#[test]
fn each_policy_samples_what_it_says() {
    let one = |span: Span| vec![span];
    let with = |attributes: Vec<KeyValue>| vec![Span { attributes, ..span(1, "s") }];
    let lasting = |parts: &[(u64, u64)]| -> Vec<Span> {
        let at = |ms: u64| 1_000_000_000 + ms * 1_000_000;
        let of = |(start, end): &(u64, u64)| Span {
            start_time_unix_nano: at(*start),
            end_time_unix_nano: at(*end),
            ..span(1, "s")
        };
        parts.iter().map(of).collect()
    };
    let state = |trace_state: &str| one(Span { trace_state: trace_state.into(), ..span(1, "s") });
    let coded = |code| one(Span { status: Some(Status { code, ..Status::default() }), ..span(1, "s") });
    let cases = [
        ("always_sample", "", one(span(1, "s")), true),
        ("latency", "threshold_ms = 100", lasting(&[(0, 40), (50, 100)]), true),
        ("latency", "threshold_ms = 101", lasting(&[(0, 40), (50, 100)]), false),
        ("latency", "threshold_ms = 50\nupper_threshold_ms = 100", lasting(&[(0, 40), (50, 100)]), true),
        ("latency", "threshold_ms = 50\nupper_threshold_ms = 99", lasting(&[(0, 60), (50, 100)]), false),
        ("latency", "threshold_ms = 100\nupper_threshold_ms = 200", lasting(&[(0, 100)]), false),
        (
            "numeric_attribute",
            "key = \"n\"\nmin_value = 1\nmax_value = 5",
            with(vec![attribute("n", Value::IntValue(5))]),
            true,
        ),
        (
            "numeric_attribute",
            "key = \"n\"\nmin_value = 1\nmax_value = 5",
            with(vec![attribute("n", Value::IntValue(6))]),
            false,
        ),
        ("numeric_attribute", "key = \"n\"\nmin_value = 0\nmax_value = 5", with(vec![text("n", "3")]), false),
        (
            "numeric_attribute",
            "key = \"n\"\nmin_value = 0\nmax_value = 5\ninvert_match = true",
            with(vec![]),
            true,
        ),
        (
            "numeric_attribute",
            "key = \"n\"\nmin_value = 0\nmax_value = 5\ninvert_match = true",
            with(vec![attribute("n", Value::IntValue(0))]),
            false,
        ),
        ("status_code", "status_codes = [\"ERROR\", \"OK\"]", coded(1), true),
        ("status_code", "status_codes = [\"UNSET\"]", one(span(1, "s")), true),
        ("status_code", "status_codes = [\"OK\"]", coded(2), false),
        ("string_attribute", "key = \"k\"\nvalues = [\"a\", \"b\"]", with(vec![text("k", "b")]), true),
        ("string_attribute", "key = \"k\"\nvalues = [\"a\", \"b\"]", with(vec![text("k", "ab")]), false),
        ("string_attribute", "key = \"k\"\nvalues = [\"\"]", with(vec![text("k", "")]), false),
        ("string_attribute", "key = \"env\"\nvalues = [\"prod\"]", with(vec![]), true),
        (
            "string_attribute",
            "key = \"k\"\nvalues = [\"^a.\"]\nenabled_regex_matching = true",
            with(vec![text("k", "abc")]),
            true,
        ),
        (
            "string_attribute",
            "key = \"k\"\nvalues = [\"^a$\"]\nenabled_regex_matching = true\ncache_max_size = 1",
            with(vec![text("k", "abc")]),
            false,
        ),
        (
            "string_attribute",
            "key = \"k\"\nvalues = [\"a\"]\ninvert_match = true",
            with(vec![text("k", "a")]),
            false,
        ),
        (
            "string_attribute",
            "key = \"k\"\nvalues = [\"a\"]\ninvert_match = true",
            with(vec![text("k", "c")]),
            true,
        ),
        ("span_count", "min_spans = 2", vec![span(1, "a"), span(1, "b")], true),
        ("span_count", "min_spans = 2", vec![span(1, "a")], false),
        ("span_count", "min_spans = 1\nmax_spans = 1", vec![span(1, "a"), span(1, "b")], false),
        (
            "boolean_attribute",
            "key = \"b\"\nvalue = false",
            with(vec![attribute("b", Value::BoolValue(false))]),
            true,
        ),
        (
            "boolean_attribute",
            "key = \"b\"\nvalue = true",
            with(vec![attribute("b", Value::BoolValue(false))]),
            false,
        ),
        ("boolean_attribute", "key = \"b\"\nvalue = true\ninvert_match = true", with(vec![]), true),
        ("trace_state", "key = \"v\"\nvalues = [\"1\", \"2\"]", state("a=b, v=2"), true),
        ("trace_state", "key = \"v\"\nvalues = [\"1\"]", state("v=11"), false),
        ("probabilistic", "sampling_percentage = 100", one(span(1, "s")), true),
        ("probabilistic", "sampling_percentage = 0", one(span(1, "s")), false),
        ("rate_limiting", "spans_per_second = 1", vec![span(1, "a"), span(1, "b")], true),
        ("rate_limiting", "spans_per_second = 1", vec![span(1, "a"), span(1, "b"), span(1, "c")], false),
        (
            "rate_limiting",
            "spans_per_second = 1\nburst_capacity = 3",
            vec![span(1, "a"), span(1, "b"), span(1, "c")],
            true,
        ),
        (
            "ottl_condition",
            "error_mode = \"ignore\"\nspan = [\"name == \\\"no\\\"\", \"name == \\\"s\\\"\"]",
            one(span(1, "s")),
            true,
        ),
        (
            "ottl_condition",
            "error_mode = \"ignore\"\nspan = [\"resource.attributes[\\\"env\\\"] == \\\"dev\\\"\"]",
            one(span(1, "s")),
            false,
        ),
        (
            "ottl_condition",
            "error_mode = \"ignore\"\nspanevent = [\"name == \\\"e\\\"\"]",
            one(Span { events: vec![Event { name: "e".into(), ..Event::default() }], ..span(1, "s") }),
            true,
        ),
        ("bytes_limiting", "bytes_per_second = 10", one(span(1, "s")), false),
        ("bytes_limiting", "bytes_per_second = 10\nburst_capacity = 1000", one(span(1, "s")), true),
    ];
    for (kind, lines, spans, sampled) in cases {
        let args = match kind {
            "always_sample" => ALWAYS.to_string(),
            kind => policy("p", kind, lines),
        };
        let expected = if sampled { "sampled" } else { "not_sampled" };
        assert_eq!(decide(&args, spans), expected, "{kind} {lines}");
    }
}

#[test]
fn the_share_of_a_probabilistic_policy_is_about_what_it_says_and_depends_on_its_salt() {
    let sampled = |salt: &str| -> Vec<u8> {
        let lines = format!("sampling_percentage = 30\nhash_salt = \"{salt}\"");
        let args = policy("p", "probabilistic", &lines);
        (0..=255).filter(|n| decide(&args, vec![span(*n, "s")]) == "sampled").collect()
    };
    let (a, b) = (sampled(""), sampled("other"));
    assert_eq!(sampled("default-hash-seed"), a);
    assert_ne!(a, b);
    assert!((45..110).contains(&a.len()) && (45..110).contains(&b.len()), "{} {}", a.len(), b.len());
}

fn sub(block: &str, name: &str, kind: &str, lines: &str) -> String {
    let inner = if kind == "always_sample" { String::new() } else { format!("{kind} {{\n{lines}\n}}\n") };
    format!("{block} {{\nname = \"{name}\"\ntype = \"{kind}\"\n{inner}}}\n")
}

#[test]
fn policies_are_combined() {
    let count = |block: &str, least| sub(block, "count", "span_count", &format!("min_spans = {least}"));
    let spans = || vec![span(1, "a"), span(1, "b")];
    let inverted = |value: &str| {
        policy(
            "i",
            "string_attribute",
            &format!("key = \"env\"\nvalues = [\"{value}\"]\ninvert_match = true"),
        )
    };
    let and = |a, b| {
        let subs = count("and_sub_policy", a)
            + &sub("and_sub_policy", "b", "span_count", &format!("min_spans = {b}"));
        policy("and", "and", &subs)
    };
    let never = policy("never", "span_count", "min_spans = 100");
    for (args, expected) in [
        (and(1, 2), "sampled"),
        (and(1, 3), "not_sampled"),
        (policy("not", "not", &count("not_sub_policy", 3)), "sampled"),
        (policy("not", "not", &count("not_sub_policy", 1)), "not_sampled"),
        (ALWAYS.to_string() + &policy("drop", "drop", &count("drop_sub_policy", 2)), "dropped"),
        (ALWAYS.to_string() + &policy("drop", "drop", &count("drop_sub_policy", 3)), "sampled"),
        (policy("drop", "drop", &count("drop_sub_policy", 3)), "not_sampled"),
        (inverted("prod") + ALWAYS, "not_sampled"),
        (inverted("dev"), "sampled"),
        (inverted("dev") + &never, "not_sampled"),
        (inverted("dev") + &never + ALWAYS, "sampled"),
        // Only what comes before the first match is asked.
        (format!("sample_on_first_match = true\n{ALWAYS}{}", inverted("prod")), "sampled"),
    ] {
        assert_eq!(decide(&args, spans()), expected, "{args}");
    }
}

#[tokio::test(start_paused = true)]
async fn policies_of_a_composite_one_share_its_rate_in_their_order() {
    let subs = sub("composite_sub_policy", "rest", "always_sample", "")
        + &sub("composite_sub_policy", "errors", "status_code", "status_codes = [\"ERROR\"]");
    let args = policy(
        "c",
        "composite",
        &format!(
            "max_total_spans_per_second = 10\npolicy_order = [\"errors\", \"rest\"]\n{subs}\
             rate_allocation {{\n policy = \"errors\"\n percent = 30\n}}"
        ),
    );
    let mut policies = policies(&args).expect("sound");
    let failed = |n| Span { status: Some(Status { code: 2, ..Status::default() }), ..span(n, "s") };
    let mut sampled = |spans: Vec<Span>| {
        let bytes = request(spans.clone()).encode_to_vec();
        let id: TraceId = spans[0].trace_id.clone().try_into().expect("16 bytes");
        let trace = trace::Trace::new(&id, &bytes, spans.len() as u64);
        policies.decide(&trace, tokio::time::Instant::now(), &mut Vec::new()).expect("readable").samples()
    };
    assert!(sampled(vec![failed(1), failed(1)]));
    assert!(!sampled(vec![failed(1), failed(1)]), "errors have 3 of 10");
    assert!(sampled(vec![failed(1)]));
    assert!(sampled(vec![span(1, "s"); 5]), "the rest has an equal share");
    assert!(!sampled(vec![span(1, "s")]));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(sampled(vec![span(1, "s"); 5]), "a new second");
}

#[test]
fn policies_that_make_no_sense_are_refused() {
    for (args, why) in [
        (
            policy("p", "latency", "threshold_ms = 1") + &policy("p", "span_count", "min_spans = 1"),
            "two policies",
        ),
        (policy("", "span_count", "min_spans = 1"), "empty name"),
        ("policy {\n name = \"p\"\n type = \"latency\"\n}".to_string(), "needs a block latency"),
        ("policy {\n name = \"p\"\n type = \"luck\"\n}".to_string(), "is none of always_sample"),
        (policy("p", "status_code", "status_codes = []"), "must list one"),
        (policy("p", "status_code", "status_codes = [\"BAD\"]"), "is not OK, ERROR or UNSET"),
        (
            policy("p", "string_attribute", "key = \"k\"\nvalues = [\"(\"]\nenabled_regex_matching = true"),
            "error parsing regexp",
        ),
        (
            policy("p", "composite", "max_total_spans_per_second = 1\npolicy_order = []"),
            "needs a block composite_sub_policy",
        ),
        (
            policy(
                "p",
                "composite",
                &("max_total_spans_per_second = 1\npolicy_order = [\"x\"]\n".to_string()
                    + &sub("composite_sub_policy", "a", "always_sample", "")),
            ),
            "\\\"x\\\" is none of its policies",
        ),
        (
            policy("p", "and", &sub("and_sub_policy", "a", "composite", "max_total_spans_per_second = 1")),
            "composite",
        ),
        (policy("p", "ottl_condition", "error_mode = \"ignore\""), "needs a condition"),
        (
            policy("p", "ottl_condition", "error_mode = \"ignore\"\nspan = [\"nam == 1\"]"),
            "is no field of the context span",
        ),
        (format!("decision_wait = \"0s\"\n{ALWAYS}"), "greater than zero"),
        (format!("num_traces = 0\n{ALWAYS}"), "greater than zero"),
        (String::new(), "policy"),
    ] {
        let refused = policies(&args).expect_err(&args);
        let found = format!("{refused:?}");
        assert!(found.contains(why), "{args}: {found}");
    }
}

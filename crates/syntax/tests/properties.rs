//! Properties over generated texts: nothing panics, and formatting keeps the tree and is a fixed point.

use proptest::prelude::*;
use syntax::{Source, decode, format, parse, parse_expression, quote, render};

/// A tree without its positions.
fn shape(body: &syntax::ast::Body) -> String {
    let text = format!("{body:?}");
    let mut out = String::new();
    let mut rest = text.as_str();
    // `Span` prints as `1..2`, always as the value of a field `span`.
    while let Some(at) = rest.find("span: ") {
        out.push_str(&rest[..at]);
        rest = rest[at + 6..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    out + rest
}

fn comments(file: &syntax::ast::File) -> Vec<String> {
    file.comments.iter().map(|c| file.source.slice(c.span).replace('\r', "")).collect()
}

/// Parses whatever it is given; where it is sound, formatting must keep it and settle at once.
fn check(text: &str) {
    let source = Source::new("generated", text);
    let (file, problems) = parse(&source);
    render(&problems, true);
    parse_expression(&source);
    if !problems.is_empty() {
        format(&file);
        return;
    }
    let formatted = format(&file);
    let (again, problems) = parse(&Source::new("formatted", formatted.as_str()));
    assert_eq!(problems, [], "{text:?} became\n{formatted}");
    assert_eq!(shape(&file.body), shape(&again.body), "{text:?} became\n{formatted}");
    assert_eq!(comments(&file), comments(&again), "{text:?} became\n{formatted}");
    assert_eq!(format(&again), formatted, "{text:?} does not settle");
}

const PIECES: &[&str] = &[
    "a",
    "bb.c",
    "_x1",
    "é",
    "null",
    "true",
    "1",
    "010",
    "1.5e3",
    ".5",
    "1.",
    "\"s\"",
    "\"\\n\"",
    "`r\n`",
    "\"\"",
    "=",
    "==",
    "!",
    "!=",
    "<",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "&&",
    "||",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    ":",
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "\r\n",
    "// c\n",
    "/* c */",
    "/* c\n */",
    "#",
    "'q'",
    "\"open",
    "\\",
    "\u{feff}",
    "\0",
    "name = ",
    "block \"l\" {\n",
    "}\n",
    "x = [\n",
    "],\n",
    "= {\n",
    "k = 1,\n",
];

fn token_soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// What may stand where a line break ends nothing: behind an opener, comma or operator.
fn loose() -> impl Strategy<Value = String> + Clone {
    let pieces = &[
        "",
        "",
        "",
        " ",
        " ",
        "\n",
        "\n\n\n",
        "// c\n",
        " // c\r\n",
        "/* c */",
        "/* c\n c */",
        "\n/* c */\n",
    ];
    prop::collection::vec(prop::sample::select(&pieces[..]), 0..3).prop_map(|pieces| pieces.concat())
}

/// What may stand behind a value.
fn tight() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec!["", "", "", " ", "\t", " /* t */ "]).prop_map(str::to_owned)
}

fn line_end() -> impl Strategy<Value = String> {
    let pieces = &["\n", "\n", "\n\n", "// e\n", " /* e */\n", "/* e\n e */", " // e\n\n\n// f\n", "\r\n"];
    prop::sample::select(&pieces[..]).prop_map(str::to_owned)
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "long_name",
        "null",
        "true",
        "1",
        "010",
        "1.50",
        ".5",
        "\"s\"",
        "\"wide é\"",
        "`raw\n\ttext`",
        "`r`",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 4, |inner| {
        let list = prop::collection::vec((loose(), inner.clone(), tight()), 0..4);
        let fields =
            prop::collection::vec((loose(), "[a-z]{1,8}|\"[a-z]{1,8}\"", inner.clone(), tight()), 0..4);
        prop_oneof![
            (list.clone(), loose(), any::<bool>())
                .prop_map(|(l, end, comma)| bracket("[", "]", &l, &end, comma)),
            (list, loose(), any::<bool>()).prop_map(|(l, end, comma)| bracket("f.g(", ")", &l, &end, comma)),
            (fields, loose(), any::<bool>()).prop_map(|(fields, end, comma)| {
                let fields: Vec<_> =
                    fields.into_iter().map(|(l, k, v, t)| (l, format!("{k}={v}"), t)).collect();
                bracket("{", "}", &fields, &end, comma)
            }),
            (
                inner.clone(),
                loose(),
                inner.clone(),
                tight(),
                prop::sample::select(vec!["+", "^", "==", "/ ", "&&"])
            )
                .prop_map(|(a, l, b, t, op)| format!("{a}{t}{op}{l}{b}")),
            (loose(), inner.clone(), tight()).prop_map(|(l, a, t)| format!("({l}{a}{t})")),
            (loose(), inner.clone(), tight()).prop_map(|(l, a, t)| format!("x{t}.{l}y[{l}{a}{t}]")),
            (inner.clone(), loose()).prop_map(|(a, l)| format!("{a} .{l}k")),
            inner.prop_map(|a| format!("-!{a}")),
        ]
    })
}

fn bracket(open: &str, close: &str, items: &[(String, String, String)], end: &str, comma: bool) -> String {
    let items: Vec<_> = items.iter().map(|(a, b, c)| format!("{a}{b}{c}")).collect();
    // A line break before the closer needs the last comma.
    let comma = if !items.is_empty() && (comma || end.contains('\n')) { "," } else { "" };
    format!("{open}{}{comma}{end}{close}", items.join(","))
}

fn body() -> impl Strategy<Value = String> {
    let attribute = ("[a-z]{1,9}", tight(), loose(), expression(), tight(), line_end())
        .prop_map(|(name, t, l, value, u, end)| format!("{name}{t}={l}{value}{u}{end}"));
    let some = prop::collection::vec(attribute, 0..5).prop_map(|a| a.concat());
    some.prop_recursive(3, 12, 3, |inner| {
        let block =
            (loose(), "[a-z]{1,3}(\\.[a-z]{1,3})?", tight(), loose(), inner, line_end(), any::<bool>())
                .prop_map(|(before, name, t, l, body, end, label)| {
                    let label = if label { " \"label\"" } else { "" };
                    format!("{before}{name}{t}{label} {{{l}{body}}}{end}")
                });
        prop::collection::vec(block, 0..3).prop_map(|blocks| blocks.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(source) = decode(&bytes, "bytes") {
            check(source.text());
        }
    }

    #[test]
    fn token_soup_does_no_harm(text in token_soup()) {
        check(&text);
    }

    #[test]
    fn a_sound_file_is_read_and_keeps_its_tree_when_formatted(text in body()) {
        let (_, problems) = parse(&Source::new("generated", text.as_str()));
        prop_assert_eq!(problems, []);
        check(&text);
    }

    #[test]
    fn quoting_reads_back(text in any::<String>()) {
        let (value, problems) = parse_expression(&Source::new("q", quote(&text)));
        prop_assert_eq!(problems, []);
        let value = value.expect("no problems").kind;
        prop_assert!(matches!(value, syntax::ast::ExprKind::Literal(syntax::ast::Literal::String(s)) if s == text));
    }
}

//! The rules of the language, one table a rule.

use syntax::ast::{BinaryOp, Expr, ExprKind, File, Literal, Statement, UnaryOp};
use syntax::{Diagnostic, Source, parse, parse_expression};

fn read(text: &str) -> (File, Vec<Diagnostic>) {
    parse(&Source::new("test", text))
}

/// An expression with explicit parentheses.
fn show(expr: &Expr) -> String {
    let all = |items: &[Expr]| items.iter().map(show).collect::<Vec<_>>().join(", ");
    match &expr.kind {
        ExprKind::Literal(Literal::Null) => "null".to_owned(),
        ExprKind::Literal(Literal::Bool(b)) => b.to_string(),
        ExprKind::Literal(Literal::Int(n)) => n.to_string(),
        ExprKind::Literal(Literal::Uint(n)) => format!("{n}u"),
        ExprKind::Literal(Literal::Float(n)) => format!("{n:?}"),
        ExprKind::Literal(Literal::String(s)) => format!("{s:?}"),
        ExprKind::Ident(name) => name.clone(),
        ExprKind::Array(items) => format!("[{}]", all(items)),
        ExprKind::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|f| format!("{} = {}", f.key.name, show(&f.value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        ExprKind::Paren(inner) => show(inner),
        ExprKind::Access(inner, name) => format!("{}.{}", show(inner), name.name),
        ExprKind::Index(inner, index) => format!("{}[{}]", show(inner), show(index)),
        ExprKind::Call(callee, arguments) => format!("{}({})", show(callee), all(arguments)),
        ExprKind::Unary(UnaryOp::Not, inner) => format!("(!{})", show(inner)),
        ExprKind::Unary(UnaryOp::Negate, inner) => format!("(-{})", show(inner)),
        ExprKind::Binary(left, op, right) => format!("({} {} {})", show(left), op.symbol(), show(right)),
    }
}

fn value(text: &str) -> String {
    let (expr, problems) = parse_expression(&Source::new("test", text));
    assert_eq!(problems, [], "{text}");
    show(&expr.expect("no problems"))
}

fn is_sound(text: &str) -> bool {
    read(text).1.is_empty()
}

#[test]
fn operators_bind_as_listed() {
    for (text, want) in [
        ("a || b && c", "(a || (b && c))"),
        ("a && b == c", "(a && (b == c))"),
        ("a == b + c", "(a == (b + c))"),
        ("a + b * c", "(a + (b * c))"),
        ("a * b ^ c", "(a * (b ^ c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b % c * d", "(((a / b) % c) * d)"),
        ("a < b <= c != d", "(((a < b) <= c) != d)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-2 ^ 2", "((-2) ^ 2)"),
        ("2 ^ -2", "(2 ^ (-2))"),
        ("!a.b(c)[0]", "(!a.b(c)[0])"),
        ("--!a", "(-(-(!a)))"),
        ("(a + b) * c", "((a + b) * c)"),
    ] {
        assert_eq!(value(text), want, "{text}");
    }
}

#[test]
fn literals_have_their_value() {
    for (text, want) in [
        ("010", "8"),
        ("08", "8.0"),
        ("18446744073709551615", "18446744073709551615u"),
        ("18446744073709551616", "1.8446744073709552e19"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("1e-3", "0.001"),
        ("\"\\u00e9\"", "\"é\""),
        ("`\\n`", "\"\\\\n\""),
        ("null", "null"),
        ("[true, false]", "[true, false]"),
        ("{}", "{}"),
        ("f()", "f()"),
        ("f(1, 2,)", "f(1, 2)"),
    ] {
        assert_eq!(value(text), want, "{text}");
    }
}

#[test]
fn object_keys_are_taken_verbatim() {
    for (text, want) in [
        ("{ a = 1, \"b c\" = 2 }", "{a = 1, b c = 2}"),
        ("{ \"a\\tb\" = 1 }", "{a\\tb = 1}"),
        ("{ \"\" = 1 }", "{\"\" = 1}"),
        ("{ `r` = 1 }", "{r = 1}"),
        ("{ a = 1, a = 2 }", "{a = 1, a = 2}"),
    ] {
        assert_eq!(value(text), want, "{text}");
    }
}

#[test]
fn a_line_end_ends_a_statement_behind_a_value_only() {
    for (text, sound) in [
        ("a = 1 +\n2", true),
        ("a = 1\n+ 2", false),
        ("a =\n1", true),
        ("a\n= 1", false),
        ("a = [\n1,\n2,\n]", true),
        ("a = [\n1,\n2\n]", false),
        ("a = [\n1,\n2]", true),
        ("a = [1\n, 2]", false),
        ("a = f(\n1,\n)", true),
        ("a = f(\n1\n)", false),
        ("a = (\n1)", true),
        ("a = (1\n)", false),
        ("a = b.\nc", true),
        ("a = b\n.c", false),
        ("a = {\nb = 1,\n}", true),
        ("a = {\nb = 1\n}", false),
        ("a {\nb = 1\n}", true),
        ("a\n{\nb = 1\n}", false),
        ("a { b = 1 }", true),
        ("a = 1 b = 2", false),
        ("a = 1 // c\nb = 2", true),
        ("a = 1 /* c */ b = 2", false),
        ("a = 1 /* c\n */ b = 2", true),
        ("a = 1 /* c */\nb = 2", true),
        ("a = 1 /* c */ /* d\n */ b = 2", true),
        ("a /* c */ = /* c */ 1", true),
        ("a // c\n= 1", false),
        ("a = // c\n1", true),
        ("a = [1, // c\n]", true),
        ("a = [1 // c\n]", false),
        ("a = /* /* */ 1", true),
        ("a = /* /* */ */ 1", false),
        ("a = 1\r\nb = 2\r\n", true),
        ("", true),
        ("\n\n", true),
        ("// only a comment", true),
        ("\u{feff}a = 1", true),
        ("a = 1\u{feff}", false),
        ("a = 0x10", false),
        ("a = 1_000", false),
    ] {
        assert_eq!(is_sound(text), sound, "{text:?}");
    }
}

#[test]
fn identifiers_are_letters_digits_and_underscores() {
    for (text, sound) in [
        ("a", true),
        ("_", true),
        ("a1_B", true),
        ("é", true),
        ("名前", true),
        ("a\u{0663}", true),
        ("\u{0663}a", false),
        // A letter number and a combining mark: alphabetic, but no letters.
        ("\u{2160}", false),
        ("a\u{0345}", false),
        ("a\u{00b2}", false),
        ("1a", false),
        ("a-b", false),
        ("true", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(syntax::is_identifier(text), sound, "{text:?}");
        assert_eq!(is_sound(&format!("{text} = 1")), sound, "{text:?}");
        assert_eq!(is_sound(&format!("b \"{text}\" {{ }}")), sound || text.is_empty(), "{text:?}");
    }
}

#[test]
fn a_block_has_a_name_a_label_and_spans() {
    let source = Source::new("test", "a.b \"c\" {\n\td = 1\n}\ne \"\" { }\n");
    let (file, problems) = parse(&source);
    assert_eq!(problems, []);
    let blocks: Vec<_> = file.body.blocks().collect();
    assert_eq!((blocks[0].id(), blocks[0].full_name()), ("a.b.c".to_owned(), "a.b".to_owned()));
    assert_eq!(source.slice(blocks[0].header_span()), "a.b \"c\"");
    assert_eq!(source.slice(blocks[0].span), "a.b \"c\" {\n\td = 1\n}");
    assert_eq!(source.slice(blocks[0].body.span), "\n\td = 1\n");
    assert_eq!(blocks[1].label, None);
    let inner = blocks[0].body.attributes().next().expect("one");
    assert_eq!(source.slice(inner.span()), "d = 1");
}

#[test]
fn what_could_be_read_is_in_the_tree() {
    let (file, problems) = read("a = 1\nb = )\nc {\n\td = [1, =, 3]\n\te 5\n\tf = 2\n}\ng = 3\n");
    assert_eq!(problems.len(), 3, "{problems:?}");
    let names = |s: &Statement| match s {
        Statement::Attribute(a) => format!("{} = {}", a.name.name, show(&a.value)),
        Statement::Block(b) => b.full_name(),
    };
    assert_eq!(file.body.statements.iter().map(names).collect::<Vec<_>>(), ["a = 1", "c", "g = 3"]);
    let inner = file.body.blocks().next().expect("one");
    assert_eq!(inner.body.statements.iter().map(names).collect::<Vec<_>>(), ["d = [1, 3]", "f = 2"]);
}

#[test]
fn five_mistakes_give_five_problems_on_their_lines() {
    let text = "a = 'x'\nb = [1 2]\nc \"bad-label\" {\n\td: 1\n\te = f(\n\t\t1\n\t)\n}\n";
    let lines: Vec<_> =
        read(text).1.iter().map(|d| d.location.as_ref().expect("a place").line_column().line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 6]);
}

#[test]
fn nesting_and_chains_are_bounded() {
    let deep = 100_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("a = {}", "{b=".repeat(deep)),
        format!("a = {}1{}", "f(".repeat(deep), ")".repeat(deep)),
        format!("a = b{}1{}", "[b".repeat(deep), "]".repeat(deep)),
        format!("a = {}1", "-".repeat(deep)),
        format!("a = 1{}", "^1".repeat(deep)),
        format!("a = 1{}", " + 1".repeat(deep)),
        format!("a = b{}", ".c".repeat(deep)),
        format!("a = b{}", "()".repeat(deep)),
        format!("a = {}1", "1||1&&1==1+1*1^(".repeat(deep)),
        "a {".repeat(deep),
        format!("{}{}", "a {\n".repeat(deep), "}\n".repeat(deep)),
        format!("a = {}", "b {".repeat(deep)),
    ] {
        let (_, problems) = read(&text);
        assert!(!problems.is_empty(), "{}", &text[..20]);
    }
    assert!(is_sound(&format!("a = {}1{}", "[".repeat(127), "]".repeat(127))));
    assert!(is_sound(&format!("a = 1{}", " + 1".repeat(499))));
    assert!(is_sound(&format!("{}{}", "a {\n".repeat(127), "}\n".repeat(127))));
}

#[test]
fn operators_know_their_symbol() {
    assert_eq!(BinaryOp::Or.symbol(), "||");
    assert_eq!(BinaryOp::Pow.symbol(), "^");
}

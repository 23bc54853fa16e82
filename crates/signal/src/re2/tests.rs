//! Against answers of Go's regexp (`testdata/re2.txt`).

use super::*;

/// Undoes Go's `strconv.QuoteToASCII`.
fn unquote(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap();
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match chars.next().unwrap() {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            'a' => out.push_code(7),
            'b' => out.push_code(8),
            'f' => out.push_code(12),
            'n' => out.push_code(10),
            'r' => out.push_code(13),
            't' => out.push_code(9),
            'v' => out.push_code(11),
            other => out.push_code(u32::from(other)),
        };
        if digits > 0 {
            let hex: String = chars.by_ref().take(digits).collect();
            out.push_code(u32::from_str_radix(&hex, 16).unwrap());
        }
    }
    out
}

trait PushCode {
    fn push_code(&mut self, code: u32) -> usize;
}
impl PushCode for String {
    fn push_code(&mut self, code: u32) -> usize {
        self.push(char::from_u32(code).unwrap());
        0
    }
}

/// `index:start,end,start,end…` for every text that matches; -1 for groups that took no part.
fn answer(regex: &Regex, texts: &[String]) -> String {
    let mut out = String::from("found");
    for (i, text) in texts.iter().enumerate() {
        let Some(found) = regex.captures(text) else { continue };
        let offsets: Vec<String> = (0..regex.group_count())
            .map(|group| match found.get(group) {
                Some(part) => {
                    let start = part.as_ptr().addr() - text.as_ptr().addr();
                    format!("{start},{}", start + part.len())
                }
                None => "-1,-1".to_owned(),
            })
            .collect();
        out.push_str(&format!(" {i}:{}", offsets.join(",")));
    }
    out
}

#[test]
fn patterns_match_or_fail_as_in_go() {
    let (mut texts, mut pattern, mut wrong) = (Vec::new(), String::new(), Vec::new());
    let mut checked = 0;
    for line in include_str!("../../testdata/re2.txt").lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("text", text) => texts.push(unquote(text)),
            ("pattern", text) => pattern = unquote(text),
            ("error", expected) => {
                checked += 1;
                match Regex::new(&pattern) {
                    Ok(_) => wrong.push(format!("{pattern}: accepted, Go says {expected}")),
                    Err(error) if error.to_string() != unquote(expected) => {
                        wrong.push(format!("{pattern}: {error}, Go says {expected}"));
                    }
                    Err(_) => {}
                }
            }
            ("found", _) => {
                checked += 1;
                match Regex::new(&pattern) {
                    Err(error) => wrong.push(format!("{pattern}: {error}, Go accepts")),
                    Ok(regex) => {
                        let ours = answer(&regex, &texts);
                        if ours != line {
                            wrong.push(format!("{pattern}:\n  ours {ours}\n  Go   {line}"));
                        }
                    }
                }
            }
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    assert!(checked > 400);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn anchored_patterns_match_whole_texts_with_and_without_an_automaton() {
    let cases = [
        ("", "", true),
        ("", "a", false),
        ("a|b", "b", true),
        ("a|b", "ab", false),
        (".*", "a\nb", true),
        ("(.*)", "", true),
        (".+", "", false),
        ("node_.*", "node_a\nb", true),
        ("node_.*", "xnode_", false),
        ("(?-s).*", "a\nb", false),
        ("a$", "a", true),
        ("(?i)a", "A", true),
        ("a)|(b", "ac", true),
    ];
    for (pattern, text, expected) in cases {
        let regex = Regex::anchored(pattern).unwrap();
        assert_eq!(regex.is_match(text), expected, "{pattern} on {text:?}");
        assert_eq!(regex.0.compiled.is_match(text), expected, "automaton of {pattern} on {text:?}");
    }
    let error = Regex::anchored("(a").unwrap_err();
    assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `^(?s:(a)$`");
}

#[test]
fn replacements_expand_as_in_go() {
    // Pattern, text, replacement, result: answers of Go's ReplaceAllString.
    let cases = [
        ("(a)(b)?", "ab", "$1-$2", "a-b"),
        ("(a)(b)?", "ac", "$1-$2-$0", "a--ac"),
        ("(a)(b)", "ab", "$1x", ""),
        ("(a)(b)", "ab", "${1}x", "ax"),
        ("(a)(b)", "ab", "$$1", "$1"),
        ("(a)(b)", "ab", "$", "$"),
        ("(a)(b)", "ab", "a$", "a$"),
        ("(a)(b)", "ab", "${1", "${1"),
        ("(a)(b)", "ab", "$-1", "$-1"),
        ("(a)(b)", "ab", "${}", "${}"),
        ("(a)(b)", "ab", "$3", ""),
        ("(a)(b)", "ab", "$01", ""),
        ("(a)(b)", "ab", "$00", ""),
        ("(?P<n>a)(?P<m>b)", "ab", "$n.${m}", "a.b"),
        ("(?P<n>a)|(?P<n>b)", "b", "<$n>", "<b>"),
        ("(?P<1>a)", "a", "<$1>", "<a>"),
        ("(?P<01>a)", "a", "<$01>", "<a>"),
        ("(a)", "a", "${ 1 }", "${ 1 }"),
        ("(a)", "a", "$1$1$1é$é", "aa"),
        ("(a)", "a", "$100000000", ""),
        ("(a)", "a", "$1_", ""),
        ("(a)", "a", "${1}_", "a_"),
        ("(a)", "a", "${1-}", "${1-}"),
        ("x*", "axbxx", "[$0]", "[]a[x]b[xx]"),
        ("x*", "é", "-", "-é-"),
        ("b|", "abc", "<$0>", "<>a<b>c<>"),
        ("^", "abc", "-", "-abc"),
        ("$", "abc", "-", "abc-"),
        ("", "", "-", "-"),
        ("a", "banana", "($0)", "b(a)n(a)n(a)"),
        ("(?m)^", "a\nb", "> ", "> a\n> b"),
    ];
    for (pattern, text, replacement, expected) in cases {
        let regex = Regex::new(pattern).unwrap();
        let template = regex.template(replacement);
        assert_eq!(regex.replace_all(text, &template), expected, "{pattern} on {text:?} with {replacement}");
    }
}

#[test]
fn groups_that_nest_to_the_limit_compile_and_deeper_ones_are_refused() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")*".repeat(depth));
    let deepest = Regex::new(&nested(translate::MAX_DEPTH as usize)).unwrap();
    assert!(deepest.is_match("aaa"));
    let error = Regex::new(&nested(translate::MAX_DEPTH as usize + 1)).unwrap_err();
    assert_eq!(error.reason, "expression nests too deeply");
}

#[test]
fn names_of_groups_are_known() {
    let regex = Regex::new("(?P<a>x)(y)(?<1b>z)").unwrap();
    assert_eq!(regex.group_names().collect::<Vec<_>>(), [None, Some("a"), None, Some("1b")]);
}

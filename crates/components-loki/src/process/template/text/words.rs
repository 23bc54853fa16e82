//! Words in one of the forms that programmers use. As the library that Sprig takes: `xstrings`.

use super::{Args, Result, Value, text, to_lower, to_upper};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

fn connects(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn punctuates(c: char) -> bool {
    // Of ASCII, these are symbols and no punctuation to Unicode.
    c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c)
}

fn kind(c: char) -> Kind {
    match c {
        c if connects(c) => Kind::Connector,
        c if punctuates(c) => Kind::Punctuation,
        c if c.is_uppercase() => Kind::Upper,
        c if c.is_alphabetic() => Kind::Letters,
        c if c.is_numeric() => Kind::Number,
        _ => Kind::Other,
    }
}

/// Splits the first word off: a run of one kind; a word may begin with one capital, and the last capital of
/// a run belongs to the letters behind it ("HTTPStatus" is "HTTP" and "Status").
fn next_word(value: &str) -> Option<(Kind, &str, &str)> {
    let first = value.chars().next()?;
    let found = kind(first);
    let run = |from: usize, wanted: Kind| {
        from + value[from..].find(|c| kind(c) != wanted).unwrap_or(value.len() - from)
    };
    let after = first.len_utf8();
    let end = if found == Kind::Upper {
        let second = value[after..].chars().next();
        match second.map(kind) {
            Some(Kind::Upper) => {
                let end = run(after, Kind::Upper);
                let letters = value[end..].chars().next().map(kind) == Some(Kind::Letters);
                let last = value[..end].chars().next_back().map_or(0, char::len_utf8);
                if letters { end - last } else { end }
            }
            Some(Kind::Letters) => run(after, Kind::Letters),
            _ => after,
        }
    } else {
        run(after, found)
    };
    Some((found, &value[..end], &value[end..]))
}

fn push(out: &mut String, kind: Kind, word: &str, connector: char) {
    match kind {
        Kind::Upper | Kind::Connector => {
            out.extend(word.chars().map(|c| if connects(c) { connector } else { to_lower(c) }));
        }
        _ => out.push_str(word),
    }
}

/// `FirstName` → `first_name`, `HTTP20xOK` → `http_20x_ok`.
pub(in super::super) fn separated(value: &str, connector: char) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    let mut rest = value;
    let Some((mut kind, mut word, after)) = next_word(rest) else { return out };
    rest = after;
    // A number takes the small letters behind it: "20x".
    while !rest.is_empty() {
        if kind != Kind::Connector {
            push(&mut out, kind, word, connector);
        }
        let (before, last) = (kind, word);
        let Some(found) = next_word(rest) else { break };
        (kind, word, rest) = found;
        let plain = |kind: Option<Kind>| !matches!(kind, None | Some(Kind::Connector | Kind::Punctuation));
        match before {
            Kind::Number => {
                let more = absorb(&mut out, &mut kind, &mut word, &mut rest, connector);
                if plain(more) {
                    out.push(connector);
                }
                if more.is_none() {
                    return out;
                }
            }
            Kind::Connector => push(&mut out, before, last, connector),
            Kind::Punctuation => {}
            _ if kind != Kind::Number => {
                if plain(Some(kind)) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                let Some(found) = next_word(rest) else { break };
                (kind, word, rest) = found;
                if kind != Kind::Letters {
                    // The number belongs to the word before: "bld4_floor".
                    push(&mut out, Kind::Number, number, connector);
                    if plain(Some(kind)) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                push(&mut out, Kind::Number, number, connector);
                let more = absorb(&mut out, &mut kind, &mut word, &mut rest, connector);
                if plain(more) {
                    out.push(connector);
                }
                if more.is_none() {
                    return out;
                }
            }
        }
    }
    push(&mut out, kind, word, connector);
    out
}

/// Writes letters and numbers as long as they follow; the kind of what comes then, if anything does.
fn absorb<'v>(
    out: &mut String,
    kind: &mut Kind,
    word: &mut &'v str,
    rest: &mut &'v str,
    connector: char,
) -> Option<Kind> {
    while matches!(*kind, Kind::Letters | Kind::Number) {
        push(out, *kind, word, connector);
        let (next, found, after) = next_word(rest)?;
        (*kind, *word, *rest) = (next, found, after);
    }
    Some(*kind)
}

pub(in super::super) fn separate(args: &Args<'_>, connector: char) -> Result<Value> {
    args.exactly(1)?;
    text(separated(args.text(0)?, connector))
}

/// `http_server` → `HttpServer`. Connectors in front stay, of several in a row one is taken.
pub(in super::super) fn camel(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let start = value.find(|c| !connects(c)).unwrap_or(value.len());
    out.push_str(&value[..start]);
    let mut chars = value[start..].chars().peekable();
    let Some(first) = chars.next() else { return out };
    let mut in_capitals = first.is_uppercase();
    let mut held = to_upper(first);
    for c in chars {
        let mut c = c;
        if connects(c) && connects(held) {
            out.push(held);
            held = c;
            continue;
        }
        if connects(held) {
            in_capitals = c.is_uppercase();
            c = to_upper(c);
        } else {
            if in_capitals {
                if c.is_uppercase() {
                    c = to_lower(c);
                } else {
                    in_capitals = false;
                }
            }
            out.push(held);
        }
        held = c;
    }
    out.push(held);
    out
}

pub(in super::super) fn camelcase(args: &Args<'_>) -> Result<Value> {
    args.exactly(1)?;
    text(camel(args.text(0)?))
}

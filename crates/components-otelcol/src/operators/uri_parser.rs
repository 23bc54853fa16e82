//! `uri_parser`: the parts of a URI, or of a query that begins with `?`.

use super::Transform;
use super::entry::{Entry, Failure};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::{Map, Value};

/// The operator.
pub struct UriParser {
    parser: Parser,
}

impl UriParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        Ok(Self { parser: Parser::new(options)? })
    }
}

impl Transform for UriParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        self.parser.apply(entry, |value| parse(text(value, "a URI")?))
    }
}

fn parse(text: &str) -> Result<Value, Failure> {
    let mut map = Map::new();
    if let Some(query) = text.strip_prefix('?') {
        add_query(query, &mut map);
        return Ok(Value::Map(map));
    }
    if text.is_empty() || text.contains(|c: char| c.is_control() || c == ' ') {
        return Err(Failure::new("it is no URI"));
    }
    let (rest, _fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, after)) if is_scheme(scheme) => (scheme, after),
        _ => ("", rest),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(after) => after.split_at(after.find('/').unwrap_or(after.len())),
        None => ("", rest),
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = split_port(host)?;
    let user = user.split_once(':').map_or(user, |(name, _)| name);
    for (name, part) in [("scheme", scheme), ("user", user), ("host", host), ("port", port), ("path", path)] {
        if !part.is_empty() {
            map.insert(name.to_string(), Value::Text(decode(part, false)));
        }
    }
    if !query.is_empty() {
        add_query(query, &mut map);
    }
    Ok(Value::Map(map))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn split_port(host: &str) -> Result<(&str, &str), Failure> {
    let (name, port) = match host.strip_prefix('[') {
        Some(inner) => {
            let (name, after) =
                inner.split_once(']').ok_or_else(|| Failure::new("the bracket of a host is not closed"))?;
            (name, after.strip_prefix(':').unwrap_or(""))
        }
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    if port.bytes().all(|b| b.is_ascii_digit()) {
        Ok((name, port))
    } else {
        Err(Failure::new(format!("{port:?} is no port")))
    }
}

fn add_query(query: &str, map: &mut Map) {
    let mut names = Map::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let entry = names.entry(decode(name, true)).or_insert_with(|| Value::List(Vec::new()));
        if let Value::List(list) = entry {
            list.push(Value::Text(decode(value, true)));
        }
    }
    map.insert("query".to_string(), Value::Map(names));
}

/// Percent signs, and `+` in queries, as what they stand for; what stands for nothing stays.
fn decode(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = text.get(at + 1..at + 3).filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
        let pair = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[at], pair) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if is_query => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run_text, shown, sorted};

    #[test]
    fn parts_of_uris_become_attributes() {
        for (body, expected) in [
            (
                "https://me:secret@example.com:8443/a%20b?x=1&x=2&y=a+b#frag",
                r#"{"scheme":"https","user":"me","host":"example.com","port":"8443","path":"/a b","query":{"x":["1","2"],"y":["a b"]}}"#,
            ),
            ("/only/path", r#"{"path":"/only/path"}"#),
            ("?a=1&b", r#"{"query":{"a":["1"],"b":[""]}}"#),
            ("http://[::1]:80/", r#"{"scheme":"http","host":"::1","port":"80","path":"/"}"#),
            ("http://host:port/", "{}"),
            ("no uri", "{}"),
        ] {
            let out = run_text(r#"{type = "uri_parser"}"#, body);
            assert_eq!(shown(&out), format!("{} {}", sorted(expected), serde_json::json!(body)));
        }
    }
}

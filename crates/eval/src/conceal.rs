//! Secrets that no type marks: passwords in addresses, headers that carry credentials.
//!
//! Invariant: only what is shown changes; values go on as they are.

use std::borrow::Cow;
use std::ops::Range;

/// What stands in a password's place.
const SHOWN: &str = "(secret)";

/// Where the passwords of the addresses in a text are (`scheme://user:password@host`).
pub fn passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let rest = &text[start..];
        let end = rest.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '`') || c.is_whitespace());
        let authority = &rest[..end.unwrap_or(rest.len())];
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
        {
            found.push(start + name.len() + 1..start + user.len());
        }
        from = start;
    }
    found
}

/// A text without the passwords of the addresses in it.
pub(crate) fn without_passwords(text: &str) -> Cow<'_, str> {
    let found = passwords(text);
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for range in found {
        out.push_str(&text[from..range.start]);
        out.push_str(SHOWN);
        from = range.end;
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// Whether what has this name is a secret by all appearances: an argument of a module, a header.
pub fn names_secret(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "password",
        "passphrase",
        "secret",
        "token",
        "credential",
        "authorization",
        "x_auth",
        "cookie",
        "api_key",
        "apikey",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    PARTS.iter().any(|part| name.contains(part)) && !name.ends_with("_file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let cases = [
            ("http://u:hunter2@host/x?a=b@c:d", "http://u:(secret)@host/x?a=b@c:d"),
            ("http://u:p@ss:word@host", "http://u:(secret)@host"),
            ("a http://u:x@h b://v:y@h", "a http://u:(secret)@h b://v:(secret)@h"),
            ("redis://:x@h:6379", "redis://:(secret)@h:6379"),
            ("http://u@host:80/a:b@c", "http://u@host:80/a:b@c"),
            ("http://u:@host", "http://u:@host"),
            ("http://host:80", "http://host:80"),
            ("://", "://"),
            ("é://é:é@é", "é://é:(secret)@é"),
        ];
        for (text, shown) in cases {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn the_api_shows_neither_passwords_of_addresses_nor_headers_that_carry_credentials() {
        use crate::{Item, Value, items_to_json};
        let headers = [("Authorization", "Bearer hunter2"), ("X-Scope-OrgID", "tenant")];
        let headers = headers.map(|(name, value)| (name.to_owned(), Value::string(value)));
        let items = [
            Item::Attribute { name: "url".into(), value: Value::string("http://u:hunter2@host/") },
            Item::Attribute { name: "headers".into(), value: Value::object(headers.into()) },
        ];
        let shown = items_to_json(&items).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("http://u:(secret)@host/") && shown.contains("tenant"), "{shown}");
    }

    #[test]
    fn names_tell_secrets() {
        for name in ["password", "X-API-Key", "Authorization", "auth_token", "Cookie"] {
            assert!(names_secret(name), "{name}");
        }
        for name in ["url", "password_file", "username", "X-Scope-OrgID", "key"] {
            assert!(!names_secret(name), "{name}");
        }
    }
}

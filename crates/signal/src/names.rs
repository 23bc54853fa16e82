//! Metric and label names beyond `[a-zA-Z_:][a-zA-Z0-9_:]*`, and how they are escaped for readers that do
//! not know them. As prometheus/common/model: `EscapeName`, `UnescapeName`.

/// Which names are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum NameScheme {
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*` for metrics; labels without the colon.
    #[default]
    Legacy,
    /// Any text that is not empty.
    Utf8,
}

impl NameScheme {
    /// Whether a metric may have this name.
    pub fn allows_metric(self, name: &str) -> bool {
        match self {
            Self::Legacy => is_legacy_name(name),
            Self::Utf8 => !name.is_empty(),
        }
    }

    /// Whether a label may have this name.
    pub fn allows_label(self, name: &str) -> bool {
        match self {
            Self::Legacy => is_legacy_label(name),
            Self::Utf8 => !name.is_empty(),
        }
    }
}

/// How names outside the legacy alphabet are sent; the words of the `escaping` content type parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// `allow-utf-8`: as they are.
    AllowUtf8,
    /// `underscores`: each foreign character becomes `_`; cannot be undone.
    Underscores,
    /// `dots`: `.` becomes `_dot_`, `_` becomes `__`, other foreign characters `__`.
    Dots,
    /// `values`: `U__` in front and each foreign character as `_hex_`.
    Values,
}

impl Escaping {
    /// From the word in a content type.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "allow-utf-8" => Self::AllowUtf8,
            "underscores" => Self::Underscores,
            "dots" => Self::Dots,
            "values" => Self::Values,
            _ => return None,
        })
    }

    /// The word in a content type.
    pub fn word(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// Whether a name is `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_name(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(i, c)| is_legacy_char(c, i))
}

/// Whether a label name is `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label(name: &str) -> bool {
    is_legacy_name(name) && !name.contains(':')
}

fn is_legacy_char(c: char, position: usize) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':' || (c.is_ascii_digit() && position > 0)
}

/// Escapes a metric or label name.
pub fn escape_name(name: &str, scheme: Escaping) -> String {
    let plain = match scheme {
        Escaping::AllowUtf8 => true,
        Escaping::Underscores | Escaping::Values => is_legacy_name(name),
        // Its underscores are escaped even in a legacy name.
        Escaping::Dots => false,
    };
    if plain || name.is_empty() {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 8);
    if scheme == Escaping::Values {
        out.push_str("U__");
    }
    for (i, c) in name.chars().enumerate() {
        match (scheme, c) {
            (Escaping::Dots | Escaping::Values, '_') => out.push_str("__"),
            (Escaping::Dots, '.') => out.push_str("_dot_"),
            (_, c) if is_legacy_char(c, i) => out.push(c),
            (Escaping::Values, c) => out.push_str(&format!("_{:x}_", u32::from(c))),
            (Escaping::Dots, _) => out.push_str("__"),
            (_, _) => out.push('_'),
        }
    }
    out
}

/// Undoes [`escape_name`] where that can be; a name that is not well escaped comes back as it is.
pub fn unescape_name(name: &str, scheme: Escaping) -> String {
    match scheme {
        Escaping::AllowUtf8 | Escaping::Underscores => name.to_owned(),
        Escaping::Dots => name.replace("_dot_", ".").replace("__", "_"),
        Escaping::Values => {
            name.strip_prefix("U__").and_then(unescape_values).unwrap_or_else(|| name.to_owned())
        }
    }
}

fn unescape_values(mut rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find('_')?;
        let code = &rest[..end];
        rest = &rest[end + 1..];
        if code.is_empty() {
            out.push('_');
            continue;
        }
        // Five digits at most, although U+10FFFF has six: as prometheus/common.
        if code.len() >= 6 || !code.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_each_scheme_says() {
        let cases = [
            ("", "", "", ""),
            ("no:escaping_required", "no:escaping_required", "no:escaping__required", "no:escaping_required"),
            (
                "mysystem.prod.west.cpu.load",
                "mysystem_prod_west_cpu_load",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
                "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load",
            ),
            ("http.status:sum_x", "http_status:sum_x", "http_dot_status:sum__x", "U__http_2e_status:sum__x"),
            ("label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1f631_"),
            ("0a", "_a", "__a", "U___30_a"),
            ("花火", "__", "____", "U___82b1__706b_"),
        ];
        for (name, underscores, dots, values) in cases {
            assert_eq!(escape_name(name, Escaping::AllowUtf8), name);
            assert_eq!(escape_name(name, Escaping::Underscores), underscores, "{name}");
            assert_eq!(escape_name(name, Escaping::Dots), dots, "{name}");
            assert_eq!(escape_name(name, Escaping::Values), values, "{name}");
            assert_eq!(unescape_name(values, Escaping::Values), name);
        }
        assert_eq!(unescape_name("http_dot_status:sum__x", Escaping::Dots), "http.status:sum_x");
    }

    #[test]
    fn what_is_not_well_escaped_stays_as_it_is() {
        for name in ["U__bad_utf_x", "U__a_", "U__a_1234567_", "U__a_d800_", "plain", "U__half_2e"] {
            assert_eq!(unescape_name(name, Escaping::Values), name);
        }
    }

    #[test]
    fn legacy_names_begin_with_a_letter_and_labels_have_no_colon() {
        assert!(is_legacy_name("a:b_1") && !is_legacy_label("a:b_1") && is_legacy_label("_a1"));
        assert!(!is_legacy_name("1a") && !is_legacy_name("") && !is_legacy_name("ä"));
    }
}

//! The pattern language of LogQL's `pattern` parser.

use std::fmt::Write as _;

use memchr::memmem::Finder;

/// A pattern: captures with text between them.
pub(super) struct Pattern {
    /// The text has to begin with this.
    prefix: String,
    steps: Vec<Step>,
}

/// A capture and the text that ends it; the last of a pattern may have none.
struct Step {
    /// Empty for `<_>`.
    name: String,
    end: Option<Finder<'static>>,
}

enum Part {
    Text(String),
    Capture(String),
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let parts = parse(pattern);
        let names: Vec<&str> = parts
            .iter()
            .filter_map(|p| if let Part::Capture(name) = p { Some(name.as_str()) } else { None })
            .collect();
        let named: Vec<&&str> = names.iter().filter(|name| !name.is_empty()).collect();
        if named.is_empty() {
            return Err("a pattern needs at least one capture with a name, such as <status>".to_owned());
        }
        if let Some(twice) = (1..named.len()).find(|i| named[..*i].contains(&named[*i])) {
            return Err(format!("the capture <{}> is there twice", named[twice]));
        }
        if parts.windows(2).any(|pair| matches!(pair, [Part::Capture(_), Part::Capture(_)])) {
            return Err(
                "two captures stand next to each other: text has to tell where the first ends".to_owned()
            );
        }
        Ok(Self::assemble(parts))
    }

    fn assemble(parts: Vec<Part>) -> Self {
        let mut pattern = Self { prefix: String::new(), steps: Vec::new() };
        for part in parts {
            match (part, pattern.steps.last_mut()) {
                (Part::Capture(name), _) => pattern.steps.push(Step { name, end: None }),
                (Part::Text(text), None) => pattern.prefix = text,
                (Part::Text(text), Some(step)) => step.end = Some(Finder::new(&text).into_owned()),
            }
        }
        pattern
    }

    /// Hands out what the captures match. As Loki: where the text behind a capture is missing the capture takes
    /// all that is left, and those after it match nothing.
    pub(super) fn captures<'a>(&self, text: &'a str, mut found: impl FnMut(&str, &'a str)) {
        if text.is_empty() {
            return;
        }
        let Some(mut rest) = text.strip_prefix(self.prefix.as_str()) else { return };
        for step in &self.steps {
            let end =
                step.end.as_ref().and_then(|end| Some((end.find(rest.as_bytes())?, end.needle().len())));
            let (at, len) = end.unwrap_or((rest.len(), 0));
            if !step.name.is_empty() {
                found(&step.name, &rest[..at]);
            }
            if end.is_none() {
                return;
            }
            rest = &rest[at + len..];
        }
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.prefix)?;
        for step in &self.steps {
            write!(f, "<{}>", if step.name.is_empty() { "_" } else { &step.name })?;
            let end = step.end.as_ref().map(|end| String::from_utf8_lossy(end.needle()));
            f.write_str(end.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// What looks like a capture but is none is text.
fn parse(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut rest, mut plain) = (pattern, String::new());
    while let Some(at) = rest.find('<') {
        plain.push_str(&rest[..at]);
        let inner = &rest[at + 1..];
        match inner.split_once('>').filter(|(name, _)| signal::names::is_legacy_label(name)) {
            Some((name, after)) => {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Capture(if name == "_" { String::new() } else { name.to_owned() }));
                rest = after;
            }
            None => {
                let _ = write!(plain, "<");
                rest = inner;
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_those_of_loki() {
        type Found = &'static [(&'static str, &'static str)];
        let cases: [(&str, &str, Found); 10] = [
            ("foo <foo> bar", "foo buzz bar", &[("foo", "buzz")]),
            ("foo <foo> bar<fuzz>", "foo buzz bar", &[("foo", "buzz"), ("fuzz", "")]),
            ("<foo> bar<fuzz>", " bar", &[("foo", ""), ("fuzz", "")]),
            ("<path>?<_>", "/api/plugins/versioncheck?slugIn=x", &[("path", "/api/plugins/versioncheck")]),
            ("<path>?<_>", "/api/plugins", &[("path", "/api/plugins")]),
            ("<a>,<b>,<c>", "1,2", &[("a", "1"), ("b", "2")]),
            ("x<a>", "y1", &[]),
            ("x<a>", "x", &[("a", "")]),
            ("<a <b> c> <d>", "<a 1 c> 2", &[("b", "1"), ("d", "2")]),
            ("é<a>ü", "éßü", &[("a", "ß")]),
        ];
        for (pattern, text, expected) in cases {
            let pattern = Pattern::new(pattern).expect(pattern);
            let mut got = Vec::new();
            pattern.captures(text, |name, value| got.push((name.to_owned(), value)));
            let got: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), *v)).collect();
            assert_eq!(got, expected, "{pattern:?} on {text}");
        }
    }
}

//! SQL of any dialect, as far as telling values from the rest needs it: strings and numbers become `?`, digits in names
//! too (`orders_2024`), and what is in comments. Everything else stays to the byte.
//!
//! Whether a backslash escapes a quote depends on the dialect. It is taken to do so; if a string then has no end, it is
//! taken not to. A string that has no end either way reaches to the end of the text.

use super::PLACEHOLDER;

/// Without values. `double_quoted_values`: text in double quotes is a value, as in MySQL, and no name.
pub(super) fn masked(text: &str, double_quoted_values: bool) -> String {
    let run = |escapes: bool| {
        let mut masking =
            Masking { rest: text, out: String::with_capacity(text.len()), escapes, open: false };
        masking.run(double_quoted_values);
        masking
    };
    let first = run(true);
    if !first.open || !text.contains('\\') {
        return first.out;
    }
    let second = run(false);
    if second.open { first.out } else { second.out }
}

struct Masking<'t> {
    rest: &'t str,
    out: String,
    /// Whether a backslash escapes a quote.
    escapes: bool,
    /// Whether a string had no end.
    open: bool,
}

impl<'t> Masking<'t> {
    fn run(&mut self, double_quoted_values: bool) {
        while let Some(next) = self.rest.chars().next() {
            match next {
                '\'' => self.value_in(next),
                '"' if double_quoted_values => self.value_in(next),
                '"' | '`' => {
                    let end = self.end_of_quoted(next);
                    let name = self.take(end);
                    self.name(name);
                }
                '-' if self.rest.starts_with("--") => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.comment("--", end, "");
                }
                '#' if self.rest.starts_with("# ") => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.comment("#", end, "");
                }
                '/' if self.rest.starts_with("/*") => {
                    let end = self.rest.find("*/").map_or(self.rest.len(), |at| at + 2);
                    self.comment("/*", end, "*/");
                }
                '$' if self.dollar_quoted() => {}
                '0'..='9' => self.number(),
                '.' | '-' | '+' if self.begins_number() => self.number(),
                _ if next.is_alphabetic() || next == '_' => {
                    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '#');
                    let end = self.rest.find(|c| !part_of_name(c)).unwrap_or(self.rest.len());
                    let name = self.take(end);
                    self.name(name);
                }
                // A parameter: `$1`, `@p1`, `?1`.
                '$' | '@' | '?' => {
                    let rest = &self.rest[1..];
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                    let parameter = self.take(end + 1);
                    self.out.push_str(parameter);
                }
                _ => {
                    let plain = self.take(next.len_utf8());
                    self.out.push_str(plain);
                }
            }
        }
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// Behind the quote that ends what has begun with one; two quotes are one that does not.
    fn end_of_quoted(&mut self, quote: char) -> usize {
        let mut all = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = all.next() {
            if c == '\\' && self.escapes {
                all.next();
            } else if c == quote && all.next_if(|(_, next)| *next == quote).is_none() {
                return at + quote.len_utf8();
            }
        }
        self.open = true;
        self.rest.len()
    }

    fn value_in(&mut self, quote: char) {
        let end = self.end_of_quoted(quote);
        self.take(end);
        self.out.push_str(PLACEHOLDER);
    }

    /// A name: runs of digits in it go.
    fn name(&mut self, name: &str) {
        let mut in_digits = false;
        for c in name.chars() {
            match (c.is_ascii_digit(), in_digits) {
                (false, _) => self.out.push(c),
                (true, false) => self.out.push_str(PLACEHOLDER),
                (true, true) => {}
            }
            in_digits = c.is_ascii_digit();
        }
    }

    fn comment(&mut self, open: &str, end: usize, close: &str) {
        let comment = self.take(end);
        let closes = comment.len() >= open.len() + close.len() && comment.ends_with(close);
        self.out.push_str(open);
        if comment.len() > open.len() + close.len() {
            self.out.push_str(PLACEHOLDER);
        }
        if closes {
            self.out.push_str(close);
        }
    }

    /// Whether a sign or a point is followed by a number and does not join two values.
    fn begins_number(&self) -> bool {
        let digits = self.rest[1..].trim_start_matches('.');
        let before = self.out.trim_end().chars().next_back();
        digits.starts_with(|c: char| c.is_ascii_digit())
            && !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '?' | '"' | '`'))
    }

    fn number(&mut self) {
        let signed = usize::from(self.rest.starts_with(['-', '+']));
        let body = &self.rest[signed..];
        let mut exponent = false;
        let end = body.find(|c: char| {
            // The sign of an exponent belongs to it.
            let goes_on = c.is_alphanumeric() || c == '.' || c == '_' || (exponent && matches!(c, '-' | '+'));
            exponent = matches!(c, 'e' | 'E') && !body.starts_with("0x");
            !goes_on
        });
        self.take(signed + end.unwrap_or(body.len()));
        self.out.push_str(PLACEHOLDER);
    }

    /// `$tag$ … $tag$`: a value, but what `$func$` has around it is SQL itself.
    fn dollar_quoted(&mut self) -> bool {
        let Some(end) = self.rest[1..].find('$').map(|at| at + 2) else { return false };
        let tag = &self.rest[..end];
        let name = &tag[1..end - 1];
        if name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            return false;
        }
        let Some(inside) = self.rest[end..].find(tag) else { return false };
        let whole = self.take(end + inside + end);
        if name == "func" {
            let inner = masked(&whole[end..end + inside], false);
            self.out.extend([tag, inner.as_str(), tag]);
        } else {
            self.out.push_str(PLACEHOLDER);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_the_rest_stays_to_the_byte() {
        for (text, expected) in [
            ("SELECT * FROM users WHERE id = 123", "SELECT * FROM users WHERE id = ?"),
            ("UPDATE a SET b = 10.5,  c=-7 WHERE d IN (1, 2)", "UPDATE a SET b = ?,  c=? WHERE d IN (?, ?)"),
            ("SELECT a-1, b - 2, 1e-5, .5, 0xFF", "SELECT a-?, b - ?, ?, ?, ?"),
            ("SELECT 'it''s', 'it\\'s', ''", "SELECT ?, ?, ?"),
            ("WHERE path = 'C:\\' AND b = 'secret'", "WHERE path = ? AND b = ?"),
            ("WHERE a = 'no end", "WHERE a = ?"),
            ("SELECT \"t1\".`c22` FROM orders_2024", "SELECT \"t?\".`c?` FROM orders_?"),
            ("SELECT $1, @p1, :name, ?", "SELECT $1, @p1, :name, ?"),
            ("SELECT 1 -- it's a secret\nFROM t", "SELECT ? --?\nFROM t"),
            ("/* key='x' */ SELECT 1", "/*?*/ SELECT ?"),
            ("SELECT $$secret$$, $x$se'cret$x$", "SELECT ?, ?"),
            ("AS $func$ SELECT 'a' $func$", "AS $func$ SELECT ? $func$"),
            ("SET user:123 john", "SET user:? john"),
            ("SELECT 'größe', grö1ße", "SELECT ?, grö?ße"),
            ("", ""),
        ] {
            assert_eq!(masked(text, false), expected, "{text}");
        }
        assert_eq!(masked("SELECT \"secret\"", true), "SELECT ?");
    }

    /// Texts of so many random pieces.
    fn texts<'p>(pieces: &'p [&'p str], length: usize) -> impl Iterator<Item = String> + 'p {
        let mut state = 7_u32;
        (0..5000).map(move |_| {
            let piece = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                pieces[(state >> 16) as usize % pieces.len()]
            };
            (0..length).map(piece).collect()
        })
    }

    #[test]
    fn no_text_is_too_odd() {
        let pieces = ["'", "\"", "\\", "$", "$a$", "--", "/*", "*/", "\n", "1", "-", ".", "x", "é", " ", "`"];
        for text in texts(&pieces, 12) {
            let out = masked(&text, true);
            // Names stay, whatever is in them.
            assert!(!out.contains('\'') || text.contains('`'), "{text:?}: {out:?}");
        }
    }

    #[test]
    fn no_value_is_left_whatever_stands_around_it() {
        let pieces = [
            "SELECT ",
            "a, ",
            "\"na''me\" ",
            "`it's` ",
            "= ",
            "'SECRET' ",
            "'it''s SECRET ' ",
            "'SECRET -- ' ",
            "'/* SECRET ' ",
            "'SECRET \\\\' ",
            "-- it's SECRET\n",
            "/* 'SECRET */ ",
            "$$it's SECRET$$ ",
            "$q$ SECRET $q$ ",
            "-4711 ",
            "4.711e3 ",
        ];
        for text in texts(&pieces, 8) {
            let out = masked(&text, false);
            assert!(!out.contains("SECRET") && !out.contains("711"), "{text:?}: {out:?}");
        }
    }
}

//! `csv_parser`: a line of comma-separated values with names from its options or from an attribute.

use super::Transform;
use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::parser::{Parser, text};
use super::value::{Map, Value};

/// The operator.
pub struct CsvParser {
    parser: Parser,
    header: Header,
    delimiter: char,
    header_delimiter: char,
    quotes: Quotes,
}

enum Header {
    Names(Vec<String>),
    Attribute(Field),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// As RFC 4180.
    Strict,
    /// A quote may stand inside of a field.
    Lazy,
    /// Quotes are characters as others.
    Ignored,
}

impl CsvParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let parser = Parser::new(options)?;
        let delimiter = one_char(options, "delimiter")?.unwrap_or(',');
        let header_delimiter = one_char(options, "header_delimiter")?.unwrap_or(delimiter);
        let quotes = match (options.flag("lazy_quotes")?, options.flag("ignore_quotes")?) {
            (true, true) => return Err(options.error("lazy_quotes and ignore_quotes exclude each other")),
            (true, false) => Quotes::Lazy,
            (false, true) => Quotes::Ignored,
            (false, false) => Quotes::Strict,
        };
        let header = match (options.text("header")?, options.text("header_attribute")?) {
            (Some(names), None) => {
                let names: Vec<String> = names.split(header_delimiter).map(str::to_string).collect();
                Header::Names(names)
            }
            (None, Some(name)) => Header::Attribute(Field::attribute(&name)),
            _ => return Err(options.error("either header or header_attribute is needed")),
        };
        Ok(Self { parser, header, delimiter, header_delimiter, quotes })
    }
}

fn one_char(options: &mut Options, name: &str) -> Result<Option<char>, String> {
    let Some(text) = options.text(name)?.filter(|t| !t.is_empty()) else { return Ok(None) };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if !matches!(c, '"' | '\n' | '\r') => Ok(Some(c)),
        _ => Err(options.error(format!("{name} must be one character"))),
    }
}

impl Transform for CsvParser {
    fn transform(&self, entry: &mut Entry) -> Result<(), Failure> {
        let own: Vec<String>;
        let names = match &self.header {
            Header::Names(names) => names,
            Header::Attribute(field) => {
                let header = entry.get(field).and_then(Value::as_text);
                let header = header.ok_or_else(|| Failure::new(format!("{field} holds no header")))?;
                own = header.split(self.header_delimiter).map(str::to_string).collect();
                &own
            }
        };
        self.parser.apply(entry, |value| {
            let fields = fields(text(value, "CSV")?, self.delimiter, self.quotes)?;
            if fields.len() != names.len() {
                let (found, wanted) = (fields.len(), names.len());
                return Err(Failure::new(format!("there are {found} values for {wanted} names")));
            }
            let pairs = names.iter().cloned().zip(fields.into_iter().map(Value::Text));
            Ok(Value::Map(pairs.collect::<Map>()))
        })
    }
}

/// The values of one line, which may hold line ends inside of quotes.
fn fields(line: &str, delimiter: char, quotes: Quotes) -> Result<Vec<String>, Failure> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if quotes == Quotes::Ignored {
        return Ok(line.split(delimiter).map(str::to_string).collect());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted, delimiter, quotes)?,
            None => {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                if quotes == Quotes::Strict && rest[..end].contains('"') {
                    return Err(Failure::new("a quote stands inside of a value that is not quoted"));
                }
                (rest[..end].to_string(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn in_quotes(text: &str, delimiter: char, quotes: Quotes) -> Result<(String, &str), Failure> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else {
            if quotes == Quotes::Lazy {
                field.push_str(rest);
                return Ok((field, ""));
            }
            return Err(Failure::new("a quote is not closed"));
        };
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(after) = rest.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if rest.is_empty() || rest.starts_with(delimiter) {
            return Ok((field, rest));
        } else if quotes == Quotes::Lazy {
            field.push('"');
        } else {
            return Err(Failure::new("something stands behind the quote of a value"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_text, shown};

    #[test]
    fn values_get_the_names_of_the_header() {
        for (options, body, expected) in [
            (r#"header = "a,b""#, "1,x y", r#"{"a":"1","b":"x y"}"#),
            (r#"header = "a,b""#, r#""1,2","say ""hi""""#, r#"{"a":"1,2","b":"say \"hi\""}"#),
            (r#"header = "a;b", delimiter = ";""#, "1;2", r#"{"a":"1","b":"2"}"#),
            (r#"header = "a|b", header_delimiter = "|", delimiter = "\t""#, "1\t2", r#"{"a":"1","b":"2"}"#),
            (r#"header = "a,b""#, "1,2,3", "{}"),
            (r#"header = "a,b""#, "1,\"2", "{}"),
            (r#"header = "a,b", lazy_quotes = true"#, r#"a "word",1"2"#, r#"{"a":"a \"word\"","b":"1\"2"}"#),
            (r#"header = "a,b", ignore_quotes = true"#, r#""x,y""#, r#"{"a":"\"x","b":"y\""}"#),
            (r#"header_attribute = "none""#, "1", "{}"),
        ] {
            let out = run_text(&format!(r#"{{type = "csv_parser", {options}}}"#), body);
            let expected = format!("{expected} {}", serde_json::json!(body));
            assert_eq!(shown(&out), expected, "{options} {body}");
        }
        for (options, says) in [
            ("", "header"),
            (r#"header = "a", header_attribute = "b""#, "either"),
            (r#"header = "a", delimiter = ",,""#, "one character"),
            (r#"header = "a", lazy_quotes = true, ignore_quotes = true"#, "exclude"),
        ] {
            assert!(refused(&format!(r#"{{type = "csv_parser", {options}}}"#)).contains(says), "{options}");
        }
    }
}

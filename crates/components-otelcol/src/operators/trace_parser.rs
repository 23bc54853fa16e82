//! `trace_parser`: trace, span and flags of an entry from fields that hold them in hexadecimal.

use super::entry::{Entry, Failure, Field};
use super::options::Options;

/// Where the three are.
#[derive(Clone, Debug)]
pub struct TraceParser {
    trace: Field,
    span: Field,
    flags: Field,
}

impl TraceParser {
    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let mut field = |name: &str| {
            let default = Field { keys: vec![name.to_string()], ..Field::body() };
            let Some(mut nested) = options.nested(name)? else { return Ok(default) };
            let field = nested.field("parse_from")?.unwrap_or(default);
            nested.finish()?;
            Ok::<_, String>(field)
        };
        Ok(Self { trace: field("trace_id")?, span: field("span_id")?, flags: field("trace_flags")? })
    }

    /// Takes what is there of them.
    ///
    /// # Errors
    /// If one is not hexadecimal, or not as long as it has to be.
    pub fn apply(&self, entry: &mut Entry) -> Result<(), Failure> {
        let trace = read(entry, &self.trace, 16)?;
        let span = read(entry, &self.span, 8)?;
        let flags = read(entry, &self.flags, 1)?;
        if let Some(trace) = trace {
            entry.trace_id = trace;
        }
        if let Some(span) = span {
            entry.span_id = span;
        }
        if let Some([flags]) = flags.as_deref() {
            entry.trace_flags = *flags;
        }
        Ok(())
    }
}

fn read(entry: &Entry, field: &Field, length: usize) -> Result<Option<Vec<u8>>, Failure> {
    let Some(value) = entry.get(field) else { return Ok(None) };
    let wrong = || Failure::new(format!("{field} does not hold {length} bytes in hexadecimal"));
    let text = value.as_text().ok_or_else(wrong)?;
    // UUIDs are IDs too.
    let bytes = const_hex::decode(text.replace('-', "")).map_err(|_| wrong())?;
    if bytes.len() == length { Ok(Some(bytes)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn traces_are_read_where_they_are_well_formed() {
        let trace = "0102030405060708090a0b0c0d0e0f10";
        for (options, body, expected) in [
            (
                "",
                format!(r#"{{"trace_id": "{trace}", "span_id": "0102030405060708", "trace_flags": "01"}}"#),
                (16, 8, 1),
            ),
            (r#", trace_id = {parse_from = "body.t"}"#, format!(r#"{{"t": "{trace}"}}"#), (16, 0, 0)),
            ("", r#"{"trace_id": "01020304-0506-0708-090a-0b0c0d0e0f10"}"#.to_string(), (16, 0, 0)),
            ("", r#"{"trace_id": "0102"}"#.to_string(), (0, 0, 0)),
            ("", r#"{"trace_id": "no hexadecimal"}"#.to_string(), (0, 0, 0)),
            ("", "{}".to_string(), (0, 0, 0)),
        ] {
            let out = run(&format!(r#"{{type = "trace_parser"{options}}}"#), &body);
            let found = (out[0].trace_id.len(), out[0].span_id.len(), out[0].trace_flags);
            assert_eq!(found, expected, "{options} {body}");
        }
    }
}

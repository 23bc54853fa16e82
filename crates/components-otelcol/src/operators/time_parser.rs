//! `time_parser`: the time of an entry from a field.

use super::entry::{Entry, Failure, Field};
use super::options::Options;
use super::times::Layout;

/// Where the time is and how it is written.
#[derive(Clone, Debug)]
pub struct TimeParser {
    from: Field,
    layout: Layout,
}

impl TimeParser {
    /// Reads its options: `parse_from`, `layout_type`, `layout`, `location`.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn new(options: &mut Options) -> Result<Self, String> {
        let from = options.required_field("parse_from")?;
        let kind = options.text("layout_type")?.filter(|t| !t.is_empty()).unwrap_or("strptime".into());
        let layout = options.required("layout")?;
        let location = options.text("location")?;
        let layout = Layout::new(&kind, &layout, location.as_deref()).map_err(|e| options.error(e))?;
        Ok(Self { from, layout })
    }

    /// Takes it.
    ///
    /// # Errors
    /// If the field is not there or no time.
    pub fn apply(&self, entry: &mut Entry) -> Result<(), Failure> {
        let value = entry
            .get(&self.from)
            .ok_or_else(|| Failure::new(format!("the entry has no {} to take a time from", self.from)))?;
        let time = self.layout.read(value, entry.observed_ns).map_err(Failure::new)?;
        entry.timestamp_ns = Some(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run};

    #[test]
    fn the_time_is_taken_from_a_field() {
        for (options, body, expected) in [
            (r#"layout = "%Y-%m-%d", location = "UTC""#, r#"{"t": "2026-01-02"}"#, Some(1_767_312_000)),
            (r#"layout_type = "gotime", layout = "2006-01-02Z""#, r#"{"t": "x"}"#, None),
            (r#"layout_type = "epoch", layout = "s""#, r#"{"t": 5}"#, Some(5)),
            (r#"layout_type = "epoch", layout = "s""#, r#"{"other": 5}"#, None),
        ] {
            let out = run(&format!(r#"{{type = "time_parser", parse_from = "body.t", {options}}}"#), body);
            assert_eq!(out[0].timestamp_ns.map(|ns| ns / 1_000_000_000), expected, "{options} {body}");
        }
        for (config, says) in [
            (r#"{type = "time_parser", parse_from = "body"}"#, "layout is missing"),
            (r#"{type = "time_parser", layout = "%Y"}"#, "parse_from is missing"),
            (r#"{type = "time_parser", parse_from = "body", layout = "%Q"}"#, "%Q"),
            (r#"{type = "time_parser", parse_from = "body", layout = "s", layout_type = "unix"}"#, "unix"),
        ] {
            assert!(refused(config).contains(says), "{config}");
        }
    }
}

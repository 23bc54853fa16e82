//! `recombine`: several entries of one source become one.
//!
//! Invariant: what is held back holds its batch's receipt, so that a position waits for it; everything held is
//! bounded by entries, bytes and sources, and leaves after a time, at a change of arguments, and at the end.

use std::time::Duration;

use indexmap::IndexMap;
use tokio::time::Instant;

use super::entry::{Entry, Failure, Field};
use super::expr::Expr;
use super::options::Options;
use super::value::Value;

/// How entries are joined.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Says the first entry of several.
    pub is_first: Option<Expr>,
    /// Says the last entry of several.
    pub is_last: Option<Expr>,
    /// What is joined.
    pub combine: Field,
    /// What is put between.
    pub combine_with: String,
    /// Tells sources apart.
    pub source: Field,
    /// Tells them apart too.
    pub also_by: Option<Field>,
    /// The last entry is kept rather than the first.
    pub overwrite_with_newest: bool,
    /// So many entries are joined at most; 0: any number.
    pub max_entries: usize,
    /// So many are joined where no expression was true.
    pub max_unmatched: usize,
    /// So many sources are held.
    pub max_sources: usize,
    /// So many bytes are joined.
    pub max_size: usize,
    /// So long an entry is held at most.
    pub flush_after: Duration,
}

/// Where `max_log_size` is not said.
const MAX_SIZE: u64 = 16 << 20;

/// The operator.
pub struct Recombine {
    rules: Rules,
    held: IndexMap<String, Held>,
}

struct Held {
    base: Entry,
    text: String,
    count: usize,
    matched: bool,
    since: Instant,
}

impl Recombine {
    /// With rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules, held: IndexMap::new() }
    }

    /// Reads its options.
    ///
    /// # Errors
    /// If one is wrong.
    pub fn from_options(options: &mut Options) -> Result<Self, String> {
        let (is_first, is_last) = (options.expr("is_first_entry")?, options.expr("is_last_entry")?);
        if is_first.is_some() == is_last.is_some() {
            return Err(options.error("either is_first_entry or is_last_entry is needed"));
        }
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let size = options.size("max_log_size", 0)?;
        Ok(Self::new(Rules {
            is_first,
            is_last,
            combine: options.required_field("combine_field")?,
            combine_with: options.text("combine_with")?.unwrap_or("\n".into()),
            source: options.field("source_identifier")?.unwrap_or_else(|| Field::attribute("log.file.path")),
            also_by: None,
            overwrite_with_newest: options.choice("overwrite_with", &["oldest", "newest"], "oldest")?
                == "newest",
            max_entries: count(options.count("max_batch_size", 1000)?),
            max_unmatched: count(options.count("max_unmatched_batch_size", 100)?),
            max_sources: count(options.count("max_sources", 1000)?).max(1),
            max_size: count(if size == 0 { MAX_SIZE } else { size }),
            flush_after: options.duration("force_flush_period", Duration::from_secs(5))?,
        }))
    }

    /// Takes an entry; what is complete goes to `out`.
    ///
    /// # Errors
    /// With the entry, if an expression fails or there is nothing to join in it.
    pub fn process(&mut self, entry: Entry, out: &mut Vec<Entry>) -> Result<(), Box<(Entry, Failure)>> {
        let (is_start, matches) = match (&self.rules.is_first, &self.rules.is_last) {
            (Some(first), _) => (true, first.is_true(&entry)),
            (None, Some(last)) => (false, last.is_true(&entry)),
            (None, None) => (false, Ok(true)),
        };
        let matches = match matches {
            Ok(matches) => matches,
            Err(failure) => return Err(Box::new((entry, failure))),
        };
        let Some(text) = entry.get(&self.rules.combine).and_then(Value::as_text).map(str::to_string) else {
            let failure = Failure::new(format!("{} holds no text to join", self.rules.combine));
            return Err(Box::new((entry, failure)));
        };
        let source = self.source(&entry);
        if is_start && matches {
            self.flush_source(&source, out);
        } else if !is_start && matches && !self.held.contains_key(&source) {
            // Alone and complete.
            out.push(entry);
            return Ok(());
        }
        self.add(entry, &text, &source, matches, out);
        if !is_start && matches {
            self.flush_source(&source, out);
        }
        Ok(())
    }

    fn source(&self, entry: &Entry) -> String {
        let text = |field: &Field| entry.get(field).map(Value::text).unwrap_or_default();
        let also = self.rules.also_by.as_ref().map(text).unwrap_or_default();
        format!("{}\0{also}", text(&self.rules.source))
    }

    fn add(&mut self, entry: Entry, text: &str, source: &str, matches: bool, out: &mut Vec<Entry>) {
        let rules = &self.rules;
        match self.held.get_mut(source) {
            Some(held) => {
                held.text.push_str(&rules.combine_with);
                held.text.push_str(text);
                held.count += 1;
                held.matched |= matches;
                let other = if rules.overwrite_with_newest {
                    std::mem::replace(&mut held.base, entry)
                } else {
                    entry
                };
                // As many as entries are joined at most.
                held.base.hold.extend(other.hold);
            }
            None => {
                if self.held.len() >= rules.max_sources {
                    self.flush(out);
                }
                let held = Held {
                    base: entry,
                    text: text.to_string(),
                    count: 1,
                    matched: matches,
                    since: Instant::now(),
                };
                self.held.insert(source.to_string(), held);
            }
        }
        let full = self.held.get(source).is_some_and(|held| {
            held.text.len() > self.rules.max_size
                || self.rules.max_entries > 0 && held.count >= self.rules.max_entries
                || !held.matched && self.rules.max_unmatched > 0 && held.count >= self.rules.max_unmatched
        });
        if full {
            self.flush_source(source, out);
        }
    }

    fn flush_source(&mut self, source: &str, out: &mut Vec<Entry>) {
        if let Some(held) = self.held.shift_remove(source) {
            out.push(self.joined(held));
        }
    }

    fn joined(&self, held: Held) -> Entry {
        let mut entry = held.base;
        // It was read from there, so that a value can be put there.
        let _ = entry.put(&self.rules.combine, Value::Text(held.text));
        entry
    }

    /// Lets go of everything.
    pub fn flush(&mut self, out: &mut Vec<Entry>) {
        let held = std::mem::take(&mut self.held);
        out.extend(held.into_values().map(|held| self.joined(held)));
    }

    /// Lets go of what was held long enough.
    pub fn flush_old(&mut self, now: Instant, out: &mut Vec<Entry>) {
        let old = |held: &Held| now.duration_since(held.since) >= self.rules.flush_after;
        let sources: Vec<String> =
            self.held.iter().filter(|(_, held)| old(held)).map(|(source, _)| source.clone()).collect();
        sources.iter().for_each(|source| self.flush_source(source, out));
    }

    /// When the first of what is held is to be let go.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.values().map(|held| held.since + self.rules.flush_after).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, run_entries, text_entry};

    fn run(options: &str, lines: &[&str]) -> Vec<String> {
        let config = format!(r#"{{type = "recombine", combine_field = "body", {options}}}"#);
        let out = run_entries(&config, lines.iter().map(|line| text_entry(line)).collect());
        out.iter().map(|entry| entry.body.text()).collect()
    }

    #[test]
    fn entries_are_joined_from_a_first_or_up_to_a_last_one() {
        for (options, lines, expected) in [
            (
                r#"is_first_entry = "body matches '^[^ ]'""#,
                vec!["a", " b", " c", "d"],
                vec!["a\n b\n c", "d"],
            ),
            (
                r#"is_last_entry = "body endsWith ';'", combine_with = """#,
                vec!["a", "b;", "c;", "d"],
                vec!["ab;", "c;", "d"],
            ),
            (
                r#"is_first_entry = "false", max_unmatched_batch_size = 2"#,
                vec!["a", "b", "c"],
                vec!["a\nb", "c"],
            ),
            (r#"is_first_entry = "body == 'a'", max_batch_size = 2"#, vec!["a", "b", "c"], vec!["a\nb", "c"]),
            (r#"is_first_entry = "false", max_log_size = 3"#, vec!["aa", "bb", "c"], vec!["aa\nbb", "c"]),
            (r#"is_first_entry = "body > 1""#, vec!["a", "b"], vec!["a", "b"]),
        ] {
            assert_eq!(run(options, &lines), expected, "{options}");
        }
    }

    #[test]
    fn sources_are_told_apart_and_the_newest_may_win() {
        let entries = |lines: &[(&str, &str)]| {
            let entry = |(path, text): &(&str, &str)| {
                let mut entry = text_entry(text);
                entry.attributes_mut().insert("p".into(), (*path).into());
                entry.attributes_mut().insert("t".into(), (*text).into());
                entry
            };
            lines.iter().map(entry).collect::<Vec<_>>()
        };
        let lines = [("1", "a"), ("2", "x"), ("1", " b"), ("2", " y")];
        for (overwrite, kept) in [("oldest", ["a", "x"]), ("newest", [" b", " y"])] {
            let config = format!(
                r#"{{type = "recombine", combine_field = "body", is_first_entry = "not (body startsWith ' ')",
                source_identifier = "attributes.p", overwrite_with = "{overwrite}"}}"#
            );
            let out = run_entries(&config, entries(&lines));
            let bodies: Vec<String> = out.iter().map(|e| e.body.text()).collect();
            assert_eq!(bodies, ["a\n b", "x\n y"]);
            let texts: Vec<String> = out.iter().map(|e| e.attributes.as_map().unwrap()["t"].text()).collect();
            assert_eq!(texts, kept);
        }
        let config = r#"{type = "recombine", combine_field = "body", is_first_entry = "false", max_sources = 1,
            source_identifier = "attributes.p"}"#;
        assert_eq!(run_entries(config, entries(&lines)).len(), 4, "what is too much is let go");
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        for (options, says) in [
            (r#"combine_field = "body""#, "is_first_entry"),
            (r#"is_first_entry = "true""#, "combine_field"),
            (r#"combine_field = "body", is_first_entry = "true", is_last_entry = "true""#, "either"),
            (r#"combine_field = "body", is_first_entry = "((""#, "is_first_entry"),
            (r#"combine_field = "body", is_first_entry = "true", overwrite_with = "x""#, "overwrite_with"),
        ] {
            assert!(refused(&format!(r#"{{type = "recombine", {options}}}"#)).contains(says), "{options}");
        }
    }
}

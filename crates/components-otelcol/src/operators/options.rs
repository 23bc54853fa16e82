//! The options of one operator, read one by one: what is left over at the end was misspelt.

use std::collections::BTreeMap;
use std::time::Duration;

use component::eval::{ArgValue, Value as ConfigValue};

use super::entry::Field;
use super::expr::Expr;

/// The options of one operator, or of a map in them.
pub struct Options {
    at: String,
    map: BTreeMap<String, ConfigValue>,
}

type Result<T> = std::result::Result<T, String>;

impl Options {
    /// `at` says in messages where they stand.
    pub fn new(at: impl Into<String>, map: BTreeMap<String, ConfigValue>) -> Self {
        Self { at: at.into(), map }
    }

    /// A message with its place.
    pub fn error(&self, message: impl std::fmt::Display) -> String {
        format!("{}: {message}", self.at)
    }

    /// An option as it is written.
    pub fn raw(&mut self, name: &str) -> Option<ConfigValue> {
        self.map.remove(name).filter(|v| !matches!(v, ConfigValue::Null))
    }

    fn typed<T: ArgValue>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let read = T::from_value(&value);
        read.map(Some).map_err(|_| self.error(format!("{name} must be a {}", T::type_name())))
    }

    /// Text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.typed(name)
    }

    /// Text that must be there.
    pub fn required(&mut self, name: &str) -> Result<String> {
        let text = self.text(name)?.filter(|t| !t.is_empty());
        text.ok_or_else(|| self.error(format!("{name} is missing")))
    }

    /// Text, one of several.
    pub fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
        default: &'static str,
    ) -> Result<&'static str> {
        let Some(text) = self.text(name)?.filter(|t| !t.is_empty()) else { return Ok(default) };
        let found = choices.iter().find(|c| **c == text).copied();
        found.ok_or_else(|| {
            self.error(format!("{name} is {text:?}; it must be one of {}", choices.join(", ")))
        })
    }

    /// True or false.
    pub fn flag(&mut self, name: &str) -> Result<bool> {
        Ok(self.typed(name)?.unwrap_or(false))
    }

    /// True or false, true unless it is said.
    pub fn flag_unless(&mut self, name: &str) -> Result<bool> {
        Ok(self.typed(name)?.unwrap_or(true))
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, name: &str, default: u64) -> Result<u64> {
        let number: Option<i64> = self.typed(name)?;
        let Some(number) = number else { return Ok(default) };
        u64::try_from(number).map_err(|_| self.error(format!("{name} must not be negative")))
    }

    /// A number.
    pub fn number(&mut self, name: &str, default: f64) -> Result<f64> {
        Ok(self.typed(name)?.unwrap_or(default))
    }

    /// Bytes: a number, or as `1MiB`.
    pub fn size(&mut self, name: &str, default: u64) -> Result<u64> {
        let Some(value) = self.raw(name) else { return Ok(default) };
        let size = match &value {
            ConfigValue::Number(n) => u64::try_from(n.as_i64()).ok(),
            ConfigValue::String(text) => size(text),
            _ => None,
        };
        size.ok_or_else(|| self.error(format!("{name} must be a size, as 1048576 or \"1MiB\"")))
    }

    /// A time span, as `5s`.
    pub fn duration(&mut self, name: &str, default: Duration) -> Result<Duration> {
        Ok(self.typed(name)?.unwrap_or(default))
    }

    /// A place in the entry.
    pub fn field(&mut self, name: &str) -> Result<Option<Field>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Field::parse(&text).map(Some).map_err(|e| self.error(format!("{name}: {e}")))
    }

    /// A place in the entry that must be said.
    pub fn required_field(&mut self, name: &str) -> Result<Field> {
        self.field(name)?.ok_or_else(|| self.error(format!("{name} is missing")))
    }

    /// A list of texts; one alone may stand without brackets.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        match self.raw(name) {
            None => Ok(Vec::new()),
            Some(ConfigValue::String(one)) => Ok(vec![one.to_string()]),
            Some(value) => Vec::<String>::from_value(&value)
                .map_err(|_| self.error(format!("{name} must be a list of strings"))),
        }
    }

    /// An expression.
    pub fn expr(&mut self, name: &str) -> Result<Option<Expr>> {
        let Some(text) = self.text(name)?.filter(|t| !t.is_empty()) else { return Ok(None) };
        Expr::parse(&text).map(Some).map_err(|e| self.error(format!("{name}: {e}")))
    }

    /// A map in the options.
    pub fn nested(&mut self, name: &str) -> Result<Option<Self>> {
        match self.raw(name) {
            None => Ok(None),
            Some(ConfigValue::Object(map)) => {
                Ok(Some(Self::new(format!("{} > {name}", self.at), (*map).clone())))
            }
            Some(_) => Err(self.error(format!("{name} must be an object"))),
        }
    }

    /// A list of maps in the options.
    pub fn list(&mut self, name: &str) -> Result<Vec<Self>> {
        let wrong = self.error(format!("{name} must be a list of objects"));
        let list = match self.raw(name) {
            None => return Ok(Vec::new()),
            Some(ConfigValue::Array(list)) => list,
            Some(_) => return Err(wrong),
        };
        let maps = list.iter().enumerate().map(|(i, value)| match value {
            ConfigValue::Object(map) => Ok(Self::new(format!("{} > {name}[{i}]", self.at), (**map).clone())),
            _ => Err(wrong.clone()),
        });
        maps.collect()
    }

    /// All that is left, as names and values.
    pub fn rest(&mut self) -> BTreeMap<String, ConfigValue> {
        std::mem::take(&mut self.map)
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.error(format!("there is no option {name:?}"))),
        }
    }
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" | "k" => 1 << 10,
        "mb" => 1_000_000,
        "mib" | "m" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" | "g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, ConfigValue)]) -> Options {
        Options::new("operators[0]", pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect())
    }

    #[test]
    fn options_are_read_by_kind_and_what_is_left_is_an_error() {
        let mut options = options(&[
            ("a", "x".into()),
            ("b", true.into()),
            ("c", "1MiB".into()),
            ("d", "5s".into()),
            ("e", "attributes.x".into()),
            ("f", 7_i64.into()),
            ("g", "y".into()),
            ("misspelt", "z".into()),
        ]);
        assert_eq!(options.required("a"), Ok("x".to_string()));
        assert_eq!(options.flag("b"), Ok(true));
        assert_eq!(options.size("c", 0), Ok(1 << 20));
        assert_eq!(options.duration("d", Duration::ZERO), Ok(Duration::from_secs(5)));
        assert_eq!(options.field("e"), Ok(Some(Field::attribute("x"))));
        assert_eq!(options.count("f", 0), Ok(7));
        assert_eq!(options.texts("g"), Ok(vec!["y".to_string()]));
        let error = options.finish().unwrap_err();
        assert!(error.contains("operators[0]") && error.contains("misspelt"), "{error}");
    }

    #[test]
    fn what_is_of_another_kind_is_told_with_its_name() {
        let mut options = options(&[("a", true.into()), ("b", "x".into()), ("c", (-1_i64).into())]);
        assert!(options.duration("a", Duration::ZERO).unwrap_err().contains('a'));
        assert!(options.size("b", 0).unwrap_err().contains("size"));
        assert!(options.count("c", 0).unwrap_err().contains("negative"));
        assert!(options.required("d").unwrap_err().contains("missing"));
    }
}

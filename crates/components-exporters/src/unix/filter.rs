//! Regular expressions of the arguments and the include/exclude pairs made of them.

use super::error::ConfigError;

/// A compiled pattern; matches anywhere in the text, as Go's `MatchString` does.
pub(super) type Pattern = signal::re2::Regex;

/// Compiles the pattern of an argument.
pub(super) fn pattern(argument: &'static str, text: &str) -> Result<Pattern, ConfigError> {
    Pattern::new(text).map_err(|error| ConfigError::Pattern { argument, problem: error.to_string() })
}

/// Compiles the pattern of an argument that is unset when empty.
pub(super) fn optional_pattern(argument: &'static str, text: &str) -> Result<Option<Pattern>, ConfigError> {
    if text.is_empty() { Ok(None) } else { pattern(argument, text).map(Some) }
}

/// Which devices of a collector are wanted.
#[derive(Default)]
pub(super) struct Filter {
    exclude: Option<Pattern>,
    include: Option<Pattern>,
}

impl Filter {
    /// Compiles a pair of arguments, each given with its name; empty means unset.
    pub(super) fn new(
        exclude: (&'static str, &str),
        include: (&'static str, &str),
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            exclude: optional_pattern(exclude.0, exclude.1)?,
            include: optional_pattern(include.0, include.1)?,
        })
    }

    /// As [`Filter::new`] where only one of the two may be set.
    pub(super) fn exclusive(
        exclude: (&'static str, &str),
        include: (&'static str, &str),
    ) -> Result<Self, ConfigError> {
        if !exclude.1.is_empty() && !include.1.is_empty() {
            return Err(ConfigError::Exclusive { first: exclude.0, second: include.0 });
        }
        Self::new(exclude, include)
    }

    /// Whether the device is left out.
    pub(super) fn ignores(&self, name: &str) -> bool {
        self.exclude.as_ref().is_some_and(|p| p.is_match(name))
            || self.include.as_ref().is_some_and(|p| !p.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_passes_when_it_is_included_and_not_excluded() {
        let filter = |exclude, include| Filter::new(("e", exclude), ("i", include)).unwrap();
        let cases = [
            ("", "", "eth0", false),
            ("^eth", "", "eth0", true),
            ("^eth", "", "lo", false),
            ("", "^eth", "eth0", false),
            ("", "^eth", "lo", true),
            ("0$", "^eth", "eth0", true),
            ("0$", "^eth", "eth1", false),
        ];
        for (exclude, include, name, ignored) in cases {
            assert_eq!(filter(exclude, include).ignores(name), ignored, "{exclude} {include} {name}");
        }
    }

    #[test]
    fn a_bad_pattern_names_its_argument() {
        let error = Filter::new(("netdev.device_exclude", "("), ("x", "")).err().unwrap().to_string();
        assert!(error.starts_with("netdev.device_exclude is not a valid regular expression"), "{error}");
    }

    #[test]
    fn exclusive_arguments_may_not_both_be_set() {
        let error = Filter::exclusive(("a", "x"), ("b", "y")).err().unwrap().to_string();
        assert_eq!(error, "a and b are mutually exclusive; set only one of them");
    }
}

//! RE2 expressions as arguments of stages; a bad one is a problem of its own attribute.

use component::ArgText;
use signal::re2::Regex;

/// An RE2 expression that may match anywhere in a text.
#[derive(Clone, Debug, PartialEq, ArgText)]
#[arg(type_name = "string", code_type = "string")]
pub struct Expression(Regex);

impl Expression {
    /// The expression; `None` where it is the empty text, which stages take for absent.
    pub fn given(&self) -> Option<&Regex> {
        Some(&self.0).filter(|regex| !regex.as_str().is_empty())
    }
}

/// The expression of an optional argument.
pub fn given(expression: Option<&Expression>) -> Option<&Regex> {
    expression.and_then(Expression::given)
}

impl std::str::FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|e| e.to_string())
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Default for Expression {
    fn default() -> Self {
        Self(Regex::new("").expect("the empty expression is valid"))
    }
}

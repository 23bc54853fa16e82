//! Values that travel between components through the configuration: targets and relabelling rules.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use eval::{ArgValue, Capsule, CapsuleType, Invalid, Value, ValueError};
use macros::{ArgEnum, ArgText, Arguments};
use signal::names::NameScheme;
use signal::re2::Regex;
use signal::relabel::{self, Rules};

use crate::error::Error;

/// A [`signal::Target`] as a value of the configuration language.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(pub signal::Target);

impl Target {
    /// From names and values.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(signal::Target::from_pairs(pairs))
    }
}

impl std::ops::Deref for Target {
    type Target = signal::Target;
    fn deref(&self) -> &signal::Target {
        &self.0
    }
}

impl CapsuleType for Target {
    fn type_name(&self) -> &'static str {
        "target"
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn as_object(&self) -> Option<BTreeMap<String, Value>> {
        Some(self.iter().map(|(n, v)| (n.to_string(), Value::from(v))).collect())
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.get(name).map(Value::from)
    }

    fn text(&self) -> String {
        self.labels().to_string()
    }
}

impl ArgValue for Target {
    const IS_CAPSULE: bool = true;

    fn type_name() -> Cow<'static, str> {
        "map(string)".into()
    }

    fn code_type() -> Cow<'static, str> {
        "target".into()
    }

    fn zero() -> Self {
        Self(signal::Target::default())
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if let Value::Capsule(capsule) = value
            && let Some(target) = capsule.downcast_ref::<Self>()
        {
            return Ok(target.clone());
        }
        let Some(object) = value.as_object() else {
            return Err(ValueError::wrong_type("map(string)", value));
        };
        let mut pairs = Vec::with_capacity(object.len());
        for (name, value) in object.iter() {
            let text = match value {
                Value::String(s) => s.to_string(),
                Value::Number(n) => n.to_text(),
                Value::Bool(b) => b.to_string(),
                Value::OptionalSecret(s) if !s.is_secret() => s.reveal().to_string(),
                other => {
                    return Err(ValueError::invalid(format!(
                        "a label of a target cannot be {}",
                        other.describe()
                    ))
                    .at_key(name.as_str()));
                }
            };
            pairs.push((name.as_str(), text));
        }
        Ok(Self::from_pairs(pairs))
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

/// What a `rule` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ArgEnum)]
pub enum RelabelAction {
    /// Sets the target label where the regex matches.
    #[default]
    Replace,
    /// Keeps only what matches.
    Keep,
    /// Drops what matches.
    Drop,
    /// Sets the target label to a hash modulo `modulus`.
    #[arg(name = "hashmod")]
    HashMod,
    /// Copies labels whose name matches.
    #[arg(name = "labelmap")]
    LabelMap,
    /// Removes labels whose name matches.
    #[arg(name = "labeldrop")]
    LabelDrop,
    /// Removes labels whose name does not match.
    #[arg(name = "labelkeep")]
    LabelKeep,
    /// Keeps where source and target label are equal.
    #[arg(name = "keepequal")]
    KeepEqual,
    /// Drops where source and target label are equal.
    #[arg(name = "dropequal")]
    DropEqual,
    /// Lower case.
    Lowercase,
    /// Upper case.
    Uppercase,
}

/// An RE2 expression, anchored at both ends; a bad one is a problem of its own attribute.
#[derive(Clone, Debug, PartialEq, ArgText)]
#[arg(code_type = "string(Regexp)")]
pub struct Pattern(Regex);

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Regex::anchored(text).map(Self).map_err(|e| e.to_string())
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self(relabel::Rule::default().regex)
    }
}

/// A relabelling rule, as `rule` and `write_relabel_config` blocks hold it.
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = RelabelRule::check)]
pub struct RelabelRule {
    /// Labels whose values are joined and matched.
    #[arg(default)]
    pub source_labels: Vec<String>,
    /// What stands between joined values.
    #[arg(default = ";".to_string())]
    pub separator: String,
    /// RE2 expression, anchored at both ends; everything matches where it is absent.
    pub regex: Option<Pattern>,
    /// Divisor for `hashmod`.
    #[arg(default)]
    pub modulus: u64,
    /// Label that is written.
    #[arg(default)]
    pub target_label: String,
    /// What is written; `$1` and `${name}` stand for groups.
    #[arg(default = "$1".to_string())]
    pub replacement: String,
    /// What to do.
    #[arg(default, code_type = "string(Action)")]
    pub action: RelabelAction,
}

/// Compiles rules; the error names the argument at fault and the number of the rule, from 1.
pub fn compile_rules(block: &'static str, rules: &[RelabelRule]) -> Result<Rules, Error> {
    let failed = |i: usize, message: String| Error::argument(block, format!("{block} {}: {message}", i + 1));
    let compiled = rules.iter().map(RelabelRule::compile).collect();
    Rules::new(compiled, NameScheme::Legacy).map_err(|(i, error)| failed(i, error.to_string()))
}

impl RelabelRule {
    fn compile(&self) -> relabel::Rule {
        relabel::Rule {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            regex: self.regex.clone().unwrap_or_default().0,
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action: self.action.into(),
        }
    }

    /// As prometheus/model/relabel: `Config.Validate`.
    fn check(&self) -> Result<(), Invalid> {
        self.compile().validate(NameScheme::Legacy).map_err(|error| Invalid::body(error.to_string()))
    }
}

impl From<RelabelAction> for relabel::Action {
    fn from(action: RelabelAction) -> Self {
        match action {
            RelabelAction::Replace => Self::Replace,
            RelabelAction::Keep => Self::Keep,
            RelabelAction::Drop => Self::Drop,
            RelabelAction::HashMod => Self::HashMod,
            RelabelAction::LabelMap => Self::LabelMap,
            RelabelAction::LabelDrop => Self::LabelDrop,
            RelabelAction::LabelKeep => Self::LabelKeep,
            RelabelAction::KeepEqual => Self::KeepEqual,
            RelabelAction::DropEqual => Self::DropEqual,
            RelabelAction::Lowercase => Self::Lowercase,
            RelabelAction::Uppercase => Self::Uppercase,
        }
    }
}

/// Relabelling rules as an export, for reuse by other components.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelRules(pub Arc<Vec<RelabelRule>>);

impl CapsuleType for RelabelRules {
    fn type_name(&self) -> &'static str {
        "RelabelRules"
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> String {
        "capsule(\"RelabelRules\")".to_string()
    }
}

impl ArgValue for RelabelRules {
    const IS_CAPSULE: bool = true;

    fn type_name() -> Cow<'static, str> {
        "RelabelRules".into()
    }

    fn code_type() -> Cow<'static, str> {
        "capsule(RelabelRules)".into()
    }

    fn zero() -> Self {
        Self(Arc::default())
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        eval::capsule_from_value(value, "RelabelRules")
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use eval::{OptionalSecret, Secret};

    use super::*;

    #[test]
    fn labels_of_a_target_are_texts_and_nothing_that_has_none() {
        let object = |value: Value| Value::object(BTreeMap::from([("x".to_owned(), value)]));
        for (value, text) in [
            (Value::from("a"), "a"),
            (Value::from(7_i64), "7"),
            (Value::from(1.5), "1.5"),
            (Value::Bool(true), "true"),
            (Value::OptionalSecret(OptionalSecret::plain("open")), "open"),
        ] {
            let target = Target::from_value(&object(value)).expect(text);
            assert_eq!(target.iter().collect::<Vec<_>>(), [("x", text)]);
            // What a component exports is taken as it is.
            assert_eq!(Target::from_value(&target.to_value()).expect("a target"), target);
        }
        for (value, what) in [
            (Value::Null, "null"),
            (Value::Secret(Secret::from("s")), "secret"),
            (Value::OptionalSecret(OptionalSecret::secret("s")), "secret"),
            (Value::array(vec![]), "array"),
        ] {
            let told = Target::from_value(&object(value)).expect_err(what).to_string();
            assert_eq!(told, format!("key \"x\": a label of a target cannot be {what}"));
        }
        let told = Target::from_value(&Value::from("a:1")).expect_err("a text").to_string();
        assert_eq!(told, "expected map(string), got string");
    }
}

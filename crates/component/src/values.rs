//! Values that travel between components through the configuration: targets and relabelling rules.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use eval::{ArgValue, Capsule, CapsuleType, Value, ValueError};
use macros::{ArgEnum, Arguments};
use signal::Labels;
use signal::relabel::{self, Rules};

use crate::error::Error;

/// A discovered target: its label set. Shared, compared by labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target(pub Labels);

impl Target {
    /// From names and values.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(Labels::from_pairs(pairs))
    }
}

impl std::ops::Deref for Target {
    type Target = Labels;
    fn deref(&self) -> &Labels {
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

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl ArgValue for Target {
    fn type_name() -> Cow<'static, str> {
        "map(string)".into()
    }

    fn code_type() -> Cow<'static, str> {
        "target".into()
    }

    fn zero() -> Self {
        Self(Labels::empty())
    }

    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if let Value::Capsule(capsule) = value
            && let Some(target) = capsule.downcast_ref::<Self>()
        {
            return Ok(target.clone());
        }
        let object: Cow<'_, BTreeMap<String, Value>> = match value {
            Value::Object(object) => Cow::Borrowed(&**object),
            Value::Capsule(capsule) => match capsule.as_object() {
                Some(object) => Cow::Owned(object),
                None => return Err(ValueError::new(format!("expected a target, got {}", capsule.type_name()))),
            },
            other => return Err(ValueError::new(format!("expected a target, got {}", other.type_name()))),
        };
        let mut pairs = Vec::with_capacity(object.len());
        for (name, value) in object.iter() {
            let text = match value {
                Value::String(s) => s.to_string(),
                Value::Number(n) => n.to_string(),
                Value::Bool(b) => b.to_string(),
                Value::OptionalSecret(s) if !s.is_secret() => s.reveal().to_string(),
                other => {
                    let problem = format!("a target's label cannot be {}", other.type_name());
                    return Err(ValueError::new(problem).in_key(name));
                }
            };
            pairs.push((name.as_str(), text));
        }
        Ok(Self::from_pairs(pairs.iter().map(|(n, v)| (*n, v.as_str()))))
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

/// A relabelling rule, as `rule` and `write_relabel_config` blocks hold it.
#[derive(Clone, Debug, PartialEq, Arguments)]
pub struct RelabelRule {
    /// Labels whose values are joined and matched.
    #[arg(default)]
    pub source_labels: Vec<String>,
    /// What stands between joined values.
    #[arg(default = ";".to_string())]
    pub separator: String,
    /// RE2 expression, anchored at both ends; everything matches where it is absent.
    #[arg(code_type = "string(Regexp)")]
    pub regex: Option<String>,
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

/// Compiles rules; the error names the argument at fault and the number of the rule.
pub fn compile_rules(block: &'static str, rules: &[RelabelRule]) -> Result<Rules, Error> {
    let rules = rules.iter().enumerate().map(|(i, rule)| {
        compile_rule(rule).map_err(|message| Error::argument(block, format!("{block} {}: {message}", i + 1)))
    });
    Ok(Rules::new(rules.collect::<Result<Vec<_>, _>>()?))
}

fn compile_rule(rule: &RelabelRule) -> Result<relabel::Rule, String> {
    let action = match rule.action {
        RelabelAction::Replace => relabel::Action::Replace,
        RelabelAction::Keep => relabel::Action::Keep,
        RelabelAction::Drop => relabel::Action::Drop,
        RelabelAction::HashMod => relabel::Action::HashMod,
        RelabelAction::LabelMap => relabel::Action::LabelMap,
        RelabelAction::LabelDrop => relabel::Action::LabelDrop,
        RelabelAction::LabelKeep => relabel::Action::LabelKeep,
        RelabelAction::KeepEqual => relabel::Action::KeepEqual,
        RelabelAction::DropEqual => relabel::Action::DropEqual,
        RelabelAction::Lowercase => relabel::Action::Lowercase,
        RelabelAction::Uppercase => relabel::Action::Uppercase,
    };
    relabel::Rule::new(
        &rule.source_labels,
        &rule.separator,
        rule.regex.as_deref(),
        rule.modulus,
        &rule.target_label,
        &rule.replacement,
        action,
    )
    .map_err(|e| e.to_string())
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
        let rules = match value {
            Value::Capsule(capsule) => capsule.downcast_ref::<Self>().cloned(),
            _ => None,
        };
        rules.ok_or_else(|| ValueError::new(format!("expected RelabelRules, got {}", value.type_name())))
    }

    fn to_value(&self) -> Value {
        Value::Capsule(Capsule::new(self.clone()))
    }
}

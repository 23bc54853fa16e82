//! Relabelling rules: definition, validation and application to a label set. As prometheus/model/relabel.
//!
//! [`Rule`] is what a user writes; [`Rules`] is a chain compiled for use, shared by reference count. A chain
//! works on a [`LabelsBuilder`]; what it has answered for a series is kept by [`RelabelCache`].

mod cache;
mod md5;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

pub use cache::{CacheBound, CacheCounts, RelabelCache};

use crate::builder::LabelsBuilder;
use crate::labels::Labels;
use crate::names::NameScheme;
use crate::re2::{Regex, Template, has_variable};
use crate::series::Series;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Sets `target_label` to `replacement` where `regex` matches; an empty result deletes the label.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Sets `target_label` to the MD5 of the source modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the name that `replacement` gives.
    LabelMap,
    /// Deletes labels whose names match.
    LabelDrop,
    /// Deletes labels whose names do not match.
    LabelKeep,
    /// Drops what has another value in `target_label` than in its source labels.
    KeepEqual,
    /// Drops what has the same value in `target_label` as in its source labels.
    DropEqual,
    /// Sets `target_label` to the source in lower case.
    Lowercase,
    /// Sets `target_label` to the source in upper case.
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl Action {
    /// The word in a configuration.
    pub fn word(self) -> &'static str {
        ACTIONS.iter().find(|(_, action)| *action == self).map_or("", |(word, _)| word)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Action {
    type Err = RuleError;
    /// Case does not matter.
    fn from_str(word: &str) -> Result<Self, RuleError> {
        ACTIONS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map(|(_, action)| *action)
            .ok_or_else(|| RuleError(format!("unknown relabel action \"{word}\"")))
    }
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

/// One rule as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Labels whose values, joined, are the source.
    pub source_labels: Vec<String>,
    /// What joins them; `;` by default.
    pub separator: String,
    /// What the source (or a label's name) must match as a whole; `(.*)` by default.
    pub regex: Regex,
    /// For [`Action::HashMod`].
    pub modulus: u64,
    /// The label that is set or compared; may hold `$1` for [`Action::Replace`].
    pub target_label: String,
    /// The new value, or name for [`Action::LabelMap`]; `$1` by default.
    pub replacement: String,
    /// What to do.
    pub action: Action,
}

/// `(.*)`, compiled once.
fn default_regex() -> Regex {
    static DEFAULT: LazyLock<Regex> = LazyLock::new(|| Regex::anchored("(.*)").expect("a valid pattern"));
    DEFAULT.clone()
}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

impl Default for Rule {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: default_regex(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::Replace,
        }
    }
}

impl Rule {
    /// Whether the rule makes sense. As prometheus/model/relabel: `Config.Validate`.
    pub fn validate(&self, names: NameScheme) -> Result<(), RuleError> {
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let (action, target) = (self.action, self.target_label.as_str());
        let fail = |message: String| Err(RuleError(message));
        if action == HashMod && self.modulus == 0 {
            return fail("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        let needs_target =
            matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if needs_target && target.is_empty() {
            return fail(format!("relabel configuration for {action} action requires 'target_label' value"));
        }
        let valid = match action {
            Replace if has_variable(target) => is_name_template(target, names),
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual => names.allows_label(target),
            _ => true,
        };
        if !valid {
            return fail(format!("{target:?} is invalid 'target_label' for {action} action"));
        }
        let own_replacement = self.replacement != DEFAULT_REPLACEMENT;
        if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && own_replacement {
            return fail(format!("'replacement' can not be set for {action} action"));
        }
        if action == LabelMap && !is_name_template(&self.replacement, names) {
            return fail(format!("{:?} is invalid 'replacement' for {action} action", self.replacement));
        }
        let plain = self.modulus == 0 && self.separator == DEFAULT_SEPARATOR && !own_replacement;
        if matches!(action, KeepEqual | DropEqual) && !(plain && self.regex.as_str() == "(.*)") {
            return fail(format!(
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        let no_labels = self.source_labels.is_empty() && target.is_empty();
        if matches!(action, LabelDrop | LabelKeep) && !(plain && no_labels) {
            return fail(format!("{action} action requires only 'regex', and no other fields"));
        }
        Ok(())
    }
}

/// Whether a text is a label name once its variables are filled.
/// As prometheus/model/relabel: `relabelTargetLegacy`; in UTF-8 names `$` is a character as any other.
fn is_name_template(text: &str, names: NameScheme) -> bool {
    static LEGACY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::anchored(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+").expect("a valid pattern")
    });
    match names {
        NameScheme::Legacy => LEGACY.is_match(text),
        NameScheme::Utf8 => names.allows_label(text),
    }
}

/// A chain of rules, ready for use. A clone is a reference count; equality is that of the definitions.
#[derive(Clone)]
pub struct Rules(Arc<Chain>);

struct Chain {
    definition: Vec<Rule>,
    names: NameScheme,
    steps: Vec<Step>,
}

/// A rule taken apart for use.
struct Step {
    source: Vec<String>,
    separator: String,
    regex: Regex,
    target: String,
    act: Act,
}

enum Act {
    /// Sets the target to a constant whatever the source; empty deletes it.
    SetAlways(String),
    Replace {
        /// `None` where the target is a plain name.
        target: Option<Template>,
        value: Template,
    },
    Keep,
    Drop,
    HashMod(u64),
    LabelMap(Template),
    LabelDrop,
    LabelKeep,
    KeepEqual,
    DropEqual,
    Lowercase,
    Uppercase,
}

impl Rules {
    /// Validates and compiles; an error names the rule by its place, from 0. Patterns match whole texts even
    /// where the rule's was compiled to match anywhere.
    pub fn new(mut definition: Vec<Rule>, names: NameScheme) -> Result<Self, (usize, RuleError)> {
        for (i, rule) in definition.iter_mut().enumerate() {
            rule.validate(names).map_err(|error| (i, error))?;
            if !rule.regex.is_anchored() {
                let anchored = Regex::anchored(rule.regex.as_str());
                rule.regex = anchored.map_err(|error| (i, RuleError(error.to_string())))?;
            }
        }
        let steps = definition.iter().map(Step::new).collect();
        Ok(Self(Arc::new(Chain { definition, names, steps })))
    }

    /// A chain that changes nothing.
    pub fn none() -> Self {
        Self(Arc::new(Chain { definition: Vec::new(), names: NameScheme::Legacy, steps: Vec::new() }))
    }

    /// The rules as they were written.
    pub fn definition(&self) -> &[Rule] {
        &self.0.definition
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.definition.is_empty()
    }

    /// Runs the chain; `false` means that the set is to be dropped, and the builder's content is of no use.
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let mut scratch = Scratch::default();
        self.0.steps.iter().all(|step| step.apply(labels, self.0.names, &mut scratch))
    }

    /// The label set after the chain; `None` where it is dropped.
    pub fn relabel(&self, labels: &Labels) -> Option<Labels> {
        if self.is_empty() {
            return Some(labels.clone());
        }
        with_builder(|builder| {
            builder.reset(labels);
            self.apply(builder).then(|| builder.build())
        })
    }

    /// The series after the chain; `None` where it is dropped. As all relabelling of samples: a series
    /// without labels is dropped too.
    pub fn relabel_series(&self, series: &Series) -> Option<Series> {
        if self.is_empty() {
            return Some(series.clone());
        }
        with_builder(|builder| {
            builder.reset_series(series);
            (self.apply(builder) && !builder.is_empty()).then(|| builder.build_series())
        })
    }
}

/// Lends the thread's builder.
fn with_builder<R>(f: impl FnOnce(&mut LabelsBuilder) -> R) -> R {
    thread_local! {
        static BUILDER: RefCell<LabelsBuilder> = RefCell::new(LabelsBuilder::new());
    }
    BUILDER.with_borrow_mut(|builder| {
        let result = f(builder);
        builder.clear();
        result
    })
}

impl Default for Rules {
    fn default() -> Self {
        Self::none()
    }
}
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.names == other.0.names && self.0.definition == other.0.definition)
    }
}
impl Eq for Rules {}
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.definition).finish()
    }
}

/// Buffers of one run.
#[derive(Default)]
struct Scratch {
    source: String,
    result: String,
    target: String,
}

impl Step {
    fn new(rule: &Rule) -> Self {
        let act = match rule.action {
            Action::Replace => {
                let value = rule.regex.template(&rule.replacement);
                let everything = rule.regex.as_str() == "(.*)";
                // Such a rule is always a match, and its template a constant.
                if everything && !has_variable(&rule.target_label) && value.as_constant().is_some() {
                    Act::SetAlways(value.as_constant().unwrap_or_default().to_owned())
                } else {
                    let target =
                        has_variable(&rule.target_label).then(|| rule.regex.template(&rule.target_label));
                    Act::Replace { target, value }
                }
            }
            Action::Keep => Act::Keep,
            Action::Drop => Act::Drop,
            Action::HashMod => Act::HashMod(rule.modulus),
            Action::LabelMap => Act::LabelMap(rule.regex.template(&rule.replacement)),
            Action::LabelDrop => Act::LabelDrop,
            Action::LabelKeep => Act::LabelKeep,
            Action::KeepEqual => Act::KeepEqual,
            Action::DropEqual => Act::DropEqual,
            Action::Lowercase => Act::Lowercase,
            Action::Uppercase => Act::Uppercase,
        };
        Self {
            source: rule.source_labels.clone(),
            separator: rule.separator.clone(),
            regex: rule.regex.clone(),
            target: rule.target_label.clone(),
            act,
        }
    }

    fn apply(&self, labels: &mut LabelsBuilder, names: NameScheme, scratch: &mut Scratch) -> bool {
        match &self.act {
            Act::Keep => self.with_source(labels, scratch, |source| self.regex.is_match(source)),
            Act::Drop => !self.with_source(labels, scratch, |source| self.regex.is_match(source)),
            Act::KeepEqual => self.equal(labels, scratch),
            Act::DropEqual => !self.equal(labels, scratch),
            Act::SetAlways(value) => {
                labels.set(&self.target, value);
                true
            }
            Act::Replace { target, value } => {
                self.join(labels, &mut scratch.source);
                self.replace(target.as_ref(), value, labels, names, scratch);
                true
            }
            Act::HashMod(modulus) => {
                let hash = self.with_source(labels, scratch, |source| md5::md5(source.as_bytes()));
                // As prometheus/model/relabel: the last eight bytes, big endian.
                let mut tail = [0; 8];
                tail.copy_from_slice(&hash[8..]);
                labels.set(&self.target, &(u64::from_be_bytes(tail) % modulus).to_string());
                true
            }
            Act::LabelMap(name) => {
                self.map_names(name, labels);
                true
            }
            Act::LabelDrop => {
                labels.retain(|name, _| !self.regex.is_match(name));
                true
            }
            Act::LabelKeep => {
                labels.retain(|name, _| self.regex.is_match(name));
                true
            }
            Act::Lowercase => {
                let value = self.with_source(labels, scratch, lowercase);
                labels.set(&self.target, &value);
                true
            }
            Act::Uppercase => {
                let value = self.with_source(labels, scratch, uppercase);
                labels.set(&self.target, &value);
                true
            }
        }
    }

    fn equal(&self, labels: &LabelsBuilder, scratch: &mut Scratch) -> bool {
        let target = labels.get(&self.target).unwrap_or_default();
        self.with_source(labels, scratch, |source| source == target)
    }

    fn replace(
        &self,
        target: Option<&Template>,
        value: &Template,
        labels: &mut LabelsBuilder,
        names: NameScheme,
        scratch: &mut Scratch,
    ) {
        let Some(captures) = self.regex.captures(&scratch.source) else { return };
        let name = match target {
            None => self.target.as_str(),
            Some(template) => {
                scratch.target.clear();
                template.expand(&captures, &mut scratch.target);
                if !names.allows_label(&scratch.target) {
                    return;
                }
                scratch.target.as_str()
            }
        };
        scratch.result.clear();
        value.expand(&captures, &mut scratch.result);
        labels.set(name, &scratch.result);
    }

    fn map_names(&self, name: &Template, labels: &mut LabelsBuilder) {
        let mapped: Vec<(String, String)> = labels
            .iter()
            .filter_map(|(from, value)| {
                let captures = self.regex.captures(from)?;
                let mut to = String::new();
                name.expand(&captures, &mut to);
                Some((to, value.to_owned()))
            })
            .collect();
        for (name, value) in mapped {
            labels.set(&name, &value);
        }
    }

    /// Joins the source labels; one label is lent as it is.
    fn with_source<R>(&self, labels: &LabelsBuilder, scratch: &mut Scratch, f: impl FnOnce(&str) -> R) -> R {
        if let [only] = self.source.as_slice() {
            return f(labels.get(only).unwrap_or_default());
        }
        self.join(labels, &mut scratch.source);
        f(&scratch.source)
    }

    fn join(&self, labels: &LabelsBuilder, out: &mut String) {
        out.clear();
        for (i, name) in self.source.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.separator);
            }
            out.push_str(labels.get(name).unwrap_or_default());
        }
    }
}

/// Character by character, as Go's `strings.ToLower`: no special casing.
fn lowercase(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'İ' => 'i',
            c => single(c.to_lowercase(), c),
        })
        .collect()
}

/// Character by character, as Go's `strings.ToUpper`: no special casing.
fn uppercase(text: &str) -> String {
    text.chars()
        .map(|c| match u32::from(c) {
            // Greek with iota below: the one-character form is the title case, as in UnicodeData.
            code @ (0x1F80..=0x1F87 | 0x1F90..=0x1F97 | 0x1FA0..=0x1FA7) => {
                char::from_u32(code + 8).unwrap_or(c)
            }
            code @ (0x1FB3 | 0x1FC3 | 0x1FF3) => char::from_u32(code + 9).unwrap_or(c),
            _ => single(c.to_uppercase(), c),
        })
        .collect()
}

fn single(mut mapped: impl ExactSizeIterator<Item = char>, unmapped: char) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(unmapped) } else { unmapped }
}

#[cfg(test)]
mod tests;

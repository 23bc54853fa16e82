//! The shape of a body as data: what validation, reference pages, completion and the UI read.
//!
//! Invariant: built from the same struct that is decoded, so it cannot say anything else than the
//! decoder does; fields are in the order of their declaration.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::json;

use crate::arg::{ArgValue, ValueError};
use crate::body::{Arguments, OneOf};
use crate::scope::Stability;
use crate::value::Value;

/// The shape of a body.
#[derive(Debug)]
pub struct BodySchema {
    /// Attributes and blocks in the order of their declaration, flattened ones in place.
    pub fields: Vec<FieldSchema>,
    /// What the documentation says about the struct.
    pub doc: &'static str,
    /// The block carries a label.
    pub labelled: bool,
    index: HashMap<&'static str, usize>,
}

/// One thing that may stand in a body.
#[derive(Debug, Clone)]
pub enum FieldSchema {
    /// `name = value`
    Attribute(AttributeSchema),
    /// `name { … }`
    Block(BlockSchema),
}

/// An attribute.
#[derive(Debug, Clone)]
pub struct AttributeSchema {
    /// Its name.
    pub name: &'static str,
    /// The type for people.
    pub type_name: Cow<'static, str>,
    /// The exact type.
    pub code_type: Cow<'static, str>,
    /// The configuration is refused without it.
    pub required: bool,
    /// What holds when it is not written, as a file would write it; `None`: required, or unset.
    pub default: Option<String>,
    /// What the documentation says.
    pub doc: &'static str,
    /// The texts allowed, where there is a closed list.
    pub allowed: &'static [&'static str],
    /// Below this level only the default may be written.
    pub stability: Stability,
    /// Why writing it changes nothing, and what does instead; the static pass warns where it is written.
    pub no_effect: Option<&'static str>,
    /// Whether a value can become this attribute's type; takes values not known yet.
    pub check: fn(&Value) -> Result<(), ValueError>,
}

/// What holds when a block is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The parent's default for it.
    Defaults,
    /// Nothing: what it configures is off.
    Unset,
    /// An empty list.
    Empty,
    /// The configuration is refused.
    Error,
}

impl Absent {
    /// As the reference writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Unset => "unset",
            Self::Empty => "empty",
            Self::Error => "error",
        }
    }
}

/// A block.
#[derive(Debug, Clone)]
pub struct BlockSchema {
    /// Its name, dots included.
    pub name: &'static str,
    /// What may stand in it. A function, because blocks may contain themselves.
    pub body: fn() -> &'static BodySchema,
    /// What the documentation says.
    pub doc: &'static str,
    /// The configuration is refused without it.
    pub required: bool,
    /// May be written more than once.
    pub repeatable: bool,
    /// What holds without it.
    pub absent: Absent,
    /// Blocks of one group are kept in one list in the order of the file (`stage`, `metric`).
    pub group: Option<&'static str>,
    /// Why writing it changes nothing, and what does instead; the static pass warns where it is written.
    pub no_effect: Option<&'static str>,
}

/// An export of a component.
#[derive(Debug, Clone)]
pub struct ExportSchema {
    /// Its name.
    pub name: &'static str,
    /// The type for people.
    pub type_name: Cow<'static, str>,
    /// The exact type; also what [`Value::Unknown`] carries in a static pass.
    pub code_type: Cow<'static, str>,
    /// What the documentation says.
    pub doc: &'static str,
}

impl BodySchema {
    /// A body with these fields.
    pub fn new(doc: &'static str, labelled: bool, fields: Vec<FieldSchema>) -> Self {
        let index = fields.iter().enumerate().map(|(i, f)| (f.name(), i)).collect();
        Self { fields, doc, labelled, index }
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.index.get(name).map(|i| &self.fields[*i])
    }

    /// Position of the field of that name in `fields`.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = &AttributeSchema> {
        self.fields.iter().filter_map(|f| match f {
            FieldSchema::Attribute(a) => Some(a),
            FieldSchema::Block(_) => None,
        })
    }

    /// The blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockSchema> {
        self.fields.iter().filter_map(|f| match f {
            FieldSchema::Block(b) => Some(b),
            FieldSchema::Attribute(_) => None,
        })
    }

    /// `{"arguments": […], "blocks": [{"path": "a > b", …}]}`: inner blocks flattened into paths, a block
    /// that contains itself marked `recursive` and not repeated.
    pub fn to_json(&self) -> serde_json::Value {
        let mut blocks = Vec::new();
        self.collect_blocks("", &mut Vec::new(), &mut blocks);
        json!({ "arguments": self.arguments_json(), "blocks": blocks })
    }

    fn arguments_json(&self) -> Vec<serde_json::Value> {
        self.attributes().map(AttributeSchema::to_json).collect()
    }

    fn collect_blocks(
        &self,
        prefix: &str,
        seen: &mut Vec<*const BodySchema>,
        out: &mut Vec<serde_json::Value>,
    ) {
        let depth = seen.len();
        seen.extend(self.blocks().filter(|b| b.group.is_some()).map(|b| std::ptr::from_ref((b.body)())));
        for block in self.blocks() {
            let body = (block.body)();
            let path =
                if prefix.is_empty() { block.name.to_owned() } else { format!("{prefix} > {}", block.name) };
            let recursive =
                body.blocks().any(|b| b.group.is_some() && seen.contains(&std::ptr::from_ref((b.body)())));
            let mut entry = json!({
                "path": path,
                "required": block.required,
                "multiple": block.repeatable,
                "arguments": body.arguments_json(),
                "absent_means": block.absent.as_str(),
                "doc": block.doc,
            });
            if let Some(group) = block.group {
                entry["ordered_enum"] = json!(group);
            }
            if body.labelled {
                entry["label"] = json!("required");
            }
            if recursive {
                entry["recursive"] = json!(true);
            }
            if let Some(why) = block.no_effect {
                entry["no_effect"] = json!(why);
            }
            out.push(entry);
            if !recursive {
                body.collect_blocks(&path, seen, out);
            }
        }
        seen.truncate(depth);
    }
}

impl FieldSchema {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attribute(a) => a.name,
            Self::Block(b) => b.name,
        }
    }

    /// Whether the configuration is refused without it.
    pub fn required(&self) -> bool {
        match self {
            Self::Attribute(a) => a.required,
            Self::Block(b) => b.required,
        }
    }

    /// Why writing it changes nothing.
    pub fn no_effect(&self) -> Option<&'static str> {
        match self {
            Self::Attribute(a) => a.no_effect,
            Self::Block(b) => b.no_effect,
        }
    }
}

impl AttributeSchema {
    /// An attribute of type `T` whose default is `default`.
    pub fn of<T: ArgValue>(name: &'static str, doc: &'static str, required: bool, default: &T) -> Self {
        let value = if required { Value::Null } else { default.to_value() };
        let default = match &value {
            Value::Null => None,
            Value::Secret(s) if s.is_empty() => Some("\"\"".to_owned()),
            v => Some(v.to_source()),
        };
        Self {
            name,
            type_name: T::type_name(),
            code_type: T::code_type(),
            required,
            default,
            doc,
            allowed: T::allowed(),
            stability: Stability::GenerallyAvailable,
            no_effect: None,
            check: T::check,
        }
    }

    /// Names the type differently.
    #[must_use]
    pub fn with_type_name(mut self, name: &'static str) -> Self {
        self.type_name = name.into();
        self
    }

    /// Names the exact type differently.
    #[must_use]
    pub fn with_code_type(mut self, name: &'static str) -> Self {
        self.code_type = name.into();
        self
    }

    /// Gates it.
    #[must_use]
    pub fn with_stability(mut self, stability: Stability) -> Self {
        self.stability = stability;
        self
    }

    /// Writing it changes nothing.
    #[must_use]
    pub fn with_no_effect(mut self, why: &'static str) -> Self {
        self.no_effect = Some(why);
        self
    }

    fn to_json(&self) -> serde_json::Value {
        let mut entry = json!({
            "name": self.name,
            "type": self.type_name,
            "code_type": self.code_type,
            "default": self.default,
            "required": self.required,
            "doc": self.doc,
        });
        if !self.allowed.is_empty() {
            entry["allowed"] = json!(self.allowed);
        }
        if self.stability != Stability::GenerallyAvailable {
            entry["stability"] = json!(self.stability.as_str());
        }
        if let Some(why) = self.no_effect {
            entry["no_effect"] = json!(why);
        }
        entry
    }
}

impl BlockSchema {
    /// A block with the body of `T`; `absent` says how the parent holds it.
    pub fn of<T: Arguments>(name: &'static str, doc: &'static str, absent: Absent) -> Self {
        Self {
            name,
            body: T::schema,
            doc,
            required: absent == Absent::Error,
            repeatable: absent == Absent::Empty,
            absent,
            group: None,
            no_effect: None,
        }
    }

    /// Writing it changes nothing.
    #[must_use]
    pub fn with_no_effect(mut self, why: &'static str) -> Self {
        self.no_effect = Some(why);
        self
    }

    /// May be written more than once (a required list).
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// All forms of an ordered group.
    pub fn group<T: OneOf>(group: &'static str) -> impl Iterator<Item = FieldSchema> {
        T::blocks().into_iter().map(move |mut b| {
            b.group = Some(group);
            FieldSchema::Block(b)
        })
    }
}

impl ExportSchema {
    /// An export of type `T`.
    pub fn of<T: ArgValue>(name: &'static str, doc: &'static str) -> Self {
        Self { name, type_name: T::type_name(), code_type: T::code_type(), doc }
    }

    /// Names the type differently.
    #[must_use]
    pub fn with_type_name(mut self, name: &'static str) -> Self {
        self.type_name = name.into();
        self
    }

    /// Names the exact type differently.
    #[must_use]
    pub fn with_code_type(mut self, name: &'static str) -> Self {
        self.code_type = name.into();
        self
    }
}

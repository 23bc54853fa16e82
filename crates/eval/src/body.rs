//! What a body decodes into: structs of arguments, ordered groups of blocks, exports; and what they turn
//! back into for the UI.
//!
//! Invariant: only the derives implement these traits on structs of components; nothing here decodes.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::arg::ArgValue;
use crate::decode::{BlockDecoder, BodyDecoder};
use crate::schema::{BlockSchema, BodySchema, ExportSchema, FieldSchema};
use crate::value::Value;

/// A struct that a body decodes into; written by `#[derive(Arguments)]`.
pub trait Arguments: Sized + Send + 'static {
    /// What holds before anything is written.
    fn defaults() -> Self;

    /// Every field zero: where a parent flattens the struct without saying which defaults it has there.
    fn zero() -> Self;

    /// Takes what is written.
    fn apply(&mut self, body: &mut BodyDecoder<'_>);

    /// What may be written.
    fn schema() -> &'static BodySchema;

    /// The fields of the schema with the defaults that `self` holds.
    fn fields(&self) -> Vec<FieldSchema>;

    /// The struct as statements, without optional attributes that are zero.
    fn encode(&self, out: &mut Vec<Item>);

    /// Rules across fields; runs after a body of this type decoded.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// What is written and cannot do anything beside the rest of what is written; asked where `validate` has found
    /// nothing. Each becomes a warning at the place of its field.
    fn without_effect(&self) -> Vec<Invalid> {
        Vec::new()
    }

    /// Takes the label of a labelled block.
    fn set_label(&mut self, _label: &str) {}

    /// The label of a labelled block.
    fn label(&self) -> Option<String> {
        None
    }
}

/// A body in which nothing may stand.
#[doc(hidden)]
pub struct NoArguments;

impl Arguments for NoArguments {
    fn defaults() -> Self {
        Self
    }
    fn zero() -> Self {
        Self
    }
    fn apply(&mut self, _body: &mut BodyDecoder<'_>) {}
    fn schema() -> &'static BodySchema {
        static SCHEMA: LazyLock<BodySchema> = LazyLock::new(|| BodySchema::new("", false, Vec::new()));
        &SCHEMA
    }
    fn fields(&self) -> Vec<FieldSchema> {
        Vec::new()
    }
    fn encode(&self, _out: &mut Vec<Item>) {}
}

impl<T: Arguments> Arguments for Box<T> {
    fn defaults() -> Self {
        Self::new(T::defaults())
    }
    fn zero() -> Self {
        Self::new(T::zero())
    }
    fn apply(&mut self, body: &mut BodyDecoder<'_>) {
        T::apply(self, body);
    }
    fn schema() -> &'static BodySchema {
        T::schema()
    }
    fn fields(&self) -> Vec<FieldSchema> {
        T::fields(self)
    }
    fn encode(&self, out: &mut Vec<Item>) {
        T::encode(self, out);
    }
    fn validate(&self) -> Result<(), Invalid> {
        T::validate(self)
    }
    fn without_effect(&self) -> Vec<Invalid> {
        T::without_effect(self)
    }
    fn set_label(&mut self, label: &str) {
        T::set_label(self, label);
    }
    fn label(&self) -> Option<String> {
        T::label(self)
    }
}

/// One of several kinds of blocks kept in one list in the order of the file; written by
/// `#[derive(Arguments)]` on an enum.
pub trait OneOf: Sized + Send + 'static {
    /// The blocks.
    fn blocks() -> Vec<BlockSchema>;

    /// Decodes the block of that name; `None` if no variant has it.
    fn decode(name: &str, block: &mut BlockDecoder<'_, '_>) -> Option<Self>;

    /// The block as a statement.
    fn encode(&self, out: &mut Vec<Item>);
}

/// What a component offers to others; written by `#[derive(Exports)]`.
pub trait Exports: Send + Sync + 'static {
    /// An object of all exports.
    fn to_value(&self) -> Value;

    /// Names and types.
    fn schema() -> &'static [ExportSchema];
}

/// No exports.
impl Exports for () {
    fn to_value(&self) -> Value {
        Value::object(Default::default())
    }

    fn schema() -> &'static [ExportSchema] {
        &[]
    }
}

/// What to do about something without effect.
pub(crate) const REMOVE: &str = "remove it: without it the same happens";

/// A rule that a body broke.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// The attribute or block at fault, with dots for what is inside of blocks; `None` points at the whole block.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Invalid {
    /// A broken rule that concerns one field.
    pub fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field), message: message.into(), help: None }
    }

    /// A broken rule that concerns the whole body.
    pub fn body(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into(), help: None }
    }

    /// A field that is written and can do nothing beside the rest, for [`Arguments::without_effect`].
    pub fn without_effect(field: &'static str, why: &str) -> Self {
        let name = field.rsplit_once('.').map_or(field, |(_, name)| name);
        Self::field(field, format!("{name:?} has no effect: {why}")).with_help(REMOVE)
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A statement made from a struct, for UI and API.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `name = value`
    Attribute {
        /// Its name.
        name: Cow<'static, str>,
        /// Its value.
        value: Value,
    },
    /// `name "label" { body }`
    Block {
        /// Its name, dots included.
        name: Cow<'static, str>,
        /// Its label.
        label: Option<String>,
        /// What is in it.
        body: Vec<Item>,
    },
}

impl Item {
    /// Adds an attribute, unless it is optional and zero.
    pub fn push_attribute<T: ArgValue>(out: &mut Vec<Item>, name: &'static str, required: bool, value: &T) {
        let value = value.to_value();
        let skip = match &value {
            Value::Null => true,
            // The zero of an enumeration says something.
            Value::String(s) if !T::allowed().is_empty() => !required && s.is_empty(),
            v => !required && *v == T::zero().to_value(),
        };
        if !skip {
            out.push(Self::Attribute { name: name.into(), value });
        }
    }

    /// Adds a block.
    pub fn push_block<T: Arguments>(out: &mut Vec<Item>, name: &'static str, block: &T) {
        let mut body = Vec::new();
        block.encode(&mut body);
        out.push(Self::Block { name: name.into(), label: block.label(), body });
    }
}

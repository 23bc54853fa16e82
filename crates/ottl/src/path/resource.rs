//! Fields of resources and scopes.

use std::borrow::Cow;

use super::{as_int, as_str, attributes::set_map};
use crate::context::{Item, View};
use crate::error::EvalError;
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceField {
    Attributes,
    Dropped,
    SchemaUrl,
}

pub(super) const RESOURCE: &[(&str, ResourceField)] = &[
    ("attributes", ResourceField::Attributes),
    ("dropped_attributes_count", ResourceField::Dropped),
    ("schema_url", ResourceField::SchemaUrl),
];

impl ResourceField {
    pub(super) fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        match self {
            Self::Attributes => {
                Value::Map(Cow::Borrowed(view.resource.map_or(&[], |r| r.attributes.as_slice())))
            }
            Self::Dropped => Value::Int(view.resource.map_or(0, |r| i64::from(r.dropped_attributes_count))),
            Self::SchemaUrl => Value::str(view.resource_schema),
        }
    }

    pub(super) fn set(self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        match self {
            Self::Attributes => set_map(&mut item.resource.get_or_insert_default().attributes, value)?,
            Self::Dropped => {
                item.resource.get_or_insert_default().dropped_attributes_count = as_int(&value)? as u32;
            }
            Self::SchemaUrl => *item.resource_schema = as_str(value)?,
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeField {
    Name,
    Version,
    Attributes,
    Dropped,
    SchemaUrl,
}

pub(super) const SCOPE: &[(&str, ScopeField)] = &[
    ("name", ScopeField::Name),
    ("version", ScopeField::Version),
    ("attributes", ScopeField::Attributes),
    ("dropped_attributes_count", ScopeField::Dropped),
    ("schema_url", ScopeField::SchemaUrl),
];

impl ScopeField {
    pub(super) fn get<'a>(self, view: &View<'a>) -> Value<'a> {
        let scope = view.scope;
        match self {
            Self::Name => Value::str(scope.map_or("", |s| s.name.as_str())),
            Self::Version => Value::str(scope.map_or("", |s| s.version.as_str())),
            Self::Attributes => Value::Map(Cow::Borrowed(scope.map_or(&[], |s| s.attributes.as_slice()))),
            Self::Dropped => Value::Int(scope.map_or(0, |s| i64::from(s.dropped_attributes_count))),
            Self::SchemaUrl => Value::str(view.scope_schema),
        }
    }

    pub(super) fn set(self, item: &mut Item<'_>, value: Value<'static>) -> Result<(), EvalError> {
        if self == Self::SchemaUrl {
            *item.scope_schema = as_str(value)?;
            return Ok(());
        }
        let scope = item.scope.get_or_insert_default();
        match self {
            Self::Name => scope.name = as_str(value)?,
            Self::Version => scope.version = as_str(value)?,
            Self::Attributes => set_map(&mut scope.attributes, value)?,
            Self::Dropped => scope.dropped_attributes_count = as_int(&value)? as u32,
            Self::SchemaUrl => {}
        }
        Ok(())
    }
}

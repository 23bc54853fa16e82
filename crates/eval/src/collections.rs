//! Attribute types made of others: optional values, lists, maps, boxes, arrays of fixed length.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::arg::{ArgValue, ValueError};
use crate::types::fits;
use crate::value::Value;

impl<T: ArgValue> ArgValue for Option<T> {
    const IS_CAPSULE: bool = T::IS_CAPSULE;
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }
    fn code_type() -> Cow<'static, str> {
        T::code_type()
    }
    fn zero() -> Self {
        None
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(None),
            v => T::from_value(v).map(Some),
        }
    }
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
    fn check(value: &Value) -> Result<(), ValueError> {
        match value {
            Value::Null => Ok(()),
            v => T::check(v),
        }
    }
    fn allowed() -> &'static [&'static str] {
        T::allowed()
    }
}

impl<T: ArgValue> ArgValue for Vec<T> {
    fn type_name() -> Cow<'static, str> {
        format!("list({})", T::type_name()).into()
    }
    fn code_type() -> Cow<'static, str> {
        format!("list({})", T::code_type()).into()
    }
    fn zero() -> Self {
        Self::new()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::Null => Ok(Self::new()),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .filter(|(_, v)| !(T::IS_CAPSULE && matches!(v, Value::Null)))
                .map(|(i, v)| T::from_value(v).map_err(|e| e.at_index(i)))
                .collect(),
            other => Err(ValueError::wrong_type(&Self::code_type(), other)),
        }
    }
    fn to_value(&self) -> Value {
        Value::array(self.iter().map(T::to_value).collect())
    }
    fn check(value: &Value) -> Result<(), ValueError> {
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .filter(|(_, v)| !(T::IS_CAPSULE && matches!(v, Value::Null)))
                .try_for_each(|(i, v)| T::check(v).map_err(|e| e.at_index(i))),
            Value::Unknown(have) if fits(have, &Self::code_type()) => Ok(()),
            Value::Unknown(have) => Err(ValueError::expected(&Self::code_type(), have)),
            other => Self::from_value(other).map(drop),
        }
    }
    fn allowed() -> &'static [&'static str] {
        T::allowed()
    }
}

impl<T: ArgValue> ArgValue for BTreeMap<String, T> {
    fn type_name() -> Cow<'static, str> {
        format!("map({})", T::type_name()).into()
    }
    fn code_type() -> Cow<'static, str> {
        format!("map({})", T::code_type()).into()
    }
    fn zero() -> Self {
        Self::new()
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if matches!(value, Value::Null) {
            return Ok(Self::new());
        }
        let fields = value.as_object().ok_or_else(|| ValueError::wrong_type(&Self::code_type(), value))?;
        fields
            .iter()
            .map(|(k, v)| T::from_value(v).map(|v| (k.clone(), v)).map_err(|e| e.at_key(k.clone())))
            .collect()
    }
    fn to_value(&self) -> Value {
        Value::object(self.iter().map(|(k, v)| (k.clone(), v.to_value())).collect())
    }
    fn check(value: &Value) -> Result<(), ValueError> {
        match value {
            Value::Object(fields) => {
                fields.iter().try_for_each(|(k, v)| T::check(v).map_err(|e| e.at_key(k.clone())))
            }
            Value::Unknown(have) if fits(have, &Self::code_type()) => Ok(()),
            Value::Unknown(have) => Err(ValueError::expected(&Self::code_type(), have)),
            other => Self::from_value(other).map(drop),
        }
    }
}

macro_rules! pointers {
    ($($p:ident),*) => {$(
        impl<T: ArgValue> ArgValue for $p<T> {
            const IS_CAPSULE: bool = T::IS_CAPSULE;
            fn type_name() -> Cow<'static, str> {
                T::type_name()
            }
            fn code_type() -> Cow<'static, str> {
                T::code_type()
            }
            fn zero() -> Self {
                $p::new(T::zero())
            }
            fn from_value(value: &Value) -> Result<Self, ValueError> {
                T::from_value(value).map($p::new)
            }
            fn to_value(&self) -> Value {
                T::to_value(self)
            }
            fn check(value: &Value) -> Result<(), ValueError> {
                T::check(value)
            }
            fn allowed() -> &'static [&'static str] {
                T::allowed()
            }
        }
    )*};
}

pointers!(Box, Arc);

impl<T: ArgValue, const N: usize> ArgValue for [T; N] {
    fn type_name() -> Cow<'static, str> {
        format!("list({})", T::type_name()).into()
    }
    fn code_type() -> Cow<'static, str> {
        format!("list({})", T::code_type()).into()
    }
    fn zero() -> Self {
        std::array::from_fn(|_| T::zero())
    }
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        if matches!(value, Value::Null) {
            return Ok(Self::zero());
        }
        let items = value.as_array().ok_or_else(|| ValueError::wrong_type(&Self::code_type(), value))?;
        let decoded = items
            .iter()
            .enumerate()
            .map(|(i, v)| T::from_value(v).map_err(|e| e.at_index(i)))
            .collect::<Result<Vec<T>, _>>()?;
        decoded.try_into().map_err(|v: Vec<T>| {
            ValueError::invalid(format!("the list must have exactly {N} elements, it has {}", v.len()))
        })
    }
    fn to_value(&self) -> Value {
        Value::array(self.iter().map(T::to_value).collect())
    }
}
